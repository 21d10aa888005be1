// The shell: who may enter, which page is shown, and the way between pages.

import { about, enter } from "./calls.js";
import { Commands, Doctor, Faults } from "./checks.js";
import { Prices, Tenant, Tenants, Usage } from "./money.js";
import { Dialogs, html, useEffect, useRef, useState } from "./parts.js";
import { Failures, Queue, Queues, Webhooks } from "./queues.js";
import { Now, Task, Tasks } from "./tasks.js";
import { render } from "./vendor/htm-preact-3.1.1.js";

const PAGES = {
  now: ["Now", Now], tasks: ["Tasks", Tasks], queue: ["Queue", Queue], queues: ["DLQs", Queues], failures: ["Failures", Failures],
  webhooks: ["Webhooks", Webhooks], tenants: ["Tenants", Tenants], prices: ["Prices", Prices], usage: ["Usage", Usage],
  doctor: ["Doctor", Doctor], faults: ["Faults", Faults], commands: ["Commands", Commands],
};
const DETAILS = { task: ["tasks", Task], tenant: ["tenants", Tenant] };

function route() {
  const [name = "now", id] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  if (id && Object.hasOwn(DETAILS, name)) return { page: DETAILS[name][0], show: DETAILS[name][1], id };
  const page = Object.hasOwn(PAGES, name) ? name : "now";
  return { page, show: PAGES[page][1] };
}

function Console({ known }) {
  const [at, go] = useState(route);
  const main = useRef();
  useEffect(() => {
    const moved = () => { go({ ...route(), moved: true }); scrollTo(0, 0); };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  useEffect(() => {
    document.title = `${PAGES[at.page][0]} · ${known.stack}`;
    document.querySelector("nav [aria-current]").scrollIntoView({ block: "nearest", inline: "center" });
    if (at.moved && document.activeElement === document.body) main.current.focus({ preventScroll: true }); // the link was on the page before
  }, [at]);
  const shown = Object.entries(PAGES).filter(([name]) => known.local || name !== "faults");
  return html`<a class="skip" href="#main" onClick=${(e) => { e.preventDefault(); main.current.focus(); }}>Skip to the page</a>
    <header class="top"><div class="brand"><img src="icon.svg" alt="" width="28" height="28" /><div><strong>Operator's console</strong><small>${known.stack}</small></div></div>
      <nav aria-label="Pages">${shown.map(([name, [title]]) => html`<a href=${`#/${name}`} aria-current=${at.page === name ? "page" : null}>${title}</a>`)}</nav></header>
    <main id="main" ref=${main} tabindex="-1" key=${`${at.page}/${at.id ?? ""}`}><${Shown} of=${at.show} about=${known} id=${at.id} /></main><${Dialogs} />`;
}

const Shown = ({ of, about, id }) => of({ commands: about.commands }, id);

const Closed = ({ why }) => html`<main class="closed"><img src="icon.svg" alt="" width="48" height="48" /><h1>Operator's console</h1><p role="alert">${why}</p>
  <p class="muted">A link works once, and the page keeps its token in memory only: a reload ends it. Press Enter in the terminal where <code>relay console</code> runs for another link.</p></main>`;

async function start() {
  try {
    const entered = await enter();
    render(entered ? html`<${Console} known=${await about()} />` : html`<${Closed} why="This page needs a new link." />`, document.body);
  } catch (error) {
    render(html`<${Closed} why=${error.message} />`, document.body);
  }
}

// Another link in the same tab is a new beginning.
addEventListener("hashchange", () => { if (!location.hash.startsWith("#/")) location.reload(); });
start();
