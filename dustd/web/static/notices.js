// Desktop notices while the tab is in the background: failures, a long queue, a sensor that wants cleaning.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import * as news from "./news.js";
import { t } from "./words.js";

const KEY = "dustd.notices";

/** A button that asks once whether notices are wanted; nothing where the browser has none. */
export function offer() {
  if (!window.Notification || Notification.permission === "denied") return null;
  const button = h("button.notices", { onclick: toggle });
  const mark = () => {
    const words = t(wanted() ? "notices_on" : "notices_off");
    button.setAttribute("aria-pressed", wanted());
    button.setAttribute("aria-label", words);
    button.title = words;
  };
  async function toggle() {
    const wants = !wanted();
    if (wants && Notification.permission === "default") await Notification.requestPermission();
    keep(wants);
    if (Notification.permission === "denied") button.remove();
    else mark();
  }
  button.append(icon("bell"));
  mark();
  return button;
}

/** Give notice of what gets worse from one state to the next. */
export function watch() {
  let before = null;
  news.on("state", (now) => {
    if (before && wanted() && document.hidden) for (const [tag, words] of worse(before, now)) give(tag, words);
    before = now;
  });
}

/** Tell what is worth a notice between two states: [[kind, words], …]. */
export function worse(before, now) {
  const found = [];
  const failed = now.counts.failed - before.counts.failed;
  if (failed > 0) found.push(["failed", t("notice_failed", { n: failed })]);
  const limit = now.limits.backlog_notice_frames;
  if (now.waiting > limit && before.waiting <= limit) found.push(["backlog", t("notice_backlog", { n: now.waiting })]);
  for (const body of now.bodies) {
    const was = before.bodies.find(({ id }) => id === body.id)?.advice ?? "none";
    if (body.advice !== was && body.advice !== "none") {
      found.push([`body-${body.id}`, t(`notice_${body.advice}`, { name: body.name })]);
    }
  }
  return found;
}

function give(tag, words) {
  // One tag for all tabs: the browser shows it once.
  const notice = new Notification("dustd", { body: words, tag: `dustd-${tag}`, icon: "/static/icon-failed.svg" });
  notice.onclick = () => {
    window.focus();
    notice.close();
  };
}

const wanted = () => window.Notification?.permission === "granted" && localStorage.getItem(KEY) === "on";
const keep = (is) => localStorage.setItem(KEY, is ? "on" : "off");
