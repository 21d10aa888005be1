// What waits: tasks at a provider; for an operator DLQ messages, failed publications, failing webhooks.

import { Ago, Action, html, Pill, Section, Table, TaskLink, useEffect, useRead, useState, What } from "./parts.js";

export function Queues(about) {
  const of = useRead("queues list", {}, 15);
  const [seen, see] = useState(null);
  return html`<h1>Dead-letter queues</h1><${Section} title="Queues" of=${of}>${(data) => html`<${Table} columns=${["Queue", "Waiting", "In flight", ""]}
      empty="No queues." rows=${data.queues.map((one) => [one.name, one.depth ? html`<strong class="wrong">${one.depth}</strong>` : 0, one.in_flight, html`<div class="actions">
        <button aria-pressed=${seen === one.name} onClick=${() => see(seen === one.name ? null : one.name)}>Peek</button>
        <${Action} path="queues redrive" label="Redrive" values=${{ queue: one.name }} ask=${["discard_unreadable"]} ...${about} done=${() => { of.reload(); see(null); }} /></div>`])} />`}<//>
    ${seen && html`<${Peek} key=${seen} queue=${seen} /><${What} key=${`what-${seen}`} section=${seen} />`}`;
}

export function Queue(about) {
  const of = useRead("queue show", {}, 15);
  const hold = (paused, provider, tenant) => html`<${Action} path=${`queue ${paused ? "resume" : "pause"}`} label=${paused ? "Resume" : "Pause"}
    values=${tenant ? { provider, tenant } : { provider }} ...${about} done=${of.reload} />`;
  const shares = (one) => [...new Set([...Object.keys(one.tenants), ...one.paused_tenants])].map((tenant) => {
    const tasks = one.tenants[tenant] ?? 0;
    return [one.provider, html`<a href=${`#/tenant/${tenant}`}>${tenant}</a>`, tasks, one.waiting ? `${Math.round(100 * tasks / one.waiting)} %` : "",
      one.paused_tenants.includes(tenant) ? html`<${Pill} word="paused" tone="warn" />` : "", hold(one.paused_tenants.includes(tenant), one.provider, tenant)];
  });
  return html`<h1>Queue</h1><${Section} title="Tasks that wait at a provider" of=${of}>${(data) => html`<${Table} columns=${["Provider", "Waiting", "Oldest", "In flight", "At most", "", ""]}
      empty="No providers." rows=${data.queues.map((one) => [one.provider, one.waiting, one.oldest_seconds === null ? "" : `${one.oldest_seconds} s`, one.in_flight, one.limit,
        one.paused ? html`<${Pill} word="paused" tone="warn" />` : "", hold(one.paused, one.provider)])} />
    <${Table} columns=${["Provider", "Tenant", "Waiting", "Share", "", ""]} empty="No task waits." rows=${data.queues.flatMap(shares)} />`}<//>
    <${What} section="a-provider-outage" />`;
}

function Peek({ queue }) {
  useEffect(() => document.querySelector("main section:nth-of-type(2)").scrollIntoView(), []);
  return html`<${Section} title=${`Messages of ${queue}`} of=${useRead("queues peek", { queue })}>
  ${(data) => data.messages.length ? html`<ul class="messages">${data.messages.map((one) => html`<li><p><strong><${WithTasks} text=${one.about} /></strong> <small><${Ago} at=${one.sent_at} /></small></p><pre>${one.body}</pre></li>`)}</ul>` : html`<p class="empty">The queue is empty.</p>`}<//>`;
}

const WithTasks = ({ text }) => text.split(/\b([a-z2-7]{26})\b/).map((part, i) => (i % 2 ? html`<${TaskLink} id=${part} />` : part));

export function Failures(about) {
  const of = useRead("failures list", {}, 30);
  return html`<h1>Failed publications</h1><${Section} title="Records in the failures bucket" of=${of} actions=${of.data?.failures.length > 0 &&
      html`<${Action} path="failures republish" label="Republish all" ...${about} done=${of.reload} />`}>
    ${(data) => html`<${Table} columns=${["Since", "Tasks", "Object", ""]} empty="No failures: every change was published and recorded."
      rows=${data.failures.map((one) => [html`<${Ago} at=${one.at} />`, one.tasks.length ? one.tasks.map((id) => html`<${TaskLink} id=${id} /> `) : "unreadable",
        html`<span class="mono">${one.key}</span>`, html`<${Action} path="failures republish" label="Republish" values=${{ key: one.key }} ...${about} done=${of.reload} />`])} />`}<//>
    <${What} section="unpublished-records" />`;
}

export function Webhooks() {
  const [hours, set] = useState("24");
  return html`<h1>Webhooks</h1><${Section} title="Hosts where webhooks fail" of=${useRead("webhooks failing", { hours })} actions=${html`
      <select aria-label="Within" value=${hours} onChange=${(e) => set(e.target.value)}>${[["1", "1 hour"], ["24", "1 day"], ["72", "3 days"], ["336", "14 days"]]
        .map(([value, text]) => html`<option value=${value}>${text}</option>`)}</select>`}>
    ${(data) => html`<${Table} columns=${["Host", "Failed tries", "Given up", "Last", "Code", "Tenants"]} empty="No webhook failed in this time."
      rows=${data.hosts.map((one) => [one.host, one.failed_tries, one.given_up, html`<${Ago} at=${one.last_at} />`, one.last_code, one.tenants.join(", ")])} />`}<//>
    <${What} section="notifications-dead-letters" />`;
}
