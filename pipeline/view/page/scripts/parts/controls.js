"use strict";
// Small parts of all views: labelled controls, figures with their intervals, messages, tables, answers that are on their way.
(() => {
  const { html, useEffect, useState, useRef } = preact, f = view.format;

  const Select = ({ label, value, options, onChange, id }) => html`<label class="field"><span>${label}</span>
    <select id=${id} value=${value ?? ""} onChange=${(event) => onChange(event.target.value)}>
      ${options.map(([name, text]) => html`<option key=${name} value=${name} selected=${name === (value ?? "")}>
        ${f.text(text, 70)}</option>`)}
    </select></label>`;

  const Tick = ({ label, checked, onChange }) => html`<label class="tick">
    <input type="checkbox" checked=${checked} onChange=${(event) => onChange(event.target.checked)} /> <span>${label}</span></label>`;

  // A field that reports what was typed after a pause, and at once with Enter.
  function Search({ label, value, placeholder, onChange, id }) {
    const [typed, setTyped] = useState(value ?? ""), timer = useRef(null), sent = useRef(value ?? "");
    useEffect(() => { if ((value ?? "") !== sent.current) { sent.current = value ?? ""; setTyped(value ?? ""); } }, [value]);
    const send = (text) => { clearTimeout(timer.current); if (text !== sent.current) { sent.current = text; onChange(text); } };
    const type = (event) => { const text = event.target.value; setTyped(text); clearTimeout(timer.current);
      timer.current = setTimeout(() => send(text), 250); };
    return html`<label class="field grow"><span>${label}</span>
      <input id=${id} type="search" value=${typed} placeholder=${placeholder} autocomplete="off" spellcheck="false" maxlength="500"
        onInput=${type} onKeyDown=${(event) => event.key === "Enter" && send(event.target.value)} /></label>`;
  }

  // A choice between a few values, as buttons of which one is pressed.
  const Choice = ({ label, value, options, onChange }) => html`<div class="choice" role="group" aria-label=${label}>
    ${options.map(([name, text, title]) => html`<button key=${name} type="button" aria-pressed=${String(name === (value ?? ""))}
      title=${title} onClick=${() => onChange(name)}>${text}</button>`)}</div>`;

  // A rate with its interval, in %: "43.2  41.0 to 45.3".
  const Rate = ({ value, low, high }) => f.missing(value) ? html`<span class="dim">${f.NONE}</span>`
    : html`<span class="rate"><b>${f.percent(value)}</b> <small>${f.interval(low, high)}</small></span>`;
  const Points = ({ value, low, high }) => f.missing(value) ? html`<span class="dim">${f.NONE}</span>`
    : html`<span class="rate"><b>${f.points(value)}</b> <small>${f.interval(low, high, f.points)}</small></span>`;

  const Note = ({ kind = "half", children, role }) => html`<p class="state ${kind}" role=${role}>${children}</p>`;
  const Empty = ({ children }) => html`<p class="empty">${children}</p>`;

  // A table that scrolls sideways on its own. Columns: [heading, row => content, "text" | "number"]; the first names the row.
  const Table = ({ label, columns, rows, id, empty = "Nothing to show." }) => rows.length === 0 ? html`<${Empty}>${empty}<//>` : html`
    <div class="scroll" role="region" aria-label=${label} tabindex="0"><table id=${id}>
      <thead><tr>${columns.map(([heading, , kind]) => html`<th scope="col" class=${kind === "text" ? "text" : ""}>
        ${heading}</th>`)}</tr></thead>
      <tbody>${rows.map((row, i) => html`<tr key=${i}>${columns.map(([, cell, kind], at) => at === 0
        ? html`<th scope="row">${cell(row, i)}</th>` : html`<td class=${kind === "text" ? "text" : ""}>
        ${cell(row, i)}</td>`)}</tr>`)}</tbody>
    </table></div>`;

  // Return {value, error, waiting} of a promise. An answer is never shown for another `question`, a list of plain values; when one of
  // `again` changes, the same is asked anew, and the old answer stays until the new one is there.
  function useAnswer(ask, question, again = []) {
    const id = JSON.stringify(question), unknown = { id, value: null, error: null, waiting: true }, [state, setState] = useState(unknown);
    useEffect(() => {
      let alive = true;
      setState((old) => (old.id === id ? { ...old, waiting: true } : unknown));
      view.waiting += 1;
      Promise.resolve().then(ask).then(
        (value) => alive && setState({ id, value, error: null, waiting: false }),
        (error) => alive && setState({ id, value: null, error: error.message, waiting: false }),
      ).finally(() => { view.waiting -= 1; });
      return () => { alive = false; };
    }, [id, ...again]);
    return state.id === id ? state : unknown;
  }

  // Return a value that changes at most once in `every` milliseconds: what takes the server seconds is not asked at each commit.
  function useCalm(value, every) {
    const [shown, setShown] = useState(value), last = useRef(Date.now());
    useEffect(() => {
      if (value === shown) return undefined;
      const timer = setTimeout(() => { last.current = Date.now(); setShown(value); }, Math.max(0, last.current + every - Date.now()));
      return () => clearTimeout(timer);
    }, [value, shown]);
    return shown;
  }

  // Show an answer: what is wrong, that it is on its way, or what `children` makes of it.
  const Answer = ({ state, children }) => state.error ? html`<${Note} role="alert">${f.text(state.error, 400)}<//>`
    : state.value === null ? html`<p class="dim" role="status">reading …</p>` : children(state.value);

  const Progress = ({ done, of, label }) => html`<span class="progress" role="img"
    aria-label=${`${label}: ${f.count(done)} of ${f.count(of)}`}>
    <i style=${{ width: `${of ? Math.min(100, (100 * done) / of) : 0}%` }}></i></span>`;

  const cellOptions = (store) => store.cells.map(({ cell }) => [cell, cell]);
  const ruleOptions = (stores) => stores.rules.map((name) => [name, name]);
  const TOPS = [["1", "top-1"], ["5", "top-5"]];

  Object.assign(view.parts, { Select, Tick, Search, Choice, Rate, Points, Note, Empty, Table, useAnswer, useCalm, Answer, Progress,
    cellOptions,
    ruleOptions, TOPS });
})();
