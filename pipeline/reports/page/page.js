"use strict";
// Charts in SVG, drawn anew at each change. Nothing is fetched.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const { axes, values, sides, rates, rules, markers } = data.style; // labels and looks: pipeline/reports/style.py
const WIDTH = () => (window.innerWidth < 600 ? 400 : 900), HEIGHT = 400;
const MARGIN = { left: 52, right: 16, top: 16, bottom: 50 };
const percent = (value) => (100 * value).toFixed(1);

function svg(name, attributes, parent) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (parent) parent.append(node);
  return node;
}

function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((f) => f * power >= rough) || 10), found = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9; t += step) found.push(Number(t.toPrecision(12)));
  return found;
}

function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(low); power <= high; power++) if (power >= low) found.push(power);
  return found.length > 1 ? found : [low, high];
}

// A chart: series() gives [{name, dashed, twin, points: [{x, y, low, high, text}]}]; a twin shares its partner's look.
function chart(host, label, unit, series, logarithmic) {
  let view = null; // zoomed to [x0, x1, y0, y1]
  const hidden = new Set(), tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("role", "status");

  function draw() {
    const width = WIDTH(), log = logarithmic(), position = (x) => (log ? Math.log10(x) : x);
    const all = series(), looks = [...new Set(all.map((s) => s.name))];
    const colour = (name) => {
      const i = looks.indexOf(name);
      return looks.length <= markers.length ? `var(--c${i})` : `hsl(${Math.round(290 - (270 * i) / looks.length)} 70% var(--ramp))`;
    };
    const shown = all.filter((s) => !hidden.has(s.name)), points = shown.flatMap((s) => s.points);
    const xs = points.map((p) => position(p.x)), pad = (Math.max(...xs) - Math.min(...xs)) * 0.04 || 0.5;
    const top = Math.min(1, Math.max(0.1, ...points.map((p) => p.high)) * 1.08);
    const [x0, x1, y0, y1] = view || (points.length ? [Math.min(...xs) - pad, Math.max(...xs) + pad, -0.02 * top, top] : [0, 1, 0, 1]);
    const left = MARGIN.left, right = width - MARGIN.right, bottom = HEIGHT - MARGIN.bottom;
    const toX = (x) => left + ((position(x) - x0) / (x1 - x0)) * (right - left), toY = (y) => bottom - ((y - y0) / (y1 - y0)) * (bottom - MARGIN.top);
    host.textContent = "";
    const root = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "group", "aria-label": `Chart: ${unit()} against ${label()}` }, host);
    const clip = svg("clipPath", { id: `${host.id}-clip` }, svg("defs", {}, root));
    svg("rect", { x: left - 6, y: MARGIN.top - 6, width: right - left + 12, height: bottom - MARGIN.top + 12 }, clip);
    for (const y of ticks(Math.max(0, y0), y1, 5)) {
      svg("line", { class: "grid", x1: left, x2: right, y1: toY(y), y2: toY(y) }, root);
      svg("text", { x: left - 8, y: toY(y) + 4, "text-anchor": "end" }, root).textContent = Number((100 * y).toPrecision(4));
    }
    for (const t of log ? logTicks(x0, x1) : ticks(x0, x1, width < 600 ? 4 : 8)) {
      const x = log ? 10 ** t : t;
      svg("line", { class: "grid", x1: toX(x), x2: toX(x), y1: MARGIN.top, y2: bottom }, root);
      svg("text", { x: toX(x), y: bottom + 20, "text-anchor": "middle" }, root).textContent = log ? Math.round(x).toLocaleString("en") : x;
    }
    svg("text", { x: (left + right) / 2, y: HEIGHT - 10, "text-anchor": "middle" }, root).textContent = label();
    svg("text", { transform: `translate(14 ${(MARGIN.top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, root).textContent = unit();
    const body = svg("g", { "clip-path": `url(#${host.id}-clip)` }, root);
    for (const [place, s] of shown.entries()) {
      const shift = (place - (shown.length - 1) / 2) * Math.min(3, 16 / shown.length); // no interval hides another
      const ink = colour(s.name), shape = markers[looks.indexOf(s.name) % markers.length];
      const path = s.points.map((p, i) => `${i ? "L" : "M"}${(toX(p.x) + shift).toFixed(1)} ${toY(p.y).toFixed(1)}`).join("");
      svg("path", { d: path, fill: "none", stroke: ink, "stroke-width": 2, "stroke-dasharray": s.dashed ? "6 5" : "none" }, body);
      for (const p of s.points) {
        const x = toX(p.x) + shift;
        svg("line", { x1: x, x2: x, y1: toY(p.low), y2: toY(p.high), stroke: ink, "stroke-width": 1.3, opacity: 0.7 }, body);
        const inside = position(p.x) >= x0 && position(p.x) <= x1 && p.y >= y0 && p.y <= y1;
        const mark = svg("g", { class: inside ? "mark inside" : "mark", transform: `translate(${x} ${toY(p.y)})`, role: "img", tabindex: -1, "aria-label": p.text }, body);
        svg("circle", { r: 12, fill: "transparent" }, mark);
        svg("path", { d: shape, fill: s.dashed ? "var(--bg)" : ink, stroke: ink, "stroke-width": 1.5 }, mark);
        svg("circle", { r: 8, class: "ring" }, mark);
        for (const on of ["pointerenter", "focus"]) mark.addEventListener(on, () => show(p.text, x / width, toY(p.y) / HEIGHT));
        for (const off of ["pointerleave", "blur"]) mark.addEventListener(off, () => (tip.hidden = true));
      }
    }
    if (!points.length) svg("text", { x: width / 2, y: HEIGHT / 2, "text-anchor": "middle" }, root).textContent = "nothing is left: change the filter";
    host.append(tip);
    reachable([...body.querySelectorAll(".mark.inside")]);
    zoomable(root, body, width, (x) => x0 + ((x - left) / (right - left)) * (x1 - x0), (y) => y0 + ((bottom - y) / (bottom - MARGIN.top)) * (y1 - y0));
    legend(looks, colour);
  }

  // One stop of Tab for a chart; arrows, Home and End go from mark to mark.
  function reachable(marks) {
    const go = (i) => {
      const next = marks[Math.max(0, Math.min(i, marks.length - 1))];
      for (const mark of marks) mark.setAttribute("tabindex", mark === next ? 0 : -1);
      next.focus();
    };
    if (marks.length) marks[0].setAttribute("tabindex", 0);
    for (const [i, mark] of marks.entries()) {
      mark.addEventListener("keydown", (event) => {
        const to = { ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1, Home: 0, End: marks.length - 1 }[event.key];
        if (to === undefined) return;
        event.preventDefault(); // the page stays where it is
        go(to);
      });
    }
  }

  function show(text, x, y) {
    tip.textContent = text;
    tip.hidden = false;
    const box = host.querySelector("svg").getBoundingClientRect();
    tip.style.left = `${Math.max(0, Math.min(x * box.width + 12, box.width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.max(0, y * box.height - tip.offsetHeight - 12)}px`;
  }

  function zoomable(root, body, width, fromX, fromY) {
    let start = null, rect = null;
    const at = (event) => {
      const box = root.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * HEIGHT];
    };
    root.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch") return; // a finger scrolls the page
      start = at(event);
      rect = svg("rect", { class: "zoom", width: 0, height: 0 }, body);
      root.setPointerCapture(event.pointerId);
    });
    root.addEventListener("pointermove", (event) => {
      if (!start) return;
      const [x, y] = at(event);
      const shape = { x: Math.min(x, start[0]), y: Math.min(y, start[1]), width: Math.abs(x - start[0]), height: Math.abs(y - start[1]) };
      for (const [key, value] of Object.entries(shape)) rect.setAttribute(key, value);
    });
    root.addEventListener("pointerup", (event) => {
      if (!start) return;
      const [x, y] = at(event), [a, b] = start;
      start = null;
      rect.remove();
      if (Math.abs(x - a) < 8 || Math.abs(y - b) < 8) return;
      view = [fromX(Math.min(a, x)), fromX(Math.max(a, x)), fromY(Math.max(b, y)), fromY(Math.min(b, y))];
      draw();
    });
  }

  function legend(looks, colour) {
    const list = document.createElement("div");
    list.className = "legend";
    const button = (text, pressed, press) => {
      const node = document.createElement("button");
      node.type = "button";
      if (pressed === null) node.className = "view";
      else node.setAttribute("aria-pressed", pressed);
      node.textContent = text;
      node.addEventListener("click", () => {
        press();
        draw();
        [...host.querySelectorAll(".legend button")].find((b) => b.textContent === text)?.focus();
      });
      list.append(node);
      return node;
    };
    for (const [i, name] of looks.entries()) {
      const node = button(name, !hidden.has(name), () => hidden.delete(name) || hidden.add(name));
      const icon = svg("svg", { viewBox: "-8 -8 16 16", "aria-hidden": "true" });
      svg("path", { d: markers[i % markers.length], fill: colour(name) }, icon);
      node.prepend(icon);
    }
    const zoom = (factor) => () => {
      if (!view) view = extent();
      const [x0, x1, y0, y1] = view, middle = (x0 + x1) / 2;
      view = [middle - ((x1 - x0) / 2) * factor, middle + ((x1 - x0) / 2) * factor, y0, y0 + (y1 - y0) * factor];
    };
    button("zoom in", null, zoom(0.6));
    if (view) button("whole chart", null, () => (view = null));
    host.append(list);
  }

  function extent() {
    const points = series().filter((s) => !hidden.has(s.name)).flatMap((s) => s.points), log = logarithmic();
    const xs = points.map((p) => (log ? Math.log10(p.x) : p.x));
    return [Math.min(...xs), Math.max(...xs), 0, Math.max(0.1, ...points.map((p) => p.high))];
  }
  return { draw, reset: () => ((view = null), hidden.clear()) };
}

const wanted = (cell) => byId("filter").value.toLowerCase().split(/\s+/).every((word) => cell.toLowerCase().includes(word));

function curves() {
  const x = byId("x").value, top = byId("top").value, rule = byId("rule").value, about = data.curves.series[x], found = new Map();
  for (const p of data.curves.points) {
    if (p.rule !== rule || !wanted(p.cell) || !(x !== "draw_gradients" || p.x[x] > 0)) continue;
    for (const side of byId("clean").checked && top !== "targets" ? ["adv", "clean"] : ["adv"]) {
      const name = top === "targets" ? "target_hits" : `${side}_top${top}`, key = about[p.cell];
      if (p[name] === null) continue;
      const result = `${p.cell}, ${rates[name]}: ${percent(p[name])} % [${percent(p[`${name}_low`])}, ${percent(p[`${name}_high`])}], ${p.images.toLocaleString("en")} images`;
      const text = `${result}, ${p.draw_gradients.toLocaleString("en")} draw-gradients`;
      const id = `${key}|${side}`;
      if (!found.has(id)) found.set(id, { name: key, dashed: side === "clean", points: [] });
      found.get(id).points.push({ x: p.x[x], y: p[name], low: p[`${name}_low`], high: p[`${name}_high`], text });
    }
  }
  for (const s of found.values()) s.points.sort((a, b) => a.x - b.x);
  return [...found.values()].sort((a, b) => a.dashed - b.dashed);
}

function persistent() {
  const found = new Map();
  for (const p of data.persistent.filter((p) => wanted(p.cell))) {
    if (!found.has(p.cell)) found.set(p.cell, { name: p.cell, points: [] });
    const text = `${p.cell}, all of ${p.draws} draws right: ${percent(p.adv)} % [${percent(p.adv_low)}, ${percent(p.adv_high)}], ${p.images.toLocaleString("en")} images; ${sides.clean} ${percent(p.clean)} %`;
    found.get(p.cell).points.push({ x: p.draws, y: p.adv, low: p.adv_low, high: p.adv_high, text });
  }
  return [...found.values()];
}

function certified() {
  const found = new Map(), series = (name, dashed) => {
    if (!found.has(name)) found.set(name, { name, dashed, points: [] });
    return found.get(name).points;
  };
  for (const p of data.certified.filter((p) => wanted(p.cell))) {
    const text = `${p.cell}, radius ${p.radius.toPrecision(3)}: ${percent(p.certified)} % [${percent(p.certified_low)}, ${percent(p.certified_high)}], ${p.images.toLocaleString("en")} images; ${percent(p.abstained)} % abstained`;
    series(p.cell, false).push({ x: p.radius, y: p.certified, low: p.certified_low, high: p.certified_high, text });
  }
  const pairs = new Set(data.curves.points.filter((p) => found.has(p.cell)).map((p) => p.defended));
  for (const p of data.curves.points.filter((p) => p.l2 && p.rule === byId("rule").value && pairs.has(p.defended) && wanted(p.cell))) {
    const text = `${p.cell}, eps ${p.x.eps}: ${percent(p.adv_top1)} % [${percent(p.adv_top1_low)}, ${percent(p.adv_top1_high)}], ${p.images.toLocaleString("en")} images`;
    series(p.cell, true).push({ x: p.x.eps, y: p.adv_top1, low: p.adv_top1_low, high: p.adv_top1_high, text });
  }
  return [...found.values()];
}

const unitOfCurve = () => values[byId("top").value === "targets" ? "target_hit" : "adv"];
const curve = chart(byId("curve"), () => axes[byId("x").value], unitOfCurve, curves, () => byId("x").value === "draw_gradients");
const charts = [curve];
if (byId("certified")) charts.push(chart(byId("certified"), () => axes.radius, () => values.certified, certified, () => false));
if (byId("persistent")) charts.push(chart(byId("persistent"), () => axes.draws, () => values.adv, persistent, () => false));

function update() {
  const rule = byId("rule").value;
  let shown = 0, rows = 0;
  for (const row of document.querySelectorAll("#table tbody tr")) {
    row.hidden = row.dataset.rule !== rule || !wanted(row.dataset.cell);
    shown += !row.hidden;
    rows += row.dataset.rule === rule;
  }
  for (const node of document.querySelectorAll("#examples .cell, #errors .cell, #run tr[data-cell]")) node.hidden = !wanted(node.dataset.cell);
  byId("count").textContent = `${shown} of ${rows} cells`;
  byId("rule-text").textContent = rules[rule];
  for (const one of charts) one.draw();
}

for (const id of ["filter", "rule", "top", "clean"]) byId(id).addEventListener("input", update);
byId("x").addEventListener("input", () => (curve.reset(), update()));
let narrow = WIDTH();
window.addEventListener("resize", () => WIDTH() !== narrow && ((narrow = WIDTH()), update()));
update();
