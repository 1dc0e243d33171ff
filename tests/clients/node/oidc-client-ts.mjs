// oidc-client-ts in Chromium, with its DPoP key in IndexedDB.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { openPage, serve, withBrowser } from './browser.mjs'
import { register, service, signIn, steps } from './keybound.mjs'

const SCOPE = 'openid accounts offline_access'
const PAGE = `<!doctype html><title>oidc-client-ts</title><link rel="icon" href="data:,"><script src="/oidc-client-ts.js"></script>`
const library = await readFile(new URL('./node_modules/oidc-client-ts/dist/browser/oidc-client-ts.js', import.meta.url))
const pages = await serve('/', { '/index.html': () => PAGE, '/oidc-client-ts.js': () => library })
const { client_id } = await register({ token_endpoint_auth_method: 'none', redirect_uris: [`${pages.origin}/`], scope: SCOPE })

await withBrowser(async (browser) => {
  for (const bind_authorization_code of [false, true]) {
    const { page, context, quiet } = await openPage(browser)
    await page.goto(`${pages.origin}/`)
    await page.evaluate(
      ({ authority, client_id, redirect_uri, scope, bind_authorization_code }) => {
        const { UserManager, IndexedDbDPoPStore, InMemoryWebStorage, WebStorageStateStore } = globalThis.oidc
        globalThis.manager = new UserManager({
          authority,
          client_id,
          redirect_uri,
          scope,
          automaticSilentRenew: false,
          loadUserInfo: false,
          userStore: new WebStorageStateStore({ store: new InMemoryWebStorage() }),
          dpop: { store: new IndexedDbDPoPStore(), bind_authorization_code },
        })
      },
      { authority: service.issuer, client_id, redirect_uri: `${pages.origin}/`, scope: SCOPE, bind_authorization_code },
    )
    await steps(`oidc-client-ts, dpop_jkt ${bind_authorization_code}`, {
      'signs in': async () => {
        // The manager navigates by itself; here the URL is read instead, and opened like a person's browser would.
        const url = await page.evaluate(async () => {
          const client = globalThis.manager._client
          const dpopJkt = globalThis.manager.settings.dpop.bind_authorization_code
            ? await globalThis.manager.generateDPoPJkt(globalThis.manager.settings.dpop)
            : undefined
          return (await client.createSigninRequest({ response_type: 'code', dpopJkt })).url
        })
        assert.equal(new URL(url).searchParams.has('dpop_jkt'), bind_authorization_code)
        const callback = await signIn(url)
        const user = await page.evaluate(async (url) => {
          const { token_type, profile, scope } = await globalThis.manager.signinRedirectCallback(url)
          return { token_type, profile, scope }
        }, callback.href)
        assert.equal(user.token_type, 'DPoP')
        assert.equal(user.profile.sub, 'alice')
      },
      'refreshes three times': async () => {
        const tokens = await page.evaluate(async () => {
          const seen = []
          for (let count = 0; count < 3; count += 1) seen.push((await globalThis.manager.signinSilent()).refresh_token)
          return seen
        })
        assert.equal(new Set(tokens).size, 3)
      },
      'reads userinfo': async () => {
        const info = await page.evaluate(async () => {
          const user = await globalThis.manager.getUser()
          const url = (await globalThis.manager.metadataService.getMetadata()).userinfo_endpoint
          const get = async (nonce) => {
            const DPoP = await globalThis.manager.dpopProof(url, user, 'GET', nonce)
            return fetch(url, { headers: { DPoP, Authorization: `DPoP ${user.access_token}` } })
          }
          let answer = await get()
          if (answer.status === 401) answer = await get(answer.headers.get('DPoP-Nonce'))
          return answer.json()
        })
        assert.equal(info.sub, 'alice')
      },
      'sees invalid_grant after it revoked its token': async () => {
        // It repeats whatever is refused with a nonce, and tells only of the nonce then: an invalid_grant must come without one.
        const seen = await page.evaluate(async () => {
          const { refresh_token } = await globalThis.manager.getUser()
          await globalThis.manager.revokeTokens(['refresh_token'])
          const user = await globalThis.manager.getUser()
          user.refresh_token = refresh_token
          await globalThis.manager.storeUser(user)
          return globalThis.manager.signinSilent().then(() => 'a new token', ({ name, error }) => `${name} ${error}`)
        })
        assert.equal(seen, 'ErrorResponse invalid_grant')
      },
    })
    quiet()
    await context.close()
  }
})

await pages.close()
