// dpop 2 and fetch: the smallest client there can be. Its grant is made by the management API.

import assert from 'node:assert/strict'
import * as DPoP from 'dpop'
import { manage, nonceRequired, recording, register, service, steps } from './keybound.mjs'

const endpoint = (path) => `${service.issuer}${path}`

for (const alg of ['ES256', 'Ed25519', 'PS256']) {
  const keyPair = await DPoP.generateKeyPair(alg)
  const jkt = await DPoP.calculateThumbprint(keyPair.publicKey)
  const wire = recording()
  const { client_id } = await register({ token_endpoint_auth_method: 'none' })
  let { refresh_token } = await manage('POST', '/admin/grants', { client_id, sub: 'alice', scope: 'accounts openid', jkt })
  let nonce, access_token

  const call = async (path, body, contentType) => {
    const proof = await DPoP.generateProof(keyPair, endpoint(path), 'POST', nonce)
    const answer = await wire.fetch(endpoint(path), { method: 'POST', headers: { dpop: proof, 'content-type': contentType }, body })
    nonce = answer.headers.get('dpop-nonce') ?? nonce
    return answer
  }
  const refresh = async (path, encode, contentType) => {
    const parameters = { client_id, refresh_token, ...(path === '/oauth/token' && { grant_type: 'refresh_token' }) }
    let answer = await call(path, encode(parameters), contentType)
    if (answer.status === 400 && (await answer.clone().json()).error === 'use_dpop_nonce') answer = await call(path, encode(parameters), contentType)
    const tokens = await answer.json()
    assert.equal(answer.status, 200, JSON.stringify(tokens))
    assert.equal(tokens.token_type, 'DPoP')
    assert.equal(tokens.dpop_access_token_bound, true)
    assert.equal(tokens.sub, 'alice')
    refresh_token = tokens.refresh_token
    access_token = tokens.access_token
    return tokens
  }
  const form = (parameters) => new URLSearchParams(parameters).toString()

  await steps(`dpop ${alg}`, {
    'refreshes with a form': () => refresh('/oauth/refresh', form, 'application/x-www-form-urlencoded'),
    'refreshes with a form that names its charset': () => refresh('/oauth/refresh', form, 'application/x-www-form-urlencoded;charset=UTF-8'),
    'refreshes with JSON': () => refresh('/oauth/refresh', JSON.stringify, 'application/json'),
    'refreshes at the token endpoint': () => refresh('/oauth/token', form, 'application/x-www-form-urlencoded;charset=UTF-8'),
    'was asked for a nonce once at most': () => {
      const challenges = wire.answers.filter(({ status }) => status === 400)
      assert.equal(challenges.length, nonceRequired ? 1 : 0)
    },
    'gets a free nonce': async () => {
      const head = await fetch(endpoint('/oauth/nonce'), { method: 'HEAD' })
      assert.ok(head.ok && head.headers.get('dpop-nonce'))
      assert.equal(head.headers.get('dpop-nonce').includes('"'), false)
    },
    'reads userinfo': async () => {
      const get = async () => {
        const proof = await DPoP.generateProof(keyPair, endpoint('/oauth/userinfo'), 'GET', nonce, access_token)
        return wire.fetch(endpoint('/oauth/userinfo'), { headers: { dpop: proof, authorization: `DPoP ${access_token}` } })
      }
      const answer = await get()
      assert.equal(answer.status, 200, await answer.clone().text())
      assert.equal((await answer.json()).sub, 'alice')
    },
    'can not use one proof twice': async () => {
      const proof = await DPoP.generateProof(keyPair, endpoint('/oauth/refresh'), 'POST', nonce)
      const send = () =>
        fetch(endpoint('/oauth/refresh'), {
          method: 'POST',
          headers: { dpop: proof, 'content-type': 'application/json' },
          body: JSON.stringify({ client_id, refresh_token }),
        })
      const first = await send()
      assert.equal(first.status, 200)
      const second = await send()
      assert.equal(second.status, 400)
      assert.equal((await second.json()).error, 'invalid_dpop_proof')
    },
  })
}
