// Signs drawn as lines, so that a status is told by its shape and not by its colour alone.

import { svg } from "./dom.js";

const PATHS = {
  waiting: "M12 4a8 8 0 1 1 0 16a8 8 0 1 1 0-16z",
  working: "M12 4a8 8 0 1 1 0 16a8 8 0 1 1 0-16z M12 8v4l3 2",
  cleaned: "M5 12.5l4.5 4.5L19 7.5",
  clean: "M6 9.5h12 M6 14.5h12",
  improved: "M4 13l4 4 5-6 M17 4v8 M13 8h8",
  failed: "M12 4L21 20H3z M12 10v4 M12 17v.5",
  vanished: "M6 6l12 12 M18 6L6 18",
  kept: "M7 11V8a5 5 0 0 1 10 0v3 M5 11h14v9H5z",
  look: "M2.5 12S6 6 12 6s9.5 6 9.5 6-3.5 6-9.5 6-9.5-6-9.5-6z M12 9.5a2.5 2.5 0 1 1 0 5a2.5 2.5 0 1 1 0-5z",
  pause: "M8 5v14 M16 5v14",
  resume: "M7 5l12 7-12 7z",
  back: "M14 5l-7 7 7 7",
  forward: "M10 5l7 7-7 7",
  up: "M12 20V5 M6 11l6-6 6 6",
  bell: "M6 17V11a6 6 0 0 1 12 0v6l2 2H4z M10 21h4",
  bodies: "M3 8h4l2-3h6l2 3h4v11H3z M12 10a3.5 3.5 0 1 1 0 7a3.5 3.5 0 1 1 0-7z",
};

/** Draw a sign; what it means stands beside it in words. */
export function icon(name) {
  return svg(
    "svg",
    { viewBox: "0 0 24 24", class: `icon ${name}`, "aria-hidden": "true" },
    svg("path", { d: PATHS[name] ?? PATHS.waiting }),
  );
}
