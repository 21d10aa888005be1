// Webhooks: how those of a task went, with replay, and the page that sends a test message.

import { apiUrl, call } from './api.js';
import { Confirm, Copy, Heading, html, Notice, State, usePoll } from './parts.js';
import { useRef, useState } from './vendor/htm-preact-3.1.1.js';
import { moment, OUTCOMES, relayCommand, span, WEBHOOK_FAULTS } from './words.js';

const SOON_MS = 60_000; // how long an attempt that is due, or that was asked for, is looked for every few seconds

const TONES = { delivered: 'good', retrying: 'warn', gave_up: 'bad' };

const taken = ({ status }) => status >= 200 && status < 300;

const refusal = (error) => `${error.message}${error.retryAfter ? ` Try again in ${span(error.retryAfter * 1000)}.` : ''}`;

// One call of an address. What it answered is foreign text.
const Attempt = ({ attempt }) => html`
  <b class=${taken(attempt) ? 'good' : 'bad'}>${attempt.fault ? WEBHOOK_FAULTS[attempt.fault] ?? attempt.fault : `HTTP ${attempt.status}`}</b>
  <span class="small"> · ${attempt.latency_ms} ms · <time datetime=${attempt.at}>${moment(attempt.at)}</time></span>
  ${attempt.answer && html`<pre tabindex="0" aria-label="Beginning of the answer">${attempt.answer}</pre>`}`;

export function Webhooks({ id, path, version, url }) {
  const [found, setFound] = useState(null);
  const [said, setSaid] = useState('');
  const [fault, setFault] = useState('');
  const [asked, setAsked] = useState(null);
  const due = useRef({ version: 0, at: 0, replay: false });
  const readNow = usePoll(async (signal) => {
    if (due.current.version !== version) due.current = { version, at: Date.now(), replay: false };
    try {
      const { notifications } = (await call(`${path}/notifications`, { signal })).data;
      setFound(notifications.toReversed());
      setFault('');
      const isDue = due.current.replay || !notifications.some((one) => one.version === version);
      if (isDue && Date.now() - due.current.at < SOON_MS) return 3;
      return notifications.some((one) => one.state === 'retrying') ? 15 : 60;
    } catch (error) {
      if (error.name !== 'AbortError' && !error.isOutage) setFault(error.message);
      throw error;
    }
  }, [path, version]);
  const replay = async (one) => {
    try {
      await call(`${path}/notifications/${one.version}/replay`, { method: 'POST' });
      due.current = { version, at: Date.now(), replay: true };
      setSaid(`The webhook about ${one.status} is queued again.`);
    } catch (error) {
      setSaid(refusal(error));
    }
    readNow();
  };
  return html`<section class="card"><div class="top"><h2>Webhooks</h2><a class="small" href="#/webhooks">Test an address</a></div>
    <p class="small">To <code>${url}</code></p>
    ${said && html`<${Notice} kind="said">${said}<//>`}
    ${fault && html`<${Notice}>${fault}<//>`}
    ${!found && !fault && html`<p class="waiting" role="status">Loading …</p>`}
    ${found?.length === 0 && html`<p>None was tried yet.</p>`}
    ${found?.map((one) => html`<div class="subject" key=${one.version}>
      <div class="facts"><h3><${State} status=${one.status} /></h3>
        <div class="grow"><b class=${TONES[one.state]}>${OUTCOMES[one.state]}</b>${one.next_try_at && html` <span class="small">not before ${moment(one.next_try_at)}</span>`}</div>
        <button type="button" aria-label=${`Send again: ${one.status}`} onClick=${() => setAsked(one)}>Send again</button></div>
      <ol class="attempts">${one.attempts.map((attempt) => html`<li><${Attempt} attempt=${attempt} /></li>`)}</ol></div>`)}
    ${asked && html`<${Confirm} heading=${`Send the webhook about ${asked.status} again?`} action="Send it again" keep="Not now" kind="primary" onAnswer=${(yes) => { setAsked(null); if (yes) replay(asked); }}>
      <p>Your server gets the same <code>webhook-id</code> once more, signed with your current secret. The same as a command:</p>
      <pre tabindex="0">${relayCommand(apiUrl, 'webhooks', 'replay', id, asked.version)}</pre><//>`}
  </section>`;
}

export function WebhookTest() {
  const [url, setUrl] = useState('');
  const [busy, setBusy] = useState(false);
  const [answer, setAnswer] = useState({});
  const address = url.trim();
  const command = relayCommand(apiUrl, 'webhooks', 'test', address || 'URL');
  const submit = async (event) => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setAnswer({});
    try {
      setAnswer({ attempt: (await call('webhooks/test', { method: 'POST', body: { callback_url: address } })).data });
    } catch (error) {
      setAnswer({ text: [refusal(error), ...error.faults.map(({ msg }) => msg)].join(' ') });
    }
    setBusy(false);
  };
  const { attempt, text } = answer;
  return html`<${Heading} page="Webhooks">Webhooks<//>
    <div class="columns"><form class="card" onSubmit=${submit} novalidate><h2>Test an address</h2>
      <p>The relay posts one signed message, <code>{"type": "webhook.test", …}</code>, and shows what your server answers. How the webhooks of a task went is on the task’s page.</p>
      <div class="field"><label for="hook">Address of your server</label>
        <input id="hook" type="url" inputmode="url" autocomplete="off" spellcheck="false" placeholder="https://…" value=${url} onInput=${(event) => setUrl(event.target.value)} /></div>
      <button class="primary" disabled=${busy || !address}>${busy ? 'Waiting for the answer …' : 'Send a test message'}</button>
      ${text && html`<${Notice}>${text}<//>`}
      ${attempt && html`<div class="subject" role="status"><h3>${taken(attempt) ? 'Your server took it.' : 'Your server did not take it.'}</h3>
        <${Attempt} attempt=${attempt} />
        <p class="small">webhook-id <code>${attempt.webhook_id}</code></p></div>`}
    </form>
    <section class="card"><h2>Receive them</h2>
      <p>Give a task a <code>callback_url</code>. The relay posts the task to it at <code>processing</code> and at its end, signed by Standard Webhooks, and tries for 72 hours until your server answers 2xx.</p>
      <p>Your operator has the secret that verifies them: <code>relay webhooks secret</code>.</p>
      <div class="command"><h3>On the command line</h3><pre tabindex="0">${command}</pre><${Copy} text=${command} /></div></section></div>`;
}
