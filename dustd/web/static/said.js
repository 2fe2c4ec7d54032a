// What dustd said to the last thing that was asked of it, for a while at the foot of the page.

import { h } from "./dom.js";
import { t } from "./words.js";

const SHOWN_MS = 6000;
const REFUSAL_SHOWN_MS = 20000;
let timer = 0;

/** Tell what was done. */
export function tell(words) {
  if (words) show(h("p", {}, words), SHOWN_MS);
}

/** Tell why something was not done, and what to do. */
export function tellRefusal(refused) {
  const said = refused.remedy ? h("p", {}, refused.remedy) : null;
  show(h("div.bad", {}, h("p", {}, refused.message), said), REFUSAL_SHOWN_MS);
}

function show(content, ms) {
  const place = document.getElementById("said");
  const close = h("button", { "aria-label": t("close"), onclick: () => place.replaceChildren() }, "×");
  place.replaceChildren(h("div.note", {}, content, close));
  clearTimeout(timer);
  timer = setTimeout(() => place.replaceChildren(), ms);
}
