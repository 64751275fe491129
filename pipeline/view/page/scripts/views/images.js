"use strict";
// The image browser: a list of images by search, filter and order, and beside it everything about the one that is chosen.
(() => {
  const { html, useLayoutEffect, useMemo, useRef, useState } = preact, f = view.format, { list, written } = view.route, c = view.columns;
  const { Select, Search, Choice, Grid, Trio, Draws, Picture, Figure, useAnswer, useKeys, Answer, Note, Clauses, TOPS } = view.parts;

  const FIELDS = [["image_key", "key"], ["label_name", "class name"], ["shard", "shard"]];
  const OUTCOMES = [["", "all"], ...Object.entries(c.OUTCOMES).map(([name, title]) => [name, name, title])];
  const SORTS = [["", "as stored"], ["adv asc", "fewest right draws first"], ["adv desc", "most right draws first"],
    ["linf desc", "largest L-inf first"], ["l2 desc", "largest L2 first"],
    ["l2 asc", "smallest L2 first"], ["gradient_norm asc", "smallest gradient first"], ["gradient_norm desc", "largest gradient first"],
      ["clean_margin asc", "smallest clean margin first"]];
  const COLUMNS = ["image_key", "label_name", "outcome", "adv", "cell", "l2"];

  // Return the clauses that the controls stand for, and the free ones.
  function clauses(params) {
    const label = params.class === undefined || params.class === "" ? null : Number(params.class);
    return [
      ...(params.cell ? [["cell", "=", params.cell]] : []), ...(params.outcome ? [["outcome", "=", params.outcome]] : []),
        ...(label !== null ? [["label", "=", label]] : []),
      ...(params.search ? [[FIELDS.some(([name]) => name === params.field) ? params.field : "image_key", "contains", params.search]]
        : []), ...c.clauses(list(params.where)),
    ];
  }

  const sorting = (params) => c.orders(params.sort?.startsWith("[") ? list(params.sort) : params.sort ? [params.sort.split(" ")] : []);

  function Filters({ store, stores, params, set, total }) {
    const find = (patch) => set({ at: null, key: null, shard: null, pick: null, ...patch }), sort = params.sort ?? "";
    const sorts = SORTS.some(([name]) => name === sort) ? SORTS : [...SORTS, [sort, "as in the table"]];
    return html`<div class="controls">
        <${Search} id="search" label="Search" value=${params.search} placeholder="/ to search"
          onChange=${(text) => find({ search: text })} />
        <${Select} label="in" value=${params.field ?? "image_key"} options=${FIELDS} onChange=${(name) => find({ field: name })} />
        <${Select} label="Cell" value=${params.cell} options=${[["", "all cells"], ...view.parts.cellOptions(store)]}
          onChange=${(name) => find({ cell: name })} />
        ${store.classes && html`<${Select} label="Class" value=${params.class}
          options=${[["", "all classes"], ...store.classes.map((name, label) => [String(label), name])]}
          onChange=${(label) => find({ class: label })} />`}
        <${Select} label="Order" value=${sort} options=${sorts} onChange=${(order) => find({ sort: order })} />
        <${Select} label="Decision rule" value=${params.rule ?? stores.rules[0]} options=${view.parts.ruleOptions(stores)}
          onChange=${(rule) => find({ rule })} />
        <${Select} label="Accuracy" value=${params.top ?? "1"} options=${TOPS} onChange=${(top) => find({ top })} /></div>
      <div class="controls"><${Choice} label="Outcome" value=${params.outcome} options=${OUTCOMES}
        onChange=${(outcome) => find({ outcome })} />
        <output aria-live="polite">${total === null ? "" : f.plural(total, "image attack")}</output></div>
      <${Clauses} where=${c.clauses(list(params.where))} onChange=${(next) => find({ where: written(next) })} />`;
  }

  const Fact = ({ name, children }) => html`<div><dt>${name}</dt><dd>${children}</dd></div>`;
  const Verdict = ({ row }) => html`<span class="verdict ${row.outcome}">${f.text(row.outcome, 20)}</span>`;

  const Facts = ({ row }) => html`<dl class="facts">
    <${Fact} name="class"><b>${f.text(row.label_name ?? row.label, 80)}</b><//>
    <${Fact} name="outcome"><${Verdict} row=${row} /> <small>${c.OUTCOMES[row.outcome]}</small><//>
    ${row.outcome === "failed" && html`<${Fact} name="reason"><code>${f.text(row.status, 60)}</code> ${f.text(row.error, 400)}<//>`}
    ${row.outcome !== "failed" && html`<${Fact} name="clean">${f.percent(row.clean)} % right, likeliest ${f.text(row.clean_class_name ?? row.clean_class ?? f.NONE, 60)}<//>
    <${Fact} name="attacked">${f.percent(row.adv)} % right, likeliest ${f.text(row.adv_class_name ?? row.adv_class ?? f.NONE, 60)}<//>
    <${Fact} name="distance">L-inf ${f.distance("linf", row.linf)}, L2 ${f.distance("l2", row.l2)}<//>
    <${Fact} name="margin">clean ${f.number(row.clean_margin)}, attacked ${f.number(row.adv_margin)}<//>
    <${Fact} name="gradient">norm ${f.number(row.gradient_norm)}; zero in ${f.count(row.zero_gradients)},
      not finite in ${f.count(row.nonfinite_gradients)} steps<//>`}
    ${!f.missing(row.first_break) && html`<${Fact} name="first break">step ${f.count(row.first_break)}<//>`}
    <${Fact} name="cost">${f.count(row.grad_evals)} draw-gradients, ${f.duration(row.seconds)}<//>
    <${Fact} name="where">${f.text(row.shard, 80)}, unit ${f.text(row.unit, 80)}<//></dl>`;

  // The same image under every attack: a card a cell.
  const Attacks = ({ source, rows, row, open }) => html`<section><h3>Under every attack</h3><ul class="attacks">${rows.map((one) => html`
    <li key=${one.cell} class=${one.cell === row.cell ? "chosen" : ""}><a href=${open(one)}
      aria-current=${one.cell === row.cell ? "true" : undefined}>
      <${Picture} source=${source} row=${one} what="adversarial" alt=${`Attacked in ${f.text(one.cell, 60)}`} />
      <b>${f.text(one.cell, 70)}</b> <${Verdict} row=${one} />
        ${one.outcome === "failed" ? html`<small>${f.text(one.status, 40)}</small>`
        : html`<small>${f.percent(one.adv)} % right, ${f.text(one.adv_class_name ?? one.adv_class ?? f.NONE, 50)}</small>
        <small>L2 ${f.distance("l2", one.l2)}</small>`}</a></li>`)}</ul></section>`;

  // How often each class came first among the draws that judged the image, from the stored lists of classes.
  function Votes({ lists, names, label }) {
    if (!lists?.length) return null;
    const counts = new Map();
    for (const classes of lists) counts.set(classes[0], (counts.get(classes[0]) ?? 0) + 1);
    return html`<ul class="votes">${[...counts].sort((a, b) => b[1] - a[1]).slice(0, 5).map(([one, n]) => html`<li key=${one}>
      <span class=${one === label ? "pass" : ""}>${f.text(names?.[one] ?? one, 50)}</span><i
        style=${{ width: `${(100 * n) / lists.length}%` }}></i><small>${n} of ${lists.length}</small></li>`)}</ul>`;
  }

  function Judged({ source, store, row }) {
    const state = useAnswer(() => source.image(store.id, row.shard, row.image_key), [store.id, row.shard, row.image_key]);
    const own = state.value?.rows.find((one) => one.cell === row.cell), names = state.value?.names ?? store.classes;
    return own?.clean_top5?.length > 1 && html`<section><h3>First classes of the draws that judged it</h3><div class="sides">
      <div><h4>clean</h4><${Votes} lists=${own.clean_top5} names=${names} label=${row.label} /></div><div><h4>attacked</h4><${Votes}
        lists=${own.adv_top5} names=${names} label=${row.label} /></div></div></section>`;
  }

  function Detail({ source, store, rows, row, open, step }) {
    const shown = { ...row, store: store.id }, named = rows.map((one) => ({ ...one, store: store.id })), failed = row.outcome === "failed";
    const draws = useAnswer(() => (store.pictures && !failed ? source.draws(shown).catch(() => null) : null),
      [store.id, row.cell, row.shard, row.image_key, store.pictures]);
    return html`<article class="detail" aria-label="The chosen image"><div class="title"><h2>${f.text(row.image_key, 120)}</h2>
        <div class="steps"><button type="button" aria-label="Previous image" onClick=${() => step(-1)}>‹</button><button type="button"
          aria-label="Next image" onClick=${() => step(1)}>›</button></div></div>
      <p class="dim">in ${f.text(row.cell, 120)}</p>
      ${!store.pictures ? html`<${Note}>No pictures: ${f.text(store.pictures_missing ?? "the store has none", 300)}<//>` : failed ? null
        : html`<${Trio} source=${source} row=${shown} magnified=${draws.value?.magnified} />`}
      <${Facts} row=${row} />
      ${store.pictures && rows.length > 1 && html`<${Attacks} source=${source} rows=${named} row=${row} open=${open} />`}
      ${!failed && html`<${Judged} source=${source} store=${store} row=${row} />`}
      ${store.pictures && !failed && html`<section><h3 class="visually-hidden">Draws</h3><${Draws} source=${source}
        row=${shown} /></section>`}</article>`;
  }

  view.views.images = ({ source, stores, store, params, set, link, go }) => {
    const [counted, setCounted] = useState({}), revision = view.parts.useCalm(stores.revision, 5000);
    const rule = params.rule ?? stores.rules[0], top = Number(params.top ?? 1),
      where = clauses(params), sort = sorting(params);
    const id = JSON.stringify([store.id, rule, top, where, sort]);
    const query = useMemo(() => ({ store: store.id, rule, top, where, sort, columns: [...c.ofStore(COLUMNS, store), "shard"] }), [id]);
    const place = { pick: params.pick, shard: params.shard, key: params.key }, named = place.key !== undefined && place.shard !== undefined;

    const state = useAnswer(async () => {
      let at = place;
      if (!named) {
        const first = await source.rows({ ...query, columns: ["cell", "shard", "image_key"], offset: Number(params.at ?? 0), limit: 1 });
        if (!first.rows.length) return { rows: [] };
        at = { pick: first.rows[0][0], shard: first.rows[0][1], key: first.rows[0][2] };
      }
      const found = await source.rows({ store: store.id, rule, top, where: [["shard", "=", at.shard], ["image_key", "=", at.key]],
        columns: c.ALL.concat(source.exported ? ["picture"] : []), limit: 1000 });
      const rows = found.rows.map((row) => Object.fromEntries(found.columns.map((name, i) => [name, row[i]])));
      return { rows, row: rows.find((row) => row.cell === at.pick) ?? rows[0], place: at };
    }, [], [id, place.pick, place.shard, place.key, revision]); // the answer says itself which image it is of

    const chosen = state.value?.row,
      to = (row, at) => ({ ...params, pick: row.cell, shard: row.shard, key: row.image_key, at: at === undefined ? params.at
      : String(at) });
    const cursor = useRef(null); // where the last key led, before the page shows it: keys may come faster than answers
    const gone = useRef(null); // the place that keys gave to the address last
    useLayoutEffect(() => {
      const at = params.at === undefined ? null : Number(params.at);
      if (at === null || at !== gone.current) cursor.current = at;
    }, [params.at, id]);
    const step = async (by) => {
      const from = cursor.current ?? (named ? -1 : 0), at = Math.max(0, from + by);
      cursor.current = at;
      const answer = await source.rows({ ...query, columns: ["cell", "shard", "image_key"], offset: at, limit: 1 });
      if (cursor.current !== at) return; // a later key leads elsewhere
      if (!answer.rows.length) return void (cursor.current = from);
      gone.current = at;
      go("images", to({ cell: answer.rows[0][0], shard: answer.rows[0][1], image_key: answer.rows[0][2] }, at), true);
    };
    const turn = (by) => { const rows = state.value?.rows ?? [], i = rows.indexOf(chosen);
      if (rows[i + by]) go("images", to(rows[i + by]), true); };
    useKeys({ j: () => step(1), k: () => step(-1), ArrowDown: () => step(1), ArrowRight: () => step(1), ArrowUp: () => step(-1),
      ArrowLeft: () => step(-1), "[": () => turn(-1), "]": () => turn(1),
      "/": () => document.getElementById("search")?.focus() });

    const same = (row) => chosen && row.image_key === chosen.image_key && row.shard === chosen.shard && row.cell === chosen.cell;
    return html`<h2 class="visually-hidden">Images</h2><${Filters} store=${store} stores=${stores} params=${params} set=${set}
      total=${counted.id === id ? counted.total : null} />
      <div class="browser"><${Grid} label="Images" source=${source} query=${query}
        columns=${c.ofStore(COLUMNS, store).filter((name) => !params[name])}
        widths=${{ image_key: 150, label_name: 104, outcome: 86, adv: 120, cell: 150, l2: 64 }} again=${revision}
          onSort=${(next) => set({ sort: written(next), at: null, key: null, shard: null, pick: null })}
            onPick=${(row, at) => go("images", to(row, at))} onTotal=${(n) => setCounted({ id, total: n })} chosen=${same}
            reveal=${params.at === undefined ? null : Number(params.at)} />
        <${Answer} state=${state}>
          ${(found) => (found.row ? html`<${Detail} source=${source} store=${store} rows=${found.rows} row=${found.row} step=${step}
          open=${(row) => link("images", to(row))} />`
          : html`<p class="empty">${named ? "This image is not in the store (any more)."
          : "No image fits: take a filter away."}</p>`)}<//></div>`;
  };
})();
