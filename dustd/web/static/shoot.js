// The shoot: frames as they land, and what is shown of them.

import { h, say } from "./dom.js";
import { FrameList } from "./frames.js";
import { Grid } from "./grid.js";
import { icon } from "./icons.js";
import { useKeys } from "./keys.js";
import * as news from "./news.js";
import { number, t } from "./words.js";

const STATUSES = ["", "waiting", "cleaned", "clean", "improved", "failed"];

/** The list, which lives on while a single frame is looked at. */
export const list = new FrameList();
let begun = false;
let scrolledTo = 0;
let lookedAt = null;

/** Remember which frame was looked at, so that the list shows it when it is there again. */
export const remember = (id) => (lookedAt = id);

/** Show the list in *main*; returns what ends that. */
export function show(main, { open }) {
  const bar = new Bar();
  const grid = new Grid(list, main);
  const empty = h("p.empty", {});
  const fresh = h("button.fresh", { hidden: true, onclick: () => main.scrollTo({ top: 0 }) }, icon("up"), h("span", {}));
  main.replaceChildren(h("h1.unseen", {}, t("shoot")), bar.element, fresh, empty, grid.element);

  list.changed = () => {
    grid.draw();
    fresh.hidden = !list.news.length;
    say(fresh.lastChild, t("fresh", { n: list.news.length }));
    empty.hidden = list.total !== 0 && !list.problem;
    say(empty, list.problem ? `${list.problem.message}. ${list.problem.remedy}` : nothing());
    bar.count(list.total);
  };
  if (!begun) {
    begun = true;
    list.choose(fromAddress());
  } else list.changed();
  bar.mark();
  grid.paint();
  main.scrollTop = scrolledTo;
  const index = list.rows.findIndex((row) => row.id === lookedAt);
  if (index >= 0) grid.focus(index);
  const ends = [news.on("state", () => bar.fill())];
  useKeys(t("shoot"), [
    { key: "ArrowLeft ArrowRight", words: t("key_move"), run: ({ key }) => grid.move(key === "ArrowLeft" ? -1 : 1) },
    { key: "ArrowUp ArrowDown", run: ({ key }) => grid.move(0, key === "ArrowUp" ? -1 : 1) },
    { key: "Home", words: t("key_newest"), run: () => grid.focus(0) },
    { key: "Enter", words: t("key_open"), run: () => grid.focused && open(`/frames/${grid.focused}`) },
    { key: "l", words: t("needs_look"), run: () => bar.choose({ look: !list.filter.look, status: "" }) },
    { key: "a", words: t("key_all"), run: () => bar.choose({ look: false, status: "", body: "", folder: "" }) },
    { key: "f", words: t("key_failed"), run: () => bar.choose({ look: false, status: "failed" }) },
  ]);
  return () => {
    scrolledTo = main.scrollTop;
    list.changed = () => {};
    grid.close();
    ends.forEach((end) => end());
  };
}

function nothing() {
  const { body, folder, status, look } = list.filter;
  return t(body || folder || status || look ? "nothing_here" : "nothing_yet");
}

function fromAddress() {
  const asked = new URLSearchParams(location.search);
  const filter = { look: asked.has("look") };
  for (const name of ["body", "folder", "status"]) filter[name] = asked.get(name) ?? "";
  return filter;
}

class Bar {
  constructor() {
    this.chips = STATUSES.map((status) =>
      h("button.chip", { dataset: { status }, onclick: () => this.choose({ status, look: false }) },
        status ? icon(status) : null, h("span", {}, t(status ? `status_${status}` : "all")), h("span.count", {})),
    ); // prettier-ignore
    this.look = h("button.chip.look", { onclick: () => this.choose({ look: !list.filter.look, status: "" }) },
      icon("look"), h("span", {}, t("needs_look")), h("span.count", {})); // prettier-ignore
    const select = (name) =>
      h("select", { "aria-label": t(name), hidden: true, onchange: ({ target }) => this.choose({ [name]: target.value }) });
    this.body = select("body");
    this.folder = select("folder");
    this.tally = h("p.tally", {});
    this.element = h("div.bar", { role: "group", "aria-label": t("filters") },
      this.chips, this.look, h("span.selects", {}, this.body, this.folder), this.tally); // prettier-ignore
    this.fill();
  }

  /** Offer what there is to choose from. */
  fill() {
    const { state } = news;
    if (!state) return;
    const counts = { ...state.counts, waiting: state.waiting };
    for (const chip of this.chips) {
      const { status } = chip.dataset;
      if (status) say(chip.lastChild, counts[status] ? number(counts[status]) : "");
    }
    say(this.look.lastChild, state.needs_look_count ? number(state.needs_look_count) : "");
    options(this.body, t("all_bodies"), state.bodies, list.filter.body);
    options(this.folder, t("all_folders"), state.folders, list.filter.folder);
  }

  choose(filter) {
    const kept = Object.entries({ ...list.filter, ...filter }).filter(([, value]) => value);
    const asked = new URLSearchParams(kept.map(([name, value]) => [name, value === true ? "1" : value]));
    history.replaceState(history.state, "", `/${kept.length ? `?${asked}` : ""}`);
    document.getElementById("view").scrollTop = 0;
    list.held = false;
    list.choose(filter);
    this.mark();
  }

  mark() {
    const { look, status, body, folder } = list.filter;
    for (const chip of this.chips) chip.setAttribute("aria-pressed", !look && chip.dataset.status === status);
    this.look.setAttribute("aria-pressed", look);
    this.body.value = body;
    this.folder.value = folder;
  }

  count(total) {
    const order = list.filter.look ? `, ${t("riskiest")}` : "";
    say(this.tally, total === null ? "" : t("frames_n", { n: total }) + order);
  }
}

/** Fill a choice if what it offers has changed; one thing alone is no choice. */
function options(select, all, offered, chosen) {
  select.hidden = offered.length < 2 && !chosen;
  const key = JSON.stringify(offered.map(({ id, name }) => [id, name]));
  if (select.dataset.key === key) return;
  select.dataset.key = key;
  select.replaceChildren(h("option", { value: "" }, all), ...offered.map(({ id, name }) => h("option", { value: id }, name)));
  select.value = chosen;
}
