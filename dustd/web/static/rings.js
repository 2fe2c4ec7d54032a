// Numbered rings round the spots, in two lines, a light one in a dark one, so that they show on any ground.

import { svg } from "./dom.js";

const SMALLEST_PX = 9;
const AROUND_PX = 5; // between the shadow's edge and the ring
const WIDER = 0.85; // of the width at half depth, which is less than the eye sees

export class Rings {
  constructor() {
    this.group = svg("g");
    this.element = svg("svg", { class: "rings", "aria-hidden": "true" }, this.group);
    this.spots = [];
    this.kinds = new Map();
    this.selected = null;
    this.scale = null;
  }

  /** Show rings round *spots*; *kinds*: id → "corrected", "left", "rejected", "comes" or "goes". */
  show(spots, kinds, selected) {
    this.spots = spots;
    this.kinds = kinds;
    this.selected = selected;
    this.scale = null;
  }

  radius(spot, scale) {
    return Math.max(SMALLEST_PX, spot.diameter_px * WIDER * scale + AROUND_PX);
  }

  draw({ x, y, scale }) {
    if (this.scale !== scale) {
      this.scale = scale;
      this.group.replaceChildren(...this.spots.filter(({ id }) => this.kinds.has(id)).map((spot) => this.ring(spot)));
    }
    this.group.setAttribute("transform", `translate(${x} ${y})`);
  }

  ring(spot) {
    const r = this.radius(spot, this.scale);
    const kind = this.kinds.get(spot.id);
    const sign = { comes: "+", goes: "−" }[kind] ?? "";
    const selected = spot.id === this.selected ? " selected" : "";
    const [x, y] = [spot.x * this.scale, spot.y * this.scale];
    return svg(
      "g", { class: `ring ${kind}${selected}`, transform: `translate(${x} ${y})` },
      svg("circle", { class: "under", r }),
      svg("circle", { class: "over", r }),
      svg("text", { x: r * 0.72 + 3, y: -r * 0.72 - 1 }, `${sign}${spot.id}`),
    ); // prettier-ignore
  }

  /** The spot whose ring is at a point of the stage, or the nearest of several; null for none. */
  hit([px, py], { x, y, scale }, tolerance) {
    let best = null;
    for (const spot of this.spots) {
      if (!this.kinds.has(spot.id)) continue;
      const away = Math.hypot(px - x - spot.x * scale, py - y - spot.y * scale);
      if (away <= this.radius(spot, scale) + tolerance && away < (best?.away ?? Infinity)) best = { away, id: spot.id };
    }
    return best?.id ?? null;
  }

  /** Where the ring that is chosen ends on the stage, for a button beneath it; null if there is none. */
  selectedAt({ x, y, scale }) {
    const spot = this.spots.find(({ id }) => id === this.selected);
    if (!spot) return null;
    return [x + spot.x * scale, y + spot.y * scale + this.radius(spot, scale) + 6];
  }
}
