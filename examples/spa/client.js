// An OAuth client for a browser: pushed authorization request, PKCE, DPoP, refresh.

import { newKeyPair, proof, random, sha256, thumbprint } from './dpop.js'
import { forget, keep, load } from './store.js'

/** The server said no. */
export class Refused extends Error {
  constructor(status, { error, error_description } = {}) {
    super(error_description ? `${error}: ${error_description}` : (error ?? `status ${status}`))
    this.status = status
    this.error = error
  }
}

/** One client at one issuer. `onRequest` is told of every request and its answer. */
export class Client {
  constructor(config, onRequest) {
    this.config = config
    this.onRequest = onRequest
  }

  /** Reads the metadata of the issuer, and the session of an earlier visit. */
  async start() {
    const answer = await fetch(`${this.config.issuer}/.well-known/oauth-authorization-server`)
    this.server = await answer.json()
    if (this.server.issuer !== this.config.issuer) throw new Error('the metadata is of another issuer')
    this.keyPair = await load('key')
    if (!this.keyPair) {
      this.keyPair = await newKeyPair()
      await keep('key', this.keyPair)
    }
    this.session = await load('session')
    this.thumbprint = await thumbprint(this.keyPair)
  }

  /** Pushes an authorization request and sends the browser to sign in. The code will be bound to our key. */
  async signIn() {
    const [verifier, state] = [random(), random()]
    const pushed = await this.#post(this.server.pushed_authorization_request_endpoint, {
      response_type: 'code',
      redirect_uri: this.config.redirect_uri,
      scope: this.config.scope,
      state,
      code_challenge: await sha256(verifier),
      code_challenge_method: 'S256',
    })
    sessionStorage.setItem('pending', JSON.stringify({ verifier, state }))
    const url = new URL(this.server.authorization_endpoint)
    url.search = new URLSearchParams({ client_id: this.config.client_id, request_uri: pushed.request_uri })
    location.assign(url)
  }

  /** Redeems the code that the browser came back with. */
  async comeBack(parameters) {
    const pending = JSON.parse(sessionStorage.getItem('pending') ?? 'null')
    sessionStorage.removeItem('pending')
    if (!pending || parameters.get('state') !== pending.state) throw new Error('this answer belongs to no sign-in of this tab')
    if (parameters.get('iss') !== this.config.issuer) throw new Error('this answer is of another issuer')
    if (parameters.has('error')) throw new Refused(400, Object.fromEntries(parameters))
    await this.#take(
      await this.#post(this.server.token_endpoint, {
        grant_type: 'authorization_code',
        code: parameters.get('code'),
        redirect_uri: this.config.redirect_uri,
        code_verifier: pending.verifier,
      }),
    )
  }

  /** Trades the refresh token for the next one. Tabs take turns, which saves requests; safety does not hang on it. */
  refresh() {
    return navigator.locks.request('keybound-refresh', async () => {
      this.session = (await load('session')) ?? this.session
      try {
        const { refresh_token } = this.session
        await this.#take(await this.#post(`${this.config.issuer}/oauth/refresh`, refresh_token ? { refresh_token } : {}))
      } catch (error) {
        if (error.error === 'invalid_grant') await this.#end()
        throw error
      }
    })
  }

  /** What the server knows about the user. */
  async userinfo() {
    const answer = await this.#send('GET', this.server.userinfo_endpoint, { accessToken: this.session.access_token })
    return answer.json()
  }

  /** Sends the last request again, as a thief would who read it on the way: with the same proof. */
  async replay() {
    const { method, url, headers, body } = this.last
    return this.#read(url, await this.#transmit(method, url, { headers, body }))
  }

  /** Ends the session at the server and here. */
  async signOut() {
    const body = new URLSearchParams({ client_id: this.config.client_id })
    // With the refresh token in a cookie there is nothing to name: the server takes it from there, and the cookie away.
    if (!this.config.cookie) body.set('token', this.session.refresh_token ?? this.session.access_token)
    await this.#read(this.server.revocation_endpoint, await this.#transmit('POST', this.server.revocation_endpoint, { headers: {}, body }))
    await this.#end()
  }

  async #take({ access_token, expires_in, refresh_token, scope, sub }) {
    this.session = { access_token, expires: Date.now() + expires_in * 1000, refresh_token, scope, sub }
    // Kept before anything else happens: the token before this one may be used only once more.
    await keep('session', this.session)
  }

  async #end() {
    this.session = undefined
    await forget()
    await keep('key', this.keyPair)
  }

  async #post(url, parameters) {
    const body = new URLSearchParams({ client_id: this.config.client_id, ...parameters })
    return (await this.#send('POST', url, { body })).json()
  }

  /** Sends a request with a proof, and once more with a fresh proof where the server asks for a nonce. */
  async #send(method, url, { body, accessToken } = {}) {
    for (let attempt = 1; ; attempt += 1) {
      const headers = { DPoP: await proof(this.keyPair, method, url, { nonce: this.nonce, accessToken }) }
      if (accessToken) headers.Authorization = `DPoP ${accessToken}`
      this.last = { method, url, headers, body }
      const answer = await this.#transmit(method, url, { headers, body })
      this.nonce = answer.headers.get('DPoP-Nonce') ?? this.nonce
      try {
        return await this.#read(url, answer)
      } catch (error) {
        if (attempt > 1 || error.error !== 'use_dpop_nonce') throw error
      }
    }
  }

  #transmit(method, url, { headers, body }) {
    // Three endpoints take the refresh token from a cookie, and set or clear the cookie: the browser's business, which script never sees.
    const { token_endpoint, revocation_endpoint } = this.server
    const takesCookies = [token_endpoint, revocation_endpoint, `${this.config.issuer}/oauth/refresh`].includes(url)
    const credentials = this.config.cookie && takesCookies ? 'include' : 'omit'
    return fetch(url, { method, headers, body, credentials })
  }

  async #read(url, answer) {
    const told = answer.ok ? {} : { ...challenge(answer), ...(await answer.clone().json().catch(() => ({}))) }
    this.onRequest({ url, status: answer.status, error: told.error, description: told.error_description })
    if (!answer.ok) throw new Refused(answer.status, told)
    return answer
  }
}

/** The error that a challenge names. */
function challenge(answer) {
  const [, error] = /[ ,]error="([a-z_]+)"/.exec(answer.headers.get('WWW-Authenticate') ?? '') ?? []
  return error ? { error } : {}
}
