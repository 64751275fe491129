"use strict";
// Pictures of one row: clean, attacked, difference, and what each draw of the defense makes of them.
(() => {
  const { html, useState, useEffect } = preact, f = view.format;

  // One picture, or in one line why there is none.
  function Picture({ source, row, what, alt, large }) {
    const [missing, setMissing] = useState(null), address = source.picture(row, what);
    const fail = () => source.why(row, what).then(setMissing);
    useEffect(() => { setMissing(null); if (address === null) fail(); }, [address]);
    if (address === null || missing !== null) return html`<span class="picture none" role="img" aria-label=${`${alt}: no picture`}>
      <span>no picture${missing ? `: ${f.text(missing, 160)}` : ""}</span></span>`;
    return html`<img class="picture ${large ? "large" : ""}" loading="lazy" decoding="async" src=${address} alt=${alt} onError=${fail} />`;
  }

  const Figure = ({ caption, children }) => html`<figure class="shot">${children}<figcaption>${caption}</figcaption></figure>`;

  // Clean, attacked, difference side by side.
  const Trio = ({ source, row, magnified }) => {
    const name = f.text(row.image_key, 60);
    return html`<div class="trio">
      <${Figure} caption="clean"><${Picture} source=${source} row=${row} what="clean" large alt=${`${name}, clean`} /><//>
      <${Figure} caption="attacked"><${Picture} source=${source} row=${row} what="adversarial" large
        alt=${`${name}, attacked in ${f.text(row.cell, 60)}`} /><//>
      <${Figure} caption=${magnified ? `difference × ${f.number(Number(magnified.toPrecision(2)))}` : "difference"}>
        <${Picture} source=${source} row=${row} what="difference" large
          alt=${`Difference of the two${magnified ? `, magnified ${Math.round(magnified)} times` : ""}`} /><//>
    </div>`;
  };

  const Draw = ({ source, row, side, draw }) => html`<li class="draw ${draw.right ? "right" : "off"}">
    <${Picture} source=${source} row=${row} what=${`${side}-draw-${draw.draw}`}
      alt=${`Draw ${draw.draw}, ${side === "clean" ? "clean" : "attacked"}: ${f.text(draw.names?.[0] ?? draw.classes?.[0], 60)}`} />
    <div><b><span class=${draw.right ? "pass" : "fail"}>${draw.right ? "✓"
      : "✗"}</span> ${f.text(draw.names?.[0] ?? draw.classes?.[0], 60)}</b>
      <small>${(draw.names ?? []).slice(1, 5).filter((name) => name !== null).map((name) => f.text(name, 40)).join(", ")}</small>
      <small class="parts">${draw.parts?.length ? draw.parts.map((part, i) =>
        html`${i ? " → " : ""}<span title=${draw.settings?.[i] ? f.text(JSON.stringify(draw.settings[i]), 300) : undefined}>
        ${f.text(part, 30)}</span>`) : "no transform"}</small></div></li>`;

  const FEW = 6;
  // The draws of the defense that judged this row, clean and attacked.
  function Draws({ source, row }) {
    const [all, setAll] = useState(false);
    const state = view.parts.useAnswer(() => source.draws(row), [row.store, row.cell, row.shard, row.image_key]);
    useEffect(() => setAll(false), [row.store, row.cell, row.shard, row.image_key]);
    return html`<${view.parts.Answer} state=${state}>${(found) => {
      const most = Math.max(found.clean.length, found.adversarial.length);
      return html`${found.problem && html`<${view.parts.Note}>${f.text(found.problem, 300)}<//>`}<div class="sides">
        ${[["clean", "Clean", found.clean], ["adversarial", "Attacked", found.adversarial]].map(([side, name, draws]) =>
        html`<section key=${side}>
          <h3>${name}: right in ${draws.filter((draw) => draw.right).length} of ${f.plural(draws.length, "draw")}</h3>
          <ul class="draws">${(all ? draws : draws.slice(0, FEW)).map((draw) =>
            html`<${Draw} key=${draw.draw} source=${source} row=${row} side=${side} draw=${draw} />`)}</ul></section>`)}</div>
        ${most > FEW && html`<button type="button" onClick=${() => setAll(!all)}>${all ? "Fewer draws" : `All ${most} draws`}</button>`}`;
    }}<//>`;
  }

  Object.assign(view.parts, { Picture, Figure, Trio, Draws });
})();
