"""What the client scripts share: where the service is, how a client is registered, and the person who signs in.

Nothing here speaks OAuth for a client: that is left to the libraries under test.
"""

import contextlib
import json
import os
import time
from urllib.parse import parse_qs, urlsplit

import requests

SERVICE = json.loads(os.environ["KEYBOUND_SERVICE"])
ISSUER = SERVICE["issuer"]
NONCE_REQUIRED = SERVICE["nonce"] == "required"
CALLBACK = "https://client.example.test/callback"


def manage(method, path, body=None):
    """One call of the management API."""
    headers = {"Authorization": f"Bearer {SERVICE['management_token']}"}
    answer = requests.request(method, SERVICE["management"] + path, json=body, headers=headers, timeout=20)
    assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None


def register(**metadata):
    """Registers a client that may use the code flow."""
    registration = {
        "grant_types": ["authorization_code", "refresh_token"],
        "redirect_uris": [CALLBACK],
        "scope": "openid accounts offline_access",
    }
    return manage("POST", "/admin/clients", {**registration, **metadata})


def sign_in(authorization_url):
    """What a browser and a person do: signs in as alice and returns the URL that the client is called back at."""
    opened = requests.get(authorization_url, allow_redirects=False, timeout=20)
    assert opened.status_code == 303, f"{opened.status_code} {opened.text}"
    interaction = parse_qs(urlsplit(opened.headers["Location"]).query)["interaction"][0]
    answer = {"sub": "alice", "auth_time": int(time.time())}
    return manage("POST", f"/admin/interactions/{interaction}/accept", answer)["redirect_to"]


class Wire(requests.Session):
    """A session that keeps what was answered, so that a script can tell how often a library had to ask."""

    def __init__(self):
        super().__init__()
        self.answers = []
        send = self.get_adapter(ISSUER).send

        def recording(*args, **kwargs):
            answer = send(*args, **kwargs)
            self.answers.append(answer)
            return answer

        self.get_adapter(ISSUER).send = recording

    def statuses(self, path):
        """The status codes that the endpoint answered with, in order."""
        return [answer.status_code for answer in self.answers if urlsplit(answer.url).path == path]


@contextlib.contextmanager
def step(title):
    """Names what is done, and says where it failed."""
    try:
        yield
    except BaseException:
        print(f"{title}: failed", flush=True)
        raise
    print(title, flush=True)


@contextlib.contextmanager
def refused(kind):
    """Expects this exception."""
    try:
        yield
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was expected")
