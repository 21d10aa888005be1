// Calls of the console's own server. The token lives in this module alone: a reload of the page loses it.

let token = null;

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

// Exchange the link's one-time token, which is behind `#`, for the page's. False if there is none.
export async function enter() {
  const link = location.hash.slice(1);
  if (!/^[\w-]{30,}$/.test(link)) return false;
  history.replaceState(null, "", location.pathname);
  token = (await call("POST", "/api/session", { token: link })).token;
  return true;
}

export const about = () => call("GET", "/api/about");

// A command that changes nothing. `say` gets what it prints meanwhile.
export function read(path, values = {}, say) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values))
    for (const one of [value].flat()) if (one !== undefined && one !== "" && one !== false) query.append(name, one);
  return call("GET", `${address(path)}${query.size ? `?${query}` : ""}`, undefined, say);
}

// Without `confirm` the command line and what confirms it; with it the command runs.
export const act = (path, values, confirm, say) => call("POST", address(path), { values, confirm }, say);

const address = (path) => `/api/commands/${path.replaceAll(" ", "/")}`;

async function call(method, url, body, say) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body) headers["Content-Type"] = "application/json";
  let reply;
  try {
    reply = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Refused("The console does not answer: start `relay console` again in the terminal.", 0);
  }
  let last = null;
  for await (const line of lines(reply)) {
    if (line.line || line.remark) say?.(line);
    else last = line;
  }
  if (!last) throw new Refused("The answer broke off: see the terminal.", 0);
  if (last.error) throw new Refused(last.error, reply.status);
  return last;
}

async function* lines(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    const parts = (rest + (value ?? "")).split("\n");
    rest = parts.pop();
    for (const part of parts) if (part) yield JSON.parse(part);
    if (done) return;
  }
}
