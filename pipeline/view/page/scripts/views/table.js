"use strict";
// Every row under one decision rule: sorted, filtered, grouped, with the columns that one wants. Rows come as they scroll into sight.
(() => {
  const { html, useState } = preact, f = view.format, { Select, Grid, TOPS } = view.parts, c = view.columns, { list, written } = view.route;
  const OPS = [["=", "is"], ["!=", "is not"], ["contains", "contains"], ["<", "is below"], ["<=", "is at most"], [">", "is above"],
    [">=", "is at least"], ["null", "is missing"], ["notnull", "is there"]];
  const said = new Map([...OPS, ["in", "is one of"]]);

  const value = (name, text) => {
    const kind = c.kind(name);
    return kind === "text" ? text : kind === "share" ? Number(text) / 100 : Number(text);
  };

  // A filter as words, with a button that takes it away.
  const Clause = ({ clause: [name, op, wanted], onRemove }) => {
    const shown = op === "null" || op === "notnull" ? "" : Array.isArray(wanted) ? wanted.map((one) => c.shown(name, one)).join(", ")
      : c.shown(name, wanted);
    return html`<li class="chip"><span>${c.heading(name)} ${said.get(op) ?? op} <b>${f.text(shown, 60)}</b></span>
      <button type="button" aria-label=${`Remove the filter ${c.heading(name)} ${said.get(op) ?? op} ${f.text(shown, 60)}`}
        onClick=${onRemove}>×</button></li>`;
  };
  const Clauses = ({ where, onChange }) => where.length > 0 && html`<ul class="chips" aria-label="Filters">${where.map((clause, i) =>
    html`<${Clause} key=${JSON.stringify(clause)} clause=${clause}
      onRemove=${() => onChange(where.filter((_, at) => at !== i))} />`)}</ul>`;

  // The form that adds a filter.
  function Adder({ onAdd }) {
    const [name, setName] = useState("outcome"), [op, setOp] = useState("="), [text, setText] = useState("");
    const kind = c.kind(name), ops = OPS.filter(([one]) => kind === "text" || one !== "contains"), bare = op === "null" || op === "notnull";
    const fits = bare || (text !== "" && (kind === "text" || Number.isFinite(Number(text))));
    const add = (event) => { event.preventDefault(); if (fits) { onAdd(bare ? [name, op, null] : [name, op, value(name, text)]);
      setText(""); } };
    return html`<form class="controls adder" onSubmit=${add}>
      <${Select} label="Filter" value=${name} options=${c.ALL.map((one) => [one, c.heading(one)])}
        onChange=${(one) => { setName(one); if (c.kind(one) !== "text" && op === "contains") setOp("="); }} />
      <${Select} label="how" value=${op} options=${ops} onChange=${setOp} />
      ${!bare && html`<label class="field"><span>value</span><input type="text" value=${text}
        list=${name === "outcome" ? "outcomes" : undefined} autocomplete="off" spellcheck="false"
        inputmode=${kind === "text" ? "text" : "decimal"}
        onInput=${(event) => setText(event.target.value)} /></label>`}
      <datalist id="outcomes">${Object.keys(c.OUTCOMES).map((one) => html`<option value=${one} />`)}</datalist>
      <button type="submit" disabled=${!fits}>Add filter</button></form>`;
  }

  const Columns = ({ shown, onChange }) => html`<details class="menu"><summary>Columns <small>
    ${shown.length} of ${c.ALL.length}</small></summary><div class="ticks">
    ${c.ALL.map((name) => html`<${view.parts.Tick} key=${name} label=${c.heading(name)} checked=${shown.includes(name)}
      onChange=${(on) => onChange(on ? c.ALL.filter((one) => one === name || shown.includes(one))
        : shown.filter((one) => one !== name))} />`)}</div></details>`;

  const Groups = ({ group, onChange }) => html`<${Select} label="Group by" value=${group[0] ?? ""}
    options=${[["", "no groups"], ...c.GROUPS.map((name) => [name, c.heading(name)])]}
      onChange=${(name) => onChange(name ? [name, ...group.slice(1).filter((one) => one !== name)] : [])} />
    ${group.length > 0 && html`<${Select} label="and by" value=${group[1] ?? ""}
      options=${[["", "nothing else"], ...c.GROUPS.filter((name) => name !== group[0]).map((name) => [name, c.heading(name)])]}
      onChange=${(name) => onChange(name ? [group[0], name] : [group[0]])} />`}`;

  function Table({ source, stores, store, params, set, link, go }) {
    const [counted, setCounted] = useState({}), revision = view.parts.useCalm(stores.revision, 5000);
    const rule = params.rule ?? stores.rules[0], top = params.top ?? "1", where = c.clauses(list(params.where)),
      sort = c.orders(list(params.sort)), group = c.known(list(params.group));
    const chosen = c.known(list(params.columns)), shown = chosen.length ? chosen : c.ofStore(c.SHOWN, store);
    const columns = group.length ? [...group, ...c.TOTALS] : shown;
    const asked = group.length ? null : [...new Set([...shown, "cell", "shard", "image_key"])];
    const query = preact.useMemo(() =>
      ({ store: store.id, rule, top: Number(top), where, sort: sort.filter(([name]) => columns.includes(name)), group, columns: asked }),
      [store.id, rule, top, params.where, params.sort, params.group, params.columns]);
    const id = JSON.stringify(query), total = counted.id === id ? counted.total : null;
    const pick = (row) => group.length
      ? go("table", { ...params, group: null, sort: null,
      where: written([...where, ...group.map((name) => (f.missing(row[name]) ? [name, "null", null] : [name, "=", row[name]]))]) })
      : go("images", { store: store.id, rule, top, cell: row.cell, shard: row.shard, key: row.image_key });
    return html`<h2 class="visually-hidden">Table</h2><div class="controls">
        <${Select} label="Decision rule" value=${rule} options=${view.parts.ruleOptions(stores)} onChange=${(one) => set({ rule: one })} />
        <${Select} label="Accuracy" value=${top} options=${TOPS} onChange=${(one) => set({ top: one })} />
        <${Groups} group=${group} onChange=${(next) => set({ group: written(next), sort: null })} />
        ${group.length === 0 && html`<${Columns} shown=${shown} onChange=${(next) => set({ columns: written(next) })} />`}
        <output aria-live="polite">${total === null ? "" : group.length ? f.plural(total, "group") : f.plural(total, "row")}</output></div>
      <${Adder} onAdd=${(clause) => set({ where: written([...where, clause]) })} /><${Clauses} where=${where}
        onChange=${(next) => set({ where: written(next) })} />
      <p class="dim">${f.text(stores.rule_texts[rule], 300)} ${group.length ? "Press a group to see its rows."
        : "Press a row to see its image."} Press a heading to sort, with Ctrl to sort by one more.</p>
      <${Grid} label="Rows" source=${source} query=${query} columns=${columns}
        widths=${{ image_key: 170, cell: 190, shard: 170, error: 260, outcome: 92, label_name: 120 }} again=${revision}
        onSort=${(next) => set({ sort: written(next) })} onPick=${pick} onTotal=${(n) => setCounted({ id, total: n })} />`;
  }

  view.parts.Clauses = Clauses;
  view.views.table = Table;
})();
