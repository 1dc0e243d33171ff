// An API that knows nothing of Keybound but its metadata: it verifies tokens and proofs with oauth4webapi, and asks for nonces of its own.

import { createServer } from 'node:http'
import * as oauth from 'oauth4webapi'
import { service } from './keybound.mjs'

const insecure = { [oauth.allowInsecureRequests]: true }

/** Starts the API at the address that the service knows as a resource. `close` ends it; `seen` holds what it let in. */
export async function startApi() {
  const issuer = new URL(service.issuer)
  const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, insecure))
  const { origin, port } = new URL(service.api)
  const described = {
    resource: service.api,
    authorization_servers: [service.issuer],
    bearer_methods_supported: ['header'],
    dpop_bound_access_tokens_required: true,
  }
  const seen = []
  const server = createServer(async (request, response) => {
    const answer = (status, headers, body) => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
    }
    const url = new URL(request.url, origin)
    if (url.pathname === '/.well-known/oauth-protected-resource') return answer(200, {}, described)
    const [, claims] = request.headers.dpop?.split('.') ?? []
    const { nonce } = claims ? JSON.parse(Buffer.from(claims, 'base64url')) : {}
    if (service.nonce === 'required' && nonce !== NONCE) {
      return answer(401, { 'www-authenticate': 'DPoP error="use_dpop_nonce"', 'dpop-nonce': NONCE }, { error: 'use_dpop_nonce' })
    }
    try {
      const received = new Request(url, { method: request.method, headers: request.headers })
      const token = await oauth.validateJwtAccessToken(as, received, service.api, { requireDPoP: true, ...insecure })
      seen.push(token)
      answer(200, {}, { sub: token.sub, client_id: token.client_id })
    } catch (error) {
      answer(401, { 'www-authenticate': 'DPoP error="invalid_token"' }, { error: 'invalid_token', error_description: error.message })
    }
  })
  await new Promise((resolve) => server.listen(Number(port), '127.0.0.1', resolve))
  return { seen, close: () => new Promise((resolve) => server.close(resolve)) }
}

const NONCE = 'a-nonce-of-the-api'
