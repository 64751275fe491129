"use strict";
// How values become texts. Texts of stores come from others: what cannot be seen is written out, and long ones are cut.
(() => {
  const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
  const NONE = "–";

  function escape(character) {
    const code = character.codePointAt(0), hex = code.toString(16);
    if (character === "\n") return "\\n";
    if (character === "\t") return "\\t";
    if (character === "\r") return "\\r";
    return code < 256 ? `\\x${hex.padStart(2, "0")}` : code < 65536 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
  }

  // Return a text in one line, at most `most` characters of it. Cut first: a text may have megabytes.
  function text(value, most = 120) {
    if (value === null || value === undefined) return "";
    const whole = String(value), short = whole.length > most ? whole.slice(0, most) : whole;
    const seen = short.replace(UNSEEN, escape);
    return whole.length > most ? `${seen}… (${count(whole.length)} characters)` : seen;
  }

  // Return a text of several lines, such as a traceback: as text(), but its line breaks stay.
  const lines = (value, most = 20000) => {
    const whole = String(value ?? ""), short = whole.slice(0, most).split("\n").map((line) => line.replace(UNSEEN, escape)).join("\n");
    return whole.length > most ? `${short}\n… (${count(whole.length)} characters)` : short;
  };

  const missing = (value) => value === null || value === undefined || Number.isNaN(value);
  const count = (value) => (missing(value) ? NONE : Math.round(value).toLocaleString("en"));
  const percent = (value, digits = 1) => (missing(value) ? NONE : (100 * value).toFixed(digits));
  const points = (value) => (missing(value) ? NONE : `${value > 0 ? "+" : value < 0 ? "−" : ""}${(100 * Math.abs(value)).toFixed(1)}`);
  const interval = (low, high, form = percent) => (missing(low) || missing(high) ? "" : `${form(low)} to ${form(high)}`);
  const rate = (value, low, high) => (missing(value) ? NONE : `${percent(value)} % [${percent(low)}, ${percent(high)}]`);

  // Return a number with four significant digits at most.
  const number = (value) => {
    if (missing(value)) return NONE;
    const size = Math.abs(value), small = size !== 0 && (size < 1e-3 || size >= 1e6);
    const shown = Number.isInteger(value) ? size.toLocaleString("en") : small ? size.toExponential(2) : String(Number(size.toPrecision(4)));
    return value < 0 ? `−${shown}` : shown;
  };

  // Return a time in seconds as a reader says it: "40 s", "12 min", "3.5 h", "2.1 days".
  function duration(seconds) {
    if (missing(seconds)) return NONE;
    for (const [unit, size] of [["days", 172800], ["h", 5400], ["min", 90]]) {
      const one = { days: 86400, h: 3600, min: 60 }[unit];
      if (seconds >= size) return `${(seconds / one).toFixed(seconds / one < 10 ? 1 : 0)} ${unit}`;
    }
    return `${Math.round(seconds)} s`;
  }

  const distance = (norm, value) => (missing(value) ? NONE : norm === "linf" ? `${Number((255 * value).toFixed(1))}/255`
    : Number(value.toPrecision(3)).toString());
  const pValue = (value) => (missing(value) ? NONE : value < 1e-4 ? "p < 0.0001" : `p = ${value.toPrecision(2)}`);
  const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

  view.format = { text, lines, count, percent, points, interval, rate, number, duration, distance, pValue, plural, missing, NONE };
})();
