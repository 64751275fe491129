"use strict";
// Charts by Observable Plot, with the colours and markers of pipeline/reports/style.py; the figures behind one stand in a table below it.
(() => {
  const { html, useEffect, useRef, useState } = preact, f = view.format;
  const colour = (i, n) => (n <= view.looks.markers.length ? `var(--c${i})` : `hsl(${Math.round(290 - (270 * i) / n)} 70% var(--ramp))`);
  // Draw `make(width)`, which returns a node of Plot, and draw it anew when the width or one of `inputs` changes.
  function Chart({ label, make, inputs, children, narrow }) {
    const host = useRef(null), [error, setError] = useState(null), [width, setWidth] = useState(0);
    useEffect(() => {
      const watched = new ResizeObserver(([entry]) => setWidth(Math.round(entry.contentRect.width)));
      watched.observe(host.current);
      return () => watched.disconnect();
    }, []);
    useEffect(() => {
      if (!width) return undefined;
      let alive = true;
      view.load("vendor/plot.js").then(() => {
        if (!alive) return;
        const node = make(Math.min(width, narrow ?? 1100));
        for (const part of node.querySelectorAll("[aria-label]")) { // a picture has one name
          part.dataset.mark = part.getAttribute("aria-label");
          part.removeAttribute("aria-label");
        }
        node.setAttribute("role", "img");
        node.setAttribute("aria-label", label);
        host.current.replaceChildren(node);
      }).catch((problem) => alive && setError(problem.message));
      return () => { alive = false; };
    }, [width, ...inputs]);
    return html`<figure class="chart"><div ref=${host} class="plot"></div>
      ${error && html`<${view.parts.Note} role="alert">${f.text(error, 400)}<//>`}${children}</figure>`;
  }

  // The series of a chart, by name, each with its colour; pressing one hides it.
  const Legend = ({ names, hidden, onToggle }) => html`<div class="legend" role="group" aria-label="Series">${names.map((name, i) => html`
    <button key=${name} type="button" aria-pressed=${String(!hidden.includes(name))} onClick=${() => onToggle(name)}>
      <svg viewBox="-8 -8 16 16" aria-hidden="true"><path d=${view.looks.markers[i % view.looks.markers.length]}
        fill=${colour(i, names.length)} /></svg>${f.text(name, 90)}</button>`)}</div>`;

  // Give each series of a chart the marker that its legend shows.
  function marked(series, node) {
    node.querySelectorAll('g[aria-label="dot"]').forEach((group, place) => {
      for (const circle of group.querySelectorAll("circle")) {
        const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
        path.setAttribute("d", view.looks.markers[series[place].index % view.looks.markers.length]);
        path.setAttribute("transform", `translate(${circle.getAttribute("cx")} ${circle.getAttribute("cy")})`);
        circle.replaceWith(path);
      }
    });
    return node;
  }

  // Rates with their intervals against x. series: [{name, index, of, dashed, points: [{x, y, low, high, text}]}], rates in [0, 1].
  function lines({ width, height = 380, series, x, y, log = false, whole = false }) {
    const shift = (place) => (place - (series.length - 1) / 2) * Math.min(3, 16 / series.length); // no interval hides another
    const marks = series.flatMap((one, place) => {
      const stroke = colour(one.index, one.of), dx = shift(place),
        points = one.points.map((p) => ({ ...p, y: 100 * p.y, low: 100 * p.low, high: 100 * p.high }));
      return [
        Plot.ruleX(points.filter((p) => !Number.isNaN(p.low)), { x: "x", y1: "low", y2: "high", stroke, strokeOpacity: 0.7, dx }),
        Plot.line(points, { x: "x", y: "y", stroke, strokeWidth: 1.8, strokeDasharray: one.dashed ? "5 4" : undefined, dx }),
        Plot.dot(points, { x: "x", y: "y", stroke, fill: one.dashed ? "var(--bg)" : stroke, r: 3.5, dx }),
      ];
    });
    const all = series.flatMap((one) => one.points.map((p) => ({ ...p, y: 100 * p.y })));
    return marked(series, Plot.plot({
      width, height, marginLeft: 46, marginRight: 18, marginBottom: 42,
        style: { background: "transparent", color: "var(--dim)", fontSize: "12px" },
      x: { label: x, type: log ? "log" : "linear", labelAnchor: "center", labelArrow: "none", grid: true, inset: 14, ticks: log ? 4
        : Math.min(8, Math.round(width / 90)), tickFormat: log ? "~s" : whole ? "d" : undefined },
      y: { label: y, grid: true,
        domain: [0, Math.min(100,
        Math.max(10, ...series.flatMap((one) => one.points.map((p) => 108 * (Number.isNaN(p.high) ? p.y : p.high)))))],
        labelArrow: "none", ticks: 5 },
      marks: [...marks, Plot.tip(all,
        Plot.pointer({ x: "x", y: "y", title: "text", fill: "var(--bg)", stroke: "var(--edge)", textPadding: 8, lineWidth: 28 }))],
    }));
  }

  Object.assign(view.parts, { Chart, Legend, lines, colour });
})();
