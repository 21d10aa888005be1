// The frame of the console: log in, the address behind `#`, and the page that it names.

import { apiUrl, call, session } from './api.js';
import { html, Heading, Notice } from './parts.js';
import { Create } from './create.js';
import { Task } from './task.js';
import { Tasks } from './tasks.js';
import { Usage } from './usage.js';
import { WebhookTest } from './webhooks.js';
import { render, useEffect, useState } from './vendor/htm-preact-3.1.1.js';

const PAGES = [['tasks', 'Tasks'], ['create', 'New video'], ['usage', 'Spend'], ['webhooks', 'Webhooks']];

// `#/tasks?status=failed` is {name: 'tasks', rest: '', query}.
function readRoute() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [name, rest = ''] = path.split('/');
  return { name: name || 'tasks', rest, query: new URLSearchParams(query) };
}

function Login({ refused }) {
  const [key, setKey] = useState('');
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState(refused);
  const submit = async (event) => {
    event.preventDefault();
    const typed = key.trim();
    if (!/^[A-Za-z0-9_-]{20,128}$/.test(typed)) return setFault('An API key has 20 to 128 letters, digits, hyphens and underscores.');
    setBusy(true);
    try {
      await call('tasks?limit=1', { key: typed });
      session.open(typed);
    } catch (error) {
      setBusy(false);
      setFault([401, 403].includes(error.status) ? 'The relay refuses this key.' : error.message);
    }
  };
  return html`<main class="login">
    <form class="card" onSubmit=${submit}>
      <${Heading} page="Log in">Vidu Relay<//>
      <p>Enter an API key of your tenant. It stays in this tab, and is gone when you close it.</p>
      ${fault && html`<${Notice}>${fault}<//>`}
      <label for="key">API key</label>
      <input id="key" type="password" autocomplete="off" spellcheck="false" value=${key} onInput=${(event) => setKey(event.target.value)} />
      <button class="primary" disabled=${busy}>${busy ? 'Asking the relay …' : 'Log in'}</button>
      <p class="small">You have none? Your operator makes one: <code>relay keys create</code>. <a href="docs">The API’s page</a></p>
    </form>
  </main>`;
}

function Page({ route }) {
  if (route.name === 'task') return html`<${Task} key=${route.rest} id=${route.rest} />`;
  if (route.name === 'create') return html`<${Create} />`;
  if (route.name === 'usage') return html`<${Usage} />`;
  if (route.name === 'webhooks') return html`<${WebhookTest} />`;
  return html`<${Tasks} query=${route.query} />`;
}

function App() {
  const [route, setRoute] = useState(readRoute);
  const [, redraw] = useState(0);
  useEffect(() => {
    const changed = () => setRoute(readRoute());
    addEventListener('hashchange', changed);
    const stop = session.listen(() => redraw((count) => count + 1));
    return () => { removeEventListener('hashchange', changed); stop(); };
  }, []);
  const { key, refused, reachable } = session.get();
  if (!key) return html`<${Login} refused=${refused} />`;
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.querySelector('h1')?.focus(); }}>Skip to the content</a>
    <header class="bar">
      <a class="brand" href="#/tasks"><span aria-hidden="true">▶</span> Vidu Relay</a>
      <nav aria-label="Pages">${PAGES.map(([name, label]) => html`
        <a href=${`#/${name}`} aria-current=${route.name === name ? 'page' : undefined}>${label}</a>`)}
      </nav>
      <button type="button" class="quiet" onClick=${() => session.close()} title=${`Connected to ${apiUrl} with the key that ends in ${key.slice(-4)}`}>Log out</button>
    </header>
    ${!reachable && html`<${Notice} kind="outage">The relay does not answer. What you see may be out of date; it is asked again every few seconds.<//>`}
    <main id="main"><${Page} route=${route} /></main>`;
}

render(html`<${App} />`, document.getElementById('app'));
