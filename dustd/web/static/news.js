// What happens, as dustd tells it: one stream of server-sent events for all tabs of this browser, which allows six
// connections to a host and no more.

const listeners = new Map();
let port = null;
let wasLost = false;

/** The latest state, null before the first. */
export let state = null;
/** Whether dustd is heard; null before the first word. */
export let connected = null;

/**
 * Have *run* called with every event *kind*: "state", "frame", "command", "bodies", "trouble", "connection" (true or
 * false), "again" (the connection is back: read anew what is shown). Returns what ends it.
 */
export function on(kind, run) {
  if (!listeners.has(kind)) listeners.set(kind, new Set());
  listeners.get(kind).add(run);
  return () => listeners.get(kind).delete(run);
}

function tell(kind, data) {
  for (const run of [...(listeners.get(kind) ?? [])]) run(data);
}

function hear([kind, data]) {
  if (kind === "state") state = data;
  if (kind === "connection") {
    if (connected === data) return;
    connected = data;
    if (data && wasLost) tell("again");
    wasLost ||= !data;
  }
  tell(kind, data);
}

/** Begin to listen. */
export function listen() {
  if (window.SharedWorker) {
    port = new SharedWorker("/static/events.js", { name: "dustd-events" }).port;
    port.onmessage = ({ data }) => hear(data);
    port.start();
  } else {
    window.dustdHear = hear; // events.js is then a script of this page
    document.head.append(Object.assign(document.createElement("script"), { src: "/static/events.js" }));
  }
  addEventListener("pagehide", () => port?.postMessage("bye"));
  addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
}
