"use strict";
// Where a cell errs: classes that are taken for others, transforms that saved images, margins, agreement of attacks, gradients.
(() => {
  const { html } = preact, f = view.format, { Select, Rate, Points, Table, Answer, Chart, Whisker, reach, useAnswer, Empty,
    TOPS } = view.parts, { written } = view.route;

  const shade = (share) =>
    ({ background: share > 0 ? `color-mix(in srgb, var(--c0) ${Math.round(8 + 34 * Math.min(1, share))}%, var(--bg))` : "transparent" });

  function Confusion({ found, open }) {
    if (!found || found.classes.length === 0) return html`<${Empty}>No errors to show.<//>`;
    const names = found.classes.map((label, i) => String(found.names?.[i] ?? label)), columns = found.counts[0].length > names.length
      ? [...names, "others"] : names, rows = found.counts.length > names.length ? [...names, "others"] : names;
    const most = Math.max(1, ...found.counts.flatMap((row, i) => row.filter((_, j) => i !== j)));
    const numbered = (i, j) => found.classes[i] !== undefined && found.classes[j] !== undefined && Number.isInteger(found.classes[i])
      && Number.isInteger(found.classes[j]);
    return html`<div class="scroll" role="region" aria-label="Confusion of classes" tabindex="0"><table class="matrix"><thead><tr><th
      scope="col"><small>class ↓ seen as →</small></th>
      ${columns.map((name) => html`<th scope="col" class="tilted"><span title=${f.text(name, 80)}>
      ${f.text(name, 24)}</span></th>`)}</tr></thead>
      <tbody>${found.counts.map((row, i) => html`<tr><th scope="row">${f.text(rows[i], 40)}</th>
        ${row.map((n, j) => html`<td class=${i === j ? "diagonal" : ""} style=${i === j ? null : shade(n / most)}>
        ${n === 0 ? "" : i !== j && numbered(i, j)
        ? html`<a href=${open([["label", "=", found.classes[i]], ["adv_class", "=", found.classes[j]]])}
        aria-label=${`${f.plural(n, "image")} of ${f.text(rows[i], 40)} seen as ${f.text(columns[j], 40)}`}>${f.count(n)}</a>`
        : f.count(n)}</td>`)}</tr>`)}</tbody></table></div>`;
  }

  const Classes = ({ rows }) => rows?.length > 0 && html`<section><h2>Accuracy of each class</h2><${Table} label="Accuracy of each class"
    rows=${rows.slice(0, 200)} columns=${[["class", (r) => f.text(r.name ?? r.label, 70)], ["images", (r) => f.count(r.images)],
    ["clean, %", (r) => html`<${Rate} value=${r.clean} low=${r.clean_low} high=${r.clean_high} />`],
      ["attacked, %", (r) => html`<${Rate} value=${r.adv} low=${r.adv_low} high=${r.adv_high} />`]]} /></section>`;

  const Parts = ({ rows }) => html`<${Table} label="Transforms"
    rows=${[...(rows ?? [])].sort((a, b) => (b.difference ?? 0) - (a.difference ?? 0))}
    empty="The defense of this cell draws no transforms."
    columns=${[["transform", (r) => f.text(r.part, 50)], ["draws", (r) => f.count(r.draws)],
    ["right with it, %", (r) => f.percent(r.right_with)], ["right without, %", (r) => f.percent(r.right_without)],
      ["difference, points", (r) => html`<${Points} value=${r.difference} low=${r.low} high=${r.high} />`],
      ["", (r) => html`<${Whisker} value=${r.difference} low=${r.low} high=${r.high} most=${reach(rows)} />`]]} />`;

  function Margins({ rows }) {
    const points = (rows ?? []).filter((r) => !f.missing(r.adv)).map((r) =>
      ({ ...r, x: (r.low + r.high) / 2, y: 100 * r.adv, bottom: 100 * r.adv_low, top: 100 * r.adv_high }));
    if (points.length === 0) return html`<${Empty}>The store holds no margins: an older version wrote it.<//>`;
    return html`<${Chart} label="Attacked accuracy against the clean margin; the table below has its figures" narrow=${760}
      inputs=${[JSON.stringify(points)]}
      make=${(width) => Plot.plot({ width, height: 260, marginLeft: 46, marginBottom: 40,
      style: { background: "transparent", color: "var(--dim)", fontSize: "12px" },
        x: { label: "clean margin", grid: true, labelAnchor: "center", labelArrow: "none", ticks: 6 },
          y: { label: "attacked accuracy in %", domain: [0, 100], grid: true, labelArrow: "none", ticks: 5 },
        marks: [Plot.ruleY(points, { y: "y", x1: "low", x2: "high", stroke: "var(--c0)", strokeWidth: 2 }),
          Plot.ruleX(points, { x: "x", y1: "bottom", y2: "top", stroke: "var(--c0)", strokeOpacity: 0.7 }),
          Plot.dot(points, { x: "x", y: "y", fill: "var(--c0)", r: 3.5 })] })} />
      <details><summary>The figures as a table</summary><${Table} label="Accuracy by margin" rows=${points}
        columns=${[["margin", (r) => `${f.number(Number(r.low.toPrecision(3)))} to ${f.number(Number(r.high.toPrecision(3)))}`],
        ["images", (r) => f.count(r.images)], ["attacked accuracy, %",
        (r) => html`<${Rate} value=${r.adv} low=${r.adv_low} high=${r.adv_high} />`]]} /></details>`;
  }

  const Agreement = ({ found }) => !found || found.cells.length < 2
    ? html`<${Empty}>One attack alone agrees with itself: the store has no other on this defense.<//>`
    : html`<div class="scroll" role="region" aria-label="Agreement of attacks" tabindex="0"><table class="matrix agree">
    <thead><tr><th scope="col">share of images, %</th>
      ${found.cells.map((name) => html`<th scope="col" class="tilted"><span title=${f.text(name, 80)}>
      ${f.text(name, 24)}</span></th>`)}</tr></thead>
    <tbody>${found.cells.map((name, i) => html`<tr><th scope="row">${f.text(name, 50)}</th>
      ${found.share[i].map((share, j) => html`<td class=${i === j ? "diagonal" : ""}
      style=${i === j || f.missing(share) ? null : shade(share)}>${i === j ? "" : f.percent(share)}</td>`)}</tr>`)}</tbody></table></div>`;

  const Gradients = ({ rows }) => html`<${Table} label="Health of gradients" rows=${rows ?? []}
    columns=${[["cell", (r) => f.text(r.cell, 70)], ["zero, %", (r) => f.percent(r.zero)], ["not finite, %", (r) => f.percent(r.nonfinite)],
    ["norm, median", (r) => html`<b>${f.number(r.norm_median)}</b> <small>${f.interval(r.norm_low, r.norm_high, f.number)}</small>`],
      ["blind", (r) => (r.blind ? html`<span class="fail">${r.blind === true ? "yes" : f.count(r.blind)}</span>` : "0")]]} />`;

  const LISTED = 60;
  const Always = ({ title, found, store, cell, link, empty }) => !found ? null
    : html`<div><h3>${title}: ${f.count(found.images)} of ${f.plural(found.of, "image")}</h3>
    ${found.examples.length === 0 ? html`<${Empty}>${empty}<//>`
    : html`<ul class="keys-list">
    ${found.examples.slice(0, LISTED).map(([shard, key]) => html`<li key=${`${shard}/${key}`}><a
    href=${link("images", { store: store.id, pick: cell, shard, key })}>${f.text(key, 50)}</a></li>`)}
    ${found.images > LISTED && html`<li class="dim">and ${f.count(found.images - Math.min(LISTED, found.examples.length))} more</li>`}</ul>`}</div>`;

  view.views.errors = ({ source, stores, store, params, set, link }) => {
    const revision = view.parts.useCalm(stores.revision, 30000);
    const cell = store.cells.some((one) => one.cell === params.cell) ? params.cell : store.cells[0]?.cell, rule = params.rule
      ?? stores.rules[0], top = params.top ?? "1";
    const state = useAnswer(() => { if (!cell) throw new Error("the store has no cell yet");
      return source.errors({ store: store.id, cell, rule, top }); }, [store.id, cell, rule, top], [revision]);
    const open = (where) => link("images", { store: store.id, cell, where: written(where) });
    return html`<h2 class="visually-hidden">Errors</h2><div class="controls"><${Select} label="Cell" value=${cell}
      options=${view.parts.cellOptions(store)} onChange=${(one) => set({ cell: one })} />
        <${Select} label="Decision rule" value=${rule} options=${view.parts.ruleOptions(stores)}
          onChange=${(one) => set({ rule: one })} /><${Select} label="Accuracy" value=${top} options=${TOPS}
          onChange=${(one) => set({ top: one })} /></div>
      <${Answer} state=${state}>${(found) => html`
        <section><h2>Classes under attack</h2><p
          class="dim">Rows: the image's class. Columns: the likeliest class after the attack. Press a number to see its images.</p>
          <${Confusion} found=${found.confusion} open=${open} /></section><${Classes} rows=${found.classes} />
        <section><h2>Which transforms saved the image</h2><p
          class="dim">The shares of right draws with a transform among the drawn ones, and without it. The difference is one between draws
          of the same image, with its 95 % interval over images, which all weigh the same: it need not be that of the two shares.</p><${Parts} rows=${found.parts} /></section>
        <section><h2>Accuracy against the margin</h2><p
          class="dim">The clean margin is how far the right class leads the next one before the attack.</p><${Margins}
          rows=${found.margins} /></section>
        <section><h2>Agreement of attacks</h2><p
          class="dim">The share of images on which two attacks end alike: both break it, or neither.</p><${Agreement}
          found=${found.agreement} /></section>
        <section><h2>Health of gradients</h2><${Gradients} rows=${found.gradients} /></section>
        <section><h2>The same under every attack</h2><div class="sides"><${Always} title="Broken by all" found=${found.always_broken}
          store=${store} cell=${cell} link=${link} empty="No image is broken by every attack." /><${Always} title="Broken by none"
          found=${found.never_broken} store=${store} cell=${cell} link=${link} empty="Every image is broken by some attack." /></div></section>`}<//>`;
  };
})();
