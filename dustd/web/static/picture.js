// One picture of the viewer, before or after: a small one at once, the large one when it is wanted, as made on demand.

import { h } from "./dom.js";

const BUSY_MS = 1500; // where dustd does not say when to ask again
const TRIES = 40;

export class Picture {
  /** *changed* is called when another picture is shown, or none can be had: (problem or null). */
  constructor(kind, changed) {
    this.kind = kind;
    this.changed = changed;
    this.layers = new Map(); // "small" below "large" → { address, image (shown or null), coming }
    this.element = h(`div.pane.${kind}`, {});
    this.size = [0, 0];
  }

  /** Show nothing of the frame before. */
  clear() {
    for (const layer of this.layers.values()) layer.coming?.removeAttribute("src");
    this.layers.clear();
    this.element.replaceChildren();
  }

  /** Have *address* shown as layer *name*, in place of an earlier version of it once it is there. */
  want(name, address) {
    const layer = this.layers.get(name) ?? { address: null, image: null, coming: null };
    this.layers.set(name, layer);
    if (!address || layer.address === address) return;
    layer.address = address;
    layer.coming?.removeAttribute("src");
    this.load(name, layer, address, 0);
  }

  /** Tell whether layer *name* is being made or loaded. */
  isComing(name) {
    return Boolean(this.layers.get(name)?.coming);
  }

  has(name) {
    return Boolean(this.layers.get(name)?.image);
  }

  /** The sharpest image there is, null before any. */
  get image() {
    return this.layers.get("large")?.image ?? this.layers.get("small")?.image ?? this.layers.get("thumbnail")?.image ?? null;
  }

  load(name, layer, address, tries) {
    const image = h("img", { alt: "", draggable: "false", decoding: "async", class: name });
    layer.coming = image;
    const current = () => layer.address === address && layer.coming === image && this.layers.get(name) === layer;
    image.addEventListener("load", async () => {
      await image.decode().catch(() => {});
      if (!current()) return;
      layer.coming = null;
      layer.image?.remove();
      layer.image = image;
      this.place(image);
      const order = ["thumbnail", "small", "large"];
      const above = [...this.element.children].find((each) => order.indexOf(each.className) > order.indexOf(name));
      this.element.insertBefore(image, above ?? null);
      this.changed(null);
    });
    image.addEventListener("error", async () => {
      if (!current()) return;
      const { wait, problem } = await why(address);
      if (!current()) return;
      if (wait && tries < TRIES) {
        setTimeout(() => current() && this.load(name, layer, address, tries + 1), wait);
        return;
      }
      layer.coming = null;
      layer.address = null;
      this.changed(problem);
    });
    image.src = address;
    this.changed(null);
  }

  /** Lay the images out: the whole picture is *width* × *height* px before it is scaled and moved. */
  resize(width, height) {
    this.size = [width, height];
    for (const image of this.element.children) this.place(image);
  }

  place(image) {
    image.style.width = `${this.size[0]}px`;
    image.style.height = `${this.size[1]}px`;
    if (this.transform) image.style.transform = this.transform;
  }

  /** Scale and move. */
  move({ x, y, scale }) {
    this.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    for (const image of this.element.children) image.style.transform = this.transform;
  }
}

/** Ask why a picture did not come: how long to wait before another try, or what is wrong. */
async function why(address) {
  try {
    const answer = await fetch(address, { cache: "no-store" });
    if (answer.ok) return { wait: 50 };
    if (answer.status === 503) return { wait: 1000 * Number(answer.headers.get("Retry-After")) || BUSY_MS };
    const said = await answer.json().catch(() => ({}));
    return { problem: [said.problem ?? answer.statusText, said.remedy].filter(Boolean).join(". ") };
  } catch {
    return { wait: BUSY_MS };
  }
}
