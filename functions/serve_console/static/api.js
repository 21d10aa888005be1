// Calls of the relay's API with the client's key. The key is kept in this tab's session storage, and is in no address.

const BASE = new URL('./', document.baseURI);
const KEY = 'vidu-relay-key';
const TIMEOUT_MS = 40_000; // API Gateway answers within 30 s

export const apiUrl = BASE.href.replace(/\/v1\/$/, '');

// Kept apart from the pages: what they share is only whether there is a key, and whether the relay answers.
const listeners = new Set();
const state = { key: sessionStorage.getItem(KEY), refused: '', reachable: true };

export const session = {
  get: () => state,
  listen(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
  open(key) {
    sessionStorage.setItem(KEY, key);
    change({ key, refused: '' });
  },
  close(refused = '') {
    sessionStorage.removeItem(KEY);
    change({ key: null, refused, reachable: true });
  },
};

function change(parts) {
  if (Object.keys(parts).every((name) => state[name] === parts[name])) return;
  Object.assign(state, parts);
  listeners.forEach((listener) => listener());
}

// `status` 0: no answer came. `code` is the relay's, '' for API Gateway's own answers.
export class ApiError extends Error {
  constructor(status, body, retryAfter) {
    super(body.detail || body.message || 'The relay did not answer.');
    this.status = status;
    this.code = body.code || '';
    this.faults = body.errors || [];
    this.retryAfter = retryAfter;
  }

  get isOutage() {
    return this.status === 0 || (this.status >= 500 && !this.code);
  }
}

// The answer as {status, data, tag, retryAfter}; with `tag` of an earlier one perhaps 304 and no data.
export async function call(path, { method = 'GET', body, headers = {}, tag, signal, key = state.key } = {}) {
  const sent = { ...headers, authorization: `Bearer ${key}` };
  if (body !== undefined) sent['content-type'] = 'application/json';
  if (tag) sent['if-none-match'] = tag;
  const stop = AbortSignal.any([AbortSignal.timeout(TIMEOUT_MS), ...(signal ? [signal] : [])]);
  let answer;
  let text;
  try {
    answer = await fetch(new URL(path, BASE), {
      method, headers: sent, signal: stop, cache: 'no-store', body: body === undefined ? undefined : JSON.stringify(body),
    });
    text = await answer.text();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    change({ reachable: false });
    throw new ApiError(0, {});
  }
  const data = parse(text);
  const retryAfter = Number(answer.headers.get('retry-after')) || null;
  if (answer.ok || answer.status === 304) {
    change({ reachable: true });
    return { status: answer.status, data, tag: answer.headers.get('etag'), retryAfter };
  }
  const failed = new ApiError(answer.status, data || {}, retryAfter);
  if ((answer.status === 401 || answer.status === 403) && !failed.code && key === state.key) {
    session.close('The relay refuses this key: it is unknown or revoked, or its tenant is disabled.');
  } else change({ reachable: !failed.isOutage });
  throw failed;
}

function parse(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null; // a proxy's page, for example: the status says enough
  }
}

// POST the form that POST /v1/uploads gave; the image goes last.
export async function sendForm(form, file) {
  const body = new FormData();
  Object.entries(form.fields).forEach(([name, value]) => body.append(name, value));
  body.append('file', file);
  const answer = await fetch(form.url, { method: 'POST', body }).catch(() => null);
  if (!answer?.ok) throw new ApiError(answer ? answer.status : 0, { detail: 'S3 did not take the image. Try again.' });
}
