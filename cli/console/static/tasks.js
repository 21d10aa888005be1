// What needs an operator now, the tasks of all tenants, and one task.

import { Ago, Action, Facts, html, Pill, Runbook, Section, Table, TaskLink, useRead, useState } from "./parts.js";

export function Now(about) {
  const alarms = useRead("alarms", {}, 30), overdue = useRead("task overdue", {}, 15);
  const queues = useRead("queues list", {}, 30), failures = useRead("failures list", {}, 30);
  const waiting = queues.data?.queues.reduce((sum, one) => sum + one.depth + one.in_flight, 0);
  const tiles = [
    ["Raised alarms", alarms.data?.alarms.length, "#/now", alarms],
    ["Overdue tasks", overdue.data?.overdue, "#/tasks", overdue],
    ["DLQ messages", waiting, "#/queues", queues],
    ["Failed publications", failures.data?.failures.length, "#/failures", failures],
  ];
  return html`<h1>Now</h1>
    <div class="tiles">${tiles.map(([name, count, href, of]) => html`<a class=${`tile ${count ? "bad" : count === 0 ? "good" : ""}`} href=${href}>
      <strong>${of.failed ? "?" : count ?? "…"}</strong><span>${name}</span></a>`)}</div>
    <${Alarms} of=${alarms} />
    <${Overdue} of=${overdue} about=${about} />`;
}

const Alarms = ({ of }) => html`<${Section} title="Raised alarms" of=${of}>${(data) => data.alarms.length
  ? data.alarms.map((one) => html`<article class="alarm"><h3><${Pill} word="ALARM" tone="bad" /> ${one.alarm} <small><${Ago} at=${one.since} /></small></h3><p class="muted">${one.reason}</p><${Runbook} text=${one.text} /></article>`)
  : html`<p class="empty">No alarm is raised.</p>`}<//>`;

const Overdue = ({ of, about }) => html`<${Section} title="Overdue tasks" of=${of}>${(data) => html`<${Table}
  columns=${["Task", "Tenant", "State", "Overdue", ""]} empty="No task is overdue."
  rows=${data.tasks.map((one) => [html`<${TaskLink} id=${one.task_id} />`, one.tenant_id, html`<${Pill} word=${one.status} />`,
    `${one.overdue_seconds} s`, html`<${Action} path="task check" label="Check now" values=${{ task_id: one.task_id }} ...${about} done=${of.reload} />`])} />`}<//>`;

export function Tasks(about) {
  const [limit, setLimit] = useState("50"), [filter, setFilter] = useState("");
  const of = useRead("task list", { limit }, 15), overdue = useRead("task overdue", {}, 15);
  const fits = (one) => Object.values(one).some((value) => String(value ?? "").toLowerCase().includes(filter.toLowerCase()));
  const late = new Map((overdue.data?.tasks ?? []).map((one) => [one.task_id, { ...one, wrong: `check overdue for ${one.overdue_seconds} s` }]));
  const all = (tasks) => [...new Map([...late.values(), ...tasks].map((one) => [one.task_id, { ...late.get(one.task_id), ...one, wrong: one.wrong ?? late.get(one.task_id)?.wrong }])).values()];
  const order = (tasks) => all(tasks).sort((a, b) => (b.wrong ? 1 : 0) - (a.wrong ? 1 : 0));
  return html`<h1>Tasks</h1><${Find} />
    <${Section} title="All tenants, stuck first" of=${of} actions=${html`
      <input aria-label="Filter" placeholder="Tenant, state, model…" value=${filter} onInput=${(e) => setFilter(e.target.value)} />
      <select aria-label="How many" value=${limit} onChange=${(e) => setLimit(e.target.value)}>${["50", "200", "500"].map((one) => html`<option value=${one}>newest ${one}</option>`)}</select>`}>
      ${(data) => html`<${Table} columns=${["Task", "Tenant", "State", "Age", "Model", "US$", "Wrong", ""]} empty="No tasks."
        rows=${order(data.tasks).filter(fits).map((one) => [html`<${TaskLink} id=${one.task_id} />`, one.tenant_id,
          html`<${Pill} word=${one.status} />`, one.created_at && html`<${Ago} at=${one.created_at} />`, one.model, one.cost,
          one.wrong ? html`<span class="wrong">${one.wrong}</span>` : one.error,
          one.wrong && html`<${Action} path="task check" label="Check now" values=${{ task_id: one.task_id }} ...${about} done=${of.reload} />`])} />`}<//>`;
}

function Find() {
  const [id, set] = useState("");
  const go = (event) => { event.preventDefault(); location.hash = `#/task/${id.trim()}`; };
  return html`<form class="find" onSubmit=${go}><input aria-label="Task id" placeholder="Task id" value=${id} required pattern="\s*[a-z2-7]{26}\s*"
    title="26 of a-z and 2-7" onInput=${(e) => set(e.target.value)} /><button>Show the task</button></form>`;
}

const STEPS = [
  ["task check", "Check now"], ["task deliver", "Copy the videos"], ["task notify", "Send the webhook again"],
  ["task publish", "Publish the event again"],
];

export function Task(about, id) {
  const of = useRead("task show", { task_id: id }, 5);
  return html`<p><a href="#/tasks">Tasks</a></p><h1 class="mono wide">${id}</h1>
    <${Section} title="State" of=${of} actions=${STEPS.map(([path, label]) => html`<${Action} key=${path} path=${path} label=${label}
        values=${{ task_id: id }} ...${about} done=${of.reload} />`)}>
      ${(task) => html`<${Facts} rows=${[
        ["State", html`<${Pill} word=${task.status} />`], ["Tenant", html`<a href=${`#/tenant/${task.tenant_id}`}>${task.tenant_id}</a>`],
        ["Error", task.error && `${task.error.code}: ${task.error.message}`],
        ["Next check", task.due], ["Deadline", task.deadline_at], ["Provider", task.provider], ["At the provider", task.remote_id],
        ["Candidates", task.candidates.join(", ")], ["Poller", task.poller], ["Attempts", task.attempts],
        ["Waits for the account since", task.waits_for_account_since], ["Waits in the queue since", task.waits_in_queue_since],
        ["Delivery error", task.delivery_error && `${task.delivery_error.code}: ${task.delivery_error.message}`],
        ["Webhook", task.webhook && (Object.entries(task.webhook).map(([name, value]) => `${name} ${value}`).join("; ") || "not sent yet")],
        ["Cost", task.usage?.cost && `US$ ${task.usage.cost}`],
      ]} />${task.videos.map((one) => html`<p class="mono">s3://${one.bucket}/${one.key}, ${one.size.toLocaleString()} bytes</p>`)}<h3>History</h3><ol class="timeline">${task.history.map((one) => html`<li><${Pill} word=${one.status} />
        <span>by ${one.source}</span> <span class="muted">+${one.seconds_since_creation.toFixed(1)} s</span> <time class="muted">${one.at}</time></li>`)}</ol>`}<//>`;
}
