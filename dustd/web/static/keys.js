// Keys: a list for the present view and one for everywhere, shown by "?".

import { h } from "./dom.js";
import { t } from "./words.js";

let everywhere = [];
let here = [];
let heading = "";

/**
 * Say which keys hold in a view: [{ key, words, run, release }]; *key* is KeyboardEvent.key, with "Shift+" before it
 * where that is meant, or several of them apart by a space. *words* name the line in the help, none hides it.
 */
export function useKeys(title, bindings) {
  heading = title;
  here = bindings;
}

/** Say which keys hold everywhere. */
export function useKeysEverywhere(bindings) {
  everywhere = bindings;
}

const SHOWN = {
  ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", Enter: "↵", Delete: "Del", " ": "␣",
}; // prettier-ignore

function nameOf(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  return event.shiftKey && event.key.length > 1 ? `Shift+${key}` : key;
}

function find(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return null;
  const target = event.target instanceof HTMLElement ? event.target : document.body;
  const writes = target.matches("input:not([type=range]), select, textarea");
  const takesArrows = target.matches("input[type=range]") && /^(Arrow|Home|End|Page)/.test(event.key);
  const presses = target.matches("a, button, summary") && ["Enter", " "].includes(event.key);
  if (writes || takesArrows || presses || document.querySelector("dialog[open]")) return null;
  const name = nameOf(event);
  return [...here, ...everywhere].find((each) => each.key.split(" ").includes(name)) ?? null;
}

addEventListener("keydown", (event) => {
  const binding = find(event);
  if (!binding || (event.repeat && binding.release)) return;
  if (binding.run(event) !== false) event.preventDefault();
});
addEventListener("keyup", (event) => {
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  [...here, ...everywhere].find((each) => each.release && each.key.split(" ").includes(name))?.release();
});
addEventListener("blur", () => here.forEach((each) => each.release?.()));

/** Show all keys. */
export function showKeys() {
  document.querySelector("dialog.keys")?.remove();
  const dialog = h(
    "dialog.keys",
    { "aria-label": t("keys"), onclick: (event) => event.target === dialog && dialog.close() },
    h("h2", {}, t("keys")),
    h("div.columns", {}, section(heading, here), section(t("keys_everywhere"), everywhere.filter(isFree))),
    h("form", { method: "dialog" }, h("button", {}, t("close"))),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** Whether a key that holds everywhere is not used for something else here. */
const isFree = ({ key }) => !here.some((each) => each.key.split(" ").includes(key));

function section(title, bindings) {
  const rows = bindings.filter((each) => each.words);
  if (!rows.length) return null;
  return h(
    "section",
    {},
    h("h3", {}, title),
    h("dl", {}, rows.map((each) => [h("dt", {}, each.key.split(" ").slice(0, 2).map(keyCap)), h("dd", {}, each.words)])),
  );
}

function keyCap(key) {
  const parts = key.split("+").filter(Boolean);
  if (key === "+") parts.push("+");
  return h("kbd", {}, parts.map((each) => SHOWN[each] ?? (each.length === 1 ? each.toUpperCase() : each)).join(" "));
}
