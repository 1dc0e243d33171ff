"""requests-oauth2client: the code flow with pushed requests, for a public client and for one with a key of its own."""

from jwskate import Jwk
from keybound import CALLBACK, ISSUER, NONCE_REQUIRED, Wire, refused, register, sign_in, step
from requests_oauth2client import DPoPToken, InvalidGrant, OAuth2Client, PrivateKeyJwt, PublicApp


def session(title, auth, is_public, alg):
    wire = Wire()
    client = OAuth2Client.from_discovery_endpoint(
        issuer=ISSUER,
        auth=auth,
        session=wire,
        testing=True,
        redirect_uri=CALLBACK,
        dpop_bound_access_tokens=True,
        dpop_alg=alg,
    )
    with step(f"{title}: pushes its request"):
        request = client.authorization_request(scope="openid accounts offline_access")
        pushed = client.pushed_authorization_request(request)
        assert wire.statuses("/oauth/par") == ([400, 201] if NONCE_REQUIRED else [201])
    with step(f"{title}: redeems the code and checks the ID token"):
        callback = request.validate_callback(sign_in(str(pushed)))
        # Version 1.8.0 can't validate the ID token beside a DPoP token: it makes a copy of the token and leaves the key out.
        token = client.authorization_code(callback, validate=False)
        assert isinstance(token, DPoPToken)
        assert token.token_type == "DPoP"
        assert token.id_token.verify_signature(client.authorization_server_jwks, alg="ES256")
        assert (token.id_token.sub, token.id_token.issuer, token.id_token.nonce) == ("alice", ISSUER, request.nonce)
        assert wire.statuses("/oauth/token") == [200], "the nonce of the pushed request still counts"
    with step(f"{title}: refreshes three times"):
        for _ in range(3):
            before, token = token, client.refresh_token(token)
            assert token.refresh_token != before.refresh_token
    with step(f"{title}: reads userinfo"):
        assert client.userinfo(token)["sub"] == "alice"
        assert wire.statuses("/oauth/userinfo") == ([401, 200] if NONCE_REQUIRED else [200])
    if not is_public:
        with step(f"{title}: introspects its token"):
            seen = client.introspect_token(token)
            assert seen["active"] is True
            assert seen["cnf"]["jkt"] == token.dpop_key.dpop_jkt
    with step(f"{title}: revokes its refresh token"):
        assert client.revoke_refresh_token(token)
        with refused(InvalidGrant):
            client.refresh_token(token)


def private_key(kid, alg):
    key = Jwk.generate(alg=alg).with_kid_thumbprint()
    return key, {"keys": [dict(key.public_jwk())]}


public = register(token_endpoint_auth_method="none")
session("requests-oauth2client, public", PublicApp(public["client_id"]), True, "ES256")

key, jwks = private_key("issuer", "ES256")
strict = register(token_endpoint_auth_method="private_key_jwt", jwks=jwks)
session("requests-oauth2client, private_key_jwt", PrivateKeyJwt(strict["client_id"], key, aud=ISSUER), False, "ES384")

# Left to itself the library names the endpoint's URL as audience, as RFC 7523 allowed: a client can be registered so.
key, jwks = private_key("endpoint", "ES256")
compat = register(token_endpoint_auth_method="private_key_jwt", jwks=jwks, client_assertion_audience="compat")
session("requests-oauth2client, private_key_jwt for an endpoint", PrivateKeyJwt(compat["client_id"], key), False, "ES256")
