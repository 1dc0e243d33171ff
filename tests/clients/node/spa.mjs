// The example single-page application and the built-in sign-in page in Chromium: whole code flows with a key that script can't read.

import assert from 'node:assert/strict'
import { assertAccessible, openPage, picture, serve, withBrowser } from './browser.mjs'
import { nonceRequired, register, service, steps } from './keybound.mjs'

const SCOPE = 'openid accounts offline_access'
let config
const pages = await serve(service.spa, { '/config.json': () => JSON.stringify(config) })

const registration = { token_endpoint_auth_method: 'none', client_name: 'Keybound example', redirect_uris: [`${pages.origin}/`], scope: SCOPE }
const { client_id } = await register(registration)
config = { issuer: service.issuer, client_id, scope: SCOPE }

/** The list of requests that the page shows, as texts. */
const requests = (page) => page.locator('#log li .status').allTextContents()

/** Presses a button and waits until the page has finished. Returns what was added to the list. */
async function press(page, name) {
  const before = (await requests(page)).length
  await page.getByRole('button', { name }).click()
  await page.locator('#log li').nth(before).waitFor()
  await page.waitForFunction(() => ![...document.querySelectorAll('button')].some((button) => button.disabled))
  return (await requests(page)).slice(before)
}

async function signIn(page, user) {
  await page.goto(`${pages.origin}/`)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByLabel('User name').fill(user)
  await page.getByRole('button', { name: 'Allow' }).click()
  await page.locator('#signed-in').waitFor({ state: 'visible' })
}

/** Rows of the page's database. */
const kept = (page) =>
  page.evaluate(async () => {
    const { load } = await import('/store.js')
    const { privateKey } = await load('key')
    const exported = await crypto.subtle.exportKey('jwk', privateKey).then(() => true, () => false)
    return { session: await load('session'), extractable: privateKey.extractable, exported }
  })

await withBrowser(async (browser) => {
  await steps('Chromium, sign-in page', {
    'is clear in light, dark and on a phone': async () => {
      for (const [name, options] of Object.entries({
        light: { colorScheme: 'light' },
        dark: { colorScheme: 'dark' },
        phone: { colorScheme: 'light', viewport: { width: 360, height: 740 } },
      })) {
        const { page, context, quiet } = await openPage(browser, options)
        await page.goto(`${pages.origin}/`)
        await page.getByRole('button', { name: 'Sign in' }).waitFor({ state: 'visible' })
        await picture(page, `app-signed-out-${name}`)
        await assertAccessible(page)
        await page.getByRole('button', { name: 'Sign in' }).click()
        await page.getByLabel('User name').waitFor()
        assert.ok((await page.locator('main').textContent()).includes(pages.origin), 'the page names where it leads')
        assert.ok((await page.locator('main').textContent()).includes('accounts'), 'the page names what is asked for')
        await picture(page, `sign-in-${name}`)
        await assertAccessible(page)
        quiet()
        await context.close()
      }
    },
    'can be used with the keyboard alone': async () => {
      const { page, context, quiet } = await openPage(browser)
      await page.goto(`${pages.origin}/`)
      await page.getByRole('button', { name: 'Sign in' }).focus()
      await page.keyboard.press('Enter')
      await page.getByLabel('User name').waitFor()
      assert.equal(await page.evaluate(() => document.activeElement.id), 'username')
      await page.keyboard.type('keyboard-user')
      await page.keyboard.press('Enter')
      await page.locator('#signed-in').waitFor({ state: 'visible' })
      assert.equal(await page.locator('#sub').textContent(), 'keyboard-user')
      quiet()
      await context.close()
    },
    'works without script and keeps what was typed wrong in view': async () => {
      const { page: app, context, quiet } = await openPage(browser)
      await app.goto(`${pages.origin}/`)
      await app.getByRole('button', { name: 'Sign in' }).click()
      await app.getByLabel('User name').waitFor()
      const { page, context: bare } = await openPage(browser, { javaScriptEnabled: false })
      await page.goto(app.url())
      await page.getByLabel('User name').fill('   ')
      await page.getByRole('button', { name: 'Allow' }).click()
      await page.getByRole('alert').waitFor()
      await picture(page, 'sign-in-problem')
      await page.getByLabel('User name').fill('scriptless')
      await page.getByRole('button', { name: 'Allow' }).click()
      await page.waitForURL((url) => url.origin === pages.origin)
      assert.ok(new URL(page.url()).searchParams.get('code'))
      quiet()
      await bare.close()
      await context.close()
    },
    'takes no answer from another browser': async () => {
      const { page, context } = await openPage(browser)
      await page.goto(`${pages.origin}/`)
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.getByLabel('User name').waitFor()
      await context.clearCookies()
      await page.getByLabel('User name').fill('mallory')
      const [answer] = await Promise.all([page.waitForResponse((answer) => answer.request().method() === 'POST'), page.getByRole('button', { name: 'Allow' }).click()])
      assert.equal(answer.status(), 403)
      await page.getByRole('heading', { level: 1 }).waitFor()
      await picture(page, 'sign-in-refused')
      await assertAccessible(page)
      await context.close()
    },
    'tells the client that the user said no': async () => {
      const { page, context, quiet } = await openPage(browser)
      await page.goto(`${pages.origin}/`)
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.getByRole('button', { name: 'Deny' }).click()
      await page.locator('#problem').waitFor({ state: 'visible' })
      assert.match(await page.locator('#problem').textContent(), /access_denied/)
      await picture(page, 'app-denied')
      quiet()
      await context.close()
    },
  })

  const { page, context, quiet } = await openPage(browser)
  await steps('Chromium, example application', {
    'signs in': async () => {
      await signIn(page, 'alice')
      assert.equal(await page.locator('#sub').textContent(), 'alice')
      assert.equal(page.url(), `${pages.origin}/`, 'the code left the address bar')
      assert.deepEqual(await requests(page), nonceRequired ? ['400 use_dpop_nonce', '200'] : ['200'])
    },
    'keeps a key that no script can read': async () => {
      const { extractable, exported } = await kept(page)
      assert.equal(extractable, false)
      assert.equal(exported, false)
    },
    'refreshes three times': async () => {
      const tokens = new Set()
      for (let count = 0; count < 3; count += 1) {
        assert.deepEqual(await press(page, 'Refresh'), ['200'])
        tokens.add((await kept(page)).session.refresh_token)
      }
      assert.equal(tokens.size, 3)
    },
    'reads user info': async () => {
      assert.deepEqual(await press(page, 'Read user info'), ['200'])
      assert.match(await page.locator('#log').textContent(), /"sub":"alice"/)
    },
    'shows that replays are refused': async () => {
      assert.deepEqual(await press(page, 'Replay the last request'), ['401 invalid_dpop_proof'])
      assert.deepEqual(await press(page, 'Refresh'), ['200'])
      assert.deepEqual(await press(page, 'Replay the last request'), ['400 invalid_dpop_proof'])
      await picture(page, 'app-replay')
      await assertAccessible(page)
      assert.deepEqual(await press(page, 'Refresh'), ['200'], 'a refused replay costs the session nothing')
    },
    'keeps the session over a reload': async () => {
      await page.reload()
      await page.locator('#signed-in').waitFor({ state: 'visible' })
      const again = await press(page, 'Refresh')
      assert.deepEqual(again, nonceRequired ? ['400 use_dpop_nonce', '200'] : ['200'])
    },
    'refreshes from two tabs at once': async () => {
      const second = await context.newPage()
      await second.goto(`${pages.origin}/`)
      await second.locator('#signed-in').waitFor({ state: 'visible' })
      const [one, two] = await Promise.all([press(page, 'Refresh'), press(second, 'Refresh')])
      assert.equal(one.at(-1), '200')
      assert.equal(two.at(-1), '200')
      await second.close()
    },
    'is of no use to a thief who copies the refresh token': async () => {
      const { session } = await kept(page)
      const { page: thief, context: elsewhere } = await openPage(browser)
      await signIn(thief, 'mallory')
      await thief.evaluate(async (stolen) => {
        const { keep, load } = await import('/store.js')
        await keep('session', { ...(await load('session')), refresh_token: stolen })
      }, session.refresh_token)
      assert.deepEqual(await press(thief, 'Refresh'), ['401 invalid_grant'])
      await elsewhere.close()
      assert.deepEqual(await press(page, 'Refresh'), ['200'], 'the owner keeps the session')
    },
    'signs out': async () => {
      const before = await kept(page)
      assert.deepEqual(await press(page, 'Sign out'), ['200'])
      await page.locator('#signed-out').waitFor({ state: 'visible' })
      await page.evaluate(async (session) => (await import('/store.js')).keep('session', session), before.session)
      await page.reload()
      await page.locator('#signed-in').waitFor({ state: 'visible' })
      const refused = await press(page, 'Refresh')
      assert.equal(refused.at(-1), '401 invalid_grant', 'the session is over at the server too')
    },
  })
  quiet()
  await context.close()

  const inCookie = await register({ ...registration, refresh_token_delivery: 'cookie', allowed_origins: [pages.origin] })
  config = { ...config, client_id: inCookie.client_id, cookie: true }
  const cookies = await openPage(browser)
  await steps('Chromium, example application with a cookie', {
    'signs in, and the page gets no refresh token': async () => {
      await signIn(cookies.page, 'alice')
      assert.equal((await kept(cookies.page)).session.refresh_token, undefined)
      const [cookie, ...others] = (await cookies.context.cookies(service.issuer)).filter(({ name }) => name.startsWith('__Host-'))
      assert.deepEqual(others, [])
      assert.deepEqual([cookie.httpOnly, cookie.secure, cookie.sameSite, cookie.path], [true, true, 'Strict', '/'])
      assert.equal(await cookies.page.evaluate(() => document.cookie), '')
      await picture(cookies.page, 'app-cookie')
    },
    'refreshes three times, and the cookie moves on': async () => {
      const values = new Set()
      for (let count = 0; count < 3; count += 1) {
        assert.equal((await press(cookies.page, 'Refresh')).at(-1), '200')
        const [cookie] = (await cookies.context.cookies(service.issuer)).filter(({ name }) => name.startsWith('__Host-'))
        values.add(cookie.value)
      }
      assert.equal(values.size, 3)
    },
    'shows that replays are refused': async () => {
      assert.deepEqual(await press(cookies.page, 'Replay the last request'), ['400 invalid_dpop_proof'])
      assert.deepEqual(await press(cookies.page, 'Refresh'), ['200'])
    },
    'gives nothing to a page of another origin': async () => {
      const stranger = await serve(service.spa, { '/config.json': () => '{}' })
      const other = await cookies.context.newPage()
      await other.goto(`${stranger.origin}/style.css`)
      const outcome = await other.evaluate(
        (url) =>
          fetch(url, { method: 'POST', credentials: 'include', headers: { 'content-type': 'application/json' }, body: '{}' }).then(
            (answer) => answer.status,
            () => 'the browser withholds the answer',
          ),
        `${service.issuer}/oauth/refresh`,
      )
      assert.equal(outcome, 'the browser withholds the answer')
      await other.close()
      await stranger.close()
      assert.deepEqual(await press(cookies.page, 'Refresh'), ['200'])
    },
    'signs out, and the cookie is gone': async () => {
      const held = await cookies.context.cookies(service.issuer)
      assert.deepEqual(await press(cookies.page, 'Sign out'), ['200'])
      await cookies.page.locator('#signed-out').waitFor({ state: 'visible' })
      const left = (await cookies.context.cookies(service.issuer)).filter(({ name }) => name.startsWith('__Host-'))
      assert.deepEqual(left, [])
      const { session } = await kept(cookies.page)
      assert.equal(session, undefined)
      await cookies.context.addCookies(held)
      await cookies.page.evaluate(async () => (await import('/store.js')).keep('session', { sub: 'alice' }))
      await cookies.page.reload()
      await cookies.page.locator('#signed-in').waitFor({ state: 'visible' })
      assert.equal((await press(cookies.page, 'Refresh')).at(-1), '401 invalid_grant', 'the grant ended at the server too')
    },
  })
  cookies.quiet()
})

await pages.close()
