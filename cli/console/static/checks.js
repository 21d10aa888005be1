// The doctor, faults of the local stack, and every command.

import { Action, html, Pill, Section, Table, useRead } from "./parts.js";

export const Doctor = (about) => html`<h1>Doctor</h1><section class="card"><header><h2>Is everything in order</h2><div class="actions">
    <${Action} path="doctor" label="Check the deployment" ...${about} />
    <${Action} path="doctor" label="Only some checks" ask=${["check"]} ...${about} />
    <${Action} path="doctor" label="Also pay for one task" danger values=${{ spends: true }} ...${about} /></div></header>
  <p>The checks take up to two minutes. They make a temporary key, rule, queue and file, and remove them; each run adds a refused callback.</p></section>`;

export function Faults(about) {
  const of = useRead("faults list", {}, 5), newest = useRead("task list", { limit: "10" }, 2);
  const inject = (one, values, label) => html`<${Action} path="faults inject" label=${label} values=${{ fault: one.fault, ...values }} ...${about}
    done=${() => { of.reload(); newest.reload(); }} />`;
  return html`<h1>Faults</h1><p>Make something go wrong on this local stack, and watch the relay recover.</p>
    <${Section} title="Faults to inject" of=${of} actions=${html`<${Action} path="faults end" label="Take back what waits" ...${about} done=${of.reload} />`}>
      ${(data) => html`<div class="faults">${data.faults.map((one) => html`<article><h3>${one.fault.replace("-", " ").replace("cdn", "CDN")}</h3>
        <p>${one.happens}.</p><p class="muted">${one.recovers}.</p>
        <div class="actions">${inject(one, { submit: true }, "Try it with a task")}${inject(one, {}, "For the next task")}</div></article>`)}</div>
        <p class="muted">Faults that wait for a task: ${data.waiting.scripts.length + data.waiting.functions.length}.</p>`}<//>
    <${Section} title="Newest tasks" of=${newest}>${(data) => html`<${Table} columns=${["Task", "State", "Wrong"]} empty="No tasks yet."
      rows=${data.tasks.map((one) => [html`<a class="mono" href=${`#/task/${one.task_id}`}>${one.task_id}</a>`, html`<${Pill} word=${one.status} />`, one.wrong ?? one.error ?? ""])} />`}<//>`;
}

export const Commands = (about) => html`<h1>Commands</h1><p>Every command of the tool that acts on this relay. Each shows its command line first.</p>
  <section class="card"><${Table} columns=${["Command", "What it does", ""]} empty="" rows=${about.commands.filter((one) => !one.reads).map((one) => [
    html`<code>${one.path}</code>`, one.help, html`<${Action} path=${one.path} label="Run…" ask="all" ...${about} />`])} /></section>`;
