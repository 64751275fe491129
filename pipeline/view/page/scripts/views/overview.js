"use strict";
// What runs and how far it is: stores, cells with accuracy so far, alarms, parked units, failures, checks, machines.
(() => {
  const { html } = preact, f = view.format, { Rate, Note, Table, Progress, Select, TOPS, Empty } = view.parts;

  const sum = (items, name) => items.reduce((total, item) => total + (item[name] ?? 0), 0);

  const Tile = ({ value, label, bad }) => html`<div class=${bad ? "warn" : ""}><b>${value}</b>${label}</div>`;

  function Tiles({ store }) {
    const cells = store.cells, done = sum(cells, "images_done"), all = sum(cells, "images"), failed = sum(cells, "failed");
    return html`<section class="tiles" aria-label="In short">
      <${Tile} value=${f.count(cells.length)} label=${cells.length === 1 ? "cell" : "cells"} />
      <${Tile} value=${all ? `${f.percent(done / all, done === all ? 0 : 1)} %` : f.NONE}
        label=${`${f.count(done)} of ${f.count(all)} image attacks`} />
      ${!store.complete && html`<${Tile} value=${f.missing(store.images_per_second) ? f.NONE
        : f.number(Number(store.images_per_second.toPrecision(3)))} label="images a second" />
      <${Tile} value=${f.duration(store.seconds_left)} label="left, by what each cell takes" />`}
      <${Tile} value=${f.count(failed)} label="images failed" bad=${failed > 0} />
      <${Tile} value=${f.count(store.parked.length)} label=${store.parked.length === 1 ? "unit parked" : "units parked"}
        bad=${store.parked.length > 0} />
    </section>`;
  }

  const State = ({ store }) => html`
    ${store.problem && html`<${Note} kind="bad" role="alert">${f.text(store.problem, 400)}<//>`}
    ${!store.problem && (store.complete ? html`<${Note} kind="done">Complete: every planned unit is committed.<//>`
      : html`<${Note}>Running or stopped: ${f.count(sum(store.cells, "units_done"))} of ${f.count(sum(store.cells,
      "units"))} units are committed. Every figure is of these images alone.<//>`)}
    ${!f.missing(store.loading) && store.loading < 1 && html`<${Note}
      role="status">Reading rows: ${f.percent(store.loading, 0)} %. Tables and images show what is read so far.<//>`}
    ${store.alarms.map((alarm) => html`<${Note} kind="bad" role="alert"><b>Alarm.</b> ${f.text(alarm, 600)}<//>`)}`;

  // Accuracy so far against images, with its interval as a band that grows narrower. `history`: [[images, value, low, high]].
  function History({ points, name }) {
    if (!points || points.length < 2) return html`<span class="dim">${f.NONE}</span>`;
    const W = 132, H = 30, last = points.at(-1), most = last[0], top = Math.max(0.05, ...points.map((p) => p[3]));
    const x = (n) => (2 + (n / most) * (W - 4)).toFixed(1), y = (v) => (H - 2 - (v / top) * (H - 4)).toFixed(1);
    const band = points.map((p) => `${x(p[0])},${y(p[3])}`).concat([...points].reverse().map((p) => `${x(p[0])},${y(p[2])}`)).join(" ");
    const said = `Attacked accuracy of ${f.text(name, 60)} so far: interval ${f.interval(points[0][2],
      points[0][3])} % after ${f.count(points[0][0])} images, ${f.interval(last[2], last[3])} % after ${f.count(most)}`;
    return html`<svg class="history" viewBox=${`0 0 ${W} ${H}`} role="img" aria-label=${said}><title>${said}</title>
      <polygon points=${band} /><polyline points=${points.map((p) => `${x(p[0])},${y(p[1])}`).join(" ")} /></svg>`;
  }

  const images = (cell, line) => html`<span class="nowrap">${f.count(cell.images_done)} of ${f.count(cell.images)}</span>
    <${Progress} done=${cell.images_done} of=${cell.images} label=${`Images of ${f.text(cell.cell, 60)}`} />
    ${cell.stopped && html`<small>ended by the stop rule</small>`}
      ${line?.skipped ? html`<small>${f.count(line.skipped)} skipped</small>` : null}`;

  function Cells({ store, rule, top, link }) {
    const lines = new Map(store.lines.filter((line) => line.rule === rule).map((line) => [line.cell, line]));
    const of = (side) => (cell) => { const line = lines.get(cell.cell) ?? {}, name = `${side}_top${top}`;
      return html`<${Rate} value=${line[name]} low=${line[`${name}_low`]} high=${line[`${name}_high`]} />`; };
    const open = (cell, outcome) => link("images", { cell, where: view.route.written([["outcome", "=", outcome]]) });
    return html`<${Table} label="Cells" id="cells" rows=${store.cells} columns=${[
      ["cell", (c) => html`<a href=${link("images", { cell: c.cell })}>${f.text(c.cell, 90)}</a>`],
      [`clean top-${top}`, of("clean")],
      [`attacked top-${top}`, of("adv")],
      ["so far", (c) => html`<${History} points=${store.history?.[c.cell]} name=${c.cell} />`],
      ["images", (c) => images(c, lines.get(c.cell))],
      ["failed", (c) => (c.failed ? html`<a class="fail" href=${open(c.cell, "failed")}>${f.count(c.failed)}</a>` : "0")],
      ["blind", (c) => (c.blind ? html`<span class="fail">${f.count(c.blind)}</span>` : f.missing(c.blind) ? f.NONE : "0")],
      ["ball", (c) => html`<span class="nowrap">${f.text(c.norm, 20)} ${f.distance(c.norm, c.eps)}</span>`],
      ["steps × draws", (c) => `${f.count(c.steps)} × ${f.count(c.eot_draws)}`],
      ["draw-gradients", (c) => f.count(lines.get(c.cell)?.draw_gradients)],
    ]} empty="No cell is planned yet." />`;
  }

  const Stores = ({ stores, current, link }) => html`<section><h2>Stores</h2><${Table} label="Stores" id="stores" rows=${stores} columns=${[
    ["store", (s) => html`<a href=${link("overview", { store: s.id })} aria-current=${s.id === current.id ? "true" : undefined}>
      ${f.text(s.name, 80)}</a>`],
    ["place", (s) => html`<code>${f.text(s.place, 90)}</code>`, "text"],
    ["image attacks", (s) =>
      html`<span class="nowrap">${f.count(sum(s.cells, "images_done"))} of ${f.count(sum(s.cells, "images"))}</span> <${Progress}
      done=${sum(s.cells, "images_done")} of=${sum(s.cells, "images")} label="Images" />`],
    ["state", (s) => (s.problem ? html`<span class="fail">${f.text(s.problem, 90)}</span>` : s.complete ? "complete"
      : `${f.duration(s.seconds_left)} left`), "text"],
  ]} /></section>`;

  const Parked = ({ units }) => units.length > 0 && html`<section id="parked"><h2>Parked units</h2>
    <p class="dim">Each failed on several workers and was put aside.
      ${" "}<code>barrage run</code> with <code>--retry-parked</code> tries them again.</p>
    ${units.map((unit) => html`<details key=${unit.unit}><summary><b>
      ${f.text(unit.unit, 90)}</b>, ${f.text(unit.cell, 60)}, ${f.plural(unit.tries, "try", "tries")}: ${f.text(unit.error, 200)}</summary>
      <pre tabindex="0">${f.lines(unit.traceback || unit.error)}</pre></details>`)}</section>`;

  const Failures = ({ rows, link }) => rows.length > 0 && html`<section><h2>Failures</h2><${Table} label="Failed images by reason"
    rows=${rows} columns=${[
    ["status", (r) => html`<code>${f.text(r.status, 60)}</code>`], ["images", (r) => f.count(r.images)], ["cells", (r) => f.count(r.cells)],
    ["such as", (r) => html`<a
      href=${link("images", { cell: null, field: "image_key", search: f.text(r.example, 200),
      where: view.route.written([["status", "=", r.status]]) })}>${f.text(r.example, 60)}</a>`, "text"],
      ["error", (r) => f.text(r.error, 300), "text"]]} /></section>`;

  const verdict = (check) => (f.missing(check.passed) ? html`<span class="dim">note</span>` : check.passed
    ? html`<span class="pass">✓ pass</span>` : html`<span class="fail">✗ FAIL</span>`);
  const Checks = ({ rows }) => html`<section><h2>Is the attack strong enough?</h2>${rows.length === 0
    ? html`<${Note}>Not checked yet: <code>barrage check CAMPAIGN</code> runs the controls of an honest evaluation on a sample.
      Until they pass, a stronger attack may leave less accuracy than these figures show.<//>`
    : html`<${Table} label="Checks" rows=${rows}
    columns=${[["check", (r) => f.text(r.name, 60)], ["cell", (r) => f.text(r.cell, 60), "text"], ["verdict", verdict],
      ["accuracy in %", (r) => f.text(r.figures, 200), "text"], ["why", (r) => f.text(r.why, 300), "text"]]} />`}</section>`;

  const versions = (row) => Object.entries(row.versions ?? {}).map(([name, version]) => `${name} ${version}`).join(", ");
  const Machines = ({ rows }) => rows.length > 0 && html`<section><h2>Machines and versions</h2><${Table} label="Machines" rows=${rows}
    columns=${[
    ["device", (r) => f.text(r.device, 60)], ["rows", (r) => f.count(r.images)],
      ["device-hours", (r) => f.number(Number((r.hours ?? NaN).toPrecision(3)))],
    ["commit", (r) => html`<code>${f.text(String(r.commit ?? "").slice(0, 12), 20)}</code>`],
      ["versions", (r) => f.text(versions(r), 300), "text"]]} /></section>`;

  view.views.overview = ({ stores, store, params, set, link }) => {
    const rule = params.rule ?? stores.rules[0], top = params.top ?? "1", unread = store.cells.length === 0 && !f.missing(store.loading);
    if (unread && !store.problem) return html`<p class="dim" role="status">reading …</p>`;
    return html`${stores.stores.length > 1 && html`<${Stores} stores=${stores.stores} current=${store} link=${link} />`}
      <${State} store=${store} /><${Tiles} store=${store} />
      <section><h2>Accuracy</h2>
        <div class="controls"><${Select} label="Decision rule" value=${rule} options=${view.parts.ruleOptions(stores)}
          onChange=${(value) => set({ rule: value })} />
          <${Select} label="Accuracy" value=${top} options=${TOPS} onChange=${(value) => set({ top: value })} /></div>
        <p class="dim">${f.text(stores.rule_texts[rule], 300)}</p>
        ${store.cells.length === 0 ? html`<${Empty}>The store plans no cell yet.<//>`
          : html`<${Cells} store=${store} rule=${rule} top=${top} link=${link} />`}
        <p class="dim">Accuracy in %, with its 95 % interval over images. Each verdict is of the 8-bit image as stored, by fresh
          draws that the attack never saw. “So far” follows the attacked top-1 accuracy of a single draw, in the order of commits.</p>
        ${store.notes.map((note) => html`<p class="dim">${f.text(note, 600)}</p>`)}
      </section>
      <${Parked} units=${store.parked} /><${Failures} rows=${store.failures} link=${link} /><${Checks} rows=${store.checks} />
        <${Machines} rows=${store.machines} />`;
  };
})();
