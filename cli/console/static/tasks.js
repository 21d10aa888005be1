// What needs an operator now, the tasks of all tenants, and one task.

import { Ago, Action, Facts, html, Pill, Runbook, Section, span, Table, TaskLink, useRead, useState, What } from "./parts.js";

export function Now(about) {
  const alarms = useRead("alarms", {}, 30), tasks = useTasks("50");
  const queues = useRead("queues list", {}, 30), failures = useRead("failures list", {}, 30);
  const waiting = queues.data?.queues.reduce((sum, one) => sum + one.depth + one.in_flight, 0);
  const tiles = [
    ["Stuck tasks", tasks.stuck?.length, "#/tasks", tasks],
    ["Raised alarms", alarms.data?.alarms.length, "#/now", alarms],
    ["DLQ messages", waiting, "#/queues", queues],
    ["Failed publications", failures.data?.failures.length, "#/failures", failures],
  ];
  return html`<h1>Now</h1>
    <div class="tiles">${tiles.map(([name, count, href, of]) => html`<a class=${`tile ${count ? "bad" : count === 0 ? "good" : ""}`} href=${href}>
      <strong>${of.failed ? "?" : count ?? "…"}</strong><span>${name}</span></a>`)}</div>
    <${Section} title="Stuck tasks" of=${tasks}>${() => html`<${Table} columns=${["Task", "Tenant", "State", "Wrong", ""]} empty="No task is stuck."
      rows=${tasks.stuck.map((one) => [html`<${TaskLink} id=${one.task_id} />`, one.tenant_id, html`<${Pill} word=${one.status} />`, ...wrong(one, about, tasks)])} />
      ${tasks.stuck.length > 0 && html`<p class="muted">The sweep starts an overdue check within a minute. If a task stays here, check it now, or open it to see why.</p>`}`}<//>
    <${Alarms} of=${alarms} />`;
}

// The newest tasks and all overdue ones, what is stuck first. `stuck` is undefined until both are read.
function useTasks(limit) {
  const of = useRead("task list", { limit }, 15), overdue = useRead("task overdue", {}, 15);
  const all = new Map((overdue.data?.tasks ?? []).map((one) => [one.task_id, { ...one, wrong: `check overdue for ${span(one.overdue_seconds)}` }]));
  for (const one of of.data?.tasks ?? []) all.set(one.task_id, { ...one, wrong: one.wrong ?? all.get(one.task_id)?.wrong });
  const stuck = [...all.values()].filter((one) => one.wrong), data = overdue.data && of.data;
  const reload = () => { of.reload(); overdue.reload(); };
  return { data, command: [of.command, overdue.command], failed: of.failed ?? overdue.failed, busy: of.busy || overdue.busy, reload,
    stuck: data && stuck, all: [...stuck, ...[...all.values()].filter((one) => !one.wrong)] };
}

const wrong = (one, about, of) => [html`<span class="wrong">${one.wrong}</span>`,
  html`<${Action} path="task check" label="Check now" values=${{ task_id: one.task_id }} ...${about} done=${of.reload} />`];

const PAGE_OF = [[/dead-letters$|^unrouted-events$/, "queues", "Open the DLQs"], [/^unpublished-records$/, "failures", "Open the failures"],
  [/^oldest-/, "tasks", "Open the tasks"]];

const Alarms = ({ of }) => html`<${Section} title="Raised alarms" of=${of}>${(data) => data.alarms.length
  ? data.alarms.map((one, i) => {
    const page = PAGE_OF.find(([section]) => section.test(one.section));
    return html`<article class="alarm" key=${one.alarm}><h3><${Pill} word="ALARM" tone="bad" /> ${one.alarm} <small><${Ago} at=${one.since} /></small></h3>
      <p class="muted">${one.reason}</p>${page && html`<p><a href=${`#/${page[1]}`}>${page[2]}</a></p>`}
      <details open=${i === 0}><summary>What the runbook says</summary><${Runbook} text=${one.text} /></details></article>`;
  }) : html`<p class="empty">No alarm is raised.</p>`}<//>`;

export function Tasks(about) {
  const [limit, setLimit] = useState("50"), [filter, setFilter] = useState("");
  const of = useTasks(limit);
  const fits = (one) => Object.values(one).some((value) => String(value ?? "").toLowerCase().includes(filter.toLowerCase()));
  return html`<h1>Tasks</h1><${Find} />
    <${Section} title="All tenants, stuck first" of=${of} actions=${html`
      <input aria-label="Filter" placeholder="Tenant, state, model…" value=${filter} onInput=${(e) => setFilter(e.target.value)} />
      <select aria-label="How many" value=${limit} onChange=${(e) => setLimit(e.target.value)}>${["50", "200", "500"].map((one) => html`<option value=${one}>newest ${one}</option>`)}</select>`}>
      ${() => html`<${Table} columns=${["Task", "Tenant", "State", "Age", "Model", "US$", "Wrong", ""]} empty="No tasks."
        rows=${of.all.filter(fits).map((one) => [html`<${TaskLink} id=${one.task_id} />`, one.tenant_id,
          html`<${Pill} word=${one.status} />`, one.created_at && html`<${Ago} at=${one.created_at} />`, one.model, one.cost,
          ...(one.wrong ? wrong(one, about, of) : [one.error, ""])])} />`}<//>`;
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

// What an operator should know of a task first, and the step that fits.
function advice(task) {
  if (task.waits_for_account_since) return { says: "The provider refuses the account. The task waits until it accepts it again.", section: "provider-account-refused" };
  if (task.status === "submitting") return { says: "The reply to its create call is missing. Wait: a callback or the poller proves its id, or it expires." };
  if (task.delivery_error && !task.videos.length) return { says: "Its video is not copied yet. The relay tries again by itself; you can copy it now.", step: "task deliver" };
  if (task.due.startsWith("overdue")) return { says: `Its check is ${task.due}. The sweep starts it within a minute; you can check it now.`, step: "task check" };
  return {};
}

export function Task(about, id) {
  const of = useRead("task show", { task_id: id }, 5), { says, step, section } = of.data ? advice(of.data) : {};
  return html`<p><a href="#/tasks">Tasks</a></p><h1 class="mono wide">${id}</h1>
    <${Section} title="State" of=${of} actions=${STEPS.map(([path, label]) => html`<${Action} key=${path} path=${path} label=${label} main=${path === step}
        values=${{ task_id: id }} ...${about} done=${of.reload} />`)}>
      ${(task) => html`${says && html`<p class="advice" role="status">${says}</p>`}<${Facts} rows=${[
        ["State", html`<${Pill} word=${task.status} />`], ["Tenant", html`<a href=${`#/tenant/${task.tenant_id}`}>${task.tenant_id}</a>`],
        ["Model", task.model], ["Prompt", task.request?.prompt], ["Error", task.error && `${task.error.code}: ${task.error.message}`],
        ["Next check", task.due], ["Deadline", task.deadline_at], ["Provider", task.provider], ["At the provider", task.remote_id],
        ["Candidates", task.candidates.join(", ")], ["Poller", task.poller], ["Attempts", task.attempts],
        ["Waits for the account since", task.waits_for_account_since], ["Waits in the queue since", task.waits_in_queue_since],
        ["Delivery error", task.delivery_error && `${task.delivery_error.code}: ${task.delivery_error.message}`],
        ["Webhook", task.webhook && (Object.entries(task.webhook).map(([name, value]) => `${name} ${value}`).join("; ") || "not sent yet")],
        ["Cost", task.usage?.cost && `US$ ${task.usage.cost}`],
      ]} />${task.videos.map((one) => html`<p class="mono">s3://${one.bucket}/${one.key}, ${one.size.toLocaleString()} bytes</p>`)}<h3>History</h3><ol class="timeline">${task.history.map((one) => html`<li><${Pill} word=${one.status} />
        <span>by ${one.source}</span> <span class="muted">+${one.seconds_since_creation.toFixed(1)} s</span> <time class="muted">${one.at}</time></li>`)}</ol>`}<//>
    ${section && html`<${What} section=${section} />`}`;
}
