// The line at the top: how dustd does, legible from a metre away; pause and order; the tab's title and sign.

import { command } from "./api.js";
import { h, say } from "./dom.js";
import { icon } from "./icons.js";
import { showKeys } from "./keys.js";
import * as news from "./news.js";
import { offer, watch } from "./notices.js";
import { tell, tellRefusal } from "./said.js";
import { duration, t } from "./words.js";

const LOST_MS = 1500; // shorter gaps are not worth a word

export class Top {
  constructor(element) {
    this.lamp = h("span.lamp", {});
    this.doing = h("strong.doing", {});
    this.detail = h("span.detail", {});
    this.links = ["shoot", "bodies", "trouble", "settings"].map((name) =>
      h("a", { href: name === "shoot" ? "/" : `/${name}`, dataset: { view: name } }, t(name), h("span.badge", { hidden: true })),
    );
    this.pause = h("button.pause", { onclick: () => this.togglePause() });
    this.order = h("button.order", { onclick: () => this.toggleOrder() });
    const keys = h("button.help", { onclick: showKeys, "aria-label": t("keys"), title: t("keys") }, "?");
    this.lost = h("div.lost", { role: "alert", hidden: true }, t("lost"));
    element.append(
      h("nav", { "aria-label": t("views") }, h("span.brand", {}, "dustd"), this.links),
      h("div.state", {}, this.lamp, this.doing, this.detail),
      h("div.hands", {}, this.order, this.pause, offer(), keys),
      this.lost,
    );
    this.view = "shoot";
    this.place = "";
    news.on("state", () => this.fill());
    news.on("connection", (is) => this.connection(is));
    watch();
    this.fill();
  }

  /** Mark the view that is shown. */
  mark(view) {
    this.view = view;
    this.place = "";
    for (const link of this.links) {
      const is = link.dataset.view === view || (view === "frame" && link.dataset.view === "shoot");
      if (is) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    this.title();
  }

  /** Name what is shown, for the tab. */
  name(place) {
    this.place = place;
    this.title();
  }

  connection(is) {
    clearTimeout(this.timer);
    if (is) {
      this.lost.hidden = true;
      this.fill();
    } else {
      this.timer = setTimeout(() => {
        this.lost.hidden = false;
        this.fill();
        fetch("/api/v1/state", { cache: "no-store" }).then(
          ({ status }) => status === 401 && document.body.dispatchEvent(new CustomEvent("shut")),
          () => {},
        );
      }, LOST_MS);
    }
  }

  fill() {
    const { state } = news;
    const lost = !this.lost.hidden;
    const [lamp, doing, detail] = lost ? ["lost", t("lost_short"), ""] : state ? words(state) : ["idle", "", ""];
    if (this.lamp.dataset.lamp !== lamp) {
      this.lamp.dataset.lamp = lamp;
      this.lamp.replaceChildren(icon(LAMPS[lamp]));
    }
    say(this.doing, doing);
    say(this.detail, detail);
    const dead = lost || !state;
    this.pause.disabled = this.order.disabled = dead;
    const troubles = state?.trouble_count ?? 0;
    const wanting = state?.bodies.filter(({ advice }) => advice === "now").length ?? 0;
    this.badge("trouble", troubles);
    this.badge("bodies", wanting);
    if (state) {
      label(this.pause, state.paused ? "resume" : "pause", t(state.paused ? "resume" : "pause"));
      say(this.order, t(state.order === "newest" ? "order_newest" : "order_oldest"));
      this.order.title = t("order_why");
    }
    this.sign(lost ? "lost" : troubles ? "failed" : state?.paused ? "paused" : state?.in_hand ? "busy" : "idle");
    this.title();
  }

  badge(view, count) {
    const badge = this.links.find((link) => link.dataset.view === view).lastChild;
    badge.hidden = !count;
    say(badge, count ? String(count) : "");
  }

  sign(name) {
    const link = document.getElementById("icon");
    const address = `/static/icon-${name}.svg`;
    if (link.getAttribute("href") !== address) link.setAttribute("href", address);
  }

  title() {
    const { state } = news;
    const parts = [];
    if (!this.lost.hidden) parts.push(t("lost_short"));
    else if (state) {
      if (state.trouble_count) parts.push(`! ${t("troubles_n", { n: state.trouble_count })}`);
      if (state.paused) parts.push(t("paused"));
      if (state.waiting) parts.push(t("waiting_n", { n: state.waiting }));
    }
    document.title = [parts.join(", "), this.place || t(this.view), "dustd"].filter(Boolean).join(" · ");
  }

  async togglePause() {
    const paused = news.state?.paused;
    if (paused === undefined) return;
    await this.ask(paused ? "resume" : "pause");
  }

  async toggleOrder() {
    if (!news.state) return;
    const order = news.state.order === "newest" ? "oldest" : "newest";
    await this.ask("order", { order });
  }

  async ask(path, body = {}) {
    try {
      tell(await command(path, body));
    } catch (refused) {
      tellRefusal(refused);
    }
  }
}

const LAMPS = { idle: "cleaned", busy: "working", paused: "pause", bad: "failed", lost: "vanished" };

/** Say how dustd does: its lamp, what it does, and how much is left. */
function words(state) {
  const away = state.folders.find((folder) => !folder.present);
  const held = state.folders.find((folder) => folder.paused);
  const left = [];
  if (state.waiting) left.push(t("waiting_n", { n: state.waiting }));
  if (state.waiting && state.backlog_s !== null) left.push(t("time_left", { time: duration(state.backlog_s) }));
  else if (state.seconds_per_frame !== null) left.push(t("per_frame", { time: duration(state.seconds_per_frame) }));
  const detail = left.join(" · ");
  if (state.paused) return ["paused", state.in_hand ? t("pausing", { name: state.in_hand }) : t("paused"), detail];
  if (state.in_hand) return ["busy", t("cleaning", { name: state.in_hand }), detail];
  if (held) return ["bad", t("folder_held", { name: held.name }), held.paused.problem];
  if (away) return ["bad", t("folder_away", { name: away.name }), detail];
  if (state.waiting) return ["busy", t("next"), detail];
  return ["idle", t("ready"), detail];
}

function label(button, sign, words) {
  if (button.dataset.sign === sign) return;
  button.dataset.sign = sign;
  button.replaceChildren(icon(sign), h("span", {}, words));
}
