// The page's frame: which view is shown, the line at the top, keys that hold everywhere.

import * as bodies from "./bodies.js";
import * as frame from "./frame.js";
import { h } from "./dom.js";
import { Top } from "./top.js";
import { showKeys, useKeys, useKeysEverywhere } from "./keys.js";
import { listen } from "./news.js";
import * as settings from "./settings.js";
import * as shoot from "./shoot.js";
import * as trouble from "./trouble.js";
import { t } from "./words.js";

const VIEWS = [
  ["shoot", /^\/$/, shoot],
  ["frame", /^\/frames\/([^/]+)$/, frame],
  ["bodies", /^\/bodies$/, bodies],
  ["trouble", /^\/trouble$/, trouble],
  ["settings", /^\/settings$/, settings],
];
const main = document.getElementById("view");
const top = new Top(document.getElementById("top"));
let end = () => {};

function show() {
  const [name, pattern, view] = VIEWS.find(([, path]) => path.test(location.pathname)) ?? VIEWS[0];
  end();
  useKeys("", []);
  document.body.dataset.view = name;
  main.scrollTop = 0;
  main.replaceChildren();
  top.mark(name);
  end = view.show(main, { open, id: location.pathname.match(pattern)?.[1], name: (place) => top.name(place) });
}

/** Go to an address of this page. */
function open(path, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", path);
  show();
}

addEventListener("popstate", show);
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='/']");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (!VIEWS.some(([, path]) => path.test(link.pathname))) return;
  event.preventDefault();
  open(link.pathname + link.search);
});
document.body.addEventListener("shut", () => {
  main.replaceChildren(h("div.report", {}, h("h1", {}, t("shut")), h("p", {}, t("shut_remedy"))));
});
useKeysEverywhere([
  { key: "p", words: t("key_pause"), run: () => top.togglePause() },
  { key: "n", words: t("key_order"), run: () => top.toggleOrder() },
  { key: "s", words: t("shoot"), run: () => open("/") },
  { key: "b", words: t("bodies"), run: () => open("/bodies") },
  { key: "t", words: t("trouble"), run: () => open("/trouble") },
  { key: "?", words: t("keys"), run: showKeys },
]);
listen();
show();
