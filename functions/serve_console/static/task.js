// The page of one task: what happened to it, its video, its request, its bill, its webhooks, and what can be done.

import { apiUrl, call } from './api.js';
import { Age, Confirm, Copy, Heading, html, Notice, State, useNow, usePoll } from './parts.js';
import { useEffect, useRef, useState } from './vendor/htm-preact-3.1.1.js';
import { Webhooks } from './webhooks.js';
import { advice, BILLING, commands, dollars, meaning, moment, OPEN, size, SOURCES, span, stuck, title, took } from './words.js';

const LINK_MS = 14 * 60_000; // a link is good for at most 15 minutes

export function Task({ id }) {
  const path = `tasks/${encodeURIComponent(id)}`;
  const kept = useRef({});
  const [seen, setSeen] = useState(null);
  const [fault, setFault] = useState('');
  const [said, setSaid] = useState('');
  const [asked, setAsked] = useState(null);
  const now = useNow();

  const read = async (signal, tag) => {
    const answer = await call(path, { signal, tag });
    setFault('');
    if (answer.status === 200) {
      kept.current = { task: answer.data, tag: answer.tag, at: Date.now() };
      setSeen(kept.current);
    }
    return answer;
  };
  const pollNow = usePoll(async (signal) => {
    try {
      const { retryAfter } = await read(signal, kept.current.tag);
      return retryAfter === null ? 60 : Math.min(retryAfter, 10);
    } catch (error) {
      if (error.name !== 'AbortError' && !error.isOutage) setFault(error.message);
      if (error.status === 404) return null;
      throw error;
    }
  }, [id]);

  const act = async (what) => {
    setAsked(null);
    setSaid('');
    try {
      if (what === 'cancel') await call(`${path}/cancel`, { method: 'POST' });
      else await call(path, { method: 'DELETE' });
      setSaid(what === 'cancel' ? 'The relay took the cancel.' : 'The content is deleted.');
    } catch (error) {
      setSaid(`${error.message}${error.retryAfter ? ` Try again in ${span(error.retryAfter * 1000)}.` : ''}`);
    }
    pollNow();
  };

  if (!seen) {
    return html`<p><a href="#/tasks">← Tasks</a></p><div class="top"><${Heading} page="Task"><span class="clamp">Task</span><//></div>
      ${fault ? html`<${Notice}>${fault}<//>` : html`<p class="waiting" role="status">Loading …</p>`}`;
  }
  const { task } = seen;
  const reason = stuck(task, now);
  const deleted = Boolean(task.content_deleted_at);
  return html`
    <p><a href="#/tasks">← Tasks</a></p>
    <div class="top"><${Heading} page="Task"><span class="clamp">${title(task)}</span><//>
      <div class="buttons">
        ${(OPEN.has(task.status) || task.status === 'expired') && html`<button type="button" onClick=${() => setAsked('cancel')}>Cancel</button>`}
        ${!OPEN.has(task.status) && !deleted && html`<button type="button" onClick=${() => setAsked('delete')}>Delete</button>`}
      </div></div>
    <p class="facts"><${State} status=${task.status} /> <span class="id">${task.task_id}</span> <${Copy} text=${task.task_id} label="Copy id" />
      <span class="small">${task.model}, <${Age} at=${task.created_at} now=${now} /> old</span>
      ${task.batch_id && html`<a class="small" href=${`#/tasks?batch_id=${task.batch_id}`}>its batch</a>`}</p>
    <p>${meaning(task)}</p>
    ${fault && html`<${Notice}>${fault}<//>`}
    ${said && html`<${Notice} kind="said">${said}<//>`}
    ${task.error && html`<${Notice}><b>${task.error.code}</b>: ${task.error.message}<//>`}
    ${reason && html`<${Notice} kind="stuck"><b>${reason}.</b> ${advice(task)}<//>`}
    ${deleted && html`<${Notice} kind="said">Its content was deleted on ${moment(task.content_deleted_at)}.<//>`}
    <div class="columns life">
      <div>
        ${!deleted && task.videos.map((video, number) => html`<${Video} key=${video.key} video=${video} seen=${seen} number=${number} renew=${() => read()} />`)}
      </div>
      <div class="aside">
        <${Timeline} task=${task} now=${now} />
        <${Bill} task=${task} />
      </div>
      <div>
        <${Request} task=${task} renew=${() => read()} />
        ${task.request.callback_url && html`<${Webhooks} id=${id} path=${path} version=${task.version} url=${task.request.callback_url} />`}
        <section class="card"><h2>On the command line</h2>
          ${commands(task, apiUrl).map(([label, text]) => html`<div class="command"><h3>${label}</h3><pre tabindex="0">${text}</pre><${Copy} text=${text} /></div>`)}
        </section>
      </div>
    </div>
    ${asked === 'cancel' && html`<${Confirm} heading="Cancel this task?" action="Cancel the task" onAnswer=${(yes) => (yes ? act('cancel') : setAsked(null))}>
      <p>A task that was not submitted yet costs nothing. One at the provider is canceled there if the provider can; what it made so far may be billed.</p><//>`}
    ${asked === 'delete' && html`<${Confirm} heading="Delete this task’s content?" action="Delete the content" onAnswer=${(yes) => (yes ? act('delete') : setAsked(null))}>
      <p>Its videos, its request and the images that it names are deleted for good. Ids, states, sizes and what it cost stay.</p><//>`}`;
}

// The player keeps its address while the task is polled; an address that has ended is replaced where playing stopped.
function Video({ video, seen, number, renew }) {
  const results = seen.task.output.flatMap((output) => output.results);
  const link = results[number]?.url;
  const [source, setSource] = useState(link);
  const [fault, setFault] = useState('');
  const tries = useRef(0);
  const player = useRef();
  const renewed = async () => {
    const answer = await renew();
    return answer.data.output.flatMap((output) => output.results)[number];
  };
  const failed = async () => {
    if (++tries.current > 2) return setFault('This browser cannot play the video. Download it instead.');
    const { currentTime } = player.current;
    const playing = !player.current.paused;
    try {
      const { url } = await renewed();
      const resume = () => {
        player.current.currentTime = currentTime;
        if (playing) player.current.play().catch(() => setFault('Press play to go on.'));
      };
      player.current.addEventListener('loadedmetadata', resume, { once: true });
      if (url === source) player.current.load(); // signed in the same second
      else setSource(url);
    } catch (error) {
      setFault(error.message);
    }
  };
  const download = async (event) => {
    if (Date.now() - seen.at < LINK_MS) return;
    event.preventDefault();
    await renewed().then((result) => location.assign(result.download_url), (error) => setFault(error.message));
  };
  useEffect(() => { if (!source && link) setSource(link); }, [link]);
  return html`<section class="card video" aria-label=${`Video ${number + 1}`}>
    <video ref=${player} controls preload="metadata" playsinline src=${source} onError=${failed} onPlaying=${() => { tries.current = 0; setFault(''); }}></video>
    ${fault && html`<${Notice}>${fault}<//>`}
    <p class="facts"><a class="button primary" href=${results[number]?.download_url} onClick=${download}>Download</a>
      <span>${size(video.size)}${video.duration_seconds ? ` · ${video.duration_seconds} s` : ''}${video.width ? ` · ${video.width}×${video.height}` : ''}</span></p>
    <dl class="pairs"><dt>SHA-256</dt><dd><code>${video.sha256}</code> <${Copy} text=${video.sha256} /></dd>
      <dt>In S3</dt><dd><code>${`s3://${video.bucket}/${video.key}`}</code></dd>
      ${video.notes.length > 0 && html`<dt>Notes</dt><dd>${video.notes.join(', ')}</dd>`}</dl>
  </section>`;
}

function Timeline({ task, now }) {
  const { history } = task;
  return html`<section class="card"><h2>What happened</h2>
    <ol class="timeline">${history.map((entry, at) => html`<li class=${entry.status}>
      <${State} status=${entry.status} />
      <span>by ${SOURCES[entry.source] ?? entry.source}</span>
      <span class="small"><time datetime=${entry.at}>${moment(entry.at)}</time>${at > 0 ? ` · after ${took(Date.parse(entry.at) - Date.parse(history[at - 1].at))}` : ''}</span>
    </li>`)}
    ${OPEN.has(task.status) && html`<li class="now"><span class="small">for ${span(now - Date.parse(history.at(-1).at))}</span></li>`}</ol>
    <dl class="pairs"><dt>Provider’s id</dt><dd>${task.metadata.remote_task_id ? html`<code>${task.metadata.remote_task_id}</code>` : 'none yet'}</dd>
      ${task.delivery && html`<dt>Copies that failed</dt><dd>${task.delivery.attempts}${task.delivery.last_error ? `: ${task.delivery.last_error.code}, ${task.delivery.last_error.message}` : ''}${task.delivery.next_try_at ? ` Next try ${moment(task.delivery.next_try_at)}` : ''}</dd>`}</dl>
  </section>`;
}

function Bill({ task }) {
  const { billing, usage } = task;
  return html`<section class="card"><h2>Cost</h2>
    <p class="amount">${dollars(billing.state === 'settled' ? billing.cost_usd ?? usage?.cost : billing.reserved_usd)} <span class="small">${billing.state}</span></p>
    <p>${BILLING[billing.state]}</p>
    <dl class="pairs"><dt>Reserved</dt><dd>${dollars(billing.reserved_usd)}</dd><dt>Billed</dt><dd>${dollars(billing.cost_usd)}</dd>
      ${usage?.credits && html`<dt>Credits</dt><dd>${usage.credits}</dd>`}
      <dt>Known by</dt><dd>${SOURCES[billing.evidence.source] ?? billing.evidence.source}, ${moment(billing.evidence.at)}</dd></dl>
  </section>`;
}

function Picture({ reference, link, renew }) {
  const [fault, setFault] = useState(false);
  useEffect(() => setFault(false), [link]);
  // the image itself may be gone: one new link, then its name
  const failed = () => { if (!fault) { setFault(true); renew(); } };
  return link && !fault
    ? html`<img src=${link} alt=${`Your image ${reference.split('/').at(-1).slice(0, 40)}`} loading="lazy" onError=${failed} />`
    : html`<code>${reference}</code>`;
}

function Request({ task, renew }) {
  const { prompt, images = [], subjects = [], model: _, ...others } = task.request;
  const tried = useRef(0);
  const once = () => { if (Date.now() - tried.current > LINK_MS) { tried.current = Date.now(); renew(); } };
  const pictures = (references) => html`<div class="pictures">${references.map((reference) => html`
    <${Picture} key=${reference} reference=${reference} link=${task.image_links?.[reference]} renew=${once} />`)}</div>`;
  return html`<section class="card"><h2>Request</h2>
    ${prompt && html`<p class="prompt">${prompt}</p>`}
    ${images.length > 0 && pictures(images)}
    ${subjects.map((subject) => html`<div class="subject"><h3>@${subject.id}${subject.voice_id ? html` <span class="small">voice ${subject.voice_id}</span>` : ''}</h3>${pictures(subject.images)}</div>`)}
    <dl class="pairs">${Object.entries({ ...others, external_id: task.external_id, ...task.labels && { labels: task.labels } })
      .filter(([, value]) => value !== undefined && value !== null)
      .map(([name, value]) => html`<dt>${name}</dt><dd>${typeof value === 'string' ? value : JSON.stringify(value)}</dd>`)}</dl>
  </section>`;
}
