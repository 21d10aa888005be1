// The loaded pages of the list of tasks, kept current with two calls a round however many pages there are.
//
// A cursor is a place in the list and always the same for that place. So later pages stay as they are while new tasks
// come, and a page between closes the gap from the first page's end to where the later ones begin.

const FIRST = 50;
const MOST = 100;

export class TaskList {
  constructor(call, filters) {
    this.call = call;
    this.filters = filters;
    this.pages = [];
    this.turn = 0;
    this.running = Promise.resolve();
  }

  get tasks() {
    const byId = new Map(this.pages.toReversed().flatMap((page) => page.tasks).map((task) => [task.task_id, task]));
    return [...byId.values()].sort((one, other) => other.created_at.localeCompare(one.created_at) || one.task_id.localeCompare(other.task_id));
  }

  get hasMore() {
    return Boolean(this.pages.at(-1)?.next);
  }

  // Steps run one after the other: each starts from the pages that the one before left.
  inTurn(step) {
    const done = this.running.then(step);
    this.running = done.catch(() => {}); // the step's caller gets its fault
    return done;
  }

  // Whether something changed. The first page is read, and of the others the one whose turn it is.
  refresh(signal) {
    return this.inTurn(() => this.readAgain(signal));
  }

  async readAgain(signal) {
    const before = this.pages;
    const first = await this.read({ ...before[0], cursor: null, limit: FIRST }, before[0], signal);
    let others = before.slice(1);
    let turn = others.length ? (this.turn % others.length) + 1 : 0;
    if (others.length && first.next !== others[0].cursor) {
      const [between, ...later] = others[0].between ? others : [{ tasks: [] }, ...others];
      const tasks = [...before[0].tasks, ...between.tasks];
      others = [{ between: true, cursor: first.next, limit: Math.min(MOST, tasks.length), tasks, next: null }, ...later];
      turn = 1;
    }
    const pages = [first, ...others];
    if (turn) pages[turn] = await this.read(pages[turn], pages[turn], signal);
    this.turn = turn;
    this.pages = turn ? this.closeGap(pages, turn) : pages;
    return pages.length !== before.length || pages.some((page, at) => page !== before[at]);
  }

  more() {
    return this.inTurn(async () => {
      const page = await this.read({ cursor: this.pages.at(-1).next, limit: MOST });
      this.pages = [...this.pages, page];
    });
  }

  // Where a page ends before the next one begins, the next round reads what is between.
  closeGap(pages, at) {
    const [page, next] = pages.slice(at, at + 2);
    if (!next || page.next === next.cursor || page.next === null) return pages;
    if (page.tasks.at(-1)?.created_at <= next.tasks[0]?.created_at) return pages;
    const between = { between: true, cursor: page.next, limit: MOST, tasks: [], next: null };
    return [...pages.slice(0, at), { ...page, between: false }, between, ...pages.slice(at + 1)];
  }

  // The page as it is now, or `known` if nothing changed.
  async read(page, known, signal) {
    const query = new URLSearchParams({ ...this.filters, ...(!this.filters.external_id && { limit: page.limit }) });
    if (page.cursor) query.set('cursor', page.cursor);
    const answer = await this.call(`tasks?${query}`, { tag: page.tag, signal });
    if (answer.status === 304) return known;
    const { tasks, next_cursor: next } = answer.data;
    return { cursor: page.cursor, limit: page.limit, between: page.between, tag: answer.tag, tasks, next };
  }
}
