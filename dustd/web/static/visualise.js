// High-pass of what is on the stage: the even ground becomes grey, and what darkens it stands out, dust above all.

import { h } from "./dom.js";

const MOST_PX = 600_000; // more would not be done within a picture of the screen
const WIDE_PX = 16; // half the width of the surroundings a point is compared with, px of the stage

export class Visualiser {
  constructor() {
    this.element = h("canvas.visualised", { hidden: true });
    this.isOn = false;
    this.gain = 10;
  }

  /** Draw what *viewer* shows, if wanted. */
  draw(viewer) {
    this.element.hidden = !this.isOn;
    if (!this.isOn) return;
    const [across, down] = viewer.size;
    if (!across || !down) return;
    const shrink = Math.min(1, Math.sqrt(MOST_PX / (across * down)));
    const [width, height] = [Math.round(across * shrink), Math.round(down * shrink)];
    const canvas = this.element;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    const cut = viewer.shown === "split" ? viewer.split * width : viewer.shown === "before" ? width : 0;
    const parts = [[viewer.before.image, 0, cut], [viewer.after.image, cut, width]]; // prettier-ignore
    for (const [image, from, to] of parts) if (image && to > from) paint(context, image, viewer, shrink, from, to, height);
    const data = context.getImageData(0, 0, width, height);
    highPass(data, Math.max(3, Math.round(WIDE_PX * shrink)), this.gain);
    context.putImageData(data, 0, 0);
  }
}

function paint(context, image, { view, frame }, shrink, from, to, height) {
  context.save();
  context.beginPath();
  context.rect(from, 0, to - from, height);
  context.clip();
  const scale = view.scale * shrink;
  context.drawImage(image, view.x * shrink, view.y * shrink, frame.width * scale, frame.height * scale);
  context.restore();
}

/** Put in place of each pixel by how much it is lighter than the square of half width *wide* round it, *gain* times. */
export function highPass({ data, width, height }, wide, gain) {
  const across = width + 1;
  const sums = new Float64Array(across * (height + 1)); // of all above and left
  const counts = new Uint32Array(across * (height + 1)); // beside the picture there is nothing to compare with
  for (let y = 0, at = 0; y < height; y += 1) {
    let sum = 0;
    let count = 0;
    for (let x = 0; x < width; x += 1, at += 4) {
      if (data[at + 3]) {
        sum += 0.3 * data[at] + 0.59 * data[at + 1] + 0.11 * data[at + 2];
        count += 1;
      }
      const to = (y + 1) * across + x + 1;
      sums[to] = sums[to - across] + sum;
      counts[to] = counts[to - across] + count;
    }
  }
  const mean = (x, y, r) => {
    const left = x < r ? 0 : x - r;
    const top = (y < r ? 0 : y - r) * across;
    const right = x + r >= width ? width : x + r + 1;
    const bottom = (y + r >= height ? height : y + r + 1) * across;
    const count = counts[bottom + right] - counts[top + right] - counts[bottom + left] + counts[top + left];
    return (sums[bottom + right] - sums[top + right] - sums[bottom + left] + sums[top + left]) / (count || 1);
  };
  for (let y = 0, at = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, at += 4) {
      if (!data[at + 3]) continue;
      data[at] = data[at + 1] = data[at + 2] = 128 + gain * (mean(x, y, 1) - mean(x, y, wide));
    }
  }
}
