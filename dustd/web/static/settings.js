// The settings in force, and where each came from. They are changed in the file, not here.

import { h } from "./dom.js";
import { report } from "./reports.js";
import { moment, t } from "./words.js";

/** Show the settings in *main*; returns what ends that. */
export function show(main) {
  return report(main, t("settings"), "settings", [], draw);
}

function draw({ file, loaded_at: loadedAt, entries }) {
  const [set, rest] = [entries.filter((each) => each.from === "file"), entries.filter((each) => each.from !== "file")];
  return [
    h("p", {}, t(file ? "settings_file" : "settings_none"), " ", file ? h("code", {}, file) : ""),
    h("p.soft", {}, t("settings_why"), " ", loadedAt ? t("settings_loaded", { at: moment(loadedAt) }) : ""),
    group(t("settings_set"), set),
    group(t("settings_default"), rest),
  ];
}

function group(title, entries) {
  if (!entries.length) return null;
  const rows = entries.map(({ key, value, line }) =>
    h("div.entry", {}, h("dt", {}, key), h("dd", {}, shown(value)), h("dd.line", {}, line ? t("line", { n: line }) : "")),
  );
  return h("section", {}, h("h2", {}, title), h("dl.entries", {}, rows));
}

function shown(value) {
  if (value === null || value === "" || (typeof value === "object" && !Object.keys(value).length)) return t("none");
  if (typeof value === "boolean") return t(value ? "yes" : "no");
  return Array.isArray(value) ? value.join(", ") : String(value);
}
