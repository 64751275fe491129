"use strict";
// The whole state of the page stands in the hash: `#/VIEW?name=value&...`. So a link opens exactly what its sender saw.
(() => {
  const VIEWS = ["overview", "table", "curves", "images", "compare", "errors"];

  // Return {view, params} of a hash. An unknown view is the overview.
  function parse(hash) {
    const [path, query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
    return { view: VIEWS.includes(path) ? path : VIEWS[0], params: Object.fromEntries(new URLSearchParams(query)) };
  }

  // Return the hash of a view with these parameters, without those that are empty.
  function hash(name, params = {}) {
    const kept = Object.entries(params).filter(([, value]) => value !== null && value !== undefined && value !== "");
    const query = new URLSearchParams(kept).toString();
    return `#/${name}${query ? `?${query}` : ""}`;
  }

  function go(name, params, replace = false) {
    const next = hash(name, params);
    if (next === location.hash) return;
    if (replace) history.replaceState(null, "", next);
    else history.pushState(null, "", next);
    window.dispatchEvent(new Event("hashchange"));
  }

  // Return a list that a parameter holds as JSON; [] if it holds none.
  function list(value) {
    try {
      const found = JSON.parse(value ?? "[]");
      return Array.isArray(found) ? found : [];
    } catch {
      return [];
    }
  }

  const written = (items) => (items.length ? JSON.stringify(items) : null);

  view.route = { VIEWS, parse, hash, go, list, written };
})();
