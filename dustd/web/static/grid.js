// The grid of thumbnails. Only those on the screen, and a few around, are elements; thousands stay smooth.

import { h, perFrame, say } from "./dom.js";
import { icon } from "./icons.js";
import { duration, moment, t } from "./words.js";

const SMALLEST_PX = 232;
const SMALLEST_ON_PHONES_PX = 150;
const GAP_PX = 6;
const CAPTION_PX = 46;
const AROUND = 2; // rows of the grid kept above and below the screen
const RETRY_MS = 2500; // a thumbnail that could not be had
const TRIES = 5;

export class Grid {
  /** *list* is a FrameList, *scroller* what scrolls. */
  constructor(list, scroller) {
    this.list = list;
    this.scroller = scroller;
    this.cells = new Map(); // id of the frame → its element
    this.focused = null; // the frame that has the keyboard's focus, kept as an element wherever it is
    this.element = h("div.grid", { role: "group", "aria-label": t("frames") });
    this.draw = perFrame(() => this.paint());
    this.onscroll = () => {
      this.list.held = this.scroller.scrollTop > this.element.offsetTop + 40;
      if (!this.list.held) this.list.release();
      this.draw();
    };
    scroller.addEventListener("scroll", this.onscroll, { passive: true });
    this.resize = new ResizeObserver(() => this.draw());
    this.resize.observe(scroller);
    this.element.addEventListener("focusin", ({ target }) => (this.focused = target.dataset.id ?? null));
    this.element.addEventListener("focusout", () => (this.focused = null));
  }

  close() {
    this.scroller.removeEventListener("scroll", this.onscroll);
    this.resize.disconnect();
  }

  measure() {
    const width = this.element.clientWidth;
    const smallest = width < 600 ? SMALLEST_ON_PHONES_PX : SMALLEST_PX;
    const columns = Math.max(2, Math.floor((width + GAP_PX) / (smallest + GAP_PX)));
    const cell = (width - GAP_PX * (columns - 1)) / columns;
    this.columns = columns;
    this.cellWidth = cell;
    this.rowHeight = Math.round((cell * 2) / 3) + CAPTION_PX + GAP_PX;
  }

  paint() {
    if (!this.element.isConnected) return;
    this.measure();
    const { columns, rowHeight, list } = this;
    const lines = Math.ceil((list.total ?? 0) / columns);
    const height = `${lines * rowHeight}px`;
    if (this.element.style.height !== height) this.element.style.height = height;
    const top = this.scroller.scrollTop - this.element.offsetTop;
    const first = Math.max(0, Math.floor(top / rowHeight) - AROUND) * columns;
    const last = (Math.ceil((top + this.scroller.clientHeight) / rowHeight) + AROUND) * columns;
    const wanted = new Map(); // in the order of the list, which is that of the Tab key
    for (let index = first; index < Math.min(last, list.rows.length); index += 1) wanted.set(list.rows[index].id, index);
    const kept = this.focused && !wanted.has(this.focused) ? list.rows.findIndex((row) => row.id === this.focused) : -1;
    const order = kept < 0 ? [...wanted] : [[this.focused, kept], ...wanted].sort(([, a], [, b]) => a - b);
    const free = []; // elements whose frame has left the screen serve those that come
    for (const [id, cell] of this.cells) {
      if (wanted.has(id) || (kept >= 0 && id === this.focused)) continue;
      this.cells.delete(id);
      cell.element.remove();
      free.push(cell);
    }
    let next = this.element.firstChild;
    for (const [id, index] of order) {
      const { element } = this.place(id, index, free);
      if (element === next) next = next.nextSibling;
      else this.element.insertBefore(element, next);
    }
    list.need(Math.min(last, (list.total ?? 0) - 1));
  }

  place(id, index, free) {
    let cell = this.cells.get(id);
    if (!cell) {
      cell = free.pop() ?? makeCell();
      this.cells.set(id, cell);
    }
    const x = (index % this.columns) * (this.cellWidth + GAP_PX);
    const y = Math.floor(index / this.columns) * this.rowHeight;
    const { style } = cell.element;
    style.transform = `translate(${x}px, ${y}px)`;
    style.width = `${this.cellWidth}px`;
    style.height = `${this.rowHeight - GAP_PX}px`;
    cell.show(this.list.rows[index]);
    return cell;
  }

  /** Put the keyboard's focus on a frame, scrolling as far as needed. */
  focus(index) {
    const row = this.list.rows[index];
    if (!row) return;
    const top = Math.floor(index / this.columns) * this.rowHeight + this.element.offsetTop;
    const { scroller } = this;
    if (top < scroller.scrollTop + 60) scroller.scrollTop = top - 60;
    const bottom = top + this.rowHeight - scroller.clientHeight;
    if (bottom > scroller.scrollTop) scroller.scrollTop = bottom;
    this.focused = row.id;
    this.paint();
    this.cells.get(row.id)?.element.focus({ preventScroll: true });
  }

  /** Move the focus by so many frames, or rows of the grid. */
  move(by, rows = 0) {
    const now = this.list.rows.findIndex((row) => row.id === this.focused);
    const to = now < 0 ? this.firstVisible() : now + by + rows * (this.columns ?? 1);
    this.focus(Math.max(0, Math.min(this.list.rows.length - 1, to)));
  }

  firstVisible() {
    const top = this.scroller.scrollTop - this.element.offsetTop;
    return Math.max(0, Math.ceil(top / this.rowHeight)) * this.columns;
  }
}

function makeCell() {
  const image = h("img", { alt: "", decoding: "async", draggable: "false" });
  const plate = h("div.plate", {});
  const mark = h("span.mark", { title: t("needs_look_why") }, icon("look"), h("span.unseen", {}, t("needs_look")));
  const name = h("span.name", {});
  const what = h("span.what", {});
  const took = h("span.took", {});
  const sign = h("span.sign", {});
  const element = h(
    "a.cell", {},
    h("div.thumb", {}, plate, image, mark),
    h("div.caption", {}, h("div.line", {}, name, took), h("div.line", {}, sign, what)),
  ); // prettier-ignore
  let shown = null;
  let tries = 0;
  image.addEventListener("load", () => image.classList.add("there"));
  image.addEventListener("error", () => {
    if (!image.hasAttribute("src") || ++tries > TRIES) return;
    setTimeout(() => shown?.thumbnail && element.isConnected && (image.src = shown.thumbnail), RETRY_MS);
  });

  function show(row) {
    if (row === shown) return;
    if (row.id !== shown?.id) {
      element.href = `/frames/${row.id}`;
      element.dataset.id = row.id;
    }
    if (row.thumbnail !== shown?.thumbnail) {
      image.classList.remove("there");
      tries = 0;
      if (row.thumbnail) image.src = row.thumbnail;
      else image.removeAttribute("src");
    }
    if (row.status !== shown?.status || !row.thumbnail !== !shown?.thumbnail) {
      element.dataset.status = row.status;
      sign.replaceChildren(icon(row.status));
      plate.replaceChildren(row.thumbnail ? "" : icon(row.status));
    }
    mark.hidden = !row.needs_look;
    say(name, row.name);
    say(what, outcome(row));
    say(took, row.seconds === null ? "" : duration(row.seconds));
    element.title = [row.name, moment(row.at), row.change, row.problem?.problem].filter(Boolean).join("\n");
    shown = row;
  }
  return { element, show };
}

/** Say what became of a frame, in a few words. */
export function outcome(row) {
  if (row.status === "cleaned") return t("corrected", { n: row.corrected });
  if (row.status === "improved") return `${t("corrected", { n: row.corrected })}, ${t("status_improved")}`;
  return t(`status_${row.status}`);
}
