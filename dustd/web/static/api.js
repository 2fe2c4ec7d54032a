// The JSON under /api/v1: reading, and commands with what became of them.

import { on } from "./news.js";
import { t } from "./words.js";

const ROOT = "/api/v1/";
const ASK_AGAIN_MS = 3000; // the event says it first, unless the connection is lost
const results = new Map();
const waiting = new Map();

/** What dustd refuses, or why it cannot be reached: *message* says the problem, *remedy* what to do. */
export class Refused extends Error {
  constructor(problem, remedy, status) {
    super(problem);
    this.remedy = remedy;
    this.status = status;
  }
}

/** Read what lies at *path*. Throws Refused. */
export const get = (path, options = {}) => ask(path, options);

/**
 * Have dustd do something and wait for what became of it; it is done between two frames. Returns what dustd said, in
 * words. Throws Refused.
 */
export async function command(path, body = {}) {
  const sent = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const { command: id } = await ask(path, sent);
  const result = await outcome(id);
  if (result.state === "refused") throw new Refused(result.problem ?? result.said, result.remedy ?? "", 409);
  return result.said;
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(ROOT + path, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(t("unreachable"), t("unreachable_remedy"), 0);
  }
  if (answer.status === 401) document.body.dispatchEvent(new CustomEvent("shut"));
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(said.problem ?? answer.statusText, said.remedy ?? "", answer.status);
  return said;
}

function outcome(id) {
  return new Promise((resolve, reject) => {
    const settle = (result) => {
      clearInterval(timer);
      waiting.delete(id);
      resolve(result);
    };
    const timer = setInterval(async () => {
      try {
        const result = await ask(`commands/${id}`, {});
        if (result.state !== "waiting") settle(result);
      } catch (refused) {
        if (!refused.status) return; // not reached: dustd may come back
        clearInterval(timer);
        waiting.delete(id);
        reject(refused);
      }
    }, ASK_AGAIN_MS);
    if (results.has(id)) settle(results.get(id));
    else waiting.set(id, settle);
  });
}

on("command", (result) => {
  if (result.state === "waiting") return;
  results.set(result.id, result);
  if (results.size > 100) results.delete(results.keys().next().value);
  waiting.get(result.id)?.(result);
});
