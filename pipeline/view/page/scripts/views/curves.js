"use strict";
// Accuracy against what an attack may do, with intervals; the accuracy that a persistent attacker leaves; certificates.
(() => {
  const { html } = preact, f = view.format, { Select, Tick, Search, Chart, Legend, Table, Rate, Empty } = view.parts,
    { list, written } = view.route;

  const wanted = (cell, filter) => (filter ?? "").toLowerCase().split(/\s+/).every((word) => cell.toLowerCase().includes(word));

  function collected(points, key, dashed, xy) {
    const found = new Map();
    for (const point of points) {
      const one = xy(point), name = key(point), id = `${name}|${dashed}`;
      if (f.missing(one.x) || f.missing(one.y)) continue;
      if (!found.has(id)) found.set(id, { name, dashed, points: [] });
      found.get(id).points.push({ low: NaN, high: NaN, ...one });
    }
    for (const series of found.values()) series.points.sort((a, b) => a.x - b.x);
    return [...found.values()];
  }

  function accuracy(curves, x, { rule, top, clean, filter }) {
    const labels = curves.series[x] ?? {}, points = curves.points.filter((p) => p.rule === rule && wanted(p.cell, filter)
      && p.cell in labels && (x !== "draw_gradients" || p.x[x] > 0));
    const of = (name) => (p) =>
      ({ x: p.x[x], y: p[name], low: p[`${name}_low`] ?? NaN, high: p[`${name}_high`] ?? NaN, cell: p.cell, what: view.looks.rates[name],
      text: `${f.text(p.cell, 80)}\n${view.looks.rates[name]} ${f.rate(p[name], p[`${name}_low`],
        p[`${name}_high`])}\n${f.count(p.images)} images, ${f.count(p.draw_gradients)} draw-gradients` });
    const key = (p) => labels[p.cell];
    if (top === "targets") return collected(points, key, false, of("target_hits"));
    return [...collected(points, key, false, of(`adv_top${top}`)), ...(clean ? collected(points, key, true, of(`clean_top${top}`)) : [])];
  }

  const persistent = (points, filter) => collected(points.filter((p) => wanted(p.cell, filter)), (p) => p.cell, false,
    (p) => ({ x: p.draws, y: p.adv, low: p.adv_low, high: p.adv_high, cell: p.cell,
    what: `all of ${f.count(p.draws)} right`,
      text: `${f.text(p.cell, 80)}\nall of ${f.count(p.draws)} draws right: ${f.rate(p.adv, p.adv_low,
      p.adv_high)}\n${f.count(p.images)} images; clean ${f.percent(p.clean)} %` }));

  const certified = (points, filter) => collected(points.filter((p) => wanted(p.cell, filter)), (p) => p.cell, false,
    (p) => ({ x: p.radius, y: p.certified, low: p.certified_low, high: p.certified_high, cell: p.cell,
    what: "certified", text: `${f.text(p.cell, 80)}\nradius ${f.number(p.radius)}: ${f.rate(p.certified, p.certified_low,
      p.certified_high)}\n${f.count(p.images)} images; ${f.percent(p.abstained)} % abstained` }));

  function Curve({ title, about, series, x, y, log, whole, hidden, onToggle }) {
    const names = [...new Set(series.map((one) => one.name))];
    const shown = series.map((one) => ({ ...one, index: names.indexOf(one.name), of: names.length })).filter((one) =>
      !hidden.includes(one.name));
    const rows = shown.flatMap((one) => one.points.map((p) => ({ ...p, series: one.name })));
    if (series.length === 0) return html`<${Empty}>No point to draw: change the cells, the rule or the axis.<//>`;
    return html`${title && html`<h2>${title}</h2>`}${about && html`<p class="dim">${about}</p>`}
      <${Legend} names=${names} hidden=${hidden} onToggle=${onToggle} />
      <${Chart} label=${`Chart: ${y} against ${x}; the table below has its figures`} inputs=${[JSON.stringify(shown), log]}
        make=${(width) => view.parts.lines({ width, series: shown, x, y, log, whole, height: width < 500 ? 300 : 400 })} />
      <details><summary>The figures as a table</summary><${Table} label=${`Figures: ${y} against ${x}`} rows=${rows}
        columns=${[["cell", (r) => f.text(r.cell, 80)], ["what", (r) => r.what, "text"], [x, (r) => f.number(r.x)],
        ["%", (r) => html`<${Rate} value=${r.y} low=${r.low} high=${r.high} />`]]} /></details>`;
  }

  view.views.curves = ({ stores, store, params, set }) => {
    const data = store.curves, found = data?.curves;
    if (!found || found.points.length === 0) return html`<h2 class="visually-hidden">Curves</h2>
      <${Empty}>No curve yet: the store has no committed rows.<//>`;
    const { axes, values } = view.looks, xs = Object.keys(found.series), x = xs.includes(params.x) ? params.x : xs[0], rule = params.rule
      ?? stores.rules[0], top = params.top ?? "1";
    const clean = params.clean !== "no" && top !== "targets", hidden = list(params.hidden),
      toggle = (name) => set({ hidden: written(hidden.includes(name) ? hidden.filter((one) => one !== name) : [...hidden, name]) });
    const tops = [["1", "top-1"], ["5", "top-5"], ...(found.points.some((p) => !f.missing(p.target_hits))
      ? [["targets", view.looks.rates.target_hits]] : [])];
    return html`<h2 class="visually-hidden">Curves</h2><div class="controls">
        <${Select} label="Against" value=${x} options=${xs.map((one) => [one, axes[one]])} onChange=${(one) => set({ x: one })} />
        <${Select} label="Decision rule" value=${rule} options=${view.parts.ruleOptions(stores)} onChange=${(one) => set({ rule: one })} />
        <${Select} label="Accuracy" value=${top} options=${tops} onChange=${(one) => set({ top: one })} />
        <${Search} label="Cells" value=${params.filter} placeholder="all; such as bart5" onChange=${(one) => set({ filter: one })} />
        <${Tick} label="clean too, dashed" checked=${clean} onChange=${(on) => set({ clean: on ? null : "no" })} /></div>
      <${Curve} series=${accuracy(found, x, { rule, top, clean, filter: params.filter })} x=${axes[x]}
        y=${top === "targets" ? values.target_hit : values.adv} log=${x === "draw_gradients"}
        whole=${["k", "steps", "eot_draws"].includes(x)} hidden=${hidden} onToggle=${toggle} />
      <p class="dim">Bars are 95 % intervals over images. Point at a mark for its counts; press a name to hide a series.</p>
      ${data.persistent?.length > 0 && html`<${Curve} title="A persistent attacker"
        about="An attacker who may ask again needs only one wrong draw: the accuracy that is left if m fresh draws must all be right."
        series=${persistent(data.persistent, params.filter)} x=${axes.draws} y=${values.adv} whole hidden=${hidden} onToggle=${toggle} />`}
      ${data.certified?.length > 0 && html`<${Curve} title="Certified accuracy"
        about="The share of images whose class is certified at least up to a radius, behind Gaussian noise."
        series=${certified(data.certified, params.filter)} x=${axes.radius} y=${values.certified} hidden=${hidden} onToggle=${toggle} />`}`;
  };
})();
