"""pydpop with requests: an auth object that signs every request. Its grant is made by the management API."""

import requests
from keybound import ISSUER, NONCE_REQUIRED, manage, register, step
from pydpop import generate_key, jwk_thumbprint, public_jwk
from pydpop.integrations.requests import DPoPAuth

key = generate_key()
client_id = register(token_endpoint_auth_method="none")["client_id"]
grant = {"client_id": client_id, "sub": "alice", "scope": "openid accounts", "jkt": jwk_thumbprint(public_jwk(key))}
refresh_token = manage("POST", "/admin/grants", grant)["refresh_token"]
auth = DPoPAuth(key)


def refresh(token, path="/oauth/refresh"):
    data = {"grant_type": "refresh_token", "refresh_token": token, "client_id": client_id}
    return requests.post(ISSUER + path, data=data, auth=auth, timeout=20)


with step("pydpop: refreshes three times"):
    for path in ("/oauth/refresh", "/oauth/token", "/oauth/refresh"):
        answer = refresh(refresh_token, path)
        assert answer.status_code == 200, answer.text
        assert answer.json()["token_type"] == "DPoP"
        refresh_token = answer.json()["refresh_token"]
        access_token = answer.json()["access_token"]

with step("pydpop: was asked for a nonce once at most"):
    assert auth.nonce is None or NONCE_REQUIRED

with step("pydpop: reads userinfo"):
    resource = DPoPAuth(key, access_token=access_token)
    answer = requests.get(f"{ISSUER}/oauth/userinfo", auth=resource, headers={"Authorization": f"DPoP {access_token}"}, timeout=20)
    assert answer.status_code == 200, answer.text
    assert answer.json()["sub"] == "alice"
    assert len(answer.history) == (1 if NONCE_REQUIRED else 0)

with step("pydpop: posts a refused refresh token once"):
    # It repeats every 400 and 401 that carries a new nonce: an invalid_grant with one would make it post the token twice.
    manage("DELETE", f"/admin/grants?client_id={client_id}")
    for path, status in (("/oauth/refresh", 401), ("/oauth/token", 400)):
        answer = refresh(refresh_token, path)
        assert answer.status_code == status, answer.text
        assert answer.json()["error"] == "invalid_grant"
        assert "DPoP-Nonce" not in answer.headers
        assert answer.history == []
