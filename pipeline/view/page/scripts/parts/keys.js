"use strict";
// Keys of the whole page, and the dialog that lists them. A view adds its own while it is shown.
(() => {
  const { html, useEffect, useLayoutEffect, useRef } = preact;
  const handlers = new Map();
  const typing = (node) => node.closest?.("input, select, textarea, [contenteditable]");
  const moving = (node) => node.closest?.(".grid, .scroll, summary, dialog, pre"); // where arrows scroll or go from cell to cell

  window.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.key === "Escape" && typing(event.target)) return void event.target.blur();
    if (typing(event.target) || document.querySelector("dialog[open]") || (event.key.startsWith("Arrow") && moving(event.target))) return;
    const handler = handlers.get(event.key);
    if (handler) {
      event.preventDefault();
      handler(event);
    }
  });

  // Let keys, {key: function}, work while a part is shown.
  function useKeys(keys) {
    useLayoutEffect(() => { // at once: a key after a change must not meet what was shown before it
      for (const [key, handler] of Object.entries(keys)) handlers.set(key, handler);
      return () => { for (const [key, handler] of Object.entries(keys)) if (handlers.get(key) === handler) handlers.delete(key); };
    });
  }

  const ROWS = [
    [["1", "…", "6"], "overview, table, curves, images, compare, errors"],
    [["/"], "search, in the images"],
    [["j", "↓", "→"], "next image"],
    [["k", "↑", "←"], "previous image"],
    [["["], "the same image under the previous attack"],
    [["]"], "the same image under the next attack"],
    [["Enter"], "open the row that has the focus"],
    [["Esc"], "leave a field, close this"],
    [["?"], "this list"],
  ];

  function Help({ open, onClose, version }) {
    const node = useRef(null);
    useEffect(() => { if (open && !node.current.open) node.current.showModal(); if (!open && node.current.open) node.current.close(); },
      [open]);
    return html`<dialog ref=${node} aria-labelledby="help-title" onClose=${onClose}>
      <h2 id="help-title">Keys and links</h2>
      <dl class="keys">${ROWS.map(([keys, what]) => html`<div><dt>
        ${keys.map((key) => (key === "…" ? " … " : html`<kbd>${key}</kbd> `))}</dt><dd>${what}</dd></div>`)}</dl>
      <p>The address of the page holds all that is chosen: store, filters, order, image. Copy it to send what you see; Back goes back.</p>
      <p>Intervals are at 95 %, over images. A draw is one pass through the random defense;
        “right” counts fresh draws that the attack never saw.</p>
      <p class="dim">barrage ${view.format.text(version, 40)}</p>
      <form method="dialog"><button type="submit" autofocus>Close</button></form></dialog>`;
  }

  Object.assign(view.parts, { useKeys, Help });
})();
