// The page of tasks: newest first, what needs a look on top, filters in the address.

import { call, session } from './api.js';
import { Age, Heading, html, Notice, State, useNow, usePoll } from './parts.js';
import { TaskList } from './task_list.js';
import { useEffect, useLayoutEffect, useMemo, useState } from './vendor/htm-preact-3.1.1.js';
import { costOf, STATES, stuck, title } from './words.js';

const FILTERS = ['status', 'model', 'batch_id', 'created_from', 'created_to', 'external_id'];
// A filter by state or model reads up to 500 records to fill a page.
const POLL_SECONDS = 5;
const FILTERED_POLL_SECONDS = 20;

function filtersOf(query) {
  const given = Object.fromEntries(FILTERS.filter((name) => query.get(name)).map((name) => [name, query.get(name)]));
  return given.external_id ? { external_id: given.external_id } : given;
}

function Row({ task, now, reason }) {
  const { amount, about } = costOf(task);
  return html`<li><a class="row" href=${`#/task/${task.task_id}`}>
    <${State} status=${task.status} />
    <span class="what"><b>${title(task)}</b>
      <span class="small">${task.external_id ? `${task.external_id} · ` : ''}<span class="id">${task.task_id}</span></span>
      ${task.queued_at && html`<span class="small">waits for the provider</span>`}
      ${reason && html`<span class="reason">${reason}</span>`}</span>
    <span class="model">${task.model}</span>
    <${Age} at=${task.created_at} now=${now} />
    <span class="cost">${amount}<span class="small"> ${about}</span></span>
  </a></li>`;
}

function Filters({ filters, models }) {
  const set = (name, value) => {
    const next = new URLSearchParams(name === 'external_id' ? {} : filters);
    next.delete(name === 'external_id' ? '' : 'external_id');
    if (value) next.set(name, value); else next.delete(name);
    location.hash = `#/tasks${next.size ? `?${next}` : ''}`;
  };
  const choice = (name, label, values) => html`<label>${label}
    <select value=${filters[name] ?? ''} onChange=${(event) => set(name, event.target.value)}>
      <option value="">all</option>${values.map((value) => html`<option value=${value}>${value}</option>`)}
    </select></label>`;
  const day = (name, label) => html`<label>${label}
    <input type="date" value=${filters[name] ?? ''} onChange=${(event) => set(name, event.target.value)} /></label>`;
  const active = Object.keys(filters).length;
  return html`<details open=${active > 0 || matchMedia('(min-width: 40rem)').matches}><summary class="narrow">Filters</summary><form class="filters" role="search" aria-label="Filters" onSubmit=${(event) => event.preventDefault()}>
    ${choice('status', 'State', Object.keys(STATES))} ${choice('model', 'Model', models)}
    ${day('created_from', 'From (UTC)')} ${day('created_to', 'To (UTC)')}
    <label>Your id<input type="search" maxlength="128" value=${filters.external_id ?? ''} onChange=${(event) => set('external_id', event.target.value.trim())} /></label>
    ${active > 0 && html`<a href="#/tasks">Clear</a>`}
  </form></details>`;
}

// The list that was left, and how far it was scrolled: the way back from a task leads to the same place.
const left = { scope: '', list: null, y: 0 };

export function Tasks({ query }) {
  const filters = filtersOf(query);
  const scope = JSON.stringify([session.get().key, filters]);
  const list = useMemo(() => (left.scope === scope ? left.list : new TaskList(call, filters)), [scope]);
  const [shown, setShown] = useState({});
  const [models, setModels] = useState([]);
  const [fault, setFault] = useState('');
  const [loading, setLoading] = useState(false);
  const now = useNow();
  usePoll(async (signal) => {
    try {
      const changed = await list.refresh(signal);
      setShown((old) => (changed || old.list !== list ? { list, tasks: list.tasks } : old));
      setFault('');
    } catch (error) {
      if (error.name !== 'AbortError' && !error.isOutage) setFault(error.message);
      throw error;
    }
    return filters.status || filters.model || filters.batch_id ? FILTERED_POLL_SECONDS : POLL_SECONDS;
  }, [list]);
  usePoll(async (signal) => {
    setModels((await call('models', { signal })).data.models.map((model) => model.id));
    return null;
  }, []);
  const more = async () => {
    setLoading(true);
    await list.more().then(() => setShown({ list, tasks: list.tasks }), (error) => setFault(error.message));
    setLoading(false);
  };
  const known = list.pages.length ? list.tasks : null;
  const tasks = shown.list === list ? shown.tasks : known;
  useEffect(() => { if (tasks) performance.mark('first-list'); }, [Boolean(tasks)]);
  useEffect(() => { if (left.list === list) scrollTo(0, left.y); }, [list]);
  useLayoutEffect(() => () => Object.assign(left, { scope, list, y: scrollY }), [list]);
  const reasons = new Map((tasks ?? []).map((task) => [task, stuck(task, now)]).filter(([, reason]) => reason));
  return html`
    <div class="top"><${Heading} page="Tasks">Tasks<//><a class="button primary" href="#/create">New video</a></div>
    <${Filters} filters=${filters} models=${models} />
    ${fault && html`<${Notice}>${fault}<//>`}
    ${!tasks && !fault && html`<p class="waiting" role="status">Loading …</p>`}
    ${reasons.size > 0 && html`<section aria-labelledby="stuck" class="stuck">
      <h2 id="stuck">Needs a look</h2>
      <ul class="rows">${[...reasons].map(([task, reason]) => html`<${Row} key=${task.task_id} task=${task} now=${now} reason=${reason} />`)}</ul>
    </section>`}
    ${tasks && html`<section aria-label="All tasks">
      ${tasks.length > reasons.size && html`<div class="row head" aria-hidden="true"><span>State</span><span>Task</span><span>Model</span><span>Age</span><span class="cost">Cost</span></div>`}
      <ul class="rows">${tasks.filter((task) => !reasons.has(task)).map((task) => html`<${Row} key=${task.task_id} task=${task} now=${now} />`)}</ul>
      ${tasks.length === 0 && html`<p class="empty">${Object.keys(filters).length || list.hasMore ? 'No task fits these filters so far.' : html`No tasks yet. <a href="#/create">Make the first one.</a>`}</p>`}
      <p class="foot small"><span role="status">${tasks.length} ${tasks.length === 1 ? 'task' : 'tasks'} loaded</span>
        ${list.hasMore && html`<button type="button" onClick=${more} disabled=${loading}>${loading ? 'Loading …' : 'Load older tasks'}</button>`}</p>
    </section>`}`;
}
