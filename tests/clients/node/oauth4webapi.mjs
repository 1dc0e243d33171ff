// oauth4webapi 3, as a client and as the API that receives Keybound's tokens.

import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'
import { AUDIENCE, CALLBACK, manage, nonceRequired, recording, register, service, signIn, steps } from './keybound.mjs'

const SCOPE = 'openid accounts offline_access'
const insecure = { [oauth.allowInsecureRequests]: true }

/** Sends a request, and once more where the first answer asks for a nonce: what the library leaves to its user. */
async function twice(send, process) {
  try {
    return await process(await send())
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    return process(await send())
  }
}

async function discover(algorithm) {
  const issuer = new URL(service.issuer)
  return oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm, ...insecure }))
}

/** An API that knows nothing but the metadata of the issuer: it verifies token and proof by itself. */
function api(as, expected) {
  return (url, headers, method = 'GET') => {
    const options = { requireDPoP: true, ...insecure }
    return oauth.validateJwtAccessToken(as, new Request(url, { method, headers }), expected, options)
  }
}

const as = await discover('oidc')

await steps('oauth4webapi, metadata', {
  'is one document at both places': async () => assert.deepEqual(await discover('oauth2'), as),
  'describes the APIs': async () => {
    const resource = new URL(AUDIENCE)
    const where = new URL('/.well-known/oauth-protected-resource/accounts-api', service.issuer)
    const answer = await fetch(where)
    assert.equal(answer.status, 200)
    const described = await oauth.processResourceDiscoveryResponse(resource, answer)
    assert.deepEqual(described.authorization_servers, [service.issuer])
    assert.ok(described.dpop_signing_alg_values_supported.includes('ES256'))
    assert.ok(as.protected_resources.includes(AUDIENCE))
  },
})

async function session(title, metadata, authentication, alg) {
  const registered = await register(metadata)
  const client = { client_id: registered.client_id }
  const auth = authentication(registered)
  const wire = recording()
  const keyPair = await oauth.generateKeyPair(alg)
  const DPoP = oauth.DPoP(client, keyPair)
  const options = { DPoP, [oauth.customFetch]: wire.fetch, ...insecure }
  const code_verifier = oauth.generateRandomCodeVerifier()
  const code_challenge = await oauth.calculatePKCECodeChallenge(code_verifier)
  const [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()]
  const request = { response_type: 'code', redirect_uri: CALLBACK, scope: SCOPE, code_challenge, code_challenge_method: 'S256', state, nonce }
  const isPublic = metadata.token_endpoint_auth_method === 'none'
  const authorize = async (parameters) => {
    const url = new URL(as.authorization_endpoint)
    for (const [name, value] of Object.entries({ client_id: client.client_id, ...parameters })) url.searchParams.set(name, value)
    return oauth.validateAuthResponse(as, client, await signIn(url), state)
  }
  const redeem = (parameters, verifier = code_verifier, with_ = options) =>
    twice(
      () => oauth.authorizationCodeGrantRequest(as, client, auth, parameters, CALLBACK, verifier, with_),
      (answer) => oauth.processAuthorizationCodeResponse(as, client, answer, { expectedNonce: nonce, requireIdToken: true }),
    )
  const refresh = (token, more = {}) =>
    twice(
      () => oauth.refreshTokenGrantRequest(as, client, auth, token, { ...options, ...more }),
      (answer) => oauth.processRefreshTokenResponse(as, client, answer),
    )
  const refused = (code, status) => (error) => {
    assert.equal(error.error, code, String(error.cause ?? error))
    assert.equal(error.status, status)
    return true
  }
  let parameters, tokens

  await steps(`${title} ${alg}`, {
    'signs in over a pushed request': async () => {
      const pushed = await twice(
        () => oauth.pushedAuthorizationRequest(as, client, auth, request, options),
        (answer) => oauth.processPushedAuthorizationResponse(as, client, answer),
      )
      assert.ok(Number.isInteger(pushed.expires_in) && pushed.expires_in > 0)
      parameters = await authorize({ request_uri: pushed.request_uri })
    },
    'is refused with a wrong verifier, and with another key': async () => {
      // Both leave the code as it is: neither shows that the code was stolen from its owner.
      const other = { ...options, DPoP: oauth.DPoP(client, await oauth.generateKeyPair(alg)) }
      await assert.rejects(redeem(parameters, oauth.generateRandomCodeVerifier()), refused('invalid_grant', 400))
      await assert.rejects(redeem(parameters, code_verifier, other), refused('invalid_grant', 400))
    },
    'redeems a code that is bound by dpop_jkt': async () => {
      const dpop_jkt = await DPoP.calculateThumbprint()
      parameters = await authorize({ ...request, dpop_jkt })
      tokens = await redeem(parameters)
      assert.equal(oauth.getValidatedIdTokenClaims(tokens).sub, 'alice')
      assert.equal(tokens.scope.split(' ').sort().join(' '), SCOPE.split(' ').sort().join(' '))
    },
    'refreshes three times': async () => {
      for (let count = 0; count < 3; count += 1) tokens = { ...tokens, ...(await refresh(tokens.refresh_token)) }
    },
    'gets the same successor again after a lost answer': async () => {
      const [first, second] = [await refresh(tokens.refresh_token), await refresh(tokens.refresh_token)]
      assert.equal(first.refresh_token, second.refresh_token)
      tokens = second
    },
    'narrows to one API': async () => {
      const narrow = await refresh(tokens.refresh_token, { additionalParameters: { resource: AUDIENCE, scope: 'accounts' } })
      assert.equal(narrow.scope, 'accounts')
      tokens = await refresh(narrow.refresh_token, { additionalParameters: { resource: AUDIENCE } })
    },
    'is let in by an API that verifies the token itself': async () => {
      let headers
      const receive = async (url, { headers: sent }) => {
        headers = sent
        return new Response()
      }
      const endpoint = new URL(`${AUDIENCE}/list?page=2`)
      await oauth.protectedResourceRequest(tokens.access_token, 'GET', endpoint, undefined, null, { DPoP, [oauth.customFetch]: receive })
      const claims = await api(as, AUDIENCE)(endpoint, headers)
      assert.equal(claims.sub, 'alice')
      assert.equal(claims.client_id, client.client_id)
      assert.equal(claims.cnf.jkt, await DPoP.calculateThumbprint())
      await assert.rejects(api(as, 'https://other.example.test')(endpoint, headers), /aud/)
      await assert.rejects(api(as, AUDIENCE)(endpoint, headers, 'DELETE'), /htm/)
    },
    'reads userinfo': async () => {
      const info = await twice(
        () => oauth.userInfoRequest(as, client, tokens.access_token, options),
        (answer) => oauth.processUserInfoResponse(as, client, 'alice', answer),
      )
      assert.equal(info.sub, 'alice')
    },
    ...(!isPublic && {
      'introspects as JSON and as a signed JWT': async () => {
        const plain = { [oauth.customFetch]: wire.fetch, ...insecure }
        const json = await oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, auth, tokens.access_token, plain))
        assert.equal(json.active, true)
        assert.equal(json.cnf.jkt, await DPoP.calculateThumbprint())
        const signer = { ...client, introspection_signed_response_alg: 'ES256' }
        const answer = await oauth.introspectionRequest(as, signer, auth, tokens.access_token, plain)
        assert.match(answer.headers.get('content-type'), /^application\/token-introspection\+jwt/)
        const jwt = await oauth.processIntrospectionResponse(as, signer, answer)
        await oauth.validateApplicationLevelSignature(as, answer, insecure)
        assert.deepEqual(jwt, json)
      },
    }),
    'revokes its access token, which ends the grant': async () => {
      const answer = await oauth.revocationRequest(as, client, auth, tokens.access_token, { ...insecure })
      assert.equal(await oauth.processRevocationResponse(answer), undefined)
      await assert.rejects(refresh(tokens.refresh_token), refused('invalid_grant', 400))
    },
  })
  return { as, client, auth, options, DPoP }
}

async function clientKey(alg) {
  const { privateKey, publicKey } = await oauth.generateKeyPair(alg, { extractable: true })
  const { kty, crv, x, y, n, e } = await crypto.subtle.exportKey('jwk', publicKey)
  const kid = `client-key-${alg}`
  return { key: privateKey, kid, jwks: { keys: [{ kty, crv, x, y, n, e, kid, use: 'sig' }] } }
}

await session('oauth4webapi, public', { token_endpoint_auth_method: 'none' }, () => oauth.None(), 'ES256')
await session('oauth4webapi, public', { token_endpoint_auth_method: 'none' }, () => oauth.None(), 'Ed25519')
for (const alg of ['ES256', 'Ed25519']) {
  const { key, kid, jwks } = await clientKey(alg)
  await session('oauth4webapi, private_key_jwt', { token_endpoint_auth_method: 'private_key_jwt', jwks }, () => oauth.PrivateKeyJwt({ key, kid }), alg)
}

await steps('oauth4webapi, client_credentials', {
  'gets a bound token of its own': async () => {
    const { key, kid, jwks } = await clientKey('ES256')
    const registered = await register({ token_endpoint_auth_method: 'private_key_jwt', jwks, grant_types: ['client_credentials'], redirect_uris: [], scope: 'accounts' })
    const client = { client_id: registered.client_id }
    const wire = recording()
    const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES384'))
    const tokens = await twice(
      () => oauth.clientCredentialsGrantRequest(as, client, oauth.PrivateKeyJwt({ key, kid }), { scope: 'accounts' }, { DPoP, [oauth.customFetch]: wire.fetch, ...insecure }),
      (answer) => oauth.processClientCredentialsResponse(as, client, answer),
    )
    assert.equal(tokens.token_type, 'dpop')
    assert.equal(tokens.refresh_token, undefined)
    assert.equal(wire.answers.length, nonceRequired ? 2 : 1)
  },
})

await steps('oauth4webapi, code', {
  'used twice ends what it gave': async () => {
    const { client_id } = await register({ token_endpoint_auth_method: 'none' })
    const client = { client_id }
    const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))
    const options = { DPoP, ...insecure }
    const code_verifier = oauth.generateRandomCodeVerifier()
    const url = new URL(as.authorization_endpoint)
    const request = { client_id, response_type: 'code', redirect_uri: CALLBACK, scope: 'accounts', code_challenge_method: 'S256' }
    request.code_challenge = await oauth.calculatePKCECodeChallenge(code_verifier)
    url.search = new URLSearchParams(request)
    const parameters = oauth.validateAuthResponse(as, client, await signIn(url))
    const redeem = () =>
      twice(
        () => oauth.authorizationCodeGrantRequest(as, client, oauth.None(), parameters, CALLBACK, code_verifier, options),
        (answer) => oauth.processAuthorizationCodeResponse(as, client, answer),
      )
    const tokens = await redeem()
    await assert.rejects(redeem(), (error) => error.error === 'invalid_grant')
    const refreshed = twice(
      () => oauth.refreshTokenGrantRequest(as, client, oauth.None(), tokens.refresh_token, options),
      (answer) => oauth.processRefreshTokenResponse(as, client, answer),
    )
    await assert.rejects(refreshed, (error) => error.error === 'invalid_grant')
    const { grants } = await manage('GET', `/admin/grants?client_id=${client_id}`)
    assert.equal(grants.filter((grant) => grant.state === 'live').length, 0, JSON.stringify(grants))
  },
})
