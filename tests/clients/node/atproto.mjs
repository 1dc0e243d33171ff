// @atproto/oauth-client-node: from an identity to its API to the issuer that protects it, then sign in, use, refresh, sign out.

import assert from 'node:assert/strict'
import { JoseKey, NodeOAuthClient, requestLocalLock } from '@atproto/oauth-client-node'
import { startApi } from './api.mjs'
import { nonceRequired, recording, register, service, signIn, steps } from './keybound.mjs'

const DID = 'did:plc:ewvi7nxzyoun6zhxrhs64oiz'
const SCOPE = 'atproto transition:generic'

/** Finds every identity at our API. */
const identityResolver = {
  async resolve() {
    const service_ = { id: '#atproto_pds', type: 'AtprotoPersonalDataServer', serviceEndpoint: service.api }
    return { did: DID, handle: 'alice.example.test', didDoc: { '@context': ['https://www.w3.org/ns/did/v1'], id: DID, service: [service_] } }
  },
}

class MemoryStore extends Map {
  async get(name) {
    return super.get(name)
  }
  async set(name, value) {
    super.set(name, value)
  }
  async del(name) {
    super.delete(name)
  }
}

const api = await startApi()

async function session(title, clientMetadata, registration, keyset) {
  await register({ client_id: clientMetadata.client_id, redirect_uris: clientMetadata.redirect_uris, scope: SCOPE, ...registration })
  const wire = recording()
  const client = new NodeOAuthClient({
    clientMetadata,
    keyset,
    identityResolver,
    stateStore: new MemoryStore(),
    sessionStore: new MemoryStore(),
    requestLock: requestLocalLock,
    allowHttp: true,
    fetch: wire.fetch,
  })
  let session

  await steps(title, {
    'signs in': async () => {
      const url = await client.authorize('alice.example.test', { scope: SCOPE })
      assert.deepEqual(wire.at('/oauth/par').map(({ status }) => status), nonceRequired ? [400, 201] : [201])
      const callback = await signIn(url, { sub: DID })
      ;({ session } = await client.callback(callback.searchParams))
      assert.equal(session.did, DID)
    },
    'calls its API': async () => {
      const answer = await session.fetchHandler('/xrpc/com.example.test')
      assert.equal(answer.status, 200, await answer.clone().text())
      assert.equal(api.seen.at(-1).sub, DID)
    },
    'refreshes three times': async () => {
      for (let count = 0; count < 3; count += 1) {
        const { expiresAt, scope } = await session.getTokenInfo(true)
        assert.ok(expiresAt > new Date())
        assert.ok(scope.split(' ').includes('atproto'))
      }
      assert.ok((await session.fetchHandler('/xrpc/com.example.test')).ok)
    },
    'signs out, which ends the session': async () => {
      await session.signOut()
      assert.equal(wire.at('/oauth/revoke').at(-1).status, 200)
      await assert.rejects(client.restore(DID, true))
    },
  })
}

const redirect_uri = 'http://127.0.0.1/callback'
const loopback = {
  client_id: `http://localhost?${new URLSearchParams({ redirect_uri, scope: SCOPE })}`,
  redirect_uris: [redirect_uri],
  scope: SCOPE,
  response_types: ['code'],
  grant_types: ['authorization_code', 'refresh_token'],
  token_endpoint_auth_method: 'none',
  application_type: 'native',
  dpop_bound_access_tokens: true,
}
await session('atproto, public', loopback, { token_endpoint_auth_method: 'none' })

const key = await JoseKey.generate(['ES256'], 'the-key-of-the-client')
const confidential = {
  client_id: 'https://app.example.test/client-metadata.json',
  client_name: 'App',
  client_uri: 'https://app.example.test',
  redirect_uris: ['https://app.example.test/callback'],
  scope: SCOPE,
  response_types: ['code'],
  grant_types: ['authorization_code', 'refresh_token'],
  token_endpoint_auth_method: 'private_key_jwt',
  token_endpoint_auth_signing_alg: 'ES256',
  jwks_uri: 'https://app.example.test/jwks.json',
  application_type: 'web',
  dpop_bound_access_tokens: true,
}
const jwks = { keys: [{ ...key.publicJwk }] }
await session('atproto, private_key_jwt', confidential, { token_endpoint_auth_method: 'private_key_jwt', jwks }, [key])

await api.close()
