// Parts that several pages share.

import { html, useEffect, useRef, useState } from './vendor/htm-preact-3.1.1.js';
import { moment, span } from './words.js';

export { html };

export const State = ({ status }) => html`<span class=${`state ${status}`}><i aria-hidden="true"></i>${status}</span>`;

export const Notice = ({ kind = 'error', children }) =>
  html`<div class=${`notice ${kind}`} role=${kind === 'error' ? 'alert' : 'status'}>${children}</div>`;

export const Age = ({ at, now }) => html`<time datetime=${at} title=${moment(at)}>${span(now - Date.parse(at))}</time>`;

// The time, each 5 seconds while the page is seen.
export function useNow() {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => document.hidden || setNow(Date.now()), 5000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

// Call `load(signal)` now, and again each time after as many seconds as it returns (null: never), or 30 after a fault.
// Nothing is called while the page is hidden; it is once the page is seen again. The returned function calls at once.
export function usePoll(load, dependencies) {
  const again = useRef(() => {});
  useEffect(() => {
    let timer;
    let running = null;
    let ended = false;
    const run = async () => {
      clearTimeout(timer);
      if (document.hidden || ended) return;
      running?.abort();
      const mine = (running = new AbortController());
      let seconds = 10;
      try {
        seconds = await load(mine.signal);
      } catch (error) {
        if (error.name === 'AbortError') return;
        seconds = error.retryAfter ?? (error.isOutage ? 5 : 30);
      }
      if (mine === running && !ended && seconds !== null) timer = setTimeout(run, seconds * 1000);
    };
    again.current = run;
    run();
    document.addEventListener('visibilitychange', run);
    addEventListener('online', run);
    return () => {
      ended = true;
      running?.abort();
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', run);
      removeEventListener('online', run);
    };
  }, dependencies);
  return () => again.current();
}

export function Copy({ text, label = 'Copy' }) {
  const [said, setSaid] = useState('');
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setSaid('Copied');
    } catch {
      setSaid('Select and copy it'); // the browser lets no page write there
    }
    setTimeout(() => setSaid(''), 2000);
  };
  return html`<button type="button" class="quiet" onClick=${copy} aria-live="polite">${said || label}</button>`;
}

// A question before an action. `onAnswer(true)` if it is to be done.
export function Confirm({ heading, action, keep = 'Keep it', kind = 'danger', onAnswer, children }) {
  const dialog = useRef();
  useEffect(() => {
    const { current } = dialog;
    current.showModal();
    return () => current.close(); // gives the focus back
  }, []);
  return html`<dialog ref=${dialog} aria-labelledby="question" onCancel=${(event) => { event.preventDefault(); onAnswer(false); }}>
    <h2 id="question">${heading}</h2>
    ${children}
    <p class="buttons">
      <button type="button" onClick=${() => onAnswer(false)}>${keep}</button>
      <button type="button" class=${kind} onClick=${() => onAnswer(true)}>${action}</button>
    </p>
  </dialog>`;
}

// A page's heading, which gets the focus when the page opens: a screen reader reads it, and Tab goes on from there.
export function Heading({ children, page }) {
  const heading = useRef();
  useEffect(() => {
    document.title = `${page} – Vidu Relay`;
    heading.current.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, []);
  return html`<h1 ref=${heading} tabindex="-1">${children}</h1>`;
}
