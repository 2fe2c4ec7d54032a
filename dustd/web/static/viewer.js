// The picture before and after: fit, 100 % and 200 %, moved by hand and keys, a slider between the two, rings, high-pass.

import { h, perFrame, say } from "./dom.js";
import { Picture } from "./picture.js";
import { Rings } from "./rings.js";
import { Visualiser } from "./visualise.js";
import { t } from "./words.js";

const CLICK_PX = 4; // moved less than this, a press is a click
const SMALL_PX = 2048; // the long side of the small pictures
const HIT_PX = 8; // beside a ring still means it
const KEPT_PX = 80; // of the picture stays on the stage, wherever it is moved

export class Viewer {
  /** *on* hears { select(id or null), place(x, y), change() }. */
  constructor(on) {
    this.on = on;
    this.view = { x: 0, y: 0, scale: 1 };
    this.zoom = "fit";
    this.mode = "after";
    this.holding = false;
    this.split = 0.5;
    this.frame = null;
    this.problem = { before: null, after: null };
    this.redraw = perFrame(() => this.draw());
    this.before = new Picture("before", (problem) => this.loaded("before", problem));
    this.after = new Picture("after", (problem) => this.loaded("after", problem));
    this.rings = new Rings();
    this.visualiser = new Visualiser();
    this.divider = h("div.divider", {
      role: "slider", tabindex: "0", "aria-label": t("slider"), "aria-valuemin": 0, "aria-valuemax": 100,
    }, h("span", {}, t("before")), h("span", {}, t("after"))); // prettier-ignore
    this.word = h("span.stageword", {});
    this.busy = h("p.busyline", { role: "status" });
    this.aim = h("div.aim", { hidden: true });
    this.chip = h("div.chipline", { hidden: true });
    this.element = h("div.stage", { tabindex: "0", role: "application", "aria-label": t("stage") },
      this.before.element, this.after.element, this.visualiser.element, this.rings.element,
      this.divider, this.aim, this.chip, this.word, this.busy); // prettier-ignore
    this.hands();
    this.resize = new ResizeObserver(() => this.relayout());
    this.resize.observe(this.element);
  }

  close() {
    this.resize.disconnect();
    this.before.clear();
    this.after.clear();
  }

  /** Show a frame (of the API); another version of the same one keeps what is on the screen until it is there. */
  show(frame) {
    const another = frame.id !== this.frame?.id;
    const turned = another || frame.width !== this.frame.width;
    this.frame = frame;
    if (another) {
      this.before.clear();
      this.after.clear();
      this.problem = { before: null, after: null };
    }
    if (turned) {
      this.before.resize(frame.width, frame.height);
      this.after.resize(frame.width, frame.height);
      if (this.zoom === "fit" || !this.view.scale) this.fit();
      else this.centre(frame.width / 2, frame.height / 2);
    }
    this.after.want("thumbnail", frame.thumbnail);
    this.wantPictures();
    this.redraw();
  }

  wantPictures() {
    const { pictures } = this.frame ?? {};
    if (!pictures) return;
    this.after.want("small", pictures.overview_after);
    if (this.after.has("small") || this.shown !== "after") this.before.want("small", pictures.overview_before);
    const long = Math.max(this.frame.width, this.frame.height);
    const shown = this.view.scale * devicePixelRatio; // screen px a picture px
    if (long <= SMALL_PX || (shown < 0.99 && long * shown < SMALL_PX * 1.25)) return;
    this.after.want("large", pictures.after);
    if (this.after.has("large") || this.shown !== "after") this.before.want("large", pictures.before);
  }

  loaded(kind, problem) {
    this.problem[kind] = problem;
    this.wantPictures();
    this.redraw();
  }

  // --- what is seen -------------------------------------------------------------------------------------------------

  /** What is shown now: "before", "split" or "after". */
  get shown() {
    return this.holding ? "before" : this.mode;
  }

  setMode(mode) {
    this.mode = mode;
    this.changed();
  }

  hold(is) {
    if (this.holding === is) return;
    this.holding = is;
    this.changed();
  }

  setSplit(share) {
    this.split = Math.max(0, Math.min(1, share));
    this.redraw();
  }

  changed() {
    this.wantPictures();
    this.redraw();
    this.on.change();
  }

  get size() {
    return [this.element.clientWidth, this.element.clientHeight];
  }

  /** The scale at which the whole picture is seen; never larger than 100 %. */
  get fitScale() {
    const [width, height] = this.size;
    if (!this.frame?.width || !width) return 0;
    const margin = width > 600 ? 24 : 0;
    return Math.min((width - margin) / this.frame.width, (height - margin) / this.frame.height, 1 / devicePixelRatio);
  }

  fit() {
    this.zoom = "fit";
    const scale = this.fitScale;
    const [width, height] = this.size;
    const { width: across = 0, height: down = 0 } = this.frame ?? {};
    this.view = { scale, x: (width - across * scale) / 2, y: (height - down * scale) / 2 };
    this.changed();
  }

  /** Zoom to "fit", 1 or 2 (picture px on screen px), keeping the point [x, y] of the stage in place. */
  zoomTo(zoom, [x, y] = this.size.map((each) => each / 2)) {
    if (zoom === "fit") return this.fit();
    this.zoom = zoom;
    return this.scaleTo(zoom / devicePixelRatio, [x, y]);
  }

  scaleTo(scale, [x, y]) {
    const ratio = scale / (this.view.scale || scale);
    this.view = { scale, x: x - (x - this.view.x) * ratio, y: y - (y - this.view.y) * ratio };
    this.keepOnStage();
    this.changed();
  }

  /** Bring a place of the picture, px, to the middle of the stage, where it is larger than that. */
  centre(px, py) {
    if (this.zoom === "fit") return;
    const [width, height] = this.size;
    this.view.x = width / 2 - px * this.view.scale;
    this.view.y = height / 2 - py * this.view.scale;
    this.keepOnStage();
    this.redraw();
  }

  /** Which place is in the middle of the stage, as shares of the picture; null where all of it is seen. */
  get middle() {
    if (this.zoom === "fit" || !this.frame?.width) return null;
    const [width, height] = this.size;
    const { x, y, scale } = this.view;
    return [(width / 2 - x) / scale / this.frame.width, (height / 2 - y) / scale / this.frame.height];
  }

  pan(dx, dy) {
    if (this.zoom === "fit") return;
    this.view.x += dx;
    this.view.y += dy;
    this.keepOnStage();
    this.redraw();
  }

  keepOnStage() {
    const [width, height] = this.size;
    const across = this.frame.width * this.view.scale;
    const down = this.frame.height * this.view.scale;
    this.view.x = Math.max(KEPT_PX - across, Math.min(width - KEPT_PX, this.view.x));
    this.view.y = Math.max(KEPT_PX - down, Math.min(height - KEPT_PX, this.view.y));
  }

  relayout() {
    if (!this.frame) return;
    if (this.zoom === "fit") this.fit();
    else this.redraw();
  }

  draw() {
    const { element, view, shown } = this;
    element.dataset.shown = shown;
    element.dataset.zoom = this.zoom;
    element.classList.toggle("enlarged", view.scale * devicePixelRatio >= 1.9 && this.after.has("large"));
    this.before.move(view);
    this.after.move(view);
    const cut = `${(this.split * 100).toFixed(2)}%`;
    this.before.element.style.clipPath = shown === "split" ? `inset(0 calc(100% - ${cut}) 0 0)` : "";
    this.after.element.style.clipPath = shown === "split" ? `inset(0 0 0 ${cut})` : "";
    this.divider.style.left = cut;
    this.divider.hidden = shown !== "split";
    this.divider.setAttribute("aria-valuenow", Math.round(this.split * 100));
    this.rings.draw(view);
    this.visualiser.draw(this);
    const at = this.rings.selectedAt(view);
    this.chip.hidden = !at || !this.chip.hasChildNodes();
    if (at) this.chip.style.transform = `translate(${at[0]}px, ${at[1]}px)`;
    say(this.word, shown === "split" ? "" : t(shown));
    say(this.busy, this.said());
  }

  said() {
    const { before, after, shown, problem } = this;
    const wanted = shown === "before" ? [before] : shown === "after" ? [after] : [before, after];
    const failed = wanted.map(({ kind }) => problem[kind]).find(Boolean);
    if (failed) return failed;
    if (wanted.some((each) => each.isComing("large"))) return t("developing_full");
    if (wanted.some((each) => each.isComing("small") || (!each.image && this.frame?.pictures?.after))) return t("developing");
    return "";
  }

  // --- hands --------------------------------------------------------------------------------------------------------

  /** Choose a place: the next click, or Enter at the cross, names it. */
  setAiming(is) {
    this.aiming = is;
    this.aim.hidden = !is;
    this.element.classList.toggle("aiming", is);
    if (is) this.aimTo(...this.size.map((each) => each / 2));
  }

  aimTo(x, y) {
    const [width, height] = this.size;
    this.aimed = [Math.max(0, Math.min(width, x)), Math.max(0, Math.min(height, y))];
    this.aim.style.transform = `translate(${this.aimed[0]}px, ${this.aimed[1]}px)`;
  }

  /** Turn a point of the stage into one of the picture, px; null outside of it. */
  inPicture([x, y]) {
    const [px, py] = [(x - this.view.x) / this.view.scale, (y - this.view.y) / this.view.scale];
    const inside = px >= 0 && py >= 0 && px < this.frame.width && py < this.frame.height;
    return inside ? [px, py] : null;
  }

  hands() {
    const { element } = this;
    const pointers = new Map();
    let start = null;
    const at = (event) => {
      const box = element.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    const middle = () => {
      const [a, b] = [...pointers.values()];
      return b ? [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2, Math.hypot(a[0] - b[0], a[1] - b[1])] : a;
    };
    element.addEventListener("pointerdown", (event) => {
      if (event.button || event.target.closest("button")) return;
      element.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, at(event));
      const sliding = event.target.closest(".divider") !== null;
      start = { at: at(event), last: middle(), moved: pointers.size > 1, sliding, aiming: this.aiming };
    });
    element.addEventListener("pointermove", (event) => {
      if (this.aiming && event.pointerType === "mouse") this.aimTo(...at(event));
      if (!pointers.has(event.pointerId) || !start || !this.frame) return;
      pointers.set(event.pointerId, at(event));
      const [x, y, apart] = middle();
      const far = Math.hypot(x - start.at[0], y - start.at[1]) > CLICK_PX;
      start.moved ||= far;
      if (start.sliding) this.setSplit(x / element.clientWidth);
      else if (start.moved) {
        if (apart && start.last[2]) {
          this.zoom = "free";
          this.scaleTo(Math.max(this.fitScale, Math.min(4, (this.view.scale * apart) / start.last[2])), [x, y]);
        }
        this.pan(x - start.last[0], y - start.last[1]);
        element.classList.add("moving");
      }
      start.last = middle();
    });
    const lift = (event) => {
      if (!pointers.delete(event.pointerId) || !start) return;
      element.classList.remove("moving");
      if (pointers.size) {
        start.last = middle();
        return;
      }
      const { moved, sliding } = start;
      start = null;
      if (!moved && !sliding && event.type === "pointerup") this.click(at(event));
    };
    element.addEventListener("pointerup", lift);
    element.addEventListener("pointercancel", lift);
    element.addEventListener("dblclick", (event) => {
      if (event.target.closest("button") || this.aiming || this.rings.hit(at(event), this.view, HIT_PX) !== null) return;
      this.zoomTo(this.zoom === "fit" ? 1 : "fit", at(event));
    });
    element.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (!event.ctrlKey) return this.pan(-event.deltaX, -event.deltaY);
      const scale = this.view.scale * Math.exp(-event.deltaY / 200);
      this.zoom = "free";
      return scale <= this.fitScale ? this.fit() : this.scaleTo(Math.min(4, scale), at(event));
    }, { passive: false }); // prettier-ignore
    this.divider.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
      if (by === undefined) return;
      this.setSplit(this.split + by);
      event.preventDefault();
    });
  }

  click(point) {
    if (!this.frame?.width) return;
    if (this.aiming) return this.name(point);
    return this.on.select(this.rings.hit(point, this.view, HIT_PX));
  }

  /** Name the place at a point of the stage. */
  name(point = this.aimed) {
    const place = this.inPicture(point);
    if (place) this.on.place(...place);
  }
}
