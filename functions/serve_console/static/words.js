// What states, sources and amounts are called, and how long ago a moment is.

export const STATES = {
  accepted: 'Recorded. Nothing was created at the provider yet.',
  submitting: 'The create call runs, or its outcome is unknown. The relay makes no second one.',
  submitted: 'The provider has the task.',
  processing: 'The provider works on it.',
  generated: 'The provider is done. The relay copies the video into your bucket.',
  completed: 'The video is in your bucket.',
  failed: 'The provider refused the task or could not do it.',
  expired: 'The task did not end in time. A late video is still delivered.',
  canceled: 'Canceled. No video will come.',
};
export const OPEN = new Set(['accepted', 'submitting', 'submitted', 'processing', 'generated']);

export const SOURCES = {
  http: 'your request over HTTP',
  s3: 'your file in S3',
  event: 'your event',
  batch: 'a line of your batch',
  create: 'the provider’s answer to the create call',
  callback: 'a callback, then a read of the task at the provider',
  check: 'a check by the relay',
  cancel: 'a cancel',
  operator: 'the operator',
  delivery: 'the copy into your bucket',
  delivery_delayed: 'a notice: the copy failed several times',
};

export const BILLING = {
  none: 'Nothing was created at the provider, and nothing is billed.',
  reserved: 'The bill is still to come. Your budget counts the reserved amount.',
  uncertain: 'It is not known whether the provider billed this task. Your budget counts the reserved amount.',
  settled: 'The provider’s bill is known.',
};

// Of a webhook: the states of a notification, and why no whole answer came.
export const OUTCOMES = { delivered: 'Delivered', retrying: 'Will be tried again', gave_up: 'Given up' };
export const WEBHOOK_FAULTS = {
  address_refused: 'The address is not public',
  unreachable: 'No connection: wrong name, or nothing listens',
  certificate: 'The certificate is not valid for the host',
  timeout: 'No whole answer in time',
  answer_broken: 'The connection broke off, or the answer is no HTTP',
  answer_too_large: 'The answer is too large',
};

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`;
  if (ms < DAY) return `${Math.floor(ms / HOUR)} h ${Math.floor((ms % HOUR) / MINUTE)} min`;
  return `${Math.floor(ms / DAY)} d`;
}

export const took = (ms) => (ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : span(ms));

export const moment = (text) => new Date(text).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

// An exact decimal as the API writes it: digits are never rounded here.
export const dollars = (text) => (text === null || text === undefined ? '–' : `$${text}`);

export function size(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  const power = Math.min(3, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** power).toFixed(1)} ${['', 'KB', 'MB', 'GB'][power]}`;
}

export function costOf(task) {
  const { state, cost_usd: cost, reserved_usd: reserved } = task.billing;
  if (state === 'none') return { amount: '$0', about: 'not billed' };
  if (state === 'settled') return { amount: dollars(cost ?? task.usage?.cost), about: cost ? 'billed' : 'bill without a price' };
  return { amount: dollars(reserved), about: state };
}

// Why a task needs a person to look at it, or ''. The limits are several times what a healthy task takes.
export function stuck(task, now) {
  const since = now - Date.parse(task.updated_at);
  const slow = task.request?.off_peak ? DAY : 20 * MINUTE;
  if (task.status === 'expired' && since < 3 * DAY) return `Gave up waiting: ${task.error?.code ?? 'no answer'}`;
  if (task.status === 'generated' && task.delivery?.last_error) {
    return `The copy of the video failed ${task.delivery.attempts}×: ${task.delivery.last_error.code}`;
  }
  if (task.status === 'submitting' && since > 2 * MINUTE) return `No answer to the create call for ${span(since)}`;
  if (task.queued_at) return ''; // it waits for the provider, however long
  if (task.status === 'accepted' && since > 2 * MINUTE) return `Not submitted for ${span(since)}`;
  if (OPEN.has(task.status) && since > slow) return `No change for ${span(since)}`;
  return '';
}

// What the state of a task means for it.
export function meaning(task) {
  if (!task.queued_at) return STATES[task.status];
  const place = task.queue_position ? `, number ${task.queue_position} of your waiting tasks` : '';
  return `The provider is busy: the task waits for its turn since ${moment(task.queued_at)}${place}.`;
}

export const title = (task) => (task.content_deleted_at ? 'Content deleted' : task.request?.prompt || task.external_id || 'Without a prompt');

const quote = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;

export const relayCommand = (apiUrl, ...words) => ['relay', '--api-url', quote(apiUrl), ...words.map((word) => (/^[\w-]+$/.test(word) ? word : quote(word)))].join(' ');

export function commands(task, apiUrl) {
  const relay = (...words) => relayCommand(apiUrl, ...words);
  const { callback_url: _, ...request } = task.request ?? {};
  const same = { ...request, ...(task.labels && { labels: task.labels }) };
  const [isOpen, isDeleted] = [OPEN.has(task.status), Boolean(task.content_deleted_at)];
  return [
    isOpen && ['Follow it', relay('watch', task.task_id)],
    task.videos.length > 0 && !isDeleted && ['Download the video', `${relay('get', task.task_id)} --output ${task.task_id}.mp4`],
    isOpen && ['Cancel it', relay('cancel', task.task_id)],
    ['Read it without the tool', `curl -sS ${quote(`${apiUrl}/v1/tasks/${task.task_id}`)} -H "Authorization: Bearer $RELAY_API_KEY"`],
    !isDeleted && ['Make the same once more', submitCommand(same, apiUrl)],
    !isOpen && !isDeleted && ['Delete its content', relay('delete', task.task_id)],
  ].filter(Boolean);
}

// JSON has no line of its own that reads JSON: the quoted word ends the text, and the shell expands nothing in it.
export const submitCommand = (request, apiUrl) =>
  `${relayCommand(apiUrl, 'submit')} - --watch <<'JSON'\n${JSON.stringify(request, null, 2)}\nJSON`;

// What the reader of a stuck task can do about it.
export function advice(task) {
  const ask = (command) => `or ask your operator for: relay task ${command} ${task.task_id}`;
  if (task.status === 'expired') {
    return task.error?.code === 'video_unavailable'
      ? `The video is made and billed. Your operator can copy it: relay task deliver ${task.task_id}`
      : `A late video is still delivered. If you wait no longer, cancel it and make it once more, ${ask('check')}`;
  }
  if (task.status === 'generated') return `The relay repeats the copy by itself. Wait for the next try, ${ask('deliver')}`;
  if (task.status === 'submitting') return `Perhaps a video is made: the relay looks for it and never pays twice. Wait, ${ask('check')}`;
  if (task.status === 'accepted') return `Nothing is billed. Wait, cancel it without cost, ${ask('check')}`;
  return `The relay asks the provider by itself. Wait, cancel it, ${ask('check')}`;
}
