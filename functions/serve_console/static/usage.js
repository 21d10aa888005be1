// The page of what tasks cost: today against cap and budget, the last thirty days, and by model.

import { call } from './api.js';
import { Heading, html, Notice, usePoll } from './parts.js';
import { useRef, useState } from './vendor/htm-preact-3.1.1.js';
import { dollars } from './words.js';

const DAY = 86_400_000;
const POLL_SECONDS = 180; // each reads the ledger's rows twice
const PERIODS = [[30, 'Thirty days'], [7, 'Seven days'], [1, 'Today']]; // the API reads 10,000 tasks at once
// What budgets count, in four parts; the chart shows the bills that are known, and the rest.
const PARTS = [['cost_usd', 'Billed'], ['reserved_usd', 'Reserved'], ['uncertain_usd', 'Uncertain'], ['unstated_usd', 'Billed without a price']];
const total = (sum) => PARTS.reduce((amount, [name]) => amount + Number(sum[name]), 0);
const rounded = (amount) => `$${Number(amount.toFixed(amount < 1 ? 4 : 2))}`;

export function Usage() {
  const [seen, setSeen] = useState(null);
  const [fault, setFault] = useState('');
  const chosen = useRef(0);
  usePoll(async (signal) => {
    const [days, label] = PERIODS[chosen.current];
    const from = new Date(Date.now() - (days - 1) * DAY).toISOString().slice(0, 10);
    try {
      const [byDay, byModel] = await Promise.all(['day', 'model'].map((by) => call(`usage?from=${from}&group_by=${by}`, { signal })));
      setSeen({ label, days: byDay.data, models: byModel.data.groups, today: byDay.data.today });
      setFault('');
      return POLL_SECONDS;
    } catch (error) {
      if (error.code === 'period_too_large' && ++chosen.current < PERIODS.length) return 0;
      chosen.current = Math.min(chosen.current, PERIODS.length - 1);
      if (error.name !== 'AbortError') setFault(error.message);
      throw error;
    }
  }, []);
  return html`<${Heading} page="Spend and usage">Spend and usage<//>
    ${fault && html`<${Notice}>${fault}<//>`}
    ${!seen && !fault && html`<p class="waiting" role="status">Loading …</p>`}
    ${seen && html`<div class="meters">
        <${Meter} label="Tasks today" value=${seen.today.tasks} bound=${seen.today.daily_task_cap} none="no cap" />
        <${Meter} label="Spent today" value=${seen.today.committed_usd} bound=${seen.today.daily_budget_usd} money none="no daily budget" />
        <${Meter} label="Spent this month" value=${seen.today.month_committed_usd} bound=${seen.today.monthly_budget_usd} money none="no monthly budget" />
      </div>
      <${Chart} usage=${seen.days} label=${seen.label} />
      <${Models} groups=${seen.models} label=${seen.label} />
      <p class="small">Days begin at 00:00 UTC and count tasks by their creation. What is reserved counts until the bill is known. A changed bill takes a minute to appear.</p>`}`;
}

function Meter({ label, value, bound, money, none }) {
  const shown = money ? dollars : String;
  const share = bound === null ? null : Math.min(1, Number(bound) ? Number(value) / Number(bound) : 1);
  return html`<section class="card meter"><h2>${label}</h2><p class="amount">${shown(value)}</p>
    ${share === null ? html`<p class="small">${none}</p>` : html`<meter aria-label=${label} min="0" max="1" low="0.8" high="0.95" optimum="0" value=${share}></meter>
      <p class="small">of ${shown(bound)}, ${Math.round(share * 100)} %</p>`}</section>`;
}

const daysOf = ({ from, to, groups }) => {
  const byDay = new Map(groups.map((group) => [group.group, group]));
  const count = Math.round((Date.parse(to) - Date.parse(from)) / DAY) + 1;
  return Array.from({ length: count }, (_, at) => new Date(Date.parse(from) + at * DAY).toISOString().slice(0, 10)).map((day) => [day, byDay.get(day)]);
};

function Chart({ usage, label }) {
  const days = daysOf(usage);
  const most = Math.max(...days.map(([, sum]) => (sum ? total(sum) : 0)));
  const top = niceTop(most);
  const narrow = matchMedia('(max-width: 40rem)').matches;
  const [left, width, height] = narrow ? [48, 360, 170] : [52, 720, 160];
  const step = (width - left) / days.length;
  const y = (amount) => height - (amount / top) * height;
  return html`<section class="card"><div class="top"><h2>${label}</h2><p class="legend small"><i class="billed"></i>billed <i class="rest"></i>reserved or uncertain</p></div>
    <svg viewBox=${`0 -14 ${width} ${height + 40}`} role="img" aria-label=${`What tasks cost each day from ${usage.from} to ${usage.to}: ${rounded(total(usage.total))} together for ${usage.total.tasks} tasks. The table below has the numbers.`}>
      ${[0, top / 2, top].map((amount) => html`<line x1=${left} x2=${width} y1=${y(amount)} y2=${y(amount)} class="grid" /><text x=${left - 8} y=${y(amount) + 4} text-anchor="end">${rounded(amount)}</text>`)}
      ${days.map(([day, sum], at) => {
        const billed = sum ? Number(sum.cost_usd) : 0;
        const all = sum ? total(sum) : 0;
        return html`<g><title>${`${day}: ${rounded(all)}, ${sum?.tasks ?? 0} tasks`}</title><rect x=${left + at * step} y="-14" width=${step} height=${height + 14} class="hit" />
          <rect x=${left + at * step + step * 0.15} y=${y(billed)} width=${step * 0.7} height=${height - y(billed)} class="billed" />
          <rect x=${left + at * step + step * 0.15} y=${y(all)} width=${step * 0.7} height=${y(billed) - y(all)} class="rest" />
          ${(days.length - 1 - at) % (narrow ? 10 : 7) === 0 && html`<text x=${at === days.length - 1 && days.length > 1 ? width : left + (at + 0.5) * step} y=${height + 24} text-anchor=${at === days.length - 1 && days.length > 1 ? 'end' : 'middle'}>${day.slice(5)}</text>`}</g>`;
      })}
    </svg>
    <details><summary>As a table</summary><div class="scroll" tabindex="0" role="region" aria-label=${`${label} as a table`}><table><thead><tr><th>Day</th><th>Tasks</th>${PARTS.map(([, label]) => html`<th>${label}</th>`)}</tr></thead>
      <tbody>${days.filter(([, sum]) => sum).toReversed().map(([day, sum]) => html`<tr><th>${day}</th><td>${sum.tasks}</td>${PARTS.map(([name]) => html`<td>${dollars(sum[name])}</td>`)}</tr>`)}</tbody></table></div></details>
  </section>`;
}

// The next of 1, 2, 5, 10, … above an amount.
function niceTop(amount) {
  if (!amount) return 1;
  const power = 10 ** Math.floor(Math.log10(amount));
  return [1, 2, 5, 10].find((step) => step * power >= amount) * power;
}

function Models({ groups, label }) {
  const most = Math.max(...groups.map(total), 0);
  return html`<section class="card"><h2>By model, ${label.toLowerCase()}</h2>
    ${groups.length === 0 ? html`<p class="empty">No tasks.</p>` : html`<ul class="models">${groups.toSorted((one, other) => total(other) - total(one)).map((group) => html`<li>
      <span class="name">${group.group}</span><span class="small">${group.tasks} tasks</span><b>${rounded(total(group))}</b>
      <svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true"><rect width=${most ? (100 * total(group)) / most : 0} height="1" class="billed" /></svg></li>`)}</ul>`}
  </section>`;
}
