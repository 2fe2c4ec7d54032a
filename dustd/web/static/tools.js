// The row of buttons beneath the picture.

import { h } from "./dom.js";
import { t } from "./words.js";

/** Make the buttons for a frame's view; *mark* shows which are pressed. */
export function tools(view) {
  const { viewer } = view;
  const button = (words, key, run, title = "") =>
    h("button", { onclick: run, title: `${title || words} (${key})` }, words);
  const group = (label, ...buttons) => h("div.group", { role: "group", "aria-label": label }, buttons);
  const modes = {
    before: button(t("before"), "B", () => viewer.setMode("before"), t("key_hold")),
    split: button(t("split"), "Y", () => viewer.setMode("split")),
    after: button(t("after"), "Y", () => viewer.setMode("after")),
  };
  const zooms = new Map([
    ["fit", button(t("fit"), "0", () => viewer.fit())],
    [1, button(t("zoom_100"), "1", () => viewer.zoomTo(1))],
    [2, button(t("zoom_200"), "2", () => viewer.zoomTo(2))],
  ]);
  const visualise = button(t("visualise"), "V", () => view.visualise(!viewer.visualiser.isOn), t("key_visualise"));
  const rings = button(t("rings"), "R", () => view.showRings(rings.getAttribute("aria-pressed") !== "true"));
  const correct = button(t("correct_place"), "C", () => view.aim(!viewer.aiming), t("key_correct"));
  const gain = h("input", {
    type: "range", min: 3, max: 40, value: viewer.visualiser.gain, "aria-label": t("visualise_strength"), hidden: true,
    oninput: () => {
      viewer.visualiser.gain = Number(gain.value);
      viewer.redraw();
    },
  }); // prettier-ignore
  const hint = h("p.hint", { role: "status" });
  const element = h("div.tools", {}, group(t("compare"), ...Object.values(modes)), group(t("zoom"), ...zooms.values()),
    group(t("aids"), visualise, gain, rings), group(t("place"), correct), hint); // prettier-ignore

  function mark(of, ringed) {
    for (const [name, each] of Object.entries(modes)) each.setAttribute("aria-pressed", of.shown === name);
    for (const [name, each] of zooms) each.setAttribute("aria-pressed", of.zoom === name);
    visualise.setAttribute("aria-pressed", of.visualiser.isOn);
    gain.hidden = !of.visualiser.isOn;
    rings.setAttribute("aria-pressed", ringed);
    correct.setAttribute("aria-pressed", Boolean(of.aiming));
    hint.textContent = of.aiming ? t("aim_hint") : "";
  }
  return { element, mark };
}
