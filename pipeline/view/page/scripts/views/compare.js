"use strict";
// Two cells, of one store or of two, image by image: the paired difference, its test, and the images that changed sides.
(() => {
  const { html, useState } = preact, f = view.format, { Select, Rate, Points, Note, Table, Answer, Chart, Picture, Figure, useAnswer,
    Empty, TOPS } = view.parts;

  const BOXES = [["both", "both right"], ["first_only", "only the first right"], ["second_only", "only the second right"],
    ["neither", "neither right"]];

  const Pick = ({ name, stores, store, cell, onChange }) => html`<fieldset><legend>${name}</legend>
    ${stores.length > 1 && html`<${Select} label="Store" value=${store.id} options=${stores.map((one) => [one.id, one.name])}
      onChange=${(id) => onChange({ store: id, cell: null })} />`}
    <${Select} label="Cell" value=${cell} options=${view.parts.cellOptions(store)}
      onChange=${(one) => onChange({ store: store.id, cell: one })} /></fieldset>`;

  const counts = (found) =>
    ({ both: found.table[0][0], first_only: found.table[0][1], second_only: found.table[1][0], neither: found.table[1][1] });

  function Boxes({ found, box, onPick }) {
    const n = counts(found), cell = (name) => html`<button type="button" aria-pressed=${String(box === name)}
      aria-label=${`${f.plural(n[name], "image")}, ${BOXES.find(([one]) => one === name)[1]}: show them`}
      onClick=${() => onPick(box === name ? null : name)}>${f.count(n[name])}</button>`;
    return html`<div class="scroll" role="region" aria-label="Images by verdict" tabindex="0"><table class="boxes"><caption
      class="visually-hidden">Images by what each side says</caption>
      <thead><tr><td></td><th scope="col">second right</th><th scope="col">second wrong</th></tr></thead>
      <tbody><tr><th scope="row">first right</th><td>${cell("both")}</td><td>${cell("first_only")}</td></tr><tr><th
        scope="row">first wrong</th><td>${cell("second_only")}</td><td>${cell("neither")}</td></tr></tbody></table></div>`;
  }

  const SHOWN = 24;

  // Return the numbers of the pictures of images in an export: {first, second}, each a map from SHARD/KEY.
  async function pictured(source, asked, images) {
    const keys = images.map(([, key]) => key);
    const [first, second] = await Promise.all(["first", "second"].map(async (which) => {
      const where = [["cell", "=", asked[`${which}_cell`]], ["image_key", "in", keys]];
      const answer = await source.rows({ store: asked[which], where, columns: ["shard", "image_key", "picture"], limit: 1000 });
      return new Map(answer.rows.map(([shard, key, picture]) => [`${shard}/${key}`, picture]));
    }));
    return { first, second };
  }

  function Behind({ source, found, box, asked, link }) {
    const [most, setMost] = useState(SHOWN), images = found.changed?.[box] ?? [], total = counts(found)[box];
    const numbers = useAnswer(() => (source.exported && box ? pictured(source, asked, images.slice(0, most)) : null),
      [box, most, asked]);
    if (!box || (source.exported && numbers.waiting)) return html`<p class="dim">
      ${box ? "reading …" : "Press a number to see its images."}</p>`;
    if (images.length === 0) return html`<${Empty}>${total ? "The images of this number are not listed."
      : "No image is in this field."}<//>`;
    const side = (which) => ([shard, image_key]) =>
      ({ store: asked[which], cell: asked[`${which}_cell`], shard, image_key,
      picture: numbers.value?.[which].get(`${shard}/${image_key}`) });
    return html`<h3>${f.plural(total, "image")}: ${BOXES.find(([name]) => name === box)[1]}</h3><ul class="pairs">
      ${images.slice(0, most).map((image) => html`<li key=${image.join("/")}>
        <a href=${link("images", { store: asked.first, pick: asked.first_cell, shard: image[0], key: image[1] })}><span class="pair">
          <${Picture} source=${source} row=${side("first")(image)} what="adversarial"
            alt=${`${f.text(image[1], 40)} attacked in the first`} /><${Picture} source=${source} row=${side("second")(image)}
            what="adversarial" alt=${`${f.text(image[1], 40)} attacked in the second`} /></span>
          <small>${f.text(image[1], 60)}</small></a></li>`)}</ul>
      ${images.length > most && html`<button type="button" onClick=${() =>
        setMost(most + 4 * SHOWN)}>More of ${f.count(images.length)}</button>`}
        ${total > images.length && html`<p class="dim">The first ${f.count(images.length)} of ${f.count(total)} are listed.</p>`}`;
  }

  const Cost = ({ found }) => {
    const points = [["first", found.first], ["second", found.second]].filter(([, side]) => !f.missing(side.cost)).map(([name, side]) =>
      ({ name, x: side.cost, y: 100 * side.rate, low: 100 * side.low, high: 100 * side.high }));
    return points.length === 2 && html`<section><h2>Cost against accuracy</h2><${Chart}
      label="Accuracy against draw-gradients per image, first and second" narrow=${520} inputs=${[JSON.stringify(points)]}
      make=${(width) => Plot.plot({
      width, height: 220, marginLeft: 46, marginRight: 56, marginBottom: 40,
        style: { background: "transparent", color: "var(--dim)", fontSize: "12px" },
        x: { label: "draw-gradients per image", grid: true, labelAnchor: "center", labelArrow: "none", zero: true, insetRight: 40,
        ticks: 5 }, y: { label: "accuracy in %", grid: true, labelArrow: "none", zero: true },
      marks: [Plot.ruleX(points, { x: "x", y1: "low", y2: "high", stroke: (p) => p.name }),
        Plot.dot(points, { x: "x", y: "y", fill: (p) => p.name, r: 4.5 }),
        ...[...points].sort((a, b) => a.x - b.x).map((p, i) => Plot.text([p], { x: "x", y: "y", text: "name", dx: i ? 10 : -10,
        textAnchor: i ? "start" : "end", fill: "var(--ink)" }))], color: { domain: ["first", "second"], range: ["var(--c0)", "var(--c1)"] } })} /></section>`;
  };

  // Differences as dots with intervals, the largest first; a line marks no difference.
  const Differences = ({ title, rows, name, label }) => rows?.length > 0 && html`<section><h2>${title}</h2>
    <${Table} label=${title} rows=${[...rows].sort((a, b) => Math.abs(b.difference ?? 0) - Math.abs(a.difference ?? 0)).slice(0, 200)}
      columns=${[[label, (r) => f.text(name(r), 70)], [rows[0].images !== undefined ? "images" : "draws",
      (r) => f.count(r.images ?? r.draws)],
      ["first, %", (r) => f.percent(r.first)], ["second, %", (r) => f.percent(r.second)],
        ...(f.missing(rows[0].p_holm) ? [] : [["p (Holm)", (r) => f.pValue(r.p_holm)]]),
        ["difference, points", (r) => html`<${Points} value=${r.difference} low=${r.low} high=${r.high} />`],
        ["", (r) => html`<${Whisker} low=${r.low} high=${r.high} value=${r.difference} most=${reach(rows)} />`]]} /></section>`;

  const reach = (rows) => Math.max(0.05, ...rows.flatMap((row) =>
    [row.low, row.high, row.difference].filter((v) => !f.missing(v)).map(Math.abs)));

  // A difference with its interval; the ends of the scale are -most and most.
  function Whisker({ value, low, high, most }) {
    if (f.missing(value)) return null;
    const x = (v) => Math.max(1, Math.min(119, 60 + (56 * v) / most)), ends = f.missing(low) ? [value, value] : [low, high];
    return html`<svg class="whisker" viewBox="0 0 120 16" aria-hidden="true"><line class="zero" x1="60" x2="60" y1="0" y2="16" /><line
      x1=${x(ends[0])} x2=${x(ends[1])} y1="8" y2="8" /><circle cx=${x(value)} cy="8" r="3" /></svg>`;
  }

  // Clean and attacked accuracy, and hits of the target, as far as both sides have them.
  function Sides({ found }) {
    const values = [["attacked", "", found], ["clean", "clean_", found.clean]].filter(([, , one]) => one);
    const rate = (side, prefix) => html`<${Rate} value=${side[`${prefix}rate`]} low=${side[`${prefix}low`]}
      high=${side[`${prefix}high`]} />`;
    return found.clean && html`<${Table} label="Paired differences" rows=${values}
      columns=${[["accuracy", ([name]) => name], ["first, %", ([, prefix]) => rate(found.first, prefix)],
      ["second, %", ([, prefix]) => rate(found.second, prefix)],
      ["difference, points", ([, , one]) => html`<${Points} value=${one.difference} low=${one.low} high=${one.high} />`],
        ["test", ([, , one]) => `${f.pValue(one.p_value)}, ${f.text(one.test, 60)}`, "text"]]} />`;
  }

  const setting = (value) =>
    (f.missing(value) ? f.NONE : html`<code>${f.text(typeof value === "string" ? value : JSON.stringify(value), 160)}</code>`);
  const Settings = ({ rows }) => rows?.length > 0 && html`<section><h2>What differs between the two</h2><${Table}
    label="Settings that differ" rows=${rows} columns=${[["setting", (r) => f.text(r.name, 80)],
    ["first", (r) => setting(r.first), "text"], ["second", (r) => setting(r.second), "text"]]} /></section>`;

  const Summary = ({ found }) => html`<section class="tiles wide" aria-label="In short">
    <div><b>${f.percent(found.first.rate)} %</b>first <small>${f.interval(found.first.low, found.first.high)}</small></div>
    <div><b>${f.percent(found.second.rate)} %</b>second <small>${f.interval(found.second.low, found.second.high)}</small></div>
    <div><b>${f.points(found.difference)}</b>points, first minus second <small>${f.interval(found.low, found.high, f.points)}</small></div>
    <div><b>${f.pValue(found.p_value)}</b>${f.text(found.test, 80)}, ${f.plural(found.images, "image")} in both</div></section>`;

  // Return the store of the other side where none is chosen: another one with a cell of the same name, else the same store.
  const counterpart = (all, first, cell) => all.find((one) => one !== first && one.cells.some((other) => other.cell === cell)) ?? first;

  view.views.compare = ({ source, stores, store, params, set, link }) => {
    const revision = view.parts.useCalm(stores.revision, 30000);
    const all = stores.stores, find = (id) => all.find((one) => one.id === id), first = find(params.first) ?? store,
      rule = params.rule ?? stores.rules[0], top = params.top ?? "1", firstCell = params.first_cell ?? first.cells[0]?.cell,
      second = find(params.second) ?? counterpart(all, first, firstCell);
    const secondCell = params.second_cell
      ?? (second.cells.find((one) => second !== first ? one.cell === firstCell : one.cell !== firstCell) ?? second.cells[0])?.cell;
    const asked = { first: first.id, first_cell: firstCell, second: second.id, second_cell: secondCell, rule, top };
    const state = useAnswer(() => (firstCell && secondCell ? source.compare(asked) : { problem: "a store has no cell yet" }),
      [asked], [revision]);
    const classes = (found) => found.classes ?? [];
    return html`<h2 class="visually-hidden">Compare</h2><div class="controls pickers">
        <${Pick} name="First" stores=${all} store=${first} cell=${firstCell}
          onChange=${(next) => set({ first: next.store, first_cell: next.cell, box: null })} />
        <${Pick} name="Second" stores=${all} store=${second} cell=${secondCell}
          onChange=${(next) => set({ second: next.store, second_cell: next.cell, box: null })} />
        <${Select} label="Decision rule" value=${rule} options=${view.parts.ruleOptions(stores)}
          onChange=${(one) => set({ rule: one })} /><${Select} label="Accuracy" value=${top} options=${TOPS}
          onChange=${(one) => set({ top: one })} /></div>
      <p class="dim">Attacked accuracy on the images that both have. ${f.text(stores.rule_texts[rule], 300)}</p>
      <${Answer} state=${state}>${(found) => found.problem ? html`<${Note} kind="bad" role="alert">${f.text(found.problem, 600)}<//>`
        : html`
        ${(found.warnings ?? []).map((warning) => html`<${Note}>${f.text(warning, 600)}<//>`)}<${Summary} found=${found} /><${Sides}
          found=${found} />
        <section><h2>Images that changed sides</h2><${Boxes} found=${found} box=${params.box} onPick=${(box) => set({ box })} />
          <${Behind} source=${source} found=${found} box=${params.box} asked=${asked} link=${link} /></section>
        <${Cost} found=${found} /><${Differences} title="By class" rows=${classes(found)} name=${(r) => r.name ?? r.label}
          label="class" /><${Differences} title="By transform of a draw" rows=${found.parts} name=${(r) => r.part} label="transform" />
          <${Settings} rows=${found.settings} />`}<//>`;
  };
  Object.assign(view.parts, { Whisker, reach });
})();
