// Chromium, and a server for the pages that it opens.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { chromium } from 'playwright-core'
import { service } from './keybound.mjs'

const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json' }

/** Serves a directory on a loopback address of its own. `files` come before what lies there; a function is asked each time. */
export async function serve(directory, files = {}) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://pages')
    const name = pathname === '/' ? '/index.html' : pathname
    try {
      const made = files[name]
      const body = made === undefined ? await readFile(join(directory, normalize(name))) : made()
      response.writeHead(200, { 'content-type': TYPES[extname(name)] ?? 'text/plain', 'cache-control': 'no-store' }).end(body)
    } catch {
      response.writeHead(404).end()
    }
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => new Promise((resolve) => server.close(resolve)) }
}

/** Starts Chromium, gives it to `act` and ends it. Nothing but loopback addresses can be reached. */
export async function withBrowser(act) {
  const browser = await chromium.launch({
    executablePath: service.chromium,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
      '--disable-sync', '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1'],
  })
  try {
    return await act(browser)
  } finally {
    await browser.close()
  }
}

/** A page in a context of its own, which fails the script on anything that goes wrong in it. */
export async function openPage(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 900, height: 720 }, ...options })
  const page = await context.newPage()
  const trouble = []
  page.on('pageerror', (error) => trouble.push(String(error)))
  page.on('console', (message) => {
    // A refused request shows as an error in the console: that is what some steps are about.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) trouble.push(message.text())
  })
  page.setDefaultTimeout(15_000)
  return { page, context, quiet: () => assert.deepEqual(trouble, []) }
}

/** Keeps a picture of the page for people to look at. */
export function picture(page, name) {
  return page.screenshot({ path: join(service.pictures, `${name}.png`), fullPage: true })
}

/**
 * What a reader without a pointer or with weak eyes needs: every control has a name, text stands out from what is behind it (4.5 : 1), and nothing is wider
 * than the window.
 */
export async function assertAccessible(page) {
  const found = await page.evaluate(() => {
    const problems = []
    const name = (control) => control.labels?.[0]?.textContent.trim() || control.getAttribute('aria-label') || control.textContent.trim()
    for (const control of document.querySelectorAll('input:not([type=hidden]), button, a')) if (!name(control)) problems.push(`no name: ${control.outerHTML}`)
    if (!document.documentElement.lang) problems.push('no language')
    if (document.querySelectorAll('h1').length !== 1) problems.push('not one h1')
    if (!document.querySelector('main')) problems.push('no main')
    if (document.documentElement.scrollWidth > innerWidth) problems.push(`wider than the window: ${document.documentElement.scrollWidth} > ${innerWidth}`)

    const channels = (color) => color.match(/[\d.]+/g).map(Number)
    const luminance = ([r, g, b]) => {
      const [R, G, B] = [r, g, b].map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4))
      return 0.2126 * R + 0.7152 * G + 0.0722 * B
    }
    const behind = (node) => {
      for (let at = node; at; at = at.parentElement) {
        const color = channels(getComputedStyle(at).backgroundColor)
        if (color.length === 3 || color[3] > 0) return color
      }
      return matchMedia('(prefers-color-scheme: dark)').matches ? [18, 18, 18] : [255, 255, 255]
    }
    for (const node of document.querySelectorAll('body *')) {
      const text = [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.textContent.trim())
      if (!text || !node.checkVisibility() || node.matches(':disabled')) continue
      const [a, b] = [luminance(channels(getComputedStyle(node).color)), luminance(behind(node))].sort((x, y) => y - x)
      const ratio = (a + 0.05) / (b + 0.05)
      if (ratio < 4.5) problems.push(`contrast ${ratio.toFixed(2)}: ${node.textContent.trim().slice(0, 40)}`)
    }
    return problems
  })
  assert.deepEqual(found, [], page.url())
}
