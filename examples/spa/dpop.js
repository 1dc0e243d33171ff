// DPoP proofs (RFC 9449) with a key that can't leave the browser.

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' }
const encoder = new TextEncoder()

/** Bytes as base64url without padding. */
export function base64url(bytes) {
  return btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '')
}

/** SHA-256 of a text, as base64url. */
export async function sha256(text) {
  return base64url(await crypto.subtle.digest('SHA-256', encoder.encode(text)))
}

/** 32 random bytes, as base64url. */
export function random() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)))
}

/** A new ES256 key pair. The private half is not extractable: script can sign with it, and never read it. */
export function newKeyPair() {
  return crypto.subtle.generateKey(ALGORITHM, false, ['sign', 'verify'])
}

/** The public members of a key. */
async function publicJwk(keyPair) {
  const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', keyPair.publicKey)
  return { kty, crv, x, y }
}

/** The thumbprint of a key (RFC 7638): what tokens are bound to. */
export async function thumbprint(keyPair) {
  const { kty, crv, x, y } = await publicJwk(keyPair)
  return sha256(JSON.stringify({ crv, kty, x, y }))
}

/** A proof for one request. `nonce` is what the server gave last; `accessToken` is there for requests to an API. */
export async function proof(keyPair, method, url, { nonce, accessToken } = {}) {
  const { origin, pathname } = new URL(url)
  const header = { typ: 'dpop+jwt', alg: 'ES256', jwk: await publicJwk(keyPair) }
  const claims = {
    jti: random(),
    htm: method,
    htu: origin + pathname,
    iat: Math.floor(Date.now() / 1000),
    ...(nonce && { nonce }),
    ...(accessToken && { ath: await sha256(accessToken) }),
  }
  const part = (value) => base64url(encoder.encode(JSON.stringify(value)))
  const input = `${part(header)}.${part(claims)}`
  const signature = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, keyPair.privateKey, encoder.encode(input))
  return `${input}.${base64url(signature)}`
}
