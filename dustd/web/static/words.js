// Words in English and German, numbers and dates as the browser's user writes them.

import english from "./words-en.js";
import german from "./words-de.js";

const WORDS = { en: english, de: german };
const asked = navigator.languages?.length ? navigator.languages : [navigator.language || "en"];
export const language = asked.map((each) => each.slice(0, 2).toLowerCase()).find((each) => each in WORDS) ?? "en";
export const locale = asked[0];
document.documentElement.lang = language;

const plurals = new Intl.PluralRules(language);
const plain = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat(locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const percents = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 });
const finePercents = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 1 });
const dates = new Intl.DateTimeFormat(locale, { dateStyle: "medium" });
const times = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
const moments = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });

/** Say *key* with the values put in; a number n chooses between singular and plural. */
export function t(key, values = {}) {
  let words = WORDS[language][key] ?? english[key] ?? key;
  if (typeof words === "object") words = words[plurals.select(values.n)] ?? words.other;
  return words.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : (value ?? "");
  });
}

export const number = (value) => plain.format(value);
export const percent = (share) => (share < 0.1 ? finePercents : percents).format(share);
export const date = (iso) => dates.format(new Date(iso));
export const moment = (iso) => {
  const at = new Date(iso);
  return (dates.format(at) === dates.format(new Date()) ? times : moments).format(at);
};

/** Say a duration with as many figures as matter: 3.2 s, 41 s, 7 min, 2.5 h. */
export function duration(seconds) {
  const unit = (name, value, format) => `${format.format(value)} ${t(name)}`;
  if (seconds < 9.95) return unit("unit_s", seconds, tenths);
  if (seconds < 90) return unit("unit_s", seconds, plain);
  if (seconds < 5400) return unit("unit_min", seconds / 60, plain);
  return unit("unit_h", seconds / 3600, tenths);
}

/** Say how much room a disk has. */
export function bytes(count) {
  const gigabytes = count / 1e9;
  return gigabytes < 10 ? `${tenths.format(gigabytes)} GB` : `${plain.format(gigabytes)} GB`;
}
