// The loaded pages of the list of tasks, kept current with two calls a round however many pages there are.
//
// A cursor is a place in the list, so a later page stays what it is while new tasks come. Tasks that new ones push off
// the first page go into a page between, whose start follows the first page's end.

const FIRST = 50;
const MOST = 100;

export class TaskList {
  constructor(call, filters) {
    this.call = call;
    this.filters = filters;
    this.pages = [];
    this.turn = 0;
  }

  get tasks() {
    const byId = new Map(this.pages.toReversed().flatMap((page) => page.tasks).map((task) => [task.task_id, task]));
    return [...byId.values()].sort((one, other) => other.created_at.localeCompare(one.created_at) || one.task_id.localeCompare(other.task_id));
  }

  get hasMore() {
    return Boolean(this.pages.at(-1)?.next);
  }

  // Whether something changed. The first page is read, and of the others the one whose turn it is.
  async refresh(signal) {
    const before = this.pages[0];
    const first = await this.read({ ...before, cursor: null, limit: FIRST }, signal);
    const others = this.pages.slice(1);
    if (before && first !== before && others.length) this.keepPushed(before, first, others);
    this.pages = [first, ...others];
    let changed = first !== before;
    if (others.length) {
      this.turn = (this.turn % others.length) + 1;
      const old = this.pages[this.turn];
      this.pages[this.turn] = await this.read(old, signal);
      changed ||= this.pages[this.turn] !== old;
    }
    return changed;
  }

  async more(signal) {
    const page = await this.read({ cursor: this.pages.at(-1).next, limit: MOST }, signal);
    this.pages.push(page);
  }

  keepPushed(before, first, others) {
    const last = first.tasks.at(-1)?.created_at ?? '';
    const ids = new Set(first.tasks.map((task) => task.task_id));
    const pushed = before.tasks.filter((task) => task.created_at <= last && !ids.has(task.task_id));
    if (!pushed.length && !others[0].between) return;
    let between = others[0].between ? others.shift() : { between: true, tasks: [], next: null };
    if (between.tasks.length + pushed.length > MOST) {
      others.unshift({ ...between, between: false });
      between = { between: true, tasks: [], next: null };
    }
    const tasks = [...pushed, ...between.tasks];
    if (tasks.length) others.unshift({ ...between, tasks, cursor: first.next, limit: tasks.length, tag: undefined });
  }

  // The page as it is now, or the same object if nothing changed.
  async read(page, signal) {
    const query = new URLSearchParams({ ...this.filters, ...(!this.filters.external_id && { limit: page.limit }) });
    if (page.cursor) query.set('cursor', page.cursor);
    const answer = await this.call(`tasks?${query}`, { tag: page.tag, signal });
    if (answer.status === 304) return this.pages.find((known) => known.tag === page.tag && known.cursor === page.cursor) ?? page;
    const { tasks, next_cursor: next } = answer.data;
    return { cursor: page.cursor, limit: page.limit, between: page.between, tag: answer.tag, tasks, next };
  }
}
