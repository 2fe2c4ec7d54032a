// The list of frames that is shown: rows read page by page, kept up to date by news, newest first or riskiest first.

import { get } from "./api.js";
import { on } from "./news.js";

const FIRST_PAGE = 60;
const PAGE = 500;

export class FrameList {
  constructor() {
    this.filter = { body: "", folder: "", status: "", look: false };
    this.rows = [];
    this.total = null;
    this.news = []; // rows that have come and are not shown yet, as the list is held still
    this.held = false;
    this.problem = null;
    this.changed = () => {}; // called when the list is another one
    this.byId = new Map();
    this.next = null;
    this.run = null; // an AbortController for the list being read
    this.reading = null;
    on("frame", (row) => this.hear(row));
    on("again", () => this.read());
  }

  /** Show other frames. */
  choose(filter) {
    this.filter = { ...this.filter, ...filter };
    this.rows = [];
    this.total = null;
    this.changed();
    return this.read();
  }

  /** Read the list from its beginning; what is shown stays until the first rows are there. */
  async read() {
    this.run?.abort();
    this.run = new AbortController();
    const { signal } = this.run;
    try {
      const page = await get(`frames?${this.query(FIRST_PAGE)}`, { signal });
      if (signal.aborted) return;
      this.rows = [];
      this.byId.clear();
      this.news = [];
      this.reading = null;
      this.problem = null;
      this.take(page);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.problem = error;
    }
    this.changed();
  }

  /** See to it that the rows up to *index* are there, as far as the list goes. */
  async need(index) {
    if (index < this.rows.length || this.next === null || this.reading) return;
    const { signal } = this.run;
    this.reading = signal;
    try {
      while (index >= this.rows.length && this.next !== null) {
        const page = await get(`frames?${this.query(PAGE)}&before=${encodeURIComponent(this.next)}`, { signal });
        if (signal.aborted) return;
        this.take(page);
        this.changed();
      }
    } catch (error) {
      if (error.name !== "AbortError") setTimeout(() => this.changed(), 2000); // asks again
    } finally {
      if (this.reading === signal) this.reading = null;
    }
  }

  /** Show what has come meanwhile. */
  release() {
    this.held = false;
    if (!this.news.length) return;
    const news = this.news;
    this.news = [];
    for (const row of news) this.insert(row);
    this.changed();
  }

  /** The ids before and after a frame in this list; null where it is not in it. */
  neighbours(id) {
    const at = this.rows.findIndex((row) => row.id === id);
    if (at < 0) return null;
    if (at + 20 > this.rows.length) this.need(at + 20);
    return { previous: this.rows[at - 1]?.id ?? null, next: this.rows[at + 1]?.id ?? null };
  }

  get(id) {
    return this.byId.get(id) ?? null;
  }

  query(limit) {
    const { body, folder, status, look } = this.filter;
    const asked = new URLSearchParams({ limit, order: look ? "risk" : "latest" });
    if (body) asked.set("body", body);
    if (folder) asked.set("folder", folder);
    if (status) asked.set("status", status);
    return asked;
  }

  take({ frames, next, total }) {
    for (const row of frames) {
      if (this.byId.has(row.id)) continue;
      this.byId.set(row.id, row);
      this.rows.push(row);
    }
    this.next = next;
    this.total = total;
  }

  hear(row) {
    const known = this.byId.get(row.id);
    if (known) {
      const at = this.rows.indexOf(known);
      if (this.filter.status === "waiting" && !this.holds(row)) {
        this.rows.splice(at, 1);
        this.byId.delete(row.id);
        this.total -= 1;
      } else {
        this.rows[at] = row; // though it may not belong here any more: who works through a list wants it to stay
        this.byId.set(row.id, row);
      }
      this.changed();
      return;
    }
    if (this.total === null || !this.holds(row)) return;
    const waiting = this.news.findIndex((each) => each.id === row.id);
    if (waiting >= 0) this.news[waiting] = row;
    else if (this.held) {
      this.news.push(row);
      this.changed();
    } else {
      this.insert(row);
      this.changed();
    }
  }

  holds(row) {
    const { body, folder, status, look } = this.filter;
    return (
      (!body || row.body === body) &&
      (!folder || row.folder === folder) &&
      (!status || row.status === status) &&
      (!look || row.needs_look)
    );
  }

  insert(row) {
    const before = this.filter.look ? (each) => each.risk <= row.risk : (each) => each.at <= row.at;
    const at = this.rows.findIndex(before);
    if (at < 0 && this.next !== null) return; // it belongs to a part that was not read
    this.rows.splice(at < 0 ? this.rows.length : at, 0, row);
    this.byId.set(row.id, row);
    this.total += 1;
  }
}
