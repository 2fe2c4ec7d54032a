// The camera bodies: how dusty each sensor is, since when, at which aperture it shows, and "I cleaned it".

import { command } from "./api.js";
import { h, svg } from "./dom.js";
import { report, table } from "./reports.js";
import { tell, tellRefusal } from "./said.js";
import { date, number, percent, t } from "./words.js";

const CHART = { width: 320, height: 90, bottom: 74, left: 6, right: 314 };

/** Show all bodies in *main*; returns what ends that. */
export function show(main) {
  return report(main, t("bodies"), "bodies", ["bodies"], (bodies, read) =>
    bodies.length ? bodies.map((body) => card(body, read)) : h("p.empty", {}, t("no_bodies")),
  );
}

function card(body, read) {
  const id = `body-${body.id}`;
  return h(
    "section.body", { "aria-labelledby": id, dataset: { advice: body.advice_words } },
    h("h2", { id }, body.name),
    h("p.advice", {}, t(`advice_${body.advice_words.replaceAll(" ", "_")}`)),
    body.why ? h("p.why", {}, body.why) : null,
    h("div.sensor", {},
      h("figure", {}, h("img", { src: body.picture, alt: t("sensor_map", { name: body.name }) }),
        h("figcaption", {}, t("sensor_map_why"))),
      h("div.figures", {}, facts(body), hands(body, read), growth(body.growth))),
    h("div.tables", {},
      table(t("apertures"), [t("aperture"), t("visible"), t("worst")], body.apertures?.map((row) => row.map(shown))),
      table(t("lenses"), [t("lens"), t("shown_there")], body.lenses?.map((row) => row.map(shown)))),
  ); // prettier-ignore
}

const shown = (value) => (typeof value === "number" ? (Number.isInteger(value) ? number(value) : percent(value)) : String(value ?? ""));

function facts(body) {
  return h("dl", {}, body.facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, shown(value))]));
}

function hands(body, read) {
  const press = (path, sure) => async ({ target }) => {
    if (sure && target.dataset.sure === undefined) {
      target.dataset.sure = "";
      target.textContent = sure;
      return;
    }
    target.disabled = true;
    try {
      tell(await command(path));
      await read();
    } catch (refused) {
      tellRefusal(refused);
    }
    target.disabled = false;
  };
  return h(
    "div.hands", {},
    h("button", { onclick: press(`bodies/${body.id}/cleaned`, t("cleaned_sure")) }, t("cleaned_it")),
    body.can_undo_cleaning ? h("button.plain", { onclick: press(`bodies/${body.id}/cleaned/undo`) }, t("cleaned_undo")) : null,
  ); // prettier-ignore
}

/** Draw how the number of grains grew: [[date, count], …]. */
function growth(points) {
  if (!points || points.length < 2) return null;
  const { width, height, bottom, left, right } = CHART;
  const times = points.map(([day]) => new Date(day).getTime());
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const most = Math.max(1, ...points.map(([, count]) => count));
  const x = (time) => left + ((right - left) * (time - first)) / (last - first || 1);
  const y = (count) => bottom - ((bottom - 16) * count) / most;
  const steps = points.map(([, count], at) => (at ? `H${x(times[at])}V${y(count)}` : `M${x(times[0])} ${y(count)}`));
  const words = t("growth_words", { from: date(points[0][0]), to: date(points.at(-1)[0]), n: points.at(-1)[1] });
  return h(
    "figure.growth", {},
    svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words },
      svg("path", { class: "axis", d: `M${left} ${bottom}H${right}` }),
      svg("path", { class: "curve", d: steps.join("") }),
      svg("text", { x: left, y: height - 2 }, date(points[0][0])),
      svg("text", { x: right, y: height - 2, class: "end" }, date(points.at(-1)[0])),
      svg("text", { x: right, y: Math.max(12, y(points.at(-1)[1]) - 4), class: "end" }, number(points.at(-1)[1]))),
    h("figcaption", {}, t("growth")),
  ); // prettier-ignore
}
