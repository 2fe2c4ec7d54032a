// One frame: the picture, its spots, the sensitivity; keys for all of it.

import { command, get } from "./api.js";
import { h, say } from "./dom.js";
import { outcome } from "./grid.js";
import { icon } from "./icons.js";
import { useKeys } from "./keys.js";
import * as news from "./news.js";
import { tell, tellRefusal } from "./said.js";
import { Sensitivity } from "./sensitivity.js";
import { list, remember } from "./shoot.js";
import { SpotList, kindOf } from "./spots.js";
import { tools } from "./tools.js";
import { Viewer } from "./viewer.js";
import { duration, moment, t } from "./words.js";

const PAN_PX = 120;
const AIM_PX = 12;
const IDLE_MS = 1200; // looked at for so long, the next frame is likely to be wanted
let mode = "after"; // stays from frame to frame
let zoom = "fit";
let middle = [0.5, 0.5]; // of the stage, as shares of the picture
let ringed = true;

/** Show the frame *id* in *main*; returns what ends that. */
export function show(main, { id, open, name }) {
  const view = new FrameView(main, id, open, name);
  return () => view.close();
}

class FrameView {
  constructor(main, id, open, tellName) {
    this.id = id;
    this.open = open;
    this.tellName = tellName;
    this.frame = null;
    this.selected = null;
    this.preview = null;
    this.pending = new Map();
    this.pointed = null; // a place, px, that is to be corrected
    remember(id);
    this.viewer = new Viewer({
      select: (spot) => this.select(spot, { follow: false }),
      place: (x, y) => this.correct(x, y),
      change: () => this.marked(),
    });
    this.viewer.mode = mode;
    this.viewer.zoom = zoom;
    this.tools = tools(this);
    this.spots = new SpotList({ select: (spot) => this.select(spot), act: (spot) => this.act(spot) });
    this.sensitivity = new Sensitivity({
      preview: (decision) => this.previewed(decision),
      apply: (value, scope) => this.apply(value, scope),
    });
    this.name = h("h1", {});
    this.about = h("p.about", {});
    this.matter = h("div.matter", { hidden: true });
    this.previous = h("a.step", { "aria-label": t("previous"), title: `${t("previous")} (←)` }, icon("back"));
    this.next = h("a.step", { "aria-label": t("next_frame"), title: `${t("next_frame")} (→)` }, icon("forward"));
    main.replaceChildren(
      h("article.frameview", {},
        h("div.framebar", {}, h("a.back", { href: "/", "aria-label": t("back"), title: `${t("back")} (Esc)` }, icon("up")),
          this.previous, this.next, h("div.names", {}, this.name, this.about)),
        h("div.stagecolumn", {}, this.viewer.element, this.tools.element),
        h("aside.panel", { "aria-label": t("spots") }, this.matter, this.sensitivity.element, this.spots.element)),
    ); // prettier-ignore
    const known = list.get(id);
    if (known) this.head(known);
    this.ends = [
      news.on("frame", (row) => row.id === this.id && this.read()),
      news.on("again", () => this.read()),
      news.on("state", () => this.neighbours()),
    ];
    this.keys();
    this.read();
    this.viewer.element.focus({ preventScroll: true });
  }

  close() {
    ({ mode } = this.viewer);
    zoom = this.viewer.zoom === "free" ? 1 : this.viewer.zoom;
    middle = this.viewer.middle ?? middle;
    this.run?.abort();
    clearTimeout(this.timer);
    this.viewer.close();
    this.ends.forEach((end) => end());
  }

  async read() {
    this.run?.abort();
    this.run = new AbortController();
    try {
      const frame = await get(`frames/${this.id}`, { signal: this.run.signal });
      const first = this.frame === null;
      this.frame = frame;
      this.choosePointed();
      this.head(frame);
      this.viewer.show(frame);
      if (first && this.viewer.zoom !== "fit") this.enlarge();
      this.sensitivity.show(frame);
      this.refresh();
      if (first) this.fetchNext();
    } catch (refused) {
      if (refused.name === "AbortError") return;
      this.say(refused.message, refused.remedy);
    }
  }

  /** Have the next frame's picture made while dustd has nothing else to do. */
  fetchNext() {
    this.timer = setTimeout(async () => {
      const next = this.next.getAttribute("href");
      if (!next || !news.state || news.state.waiting || news.state.in_hand) return;
      const frame = await get(next.slice(1), { signal: this.run.signal }).catch(() => null);
      if (frame?.pictures.overview_after) new Image().src = frame.pictures.overview_after;
    }, IDLE_MS);
  }

  enlarge() {
    const wanted = this.viewer.zoom;
    this.viewer.fit();
    this.viewer.zoomTo(wanted);
    this.viewer.centre(middle[0] * this.frame.width, middle[1] * this.frame.height);
  }

  head(row) {
    say(this.name, row.name);
    this.tellName(row.name);
    const took = row.seconds === null ? "" : duration(row.seconds);
    const facts = row.about ? [row.about, took] : [outcome(row), took, moment(row.at)];
    say(this.about, facts.filter(Boolean).join(" · "));
    if (row.change) this.about.title = row.change;
    this.neighbours();
    if (row.problem) this.say(row.problem.problem, row.problem.remedy, row.status === "failed");
    else this.matter.hidden = true;
  }

  neighbours() {
    const { previous, next } = list.neighbours(this.id) ?? this.frame ?? {};
    for (const [link, id] of [[this.previous, previous], [this.next, next]]) {
      if (id) link.setAttribute("href", `/frames/${id}`);
      else link.removeAttribute("href");
    } // prettier-ignore
  }

  /** Say what is wrong with the frame, and offer another try. */
  say(problem, remedy, retry = false) {
    this.matter.hidden = false;
    const again = h("button", { onclick: () => this.ask("retry", {}, again) }, t("retry"));
    this.matter.replaceChildren(h("p.bad", {}, problem), h("p", {}, remedy), retry ? again : "");
  }

  /** Bring rings and list up to date. */
  refresh() {
    const spots = this.frame?.spots ?? [];
    const kinds = new Map(ringed || this.preview ? spots.map((spot) => [spot.id, kindOf(spot)]) : []);
    for (const id of this.preview?.comes ?? []) kinds.set(id, "comes");
    for (const id of this.preview?.goes ?? []) kinds.set(id, "goes");
    if (!spots.some(({ id }) => id === this.selected)) this.selected = null;
    if (this.selected !== null && !kinds.has(this.selected)) kinds.set(this.selected, kindOf(this.chosen));
    this.viewer.rings.show(spots, kinds, this.selected);
    this.spots.show(spots, this.selected, this.pending);
    this.offer();
    this.viewer.redraw();
    this.marked();
  }

  /** The button beneath the ring that is chosen. */
  offer() {
    const spot = this.chosen;
    const { chip } = this.viewer;
    if (!spot) return chip.replaceChildren();
    const pending = this.pending.get(spot.id);
    if (pending) return chip.replaceChildren(h("span.pending", {}, pending));
    const key = kindOf(spot) === "corrected" ? "X" : "C";
    const words = h("button.small", { onclick: () => this.act(spot) }, t(`act_${kindOf(spot)}`), " ", h("kbd", {}, key));
    return chip.replaceChildren(words);
  }

  get chosen() {
    return this.frame?.spots.find(({ id }) => id === this.selected) ?? null;
  }

  select(id, { follow = true } = {}) {
    this.selected = id;
    this.refresh();
    const spot = this.chosen;
    if (!spot) return;
    this.spots.reveal(id);
    if (follow) this.viewer.centre(spot.x, spot.y);
  }

  /** Choose the next or an earlier spot, in the order of the list. */
  step(by) {
    const order = ["corrected", "rejected", "left"];
    const spots = order.flatMap((kind) => (this.frame?.spots ?? []).filter((spot) => kindOf(spot) === kind));
    if (!spots.length) return;
    const now = spots.findIndex(({ id }) => id === this.selected);
    const to = now < 0 ? (by > 0 ? 0 : spots.length - 1) : Math.max(0, Math.min(spots.length - 1, now + by));
    this.select(spots[to].id);
  }

  go(link) {
    const path = link.getAttribute("href");
    if (path) this.open(path, { replace: true });
  }

  // --- commands -----------------------------------------------------------------------------------------------------

  /** Do with a spot what its button says. */
  act(spot) {
    const kind = kindOf(spot);
    if (kind === "corrected") return this.ofSpot(spot, "reject", { spots: [spot.id] }, t("taking_back"));
    if (kind === "rejected") return this.ofSpot(spot, "undo", { spots: [spot.id] }, t("correcting"));
    return this.ofSpot(spot, "correct", { x: spot.x, y: spot.y }, t("correcting"));
  }

  async ofSpot(spot, what, body, words) {
    if (this.pending.has(spot.id)) return;
    this.pending.set(spot.id, words);
    this.refresh();
    await this.ask(what, body);
    this.pending.delete(spot.id);
    this.refresh();
  }

  async correct(x, y) {
    this.viewer.setAiming(false);
    this.marked();
    tell(t("correcting"));
    this.pointed = [x, y];
    const done = await this.ask("correct", { x: Math.round(x * 10) / 10, y: Math.round(y * 10) / 10 });
    if (!done) this.pointed = null;
  }

  /** Choose the spot that was pointed at, once it is corrected. */
  choosePointed() {
    if (!this.pointed) return;
    const [x, y] = this.pointed;
    const away = (spot) => Math.hypot(spot.x - x, spot.y - y);
    const there = this.frame.spots.filter((spot) => spot.corrected && away(spot) <= spot.diameter_px);
    if (!there.length) return;
    this.selected = there.sort((one, other) => away(one) - away(other))[0].id;
    this.pointed = null;
  }

  async apply(value, scope) {
    tell(t("deciding"));
    await this.ask("sensitivity", { value, scope });
  }

  /** Have something done with the frame; tells whether it was. */
  async ask(what, body, button = null) {
    const { id } = this;
    let done = false;
    if (button) button.disabled = true;
    try {
      tell(await command(`frames/${id}/${what}`, body));
      done = true;
      if (!this.run?.signal.aborted) await this.read();
    } catch (refused) {
      tellRefusal(refused);
    }
    if (button) button.disabled = false;
    return done;
  }

  previewed(decision) {
    this.preview = decision;
    this.refresh();
  }

  // --- hands --------------------------------------------------------------------------------------------------------

  marked() {
    this.tools?.mark(this.viewer, ringed);
  }

  showRings(is) {
    ringed = is;
    this.refresh();
  }

  visualise(is) {
    this.viewer.visualiser.isOn = is;
    this.viewer.changed();
  }

  aim(is) {
    this.viewer.setAiming(is && Boolean(this.frame?.candidates_kept ?? this.frame?.width));
    this.marked();
    if (is) this.viewer.element.focus({ preventScroll: true });
  }

  leave() {
    if (this.viewer.aiming) this.aim(false);
    else if (this.preview) this.sensitivity.reset();
    else if (this.selected !== null) this.select(null);
    else this.open("/" + addressOfList());
  }

  arrow(dx, dy, fallback) {
    if (!this.viewer.aiming) return fallback();
    const [x, y] = this.viewer.aimed;
    return this.viewer.aimTo(x + dx * AIM_PX, y + dy * AIM_PX);
  }

  keys() {
    const { viewer } = this;
    const act = (kinds) => () => this.chosen && kinds.includes(kindOf(this.chosen)) && this.act(this.chosen);
    const zoomTo = (to) => () => {
      const spot = this.chosen;
      viewer.zoomTo(to);
      if (spot) viewer.centre(spot.x, spot.y);
    };
    const pan = (dx, dy) => () => viewer.pan(dx * PAN_PX, dy * PAN_PX);
    useKeys(t("frame"), [
      { key: "ArrowLeft ArrowRight", words: t("key_frames"), run: ({ key }) =>
        key === "ArrowLeft" ? this.arrow(-1, 0, () => this.go(this.previous)) : this.arrow(1, 0, () => this.go(this.next)) },
      { key: "ArrowUp ArrowDown", words: t("key_spots"), run: ({ key }) =>
        key === "ArrowUp" ? this.arrow(0, -1, () => this.step(-1)) : this.arrow(0, 1, () => this.step(1)) },
      { key: "x Delete", words: t("key_reject"), run: act(["corrected"]) },
      { key: "c", words: t("key_correct"), run: () =>
        this.chosen && kindOf(this.chosen) !== "corrected" ? this.act(this.chosen) : this.aim(!viewer.aiming) },
      { key: "Enter", run: () => (viewer.aiming ? viewer.name() : false) },
      { key: "b", words: t("key_hold"), run: () => viewer.hold(true), release: () => viewer.hold(false) },
      { key: "y", words: t("key_split"), run: () => viewer.setMode(viewer.mode === "split" ? "after" : "split") },
      { key: ", .", words: t("key_slide"), run: ({ key }) => viewer.setSplit(viewer.split + (key === "," ? -0.05 : 0.05)) },
      { key: "0", words: t("key_fit"), run: () => viewer.fit() },
      { key: "1", words: t("key_100"), run: zoomTo(1) },
      { key: "2", words: t("key_200"), run: zoomTo(2) },
      { key: "z", words: t("key_zoom"), run: () => (viewer.zoom === "fit" ? zoomTo(1)() : viewer.fit()) },
      { key: "Shift+ArrowLeft", words: t("key_pan"), run: pan(1, 0) },
      { key: "Shift+ArrowRight", run: pan(-1, 0) },
      { key: "Shift+ArrowUp", run: pan(0, 1) },
      { key: "Shift+ArrowDown", run: pan(0, -1) },
      { key: "v", words: t("key_visualise"), run: () => this.visualise(!viewer.visualiser.isOn) },
      { key: "r", words: t("key_rings"), run: () => this.showRings(!ringed) },
      { key: "+ -", words: t("key_sensitivity"), run: ({ key }) => this.sensitivity.step(key === "-" ? -5 : 5) },
      { key: "Escape", words: t("key_leave"), run: () => this.leave() },
    ]); // prettier-ignore
  }
}

function addressOfList() {
  const kept = Object.entries(list.filter).filter(([, value]) => value);
  const asked = new URLSearchParams(kept.map(([name, value]) => [name, value === true ? "1" : value]));
  return kept.length ? `?${asked}` : "";
}
