// Fields of the form: one a parameter, by its JSON Schema, and the prompt that completes subjects.

import { html } from './parts.js';
import { useRef, useState } from './vendor/htm-preact-3.1.1.js';

const words = (name) => name.replace(/_/g, ' ').replace(/^./, (letter) => letter.toUpperCase());

export function Field({ name, spec, value, onChange, faults }) {
  const id = `field-${name}`;
  const hint = [spec.description, spec.minimum !== undefined && Number.isSafeInteger(spec.maximum) && `${spec.minimum} to ${spec.maximum}`,
    spec.default !== undefined && spec.type !== 'boolean' && !spec.enum && `usually ${spec.default}`].filter(Boolean).join(' · ');
  const common = { id, 'aria-describedby': `${id}-hint`, 'aria-invalid': faults.length ? 'true' : undefined, onInput: (event) => onChange(event.target.value) };
  let input;
  if (spec.type === 'boolean') {
    const fixed = spec.enum?.length === 1;
    return html`<div class="field check"><input ...${common} type="checkbox" disabled=${fixed} checked=${value ?? spec.default ?? false} onInput=${(event) => onChange(event.target.checked)} />
      <label for=${id}>${words(name)}</label><${Hint} id=${id} hint=${fixed ? 'not in this deployment' : hint} faults=${faults} /></div>`;
  }
  if (spec.enum) {
    input = html`<select ...${common} value=${value ?? spec.default ?? ''}>${spec.default === undefined && html`<option value="">the provider’s choice</option>`}
      ${spec.enum.map((choice) => html`<option value=${choice}>${choice}</option>`)}</select>`;
  } else if (name === 'labels' || spec.maxLength > 10_000) {
    input = html`<textarea ...${common} rows="2" value=${value ?? ''} placeholder=${name === 'labels' ? 'team=blue' : undefined}></textarea>`;
  } else {
    const kind = spec.type === 'integer' ? 'number' : 'text';
    input = html`<input ...${common} type=${kind} min=${spec.minimum} max=${spec.maximum} maxlength=${spec.maxLength} value=${value ?? ''} placeholder=${spec.default} />`;
  }
  return html`<div class="field"><label for=${id}>${words(name)}</label>${input}<${Hint} id=${id} hint=${name === 'labels' ? 'name=value, one a line' : hint} faults=${faults} /></div>`;
}

export const Hint = ({ id, hint, faults }) => html`<div id=${`${id}-hint`} class="small">${hint}
  ${faults.map((fault) => html`<div class="fault">${fault.msg}</div>`)}</div>`;

// `@` and the first letters of a subject offer its name: arrows choose, Enter or Tab takes, Escape closes.
export function Prompt({ value, spec, subjects, onChange, faults }) {
  const area = useRef();
  const [typed, setTyped] = useState(null);
  const [chosen, setChosen] = useState(0);
  const offers = typed === null ? [] : subjects.filter((id) => id.toLowerCase().startsWith(typed.toLowerCase()));
  const input = (event) => {
    const { selectionStart, value: text } = event.target;
    const match = /@([^\s@]*)$/u.exec(text.slice(0, selectionStart));
    setTyped(match ? match[1] : null);
    setChosen(0);
    onChange(text);
  };
  const take = (id) => {
    const { selectionStart: at, value: text } = area.current;
    const start = text.slice(0, at).replace(/@[^\s@]*$/u, '').length;
    area.current.setRangeText(`@${id} `, start, text[at] === ' ' ? at + 1 : at, 'end'); // the next letter goes behind it
    onChange(area.current.value);
    setTyped(null);
  };
  const key = (event) => {
    if (!offers.length) return;
    const step = { ArrowDown: 1, ArrowUp: offers.length - 1 }[event.key];
    if (step) setChosen((chosen + step) % offers.length);
    else if (event.key === 'Enter' || event.key === 'Tab') take(offers[Math.min(chosen, offers.length - 1)]);
    else if (event.key === 'Escape') setTyped(null);
    else return;
    event.preventDefault();
  };
  return html`<div class="field"><label for="field-prompt">Prompt</label>
    <div class="completes">
      <textarea id="field-prompt" ref=${area} rows="5" maxlength=${spec.maxLength} value=${value} onInput=${input} onKeyDown=${key} onBlur=${() => setTyped(null)}
        aria-describedby="field-prompt-hint" aria-autocomplete="list" aria-controls=${offers.length ? 'subjects' : undefined} aria-activedescendant=${offers.length ? `subject-${chosen}` : undefined}></textarea>
      ${offers.length > 0 && html`<ul id="subjects" role="listbox" aria-label="Subjects">${offers.map((id, at) => html`
        <li id=${`subject-${at}`} role="option" aria-selected=${at === chosen ? 'true' : 'false'} onMouseDown=${(event) => { event.preventDefault(); take(id); }}>@${id}</li>`)}</ul>`}
    </div>
    <${Hint} id="field-prompt" hint=${`${spec.description ?? ''} · ${value.length} of ${spec.maxLength}${subjects.length ? ' · type @ for a subject' : ''}`} faults=${faults} /></div>`;
}
