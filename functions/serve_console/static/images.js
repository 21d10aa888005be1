// Reference images of a request: dropped or chosen files are checked, uploaded and named by their `s3://` address.

import { call, sendForm } from './api.js';
import { html, Notice } from './parts.js';
import { useState } from './vendor/htm-preact-3.1.1.js';

const TYPES = ['image/png', 'image/jpeg', 'image/webp'];
const MOST_BYTES = 50 * 1024 * 1024;

const previews = new Map(); // by `s3://` address, while the page is loaded

// Raises an `Error` that says what to change.
async function check(file, limits) {
  if (!TYPES.includes(file.type)) throw new Error(`${file.name} is no PNG, JPEG or WebP image.`);
  if (file.size > MOST_BYTES) throw new Error(`${file.name} is larger than 50 MB.`);
  const picture = await createImageBitmap(file).catch(() => { throw new Error(`${file.name} cannot be read as an image.`); });
  const { width, height } = picture;
  picture.close();
  const { min_pixels: least, max_ratio: ratio } = limits;
  if (Math.min(width, height) < least) throw new Error(`${file.name} has ${width}×${height} pixels; each side needs ${least}.`);
  if (Math.max(width, height) > ratio * Math.min(width, height)) throw new Error(`${file.name} is longer than ${ratio}:1.`);
}

async function upload(file, limits) {
  await check(file, limits);
  const form = (await call('uploads', { method: 'POST', body: { content_type: file.type } })).data;
  await sendForm(form, file);
  previews.set(form.uri, URL.createObjectURL(file));
  return { uri: form.uri, name: file.name };
}

// `images` are [{uri, name}]; `onChange` takes a function from the old list to the new one.
export function Images({ label, images, most, limits, onChange, onBusy }) {
  const [busy, setBusy] = useState(0);
  const [faults, setFaults] = useState([]);
  const [over, setOver] = useState(false);
  const [address, setAddress] = useState('');
  const add = async (files) => {
    const room = most - images.length;
    const chosen = [...files];
    setFaults(chosen.length > room ? [`At most ${most} images: ${chosen.length - room} left out.`] : []);
    await Promise.all(chosen.slice(0, room).map(async (file) => {
      setBusy((count) => count + 1);
      onBusy(1);
      try {
        const image = await upload(file, limits);
        onChange((old) => [...old, image].slice(0, most));
      } catch (error) {
        setFaults((old) => [...old, error.message]);
      }
      setBusy((count) => count - 1);
      onBusy(-1);
    }));
  };
  const drop = (event) => { event.preventDefault(); setOver(false); add(event.dataTransfer.files); };
  const addAddress = () => {
    const uri = address.trim();
    if (!/^(https?|s3):\/\//.test(uri)) return setFaults(['An address begins with https:// or s3://.']);
    onChange((old) => [...old, { uri, name: uri }].slice(0, most));
    setAddress('');
    setFaults([]);
  };
  return html`<fieldset class="images"><legend>${label}</legend>
    ${images.length > 0 && html`<ul class="pictures">${images.map((image, at) => html`<li key=${image.uri + at}>
      ${previews.has(image.uri) ? html`<img src=${previews.get(image.uri)} alt=${image.name} />` : html`<code class="named">${image.name}</code>`}
      <button type="button" class="quiet" aria-label=${`Remove ${image.name}`} onClick=${() => onChange((old) => old.filter((_, number) => number !== at))}>Remove</button></li>`)}</ul>`}
    ${images.length < most && html`<label class=${`drop ${over ? 'over' : ''}`} onDragOver=${(event) => { event.preventDefault(); setOver(true); }} onDragLeave=${() => setOver(false)} onDrop=${drop}>
      <input type="file" class="unseen" aria-label=${`Drop images here or choose files: ${label}`} multiple accept=${TYPES.join()} onChange=${(event) => { add(event.target.files); event.target.value = ''; }} />
      <span role="status">${busy ? `Uploading ${busy} …` : html`<b>Drop images here</b> or choose files`}</span></label>
    <div class="address"><input type="text" inputmode="url" aria-label=${`Address of an image for ${label}`} placeholder="or an address: https://…" value=${address} onInput=${(event) => setAddress(event.target.value)}
        onKeyDown=${(event) => { if (event.key === 'Enter') { event.preventDefault(); addAddress(); } }} />
      <button type="button" onClick=${addAddress} disabled=${!address.trim()}>Add</button></div>`}
    ${faults.length > 0 && html`<${Notice}>${faults.map((fault) => html`<div>${fault}</div>`)}<//>`}
  </fieldset>`;
}
