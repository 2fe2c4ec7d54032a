// What the pages besides the pictures are made of: read, shown, read anew when there is news.

import { get } from "./api.js";
import { h } from "./dom.js";
import * as news from "./news.js";
import { t } from "./words.js";

/**
 * Show in *main* what *draw* makes of the JSON at *path*, and anew with each event of *kinds*. *draw* gets the data and
 * a function that reads it again. Returns what ends that.
 */
export function report(main, title, path, kinds, draw) {
  const content = h("div.content", {}, h("p.empty", {}, t("reading")));
  main.replaceChildren(h("div.report", {}, h("h1", {}, title), content));
  let run = null;
  let shown = "";
  async function read() {
    run?.abort();
    run = new AbortController();
    try {
      const data = await get(path, { signal: run.signal });
      const key = JSON.stringify(data);
      if (key === shown) return; // nothing moves under the hand or the eye without cause
      shown = key;
      const kept = main.scrollTop;
      content.replaceChildren(...[draw(data, read)].flat().filter(Boolean));
      main.scrollTop = kept;
    } catch (refused) {
      if (refused.name === "AbortError") return;
      shown = "";
      content.replaceChildren(h("p.bad", {}, refused.message), h("p", {}, refused.remedy ?? ""));
    }
  }
  const ends = [...kinds, "again"].map((kind) => news.on(kind, read));
  read();
  return () => {
    run?.abort();
    ends.forEach((end) => end());
  };
}

/** A table with its heading; rows are lists of text, numbers or nodes. Nothing where there are none. */
export function table(caption, heads, rows) {
  if (!rows?.length) return null;
  return h(
    "div.table", { tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption", {}, caption),
      h("thead", {}, h("tr", {}, heads.map((each) => h("th", { scope: "col" }, each)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((each) => h("td", {}, each)))))),
  ); // prettier-ignore
}

/** What is wrong with something, and what to do. */
export function matter(what, problem, remedy, ...more) {
  return h("li.matter", {}, h("h3", {}, what), h("p.bad", {}, problem), h("p", {}, remedy), more);
}
