"use strict";
// The columns of a row: what the page calls them, and what kind of value each holds. Both sources answer with these names.
(() => {
  const KINDS = {
    text: "cell model defense attack norm shard image_key label_name clean_class_name adv_class_name outcome status error unit",
    share: "clean adv",
    number:
      "k eps label target clean_class adv_class evaluation_draws linf l2 first_break zero_gradients nonfinite_gradients " +
      "gradient_norm clean_margin adv_margin grad_evals forward_evals seconds picture images failed survived broken",
  };
  const HEADINGS = {
    image_key: "image", label_name: "class", clean_class_name: "clean, likeliest", adv_class_name: "attacked, likeliest", clean: "clean, %",
    adv: "attacked, %", linf: "L-inf", l2: "L2", first_break: "first break (step)", zero_gradients: "zero gradients",
    nonfinite_gradients: "non-finite gradients", gradient_norm: "gradient norm", clean_margin: "clean margin",
      adv_margin: "attacked margin",
    grad_evals: "draw-gradients", forward_evals: "forward passes", seconds: "device seconds", evaluation_draws: "evaluation draws",
      label: "class number",
    clean_class: "clean class number", adv_class: "attacked class number", target: "target class number",
  };
  const ORDER =
    "image_key label_name outcome clean adv adv_class_name cell shard linf l2 first_break gradient_norm clean_margin adv_margin " +
    "model defense attack k norm eps label target clean_class clean_class_name adv_class zero_gradients nonfinite_gradients evaluation_draws " +
    "grad_evals forward_evals seconds status error unit";
  const kinds = new Map(Object.entries(KINDS).flatMap(([kind, names]) => names.split(" ").map((name) => [name, kind])));

  const ALL = ORDER.split(" "), TOTALS = ["images", "clean", "adv", "survived", "broken", "failed"];
  const NUMBERED = { label_name: "label", clean_class_name: "clean_class", adv_class_name: "adv_class" };
  const OPS = ["=", "!=", "<", "<=", ">", ">=", "in", "contains", "null", "notnull"];

  view.columns = {
    // Return the clauses, orders and columns of a link that name what there is; links may come from anywhere.
    clauses: (found) => found.filter((one) => Array.isArray(one) && ALL.includes(one[0]) && OPS.includes(one[1])),
    orders: (found) => found.filter((one) => Array.isArray(one) && (ALL.includes(one[0]) || TOTALS.includes(one[0]))
      && ["asc", "desc"].includes(one[1])),
    // Return columns without names of classes for a store that has none: their numbers instead.
    ofStore: (found, store) => [...new Set(found.map((name) => (store.classes || !NUMBERED[name] ? name : NUMBERED[name])))],
    known: (found) => found.filter((one) => ALL.includes(one)),
    ALL,
    SHOWN: ALL.slice(0, 12),
    GROUPS: ["cell", "label_name", "outcome", "shard", "adv_class_name", "status", "model", "defense", "attack", "k", "norm", "eps",
      "unit"],
    TOTALS,
    OUTCOMES: { survived: "right clean and attacked", broken: "right clean, wrong attacked", wrong: "wrong without an attack",
      failed: "could not be attacked" },
    kind: (name) => kinds.get(name) ?? "text",
    heading: (name) => HEADINGS[name] ?? name.replaceAll("_", " "),
    shown(name, value) {
      const { missing, percent, distance, number, text } = view.format, kind = kinds.get(name);
      if (missing(value)) return "";
      if (name === "linf") return distance(name, value);
      return kind === "share" ? percent(value) : kind === "number" ? number(value) : text(value);
    },
  };
})();
