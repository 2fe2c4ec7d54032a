// The list of spots: what each looks like before and after, how wide and deep it is, what decided, and a button.

import { h } from "./dom.js";
import { percent, number, t } from "./words.js";

const GROUPS = ["corrected", "rejected", "left"];

export class SpotList {
  /** *on* hears { select(id), act(spot) }. */
  constructor(on) {
    this.on = on;
    this.element = h("div.spots", {});
    this.open = new Set(["corrected", "rejected"]); // groups that are unfolded
  }

  /** Show *spots*, riskiest first; *pending*: id → what is being done, in words. */
  show(spots, selected, pending) {
    const rows = (kind) => spots.filter((spot) => kindOf(spot) === kind);
    const chosen = spots.find(({ id }) => id === selected);
    if (chosen) this.open.add(kindOf(chosen));
    const kept = this.element.scrollTop;
    const focused = this.element.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    this.element.replaceChildren(...GROUPS.map((kind) => this.group(kind, rows(kind), selected, pending)).filter(Boolean));
    if (!spots.length) this.element.append(h("p.empty", {}, t("no_spots")));
    this.element.scrollTop = kept;
    if (focused) this.element.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
  }

  /** Bring a spot's row into sight, where the list scrolls by itself; elsewhere the picture would leave the screen. */
  reveal(id) {
    const row = this.element.querySelector(`[data-spot="${id}"]`);
    if (!row || this.element.scrollHeight <= this.element.clientHeight) return;
    row.scrollIntoView({ block: "nearest" });
  }

  group(kind, spots, selected, pending) {
    if (!spots.length) return null;
    const toggle = ({ target }) => this.open[target.open ? "add" : "delete"](kind);
    return h(
      "details", { open: this.open.has(kind), ontoggle: toggle },
      h("summary", {}, t(`group_${kind}`), " ", h("span.count", {}, number(spots.length))),
      h("ol", {}, spots.map((spot) => this.row(spot, kind, spot.id === selected, pending.get(spot.id)))),
    ); // prettier-ignore
  }

  row(spot, kind, selected, pending) {
    const { on } = this;
    const press = (event) => {
      event.stopPropagation();
      on.act(spot);
    };
    const facts = [t("width", { n: Math.round(spot.diameter_px) }), t("depth", { share: percent(spot.attenuation) })];
    if (spot.action === "inpainted") facts.push(t("inpainted"));
    return h(
      "li.spot", { dataset: { spot: spot.id, kind }, "aria-current": selected ? "true" : null, onclick: () => on.select(spot.id) },
      h("button.number", { "aria-label": t("spot_n", { n: String(spot.id) }), dataset: { key: `n${spot.id}` } }, spot.id),
      h("p.facts", {}, facts.join(" · ")),
      pair(spot),
      h("div.why", {}, h("p.reason", { title: spot.details }, spot.reason),
        pending
          ? h("p.pending", {}, pending)
          : h("button.small", { onclick: press, dataset: { key: `a${spot.id}` } }, t(`act_${kind}`))),
    ); // prettier-ignore
  }
}

function pair(spot) {
  const crop = (src, words) =>
    src ? h("img", { src, alt: t(words), title: t(words), loading: "lazy", decoding: "async", width: 80, height: 80 }) : null;
  return h("div.pair", {}, crop(spot.crop_before, "before"), spot.corrected ? crop(spot.crop_after, "after") : null);
}

/** Tell of a spot whether it is "corrected", "rejected" (taken back) or "left". */
export const kindOf = (spot) => (spot.corrected ? "corrected" : spot.rejected ? "rejected" : "left");
