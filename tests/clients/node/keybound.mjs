// What the client scripts share: where the service is, how a client is registered, and the person who signs in.
//
// Nothing here speaks OAuth for a client: that is left to the libraries under test.

import assert from 'node:assert/strict'

/** Where the service is and how it is set: written by the test that starts it. */
export const service = JSON.parse(process.env.KEYBOUND_SERVICE)

/** Whether a first request without a nonce is refused. */
export const nonceRequired = service.nonce === 'required'

/** The redirect URI of a web application that is not there: its address is read from the last redirect. */
export const CALLBACK = 'https://client.example.test/callback'

/** The API that the tokens are for. */
export const AUDIENCE = 'https://api.example.test/accounts'

/** One call of the management API. */
export async function manage(method, path, body) {
  const answer = await fetch(new URL(path, service.management), {
    method,
    headers: { authorization: `Bearer ${service.management_token}`, 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  const text = await answer.text()
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`)
  return text === '' ? undefined : JSON.parse(text)
}

/** Registers a client that may use the code flow, and returns its `client_id` and its secret where it has one. */
export function register(metadata) {
  return manage('POST', '/admin/clients', {
    grant_types: ['authorization_code', 'refresh_token'],
    redirect_uris: [CALLBACK],
    scope: 'openid accounts offline_access',
    ...metadata,
  })
}

/** What a browser and a person do: opens the authorization URL, signs in as `alice`, and returns the URL that the client is called back at. */
export async function signIn(authorizationUrl, acceptance = {}) {
  const opened = await fetch(authorizationUrl, { redirect: 'manual' })
  assert.equal(opened.status, 303, `the authorization endpoint answered ${opened.status}: ${await opened.text()}`)
  const login = new URL(opened.headers.get('location'))
  const interaction = login.searchParams.get('interaction')
  assert.ok(interaction, `the browser was not sent to sign in: ${login}`)
  const auth_time = Math.floor(Date.now() / 1000)
  const { redirect_to } = await manage('POST', `/admin/interactions/${interaction}/accept`, { sub: 'alice', auth_time, ...acceptance })
  return new URL(redirect_to)
}

/** A `fetch` that keeps what was answered, so that a script can tell how often a library had to ask. */
export function recording() {
  const answers = []
  const recorded = async (input, options) => {
    const answer = await fetch(input, options)
    const { origin, pathname: path } = new URL(input.url ?? input)
    const body = await answer.clone().text()
    answers.push({ path, status: answer.status, body, nonce: answer.headers.get('dpop-nonce'), headers: answer.headers })
    if (origin === service.issuer) check(answers.at(-1))
    return answer
  }
  return { fetch: recorded, answers, at: (path) => answers.filter((answer) => answer.path === path) }
}

/** What holds for every answer of the service, whoever asked. Rules 2, 3, 5 and 12 of the wire. */
function check({ path, status, body, nonce, headers }) {
  const where = `${path} answered ${status} ${body}`
  assert.ok(status < 300 || status >= 400, `a redirect: ${where}`)
  if (status < 300) assert.equal(headers.get('www-authenticate'), null, `a challenge in a success: ${where}`)
  const isResource = path.endsWith('/userinfo')
  if (isResource || status < 400) return
  const { error } = JSON.parse(body)
  assert.equal(nonce !== null, error === 'use_dpop_nonce', `DPoP-Nonce comes with use_dpop_nonce alone: ${where}`)
  if (error === 'use_dpop_nonce') {
    assert.equal(status, 400)
    assert.equal(headers.get('www-authenticate'), null)
    assert.match(headers.get('content-type'), /^application\/json/)
    assert.equal(headers.get('cache-control'), 'no-store')
  }
}

/** Runs named steps in order, and says which one failed. */
export async function steps(title, list) {
  for (const [name, step] of Object.entries(list)) {
    try {
      await step()
    } catch (error) {
      console.error(`${title}: ${name}: failed`)
      throw error
    }
    console.log(`${title}: ${name}`)
  }
}
