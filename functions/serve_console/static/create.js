// The page that makes a task: a form drawn from the model's JSON Schema, its price, and one idempotency key a task.
//
// What was typed and the key are kept in this tab's session storage: after a reload, or an answer that did not come, the
// same request under the same key makes no second task.

import { apiUrl, call } from './api.js';
import { Field, Hint, Prompt } from './fields.js';
import { Images } from './images.js';
import { Copy, Heading, html, Notice, usePoll } from './parts.js';
import { faultsOf, requestOf } from './schema.js';
import { useEffect, useMemo, useState } from './vendor/htm-preact-3.1.1.js';
import { dollars, span, submitCommand } from './words.js';

const DRAFT = 'vidu-relay-draft';
const FIRST = ['duration', 'resolution', 'aspect_ratio', 'style', 'movement_amplitude', 'audio', 'bgm'];
const ESTIMATE_MS = 1200;
const BASIS = { list: 'by the price list', learned: 'as billed lately', unknown: '' };

const refusal = (error) => (error.faults.length ? 'The relay does not accept this: see the field.' : error.message);

const newDraft = (kept = {}) => ({ model: '', values: {}, references: 'subjects', ...kept, key: crypto.randomUUID(), sent: '' });

function loadDraft() {
  try {
    return { ...newDraft(), ...JSON.parse(sessionStorage.getItem(DRAFT) ?? '{}') };
  } catch {
    return newDraft(); // written by another version
  }
}

export function Create() {
  const [models, setModels] = useState(null);
  const [fault, setFault] = useState('');
  usePoll(async (signal) => {
    try {
      setModels((await call('models', { signal })).data.models);
      setFault('');
      return null;
    } catch (error) {
      if (error.name !== 'AbortError') setFault(error.message);
      throw error;
    }
  }, []);
  return html`<${Heading} page="New video">New video<//>
    ${fault && html`<${Notice}>${fault}<//>`}
    ${models ? html`<${Form} models=${models} />` : !fault && html`<p class="waiting" role="status">Loading the models …</p>`}`;
}

function Form({ models }) {
  const [draft, setDraft] = useState(loadDraft);
  const [uploads, setUploads] = useState(0);
  const [answer, setAnswer] = useState({});
  const [busy, setBusy] = useState(false);
  const model = models.find((one) => one.id === draft.model) ?? models[0];
  const { properties } = model.request;
  const request = useMemo(() => requestOf(model, draft), [model, draft]);
  const json = JSON.stringify(request);
  const local = faultsOf(request, model.request);
  const estimate = useEstimate(json, local.length === 0 && uploads === 0);
  useEffect(() => sessionStorage.setItem(DRAFT, JSON.stringify(draft)), [draft]);

  const set = (name, value) => setDraft((old) => ({ ...old, values: { ...old.values, [name]: typeof value === 'function' ? value(old.values[name] ?? []) : value } }));
  const refused = (answer.json === json && answer.faults) || estimate.faults || [];
  const at = (name) => [...(answer.tried ? local : []), ...refused].filter(({ loc }) => loc === name || loc.startsWith(`${name}.`));
  const elsewhere = [...(answer.tried ? local : []), ...refused].filter(({ loc }) => !(loc.split('.')[0] in properties));
  const either = properties.images && properties.subjects;
  const names = Object.keys(properties).filter((name) => !['model', 'prompt', 'images', 'subjects'].includes(name));
  const more = names.filter((name) => !FIRST.includes(name));
  const subjects = properties.subjects && (!either || draft.references === 'subjects') ? (draft.values.subjects ?? []).map(({ id }) => id).filter(Boolean) : [];
  const field = (name) => html`<${Field} key=${name} name=${name} spec=${properties[name]} value=${draft.values[name]} faults=${at(name)} onChange=${(value) => set(name, value)} />`;

  const submit = async (event) => {
    event.preventDefault();
    setAnswer({ tried: true });
    if (local.length || uploads || busy) return document.querySelector('[aria-invalid], .fault')?.scrollIntoView({ block: 'center' });
    // a key belongs to one request: another one that may have been recorded keeps its own
    const key = draft.sent && draft.sent !== json ? crypto.randomUUID() : draft.key;
    const sent = { ...draft, key, sent: json };
    sessionStorage.setItem(DRAFT, JSON.stringify(sent));
    setDraft(sent);
    setBusy(true);
    try {
      const headers = { 'idempotency-key': key, ...(estimate.data && { 'max-cost-usd': estimate.data.reserved_usd }) };
      const { data } = await call('tasks', { method: 'POST', body: request, headers });
      sessionStorage.setItem(DRAFT, JSON.stringify(newDraft({ model: model.id })));
      location.hash = `#/task/${data.task_id}`;
    } catch (error) {
      setBusy(false);
      if (error.code === 'idempotency_key_reused') setDraft((old) => ({ ...old, key: crypto.randomUUID(), sent: '' }));
      const text = error.isOutage ? 'No answer came. Perhaps the task was recorded: press the button again, and the same task is found or made.' : refusal(error);
      setAnswer({ json, tried: true, faults: error.faults, text: error.retryAfter ? `${text} Try again in ${span(error.retryAfter * 1000)}.` : text });
    }
  };

  return html`<form class="columns create" onSubmit=${submit} novalidate>
    <div>
      <section class="card"><h2>What to make</h2>
        <div class="field"><label for="model">Model</label>
          <select id="model" value=${model.id} onChange=${(event) => setDraft((old) => ({ ...old, model: event.target.value }))}>
            ${[...new Set(models.map((one) => one.kind))].map((kind) => html`<optgroup label=${kind}>${models.filter((one) => one.kind === kind).map((one) => html`<option value=${one.id}>${one.id}</option>`)}</optgroup>`)}</select>
          <div class="small">${[`at ${model.provider}`, model.note].filter(Boolean).join(' · ')}</div></div>
        ${properties.prompt && html`<${Prompt} spec=${properties.prompt} value=${draft.values.prompt ?? ''} subjects=${subjects} faults=${at('prompt')} onChange=${(value) => set('prompt', value)} />`}
      </section>
      ${(properties.images || properties.subjects) && html`<section class="card"><h2>Images</h2>
        ${either && html`<div class="choice" role="radiogroup" aria-label="Images are">${[['subjects', 'Subjects with names'], ['images', 'Images alone']].map(([name, label]) => html`
          <label><input type="radio" name="references" checked=${draft.references === name} onChange=${() => setDraft((old) => ({ ...old, references: name }))} /> ${label}</label>`)}</div>`}
        ${properties.subjects && subjectsShown(draft, either) && html`<${Subjects} subjects=${draft.values.subjects ?? []} model=${model} faults=${at('subjects')} onChange=${(change) => set('subjects', change)} onBusy=${(more) => setUploads((count) => count + more)} />`}
        ${properties.images && !(either && draft.references === 'subjects') && html`<${Images} label="Images" images=${draft.values.images ?? []} most=${properties.images.maxItems ?? 1} limits=${model.images} onChange=${(change) => set('images', change)} onBusy=${(more) => setUploads((count) => count + more)} />
          <${Hint} id="field-images" hint=${properties.images.description} faults=${at('images')} />`}
      </section>`}
      <section class="card"><h2>Settings</h2>
        <div class="fields">${FIRST.filter((name) => names.includes(name)).map(field)}</div>
        <details open=${more.some((name) => at(name).length > 0)}><summary>More options</summary><div class="fields">${more.map(field)}</div></details>
      </section>
    </div>
    <div class="sticky"><section class="card"><h2>Price</h2>
      <${Price} estimate=${estimate} ready=${local.length === 0} />
      ${(answer.text || elsewhere.length > 0) && html`<${Notice}>${answer.text}${elsewhere.map((one) => html`<div>${one.msg}</div>`)}<//>`}
      <button class="primary wide" disabled=${busy}>${busy ? 'Sending …' : uploads ? 'Uploading …' : 'Make the video'}</button>
      <p class="small">Pressed twice, or again after a reload, it makes one task. It is refused if it came to cost more than shown.</p>
      <details><summary>On the command line</summary><pre tabindex="0">${submitCommand(request, apiUrl)}</pre><${Copy} text=${submitCommand(request, apiUrl)} /></details>
    </section></div>
  </form>`;
}

const subjectsShown = (draft, either) => !either || draft.references === 'subjects';

function Subjects({ subjects, model, faults, onChange, onBusy }) {
  const { maxItems: most } = model.request.properties.subjects;
  const perSubject = model.request.$defs.Subject.properties.images.maxItems;
  const set = (at, change) => onChange((old) => old.map((one, number) => (number === at ? { ...one, ...change(one) } : one)));
  return html`${subjects.map((subject, at) => html`<div class="subject" key=${at}>
      <div class="fields">
        <div class="field"><label for=${`subject-id-${at}`}>Name</label><input id=${`subject-id-${at}`} maxlength="100" value=${subject.id} onInput=${(event) => set(at, () => ({ id: event.target.value }))} /></div>
        <div class="field"><label for=${`subject-voice-${at}`}>Voice <span class="small">optional</span></label><input id=${`subject-voice-${at}`} maxlength="200" value=${subject.voice_id ?? ''} onInput=${(event) => set(at, () => ({ voice_id: event.target.value }))} /></div>
      </div>
      <${Images} label=${`Images of ${subject.id || `subject ${at + 1}`}`} images=${subject.images} most=${perSubject} limits=${model.images} onChange=${(change) => set(at, (old) => ({ images: change(old.images) }))} onBusy=${onBusy} />
      <${Hint} id=${`subject-${at}`} hint="" faults=${faults.filter(({ loc }) => loc.startsWith(`subjects.${at}`))} />
      <button type="button" class="quiet" onClick=${() => onChange((old) => old.filter((_, number) => number !== at))}>Remove ${subject.id || 'this subject'}</button>
    </div>`)}
    ${faults.filter(({ loc }) => loc === 'subjects').map((fault) => html`<div class="fault">${fault.msg}</div>`)}
    ${subjects.length < most && html`<button type="button" onClick=${() => onChange((old) => [...old, { id: '', images: [] }])}>Add a subject</button>`}`;
}

function Price({ estimate, ready }) {
  if (!ready) return html`<p class="small">Fill in the form to see the price.</p>`;
  if (estimate.data) {
    const { usd, reserved_usd: reserved, basis } = estimate.data;
    return html`<p class="amount" role="status">${usd === null ? 'Not known' : dollars(usd)} <span class="small">${BASIS[basis]}</span></p>
      ${usd !== reserved && html`<p class="small">Your budget counts ${dollars(reserved)} until the bill is known.</p>`}`;
  }
  if (estimate.text) return html`<p role="status">${estimate.text}</p>`;
  return html`<p class="small" role="status">Asking for the price …</p>`;
}

// The price of a request, asked for once the form has rested: {data}, or {faults, text} of a refused one.
function useEstimate(json, ready) {
  const [found, setFound] = useState({});
  useEffect(() => {
    if (!ready || found.json === json) return undefined;
    const stop = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const { data } = await call('estimates', { method: 'POST', body: JSON.parse(json), signal: stop.signal });
        setFound({ json, data });
      } catch (error) {
        if (error.name === 'AbortError') return;
        const text = error.code === 'hourly_limit_reached' ? 'The price is not asked for any more this hour. The task can be made all the same.' : refusal(error);
        setFound({ json, faults: error.faults, text });
      }
    }, ESTIMATE_MS);
    return () => { clearTimeout(timer); stop.abort(); };
  }, [json, ready]);
  return ready && found.json === json ? found : {};
}
