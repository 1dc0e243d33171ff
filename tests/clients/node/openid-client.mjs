// openid-client 6: the whole life of a session, for a public client and for one with a key of its own.

import assert from 'node:assert/strict'
import * as client from 'openid-client'
import { AUDIENCE, CALLBACK, nonceRequired, recording, register, service, signIn, steps } from './keybound.mjs'

const SCOPE = 'openid accounts offline_access'

async function session(title, metadata, authentication, algorithm) {
  const registered = await register(metadata)
  const wire = recording()
  const config = await client.discovery(new URL(service.issuer), registered.client_id, {}, authentication(registered), {
    execute: [client.allowInsecureRequests],
    [client.customFetch]: wire.fetch,
    algorithm: metadata.discovery ?? 'oidc',
  })
  const key = await client.randomDPoPKeyPair(algorithm)
  const DPoP = client.getDPoPHandle(config, key)
  const code_verifier = client.randomPKCECodeVerifier()
  const state = client.randomState()
  const nonce = client.randomNonce()
  const dpop_jkt = await DPoP.calculateThumbprint()
  const isPublic = metadata.token_endpoint_auth_method === 'none'
  let authorizationUrl, callback, tokens

  await steps(`${title} ${algorithm}`, {
    'pushes its request': async () => {
      const parameters = { redirect_uri: CALLBACK, scope: SCOPE, state, nonce, code_challenge_method: 'S256' }
      parameters.code_challenge = await client.calculatePKCECodeChallenge(code_verifier)
      authorizationUrl = await client.buildAuthorizationUrlWithPAR(config, parameters, { DPoP })
      assert.ok(authorizationUrl.searchParams.get('request_uri'))
      const pushes = wire.at('/oauth/par')
      assert.deepEqual(pushes.map(({ status }) => status), nonceRequired ? [400, 201] : [201])
      assert.ok(JSON.parse(pushes.at(-1).body).expires_in > 0)
    },
    'signs in': async () => {
      callback = await signIn(authorizationUrl)
      assert.equal(callback.searchParams.get('iss'), service.issuer)
      assert.equal(callback.searchParams.get('state'), state)
    },
    'redeems the code': async () => {
      const checks = { pkceCodeVerifier: code_verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true }
      tokens = await client.authorizationCodeGrant(config, callback, checks, {}, { DPoP })
      assert.equal(tokens.token_type, 'dpop')
      assert.equal(JSON.parse(wire.at('/oauth/token').at(-1).body).token_type, 'DPoP')
      assert.equal(typeof tokens.expires_in, 'number')
      assert.deepEqual(tokens.scope.split(' ').sort(), SCOPE.split(' ').sort())
      assert.equal(tokens.claims().sub, 'alice')
      assert.equal(tokens.claims().nonce, nonce)
    },
    'refreshes three times': async () => {
      for (let count = 0; count < 3; count += 1) {
        const before = tokens
        tokens = await client.refreshTokenGrant(config, before.refresh_token, {}, { DPoP })
        assert.notEqual(tokens.refresh_token, before.refresh_token)
        assert.notEqual(tokens.access_token, before.access_token)
      }
    },
    'narrows a refresh': async () => {
      const narrow = await client.refreshTokenGrant(config, tokens.refresh_token, { scope: 'accounts' }, { DPoP })
      assert.equal(narrow.scope, 'accounts')
      tokens = await client.refreshTokenGrant(config, narrow.refresh_token, {}, { DPoP })
      assert.ok(tokens.scope.includes('openid'))
    },
    'reads userinfo': async () => {
      const info = await client.fetchUserInfo(config, tokens.access_token, 'alice', { DPoP })
      assert.equal(info.sub, 'alice')
    },
    ...(!isPublic && {
      'introspects its token': async () => {
        const seen = await client.tokenIntrospection(config, tokens.access_token)
        assert.equal(seen.active, true)
        assert.equal(seen.token_type, 'DPoP')
        assert.equal(seen.sub, 'alice')
        assert.equal(seen.cnf.jkt, dpop_jkt)
        assert.ok([seen.aud].flat().includes(AUDIENCE), JSON.stringify(seen))
      },
    }),
    'is refused with a key that is not its own': async () => {
      const other = client.getDPoPHandle(config, await client.randomDPoPKeyPair(algorithm))
      const refused = client.fetchUserInfo(config, tokens.access_token, 'alice', { DPoP: other })
      await assert.rejects(refused, (error) => {
        assert.equal(error.code, 'OAUTH_WWW_AUTHENTICATE_CHALLENGE')
        assert.equal(error.cause[0].scheme, 'dpop')
        assert.ok(['invalid_token', 'invalid_dpop_proof'].includes(error.cause[0].parameters.error), JSON.stringify(error.cause))
        return true
      })
    },
    'revokes its refresh token': async () => {
      await client.tokenRevocation(config, tokens.refresh_token)
      await assert.rejects(client.refreshTokenGrant(config, tokens.refresh_token, {}, { DPoP }), (error) => {
        assert.equal(error.error, 'invalid_grant', String(error))
        assert.equal(error.status, 400)
        return true
      })
      if (!isPublic) {
        const seen = await client.tokenIntrospection(config, tokens.access_token)
        assert.deepEqual(seen, { active: false })
      }
    },
    'asked twice only for its first nonces': () => {
      const challenges = wire.answers.filter(({ body, headers }) =>
        body.includes('"use_dpop_nonce"') || headers.get('www-authenticate')?.includes('use_dpop_nonce'))
      assert.equal(challenges.length, nonceRequired ? 2 : 0, 'one for each of the two key pairs used')
    },
  })
}

async function keyPair(algorithm) {
  const { publicKey, privateKey } = await client.randomDPoPKeyPair(algorithm, { extractable: true })
  const jwk = await crypto.subtle.exportKey('jwk', publicKey)
  const kid = `the-client-key-${algorithm}`
  return { privateKey, kid, jwks: { keys: [{ kty: jwk.kty, crv: jwk.crv, x: jwk.x, y: jwk.y, n: jwk.n, e: jwk.e, kid, use: 'sig' }] } }
}

for (const algorithm of ['ES256', 'Ed25519', 'PS256']) {
  await session('openid-client, public', { token_endpoint_auth_method: 'none' }, () => client.None(), algorithm)
}
for (const algorithm of ['ES256', 'PS256']) {
  const key = await keyPair(algorithm)
  const metadata = { token_endpoint_auth_method: 'private_key_jwt', jwks: key.jwks }
  await session('openid-client, private_key_jwt', metadata, () => client.PrivateKeyJwt({ key: key.privateKey, kid: key.kid }), algorithm)
}
const secret = { token_endpoint_auth_method: 'client_secret_basic', client_id: 'odd_client-1.2~x' }
await session('openid-client, client_secret_basic', secret, ({ client_secret }) => client.ClientSecretBasic(client_secret), 'ES256')
const posted = { token_endpoint_auth_method: 'client_secret_post' }
await session('openid-client, client_secret_post', posted, ({ client_secret }) => client.ClientSecretPost(client_secret), 'ES256')
