"use strict";
// The page: it asks for the stores again and again, follows the hash, and shows one view.
(() => {
  const { html, render, useEffect, useState, useRef, Component } = preact, f = view.format, { Select, Note, Help, useKeys } = view.parts,
    { route } = view;
  const TITLES = { overview: "Overview", table: "Table", curves: "Curves", images: "Images", compare: "Compare", errors: "Errors" };
  const KEPT = ["store", "rule", "top"]; // what stays when one goes to another view
  const EVERY = 2000;

  // Return {stores, error}; asks every two seconds while the page is in sight.
  function useStores(source) {
    const [state, setState] = useState({ stores: null, error: null }), revision = useRef(undefined);
    useEffect(() => {
      let alive = true, timer = null;
      const ask = async () => {
        try {
          const found = document.hidden && revision.current !== undefined ? null : await source.stores(revision.current);
          if (!alive) return;
          if (found) { revision.current = found.revision; setState({ stores: found, error: null });
            } else setState((old) => (old.error ? { ...old, error: null } : old));
          if (found && !found.live) return;
        } catch (error) {
          if (alive) setState((old) => ({ ...old, error: error.message }));
        }
        if (alive) timer = setTimeout(ask, EVERY);
      };
      ask();
      return () => { alive = false; clearTimeout(timer); };
    }, []);
    return state;
  }

  const useRoute = () => {
    const [at, setAt] = useState(route.parse(location.hash));
    useEffect(() => {
      const follow = () => setAt(route.parse(location.hash));
      for (const name of ["hashchange", "popstate"]) window.addEventListener(name, follow);
      return () => { for (const name of ["hashchange", "popstate"]) window.removeEventListener(name, follow); };
    }, []);
    return at;
  };

  // Show what is wrong in place of a view that fails; another view, or another state of this one, is tried anew.
  class Guard extends Component {
    constructor() { super(); this.state = { error: null, id: null }; }
    componentDidCatch(error) { this.setState({ error, id: this.props.id }); }
    render() {
      return this.state.error && this.state.id === this.props.id
        ? html`<${Note} kind="bad" role="alert">This view cannot be shown: ${f.text(this.state.error.message, 300)}<//>`
        : this.props.children;
    }
  }

  const Header = ({ stores, store, at, link, onHelp, onStore }) => html`<header><p class="eyebrow">barrage view</p><div class="bar">
      <h1>${store ? f.text(store.name, 80) : "…"}</h1>
      ${stores?.stores.length > 1 && html`<${Select} label="Store" value=${store.id}
        options=${stores.stores.map((one) => [one.id, `${one.name} (${one.id})`])} onChange=${onStore} />`}
      <span class="live" role="status">${!stores ? "" : stores.live ? html`<i class="dot"></i>live` : "export"}</span><button
        type="button" class="help" aria-label="Help: keys and links" onClick=${onHelp}>?</button></div>
    <nav aria-label="Views">${route.VIEWS.map((name) => html`<a key=${name} href=${link(name)}
      aria-current=${name === at.view ? "page" : undefined}>${TITLES[name]}</a>`)}</nav></header>`;

  function App({ source }) {
    const { stores, error } = useStores(source), at = useRoute(), [help, setHelp] = useState(false), { params } = at;
    const store = stores?.stores.find((one) => one.id === params.store) ?? stores?.stores[0];
    const kept = Object.fromEntries(KEPT.filter((name) => params[name] !== undefined).map((name) => [name, params[name]]));
    const link = (name, more = {}) => route.hash(name, { ...kept, ...more }),
      set = (patch, replace = false) => route.go(at.view, { ...params, ...patch }, replace),
      go = (name, next, replace = false) => route.go(name, { ...kept, ...next }, replace);
    useEffect(() => document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" }), [at.view]);
    useEffect(() => { document.title = `${TITLES[at.view]}${store ? `: ${f.text(store.name, 60)}` : ""}, barrage view`; });
    useKeys({ "?": () => setHelp(true), ...Object.fromEntries(route.VIEWS.map((name, i) => [String(i + 1), () => go(name, {})])) });
    const View = view.views[at.view], id = `${at.view}|${store?.id}`;
    return html`<${Header} stores=${stores} store=${store} at=${at} link=${link} onHelp=${() => setHelp(true)}
      onStore=${(one) => route.go(at.view, { ...(kept.rule && { rule: kept.rule }), ...(kept.top && { top: kept.top }), store: one })} />
      <main id="main" tabindex="-1">
        ${error && html`<${Note} kind="bad" role="alert">${f.text(error, 300)}${stores && " What was read last is shown."}<//>`}
        ${stores && !store && html`<p class="empty">No store is open.</p>`}
        ${store && html`${at.view !== "overview" && store.problem
          && html`<${Note} kind="bad" role="alert">${f.text(store.problem, 400)}<//>`}
          <${Guard} key=${id} id=${location.hash}><${View} source=${source} stores=${stores} store=${store} params=${params} set=${set}
            link=${link} go=${go} /><//>`}
        ${!stores && !error && html`<p class="dim" role="status">reading …</p>`}</main>
      <${Help} open=${help} onClose=${() => setHelp(false)} version=${stores?.version} />`;
  }

  document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); document.getElementById("main").focus();
    });
  render(html`<${App} source=${document.documentElement.dataset.source === "static" ? view.static() : view.live()} />`,
    document.getElementById("page"));
})();
