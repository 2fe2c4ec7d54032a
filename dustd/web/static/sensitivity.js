// The slider of sensitivity: what would come and go at once, applied when told to.

import { get } from "./api.js";
import { calmly, h, say } from "./dom.js";
import { number, t } from "./words.js";

const WAIT_MS = 60;

export class Sensitivity {
  /** *on* hears { preview(decision or null), apply(value, scope) }. */
  constructor(on) {
    this.on = on;
    this.frame = null;
    this.range = h("input", { type: "range", min: 0, max: 100, step: 1, id: "sensitivity", oninput: () => this.moved() });
    this.figure = h("output", { for: "sensitivity" });
    this.said = h("p.said", { role: "status" });
    this.buttons = ["frame", "from_here", "shoot"].map((scope) =>
      h("button.small", { dataset: { scope }, onclick: () => this.press(scope) }, t(`scope_${scope}`)),
    );
    this.back = h("button.small.plain", { onclick: () => this.reset() }, t("undo_slider"));
    this.hands = h("div.hands", { hidden: true }, h("span", {}, t("apply")), this.buttons, this.back);
    this.element = h("section.sensitivity", { "aria-label": t("sensitivity") },
      h("label", { for: "sensitivity" }, t("sensitivity"), " ", this.figure),
      h("div.scale", {}, this.range, h("span", {}, t("sensitivity_low")), h("span", {}, t("sensitivity_high"))),
      this.said, this.hands); // prettier-ignore
    this.ask = calmly(WAIT_MS, () => this.decide());
  }

  /** Begin at what the frame was decided with. */
  show(frame) {
    const same = frame.id === this.frame?.id && frame.sensitivity === this.frame.sensitivity;
    this.frame = frame;
    this.element.hidden = frame.sensitivity === null || !frame.candidates_kept;
    if (!same) this.reset();
    else if (this.isMoved) this.ask();
  }

  get isMoved() {
    return Number(this.range.value) !== Math.round(this.frame.sensitivity);
  }

  reset() {
    this.range.value = Math.round(this.frame.sensitivity ?? 50);
    this.run?.abort();
    this.sure = null;
    this.mark();
    say(this.said, "");
    this.on.preview(null);
  }

  /** Move the slider by so much, as keys do. */
  step(by) {
    if (this.element.hidden) return;
    this.range.value = Number(this.range.value) + by;
    this.moved();
  }

  moved() {
    this.sure = null;
    if (!this.isMoved) return this.reset();
    this.mark();
    return this.ask();
  }

  mark() {
    say(this.figure, number(Number(this.range.value)));
    this.hands.hidden = !this.isMoved;
    for (const button of this.buttons) {
      const { scope } = button.dataset;
      say(button, t(this.sure === scope ? `sure_${scope}` : `scope_${scope}`));
    }
  }

  async decide() {
    this.run?.abort();
    this.run = new AbortController();
    const { signal } = this.run;
    try {
      const decision = await get(`frames/${this.frame.id}/decision?sensitivity=${this.range.value}`, { signal });
      if (signal.aborted) return;
      const { comes, goes } = decision;
      const words = [comes.length && t("comes", { n: comes.length }), goes.length && t("goes", { n: goes.length })];
      say(this.said, words.filter(Boolean).join(", ") || t("same"));
      this.on.preview(decision);
    } catch (refused) {
      if (refused.name !== "AbortError") say(this.said, refused.message);
    }
  }

  press(scope) {
    if (scope === "shoot" && this.sure !== scope) {
      this.sure = scope; // it writes many files anew: a second press
      return this.mark();
    }
    this.sure = null;
    this.mark();
    return this.on.apply(Number(this.range.value), scope);
  }
}
