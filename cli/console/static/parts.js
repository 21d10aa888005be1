// What all pages are made of. Text from outside is always a text node: nothing here sets markup.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact-3.1.1.js";
import { act, read } from "./calls.js";

export { html, useEffect, useState };

// Read a command now, again after an action, and every `seconds` while the page is seen.
export function useRead(path, values = {}, seconds = 0) {
  const [state, set] = useState({ busy: true });
  const key = JSON.stringify([path, values]);
  const load = useRef();
  useEffect(() => {
    let over = false;
    load.current = async () => {
      set((before) => ({ ...before, busy: true }));
      try {
        const answer = await read(path, values);
        if (!over) set({ ...answer, at: Date.now() });
      } catch (error) {
        if (!over) set((before) => ({ data: before.data, command: before.command, failed: error.message, at: Date.now() }));
      }
    };
    set({ busy: true });
    load.current();
    const again = seconds && setInterval(() => document.hidden || load.current(), seconds * 1000);
    return () => { over = true; clearInterval(again); };
  }, [key, seconds]);
  return { ...state, reload: () => load.current() };
}

// A part of a page that shows one command's answer, with its command line.
export function Section({ title, of, actions, children }) {
  return html`<section class="card">
    <header><h2>${title}</h2><div class="actions">${actions}
      <button class="quiet" onClick=${of.reload} disabled=${of.busy} aria-label=${`Reload ${title}`}>
        ${of.busy ? "Reading…" : "Reload"}</button></div></header>
    ${of.failed && html`<p class="fault" role="alert">${of.failed}</p>`}
    ${of.data ? children(of.data) : !of.failed && html`<p class="muted">Reading…</p>`}
    ${of.command && html`<${CommandLine} text=${of.command} />`}
  </section>`;
}

export function CommandLine({ text }) {
  const [copied, set] = useState(false);
  const copy = async () => { await navigator.clipboard.writeText(text); set(true); setTimeout(() => set(false), 1500); };
  return html`<div class="command"><code>${text}</code>
    <button class="quiet" onClick=${copy} aria-label="Copy the command line">${copied ? "Copied" : "Copy"}</button></div>`;
}

// Rows as a table; on a narrow screen each row is a list of its cells.
export function Table({ columns, rows, empty }) {
  if (!rows.length) return html`<p class="empty">${empty}</p>`;
  return html`<table><thead><tr>${columns.map((one) => html`<th scope="col">${one || html`<span class="hidden">Actions</span>`}</th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr>${row.map((cell, i) => html`<td data-label=${columns[i]}>${cell}</td>`)}</tr>`)}</tbody>
  </table>`;
}

const TONES = {
  completed: "good", ok: "good", open: "good", generated: "busy", processing: "busy", submitted: "busy", submitting: "busy",
  accepted: "busy", failed: "bad", not: "bad", disabled: "bad", expired: "warn", unknown: "warn", canceled: "still",
};
export const Pill = ({ word, tone }) => html`<span class=${`pill ${tone ?? TONES[word] ?? "still"}`}>${word}</span>`;

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
export function Ago({ at }) {
  const seconds = Math.max(0, (Date.now() - Date.parse(at)) / 1000);
  if (Number.isNaN(seconds)) return "";
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? UNITS.at(-1);
  return html`<time datetime=${at} title=${at}>${Math.floor(seconds / size)} ${unit} ago</time>`;
}

export const TaskLink = ({ id }) => html`<a class="mono" href=${`#/task/${id}`} title=${id}>${id.slice(0, 10)}…</a>`;
export const Facts = ({ rows }) => html`<dl>${rows.filter(([, value]) => value !== null && value !== undefined && value !== "")
  .map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

// The runbook's few kinds of markup: headings, bold words, code, links' texts and blocks of commands.
export function Runbook({ text }) {
  const parts = text.split(/```(?:sh)?\n([\s\S]*?)```/);
  return html`<div class="runbook">${parts.map((part, i) => i % 2
    ? html`<pre>${part.trimEnd()}</pre>`
    : part.split(/\n{2,}/).filter((one) => one.trim()).map((one) => html`<${Paragraph} text=${one.trim()} />`))}</div>`;
}

function Paragraph({ text }) {
  if (text.startsWith("## ")) return html`<h3>${text.slice(3)}</h3>`;
  if (text.startsWith("- ")) return html`<ul>${text.slice(2).split(/\n- /).map((one) => html`<li><${Words} text=${one} /></li>`)}</ul>`;
  return html`<p><${Words} text=${text} /></p>`;
}

const Words = ({ text }) => text.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").split(/(\*\*[^*]+\*\*|`[^`]+`)/).map((word) =>
  word.startsWith("**") ? html`<strong>${word.slice(2, -2)}</strong>` : word.startsWith("`") ? html`<code>${word.slice(1, -1)}</code>` : word);

// A button that runs a command: it asks for what is left open, shows the exact command line, and runs it when confirmed.
export function Action({ label, danger, ...more }) {
  return html`<button class=${danger ? "danger" : ""} onClick=${() => showDialog({ label, danger, ...more })}>${label}</button>`;
}

// The dialog stands beside the page, which may lose the button meanwhile: a task that is overdue no more, for example.
let showDialog;
export function Dialogs() {
  const [shown, set] = useState(null);
  showDialog = set;
  return shown && html`<${Dialog} ...${shown} close=${(ran) => { set(null); ran && shown.done?.(); }} />`;
}

function Dialog({ path, values = {}, ask = [], label, danger, commands, close }) {
  const command = commands.find((one) => one.path === path);
  const fields = command.takes.filter((one) => ask.includes(one.name) || (ask === "all" && !(one.name in values)));
  const [given, setGiven] = useState(values);
  const [step, setStep] = useState({ name: "ask" });
  const [log, setLog] = useState([]);
  const box = useRef();
  const opener = useRef(document.activeElement);
  const request = async () => {
    try { setStep({ name: "confirm", ...(await act(path, given)) }); } catch (error) { setStep({ name: "ask", failed: error.message }); }
  };
  const run = async () => {
    setStep({ ...step, name: "run" });
    try {
      setStep({ name: "done", ...(await act(path, given, step.confirm, (line) => setLog((before) => [...before, line]))) });
    } catch (error) { setStep({ name: "done", command: step.command, failed: error.message }); }
  };
  useEffect(() => { box.current.showModal(); if (!fields.length) request(); return () => { box.current.close(); opener.current?.focus(); }; }, []);
  useEffect(() => {
    const first = { confirm: danger ? ".quiet" : ".main", done: ".main" }[step.name];
    if (first) box.current.querySelector(`footer ${first}`).focus();
  }, [step.name]);
  const leave = () => close(step.name === "done");
  const title = `dialog-${path.replaceAll(" ", "-")}`;
  const submit = (event) => { event.preventDefault(); request(); };
  return html`<dialog ref=${box} aria-labelledby=${title} onCancel=${(event) => { event.preventDefault(); if (step.name !== "run") leave(); }}>
    <h2 id=${title}>${label}</h2><p class="muted">${command.help}</p>
    ${step.name === "ask" && html`<form onSubmit=${submit}>
      ${fields.map((one) => html`<${Field} of=${one} value=${given[one.name]} set=${(value) => setGiven((all) => ({ ...all, [one.name]: value }))} />`)}
      ${step.failed && html`<p class="fault" role="alert">${step.failed}</p>`}
      <footer><button type="button" class="quiet" onClick=${leave}>Cancel</button>
        ${(fields.length > 0 || step.failed) && html`<button class="main">Show the command</button>`}</footer></form>`}
    ${step.command && html`<${CommandLine} text=${step.command} />`}
    ${step.name === "confirm" && html`<footer><button class="quiet" onClick=${leave}>Cancel</button>
      <button class=${danger ? "main danger" : "main"} onClick=${run}>Run it</button></footer>`}
    ${log.length > 0 && html`<${Log} lines=${log} />`}
    ${step.name === "run" && html`<p class="muted" role="status">Running…</p>`}
    ${step.name === "done" && html`${step.failed ? html`<p class="fault" role="alert">${step.failed}</p>`
      : step.text && html`<pre class="answer" role="status">${step.text}</pre>`}
      <footer><button class="main" onClick=${leave}>Close</button></footer>`}
  </dialog>`;
}

export const Log = ({ lines }) => html`<ul class="log">${lines.map((one) => html`<li>${one.line
  ? html`<${Pill} word=${one.line.state ?? "…"} /> <strong>${one.line.check}</strong> ${one.line.found}
      ${one.line.remedy && html`<div class="remedy">→ ${one.line.remedy}</div>`}`
  : html`<span class="muted">${one.remark}</span>`}</li>`)}</ul>`;

function Field({ of, value, set }) {
  const hint = of.help && html`<small>${of.help}</small>`;
  if (of.kind === "flag")
    return html`<label class="check"><input type="checkbox" checked=${!!value} onChange=${(e) => set(e.target.checked)} />
      <span>${of.label} ${hint}</span></label>`;
  const typed = (text) => set(of.several ? text.split("\n").map((one) => one.trim()).filter(Boolean) : text);
  const input = of.kind === "choice" && !of.several
    ? html`<select value=${value ?? ""} onChange=${(e) => set(e.target.value)} required=${of.required}>
        <option value=""></option>${of.choices.map((one) => html`<option>${one}</option>`)}</select>`
    : of.several ? html`<textarea rows="2" placeholder="one a line" onInput=${(e) => typed(e.target.value)}></textarea>`
    : html`<input value=${value ?? ""} onInput=${(e) => typed(e.target.value)} required=${of.required} autocomplete="off" spellcheck="false" />`;
  return html`<label><span>${of.label}</span>${input}${hint}</label>`;
}
