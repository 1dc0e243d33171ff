// The example login application in Chromium: where the service sends browsers, and where they come back from.

import assert from 'node:assert/strict'
import { assertAccessible, openPage, picture, serve, withBrowser } from './browser.mjs'
import { register, service, steps } from './keybound.mjs'

const SCOPE = 'openid accounts offline_access'
let config
const pages = await serve(service.spa, { '/config.json': () => JSON.stringify(config) })
const { client_id } = await register({
  token_endpoint_auth_method: 'none',
  client_name: 'Keybound <example>',
  redirect_uris: [`${pages.origin}/`],
  scope: SCOPE,
})
config = { issuer: service.issuer, client_id, scope: SCOPE }

/** Begins a sign-in of the example page; ends on the page of the login application. */
async function begin(page) {
  await page.goto(`${pages.origin}/`)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByLabel('User name').waitFor()
}

async function fill(page, password) {
  await page.getByLabel('User name').fill('alice')
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Allow' }).click()
}

await withBrowser(async (browser) => {
  const { page, context, quiet } = await openPage(browser)
  await steps('Chromium, example login application', {
    'says who asks for what': async () => {
      await begin(page)
      const text = await page.locator('main').textContent()
      for (const said of ['Keybound <example>', ...SCOPE.split(' '), pages.origin]) assert.ok(text.includes(said), `${said} is not in ${text}`)
      await picture(page, 'login-app')
      await assertAccessible(page)
    },
    'lets nobody in with a wrong password': async () => {
      await fill(page, 'looking-glass')
      await page.getByRole('alert').waitFor()
      await assertAccessible(page)
    },
    'signs in with the right one': async () => {
      await fill(page, 'wonderland')
      await page.locator('#signed-in').waitFor({ state: 'visible' })
      assert.equal(await page.locator('#sub').textContent(), 'alice')
    },
    'does nothing for a form that came from elsewhere': async () => {
      const { page: other, context: elsewhere } = await openPage(browser)
      await begin(other)
      await elsewhere.clearCookies()
      const [answer] = await Promise.all([
        other.waitForResponse((answer) => answer.request().method() === 'POST'),
        fill(other, 'wonderland'),
      ])
      assert.equal(answer.status(), 403)
      await elsewhere.close()
    },
    'passes a no on': async () => {
      const { page: other, context: elsewhere } = await openPage(browser)
      await begin(other)
      await other.getByRole('button', { name: 'Deny' }).click()
      await other.locator('#problem').waitFor({ state: 'visible' })
      assert.match(await other.locator('#problem').textContent(), /access_denied/)
      await elsewhere.close()
    },
    'ends a sign-in once': async () => {
      const { page: other, context: elsewhere } = await openPage(browser)
      await begin(other)
      const form = other.url()
      await fill(other, 'wonderland')
      await other.locator('#signed-in').waitFor({ state: 'visible' })
      const answer = await other.goto(form)
      assert.equal(answer.status(), 404)
      await elsewhere.close()
    },
  })
  quiet()
  await context.close()
})

await pages.close()
