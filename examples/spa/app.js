// The page: buttons, the state of the session and a list of requests.

import { Client } from './client.js'

const element = (id) => document.getElementById(id)

async function main() {
  const config = await (await fetch('config.json')).json()
  const client = new Client({ redirect_uri: `${location.origin}/`, ...config }, log)
  const act = async (action) => {
    element('problem').hidden = true
    setBusy(true)
    try {
      await action()
    } catch (error) {
      element('problem').textContent = error.message
      element('problem').hidden = false
    }
    setBusy(false)
    show(client)
  }
  element('sign-in').onclick = () => act(() => client.signIn())
  element('refresh').onclick = () => act(() => client.refresh())
  element('userinfo').onclick = () => act(async () => note(`User info: ${JSON.stringify(await client.userinfo())}`))
  element('replay').onclick = () => act(() => client.replay())
  element('sign-out').onclick = () => act(() => client.signOut())

  await act(async () => {
    await client.start()
    const parameters = new URLSearchParams(location.search)
    if (parameters.has('state')) {
      // The code must not stay in the address bar or in the history.
      history.replaceState(null, '', location.pathname)
      await client.comeBack(parameters)
    }
  })
}

function show({ session, thumbprint }) {
  element('signed-in').hidden = !session
  element('signed-out').hidden = Boolean(session)
  if (!session) return
  element('sub').textContent = session.sub
  element('scope').textContent = session.scope
  element('expires').textContent = new Date(session.expires).toLocaleTimeString()
  element('refresh-token').textContent = session.refresh_token ? `…${session.refresh_token.slice(-8)}` : 'in a cookie that script can not read'
  element('thumbprint').textContent = thumbprint
}

function log({ url, status, error, description }) {
  const entry = document.createElement('li')
  entry.classList.toggle('refused', status >= 400)
  const outcome = document.createElement('span')
  outcome.className = 'status'
  outcome.textContent = `${status}${error ? ` ${error}` : ''}`
  entry.append(outcome, new URL(url).pathname)
  if (description) entry.append(Object.assign(document.createElement('span'), { className: 'detail', textContent: description }))
  append(entry)
}

function note(text) {
  append(Object.assign(document.createElement('li'), { textContent: text }))
}

function append(entry) {
  element('nothing').hidden = true
  element('log').append(entry)
}

function setBusy(busy) {
  for (const button of document.querySelectorAll('button')) button.disabled = busy
}

main()
