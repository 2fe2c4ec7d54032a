// What is wrong, with what to do about it: failed frames, folders that are away, the configuration, disks.

import { command } from "./api.js";
import { h } from "./dom.js";
import { matter, report, table } from "./reports.js";
import { tell, tellRefusal } from "./said.js";
import { bytes, moment, t } from "./words.js";

const LOW_BYTES = 5e9; // of free space are worth a colour

/** Show what is wrong in *main*; returns what ends that. */
export function show(main) {
  return report(main, t("trouble"), "trouble", ["trouble"], draw);
}

function draw(data, read) {
  const { failed, waiting, surroundings, configuration, disk } = data;
  const parts = [
    section(t("trouble_configuration"), configuration ? [matter(t("configuration"), configuration.problem, configuration.remedy)] : []),
    section(t("trouble_surroundings"), surroundings.map((each) => matter(each.what, each.problem, each.remedy, next(each)))),
    section(t("trouble_waiting"), waiting.map((each) => matter(each.what, each.problem, each.remedy, next(each)))),
    section(t("trouble_failed"), failed.map((each) => frame(each, read)), all(failed, read)),
  ].filter(Boolean);
  const fine = parts.length ? null : h("p.fine", {}, t("no_trouble"));
  const rows = disk.map(({ folder, free_bytes: free }) => [
    folder,
    free === null ? t("unknown") : h("span", { class: free < LOW_BYTES ? "bad" : "" }, bytes(free)),
  ]);
  return [fine, ...parts, table(t("disk"), [t("folder"), t("free")], rows)];
}

const next = (each) => (each.retry_at ? h("p.soft", {}, t("retry_at", { at: moment(each.retry_at) })) : null);

function section(title, items, hands = null) {
  if (!items.length) return null;
  return h("section", {}, h("h2", {}, title, " ", h("span.count", {}, items.length)), hands, h("ul.matters", {}, items));
}

function frame(each, read) {
  const name = each.frame ? h("a", { href: `/frames/${each.frame}` }, each.path_name) : each.path_name;
  return matter(name, each.problem, each.remedy, each.can_retry ? button(t("retry"), [each], read) : null);
}

function all(failed, read) {
  const retried = failed.filter((each) => each.can_retry);
  return retried.length > 1 ? button(t("retry_all", { n: retried.length }), retried, read) : null;
}

function button(words, frames, read) {
  const press = async ({ target }) => {
    target.disabled = true;
    target.textContent = t("retrying");
    try {
      const said = await Promise.all(frames.map((each) => command(`frames/${each.frame}/retry`)));
      tell(said.at(-1));
    } catch (refused) {
      tellRefusal(refused);
    }
    target.disabled = false;
    target.textContent = words;
    await read();
  };
  return h("button", { onclick: press }, words);
}
