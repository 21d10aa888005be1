// Tenants with their keys, caps and budgets; prices; usage.

import { Ago, Action, Facts, html, Pill, Section, Table, useRead, useState } from "./parts.js";

const bound = (amount) => (amount === null || amount === undefined ? "none" : `US$ ${amount}`);

export function Tenants(about) {
  const of = useRead("tenants list");
  return html`<h1>Tenants</h1><${Section} title="All tenants" of=${of} actions=${html`
      <${Action} path="tenants create" label="New tenant" ask="all" ...${about} done=${of.reload} />`}>
    ${(data) => html`<${Table} columns=${["Tenant", "State", "Daily cap", "Daily budget", "Monthly budget", "Created"]} empty="No tenants."
      rows=${data.tenants.map((one) => [html`<a href=${`#/tenant/${one.tenant_id}`}>${one.tenant_id}</a>`,
        html`<${Pill} word=${one.disabled ? "disabled" : "open"} />`, one.daily_cap ?? "default", bound(one.daily_budget_usd),
        bound(one.monthly_budget_usd), html`<${Ago} at=${one.created_at} />`])} />`}<//>`;
}

export function Tenant(about, tenant) {
  const of = useRead("tenants show", { tenant }), usage = useRead("usage", { tenant });
  const doing = { ...about, done: of.reload }, values = { tenant };
  const actions = (data) => html`<${Action} path="tenants set-cap" label="Set cap" values=${values} ask=${["cap", "accept_nothing"]} ...${doing} />
    <${Action} path="tenants set-budget" label="Set budget" values=${values} ask=${["daily", "monthly"]} ...${doing} />
    ${data && (data.disabled ? html`<${Action} path="tenants enable" label="Enable" values=${values} ...${doing} />`
      : html`<${Action} path="tenants disable" label="Disable" danger values=${values} ...${doing} />`)}`;
  return html`<p><a href="#/tenants">Tenants</a></p><h1>${tenant}</h1>
    <${Section} title="Limits" of=${of} actions=${actions(of.data)}>${(data) => html`<${Facts} rows=${[
      ["State", html`<${Pill} word=${data.disabled ? "disabled" : "open"} />`], ["Daily cap", data.daily_cap ?? "default (DailyTaskCap)"],
      ["Daily budget", bound(data.daily_budget_usd)], ["Monthly budget", bound(data.monthly_budget_usd)],
      ["Event sources", data.event_sources.join(", ") || "none"], ["Buckets", data.buckets.join(", ") || "none"]]} />
      <div class="actions">${["source", "bucket"].flatMap((kind) => ["add", "remove"].map((verb) => html`<${Action} key=${verb + kind}
        path=${`tenants ${verb}-${kind}`} label=${`${verb === "add" ? "Add" : "Remove"} ${kind}`} values=${values} ask=${["name"]} ...${doing} />`))}</div>`}<//>
    <${Section} title="API keys" of=${of} actions=${html`<${Action} path="keys create" label="New key" values=${values} ask=${["name"]} ...${doing} />`}>
      ${(data) => html`<${Table} columns=${["Key", "Name", "Created", ""]} empty="No keys." rows=${data.keys.map((one) => [
        html`<span class="mono">${one.key_id}</span>`, one.name, html`<${Ago} at=${one.created_at} />`,
        html`<${Action} path="keys revoke" label="Revoke" danger values=${{ tenant, key_id: one.key_id }} ...${doing} />`])} />`}<//>
    <section class="card"><header><h2>Webhook secret</h2><div class="actions">
      <${Action} path="webhooks secret" label="Show" values=${values} ...${about} />
      <${Action} path="webhooks rotate" label="Rotate" danger values=${values} ask=${["again"]} ...${about} /></div></header></section>
    <${Section} title="Usage of 30 days" of=${usage}>${(data) => html`<${Chart} data=${data} />`}<//>`;
}

export function Prices(about) {
  const of = useRead("prices list"), doing = { ...about, done: of.reload };
  const when = (values) => Object.entries(values ?? {}).map(([name, value]) => `${name}=${value}`).join(" ");
  const amount = (one) => [one.usd ?? one.credits].flat().join(" ") + (one.usd ? " US$" : " credits");
  return html`<h1>Prices</h1>
    <${Section} title="In force today" of=${of} actions=${html`<${Action} path="prices set" label="Set a price" ask="all" ...${doing} />
        <${Action} path="prices remove" label="Remove a price" ask="all" ...${doing} />
        <${Action} path="prices credit" label="Set a credit's price" ask="all" ...${doing} />`}>
      ${(data) => html`<${Table} columns=${["Model", "Provider", "For", "Price", "Since"]} empty="No price list: tasks reserve AssumedTaskUSD, or what was billed before."
        rows=${data.prices.map((one) => [one.model, one.provider, when(one.when), `${one.surcharge ? "+ " : ""}${amount(one)} per ${one.per}`, one.since])} />`}<//>
    ${of.data?.learned.length > 0 && html`<${Section} title="Billed within 30 days" of=${of}>${(data) => html`<${Table}
      columns=${["Model", "Provider", "For", "Median", "Highest", "Tasks", "List"]} rows=${data.learned.map((one) => [one.model, one.provider,
        when(one.parameters), one.median_usd, one.highest_usd, one.tasks, one.list_usd ?? ""])} />`}<//>`}`;
}

export function Usage() {
  const [group, set] = useState("day"), of = useRead("usage", { group_by: group });
  return html`<h1>Usage</h1><${Section} title="All tenants, 30 days" of=${of} actions=${html`
      <select aria-label="By" value=${group} onChange=${(e) => set(e.target.value)}>${["day", "model", "status"].map((one) => html`<option value=${one}>by ${one}</option>`)}</select>`}>
    ${(data) => html`<${Chart} data=${data} /><${Table} columns=${[group, "Tasks", "Cost", "Reserved", "Uncertain", "Unstated"]} empty="No tasks in these 30 days."
      rows=${[...data.groups, { ...data.total, group: "total" }].filter((one) => one.tasks).map((one) =>
        [one.group, one.tasks, one.cost_usd, one.reserved_usd, one.uncertain_usd, one.unstated_usd])} />`}<//>`;
}

// Bars of what is billed and, above it, reserved. A table or a sentence beside it says the same in words.
function Chart({ data }) {
  const groups = data.groups, cost = (one) => Number(one.cost_usd), reserved = (one) => Number(one.reserved_usd) + Number(one.uncertain_usd) + Number(one.unstated_usd);
  const most = Math.max(...groups.map((one) => cost(one) + reserved(one)), 0);
  const words = `US$ ${data.total.cost_usd} billed and ${data.total.reserved_usd} reserved for ${data.total.tasks} tasks, ${data.from} to ${data.to}`;
  if (!most) return html`<p>${words}</p>`;
  const step = 600 / groups.length, wide = Math.min(step * 0.7, 40), tall = (amount) => (amount / most) * 120;
  return html`<figure><svg viewBox="0 0 600 130" role="img" aria-label=${words}>${groups.map((one, i) => html`<g><title>${one.group}: US$ ${one.cost_usd}</title>
      <rect class="reserved" x=${i * step + (step - wide) / 2} width=${wide} y=${125 - tall(cost(one) + reserved(one))} height=${tall(reserved(one))} />
      <rect class="cost" x=${i * step + (step - wide) / 2} width=${wide} y=${125 - tall(cost(one))} height=${tall(cost(one))} /></g>`)}
      <line x1="0" x2="600" y1="125.5" y2="125.5" /></svg><figcaption>${words}</figcaption></figure>`;
}
