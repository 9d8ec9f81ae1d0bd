// The page of a study: charts by ECharts over columns of numbers; one selection filters all of them.
import * as echarts from "./vendor/echarts.js";
import { $, $$, address, duration, fragment, morph, replace, throttled } from "./dom.js";
import { listen } from "./live.js";

const study = $("#head").dataset.study;
const SHOWN = 200; // rows of the table
let data = null, charts = {}, brushes = {}, selected = null, order = { key: "value", descending: null };

function token(name) {
  const probe = document.createElement("i");
  probe.hidden = true;
  probe.className = `tok-${name}`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}
const colours = () => ({ text: token("text"), muted: token("muted"), line: token("line"), run: token("run"), ok: token("ok"), idle: token("idle"), reuse: token("reuse"), surface: token("surface") });

// -- selection: brushes on axes, in the address as name:low..high
function readAddress() {
  const query = new URLSearchParams(location.search);
  selected = query.has("trial") ? Number(query.get("trial")) : null;
  brushes = {};
  for (const part of query.getAll("brush").join(";").split(";")) {
    const match = /^(.+):(-?[\d.eE+-]+)\.\.(-?[\d.eE+-]+)$/.exec(part);
    if (match) brushes[match[1]] = [Number(match[2]), Number(match[3])];
  }
}
function writeAddress(push = false) {
  const text = Object.entries(brushes).map(([name, [low, high]]) => `${name}:${+low.toPrecision(5)}..${+high.toPrecision(5)}`).join(";");
  address({ brush: text, trial: selected }, { push });
}
const axes = () => [...Object.keys(data.params), data.objective];
function at(name, i) {
  if (name === data.objective) return data.value[i];
  const column = data.params[name], value = column.values[i];
  if (column.type === "number" || value === null) return value;
  return categories(name).indexOf(value);
}
const known = {};
function categories(name) {
  return (known[name] ??= [...new Set(data.params[name].values.filter((each) => each !== null))].sort());
}
function kept(i) {
  return Object.entries(brushes).every(([name, [low, high]]) => {
    const value = at(name, i);
    return value !== null && value !== undefined && value >= low - 1e-12 && value <= high + 1e-12;
  });
}
const indices = () => data.number.map((_, i) => i);

// -- charts
const text = (c) => ({ color: c.muted, fontFamily: "Inter, sans-serif", fontSize: 11 });
function tooltip(c, formatter) {
  return { renderMode: "richText", confine: true, backgroundColor: c.surface, borderColor: c.line, textStyle: { ...text(c), color: c.text, fontSize: 12 }, formatter };
}
const label = (i) => `Trial ${data.number[i]}  ${data.status[i]}\n${data.objective} ${short(data.value[i])}\n` +
  Object.entries(data.params).map(([name, column]) => `${name} ${short(column.values[i])}`).join("\n");
const short = (value) => value === null || value === undefined ? "–" : typeof value === "number" ? String(+value.toPrecision(5)) : value;

function drawHistory(c) {
  const maximize = data.direction === "maximize", best = [];
  let top = null;
  const dim = [], lit = [];
  for (const i of indices()) {
    const value = data.value[i];
    if (value === null) continue;
    (kept(i) ? lit : dim).push({ value: [data.number[i], value], i });
    if (top === null || (maximize ? value > top : value < top)) top = value;
    best.push([data.number[i], top]);
  }
  const last = data.number.at(-1);
  if (best.length && best.at(-1)[0] < last) best.push([last, top]);
  const chosen = data.number.indexOf(selected);
  charts.history.setOption({
    animation: false, textStyle: text(c), grid: { left: 52, right: 16, top: 14, bottom: 26 },
    tooltip: { trigger: "item", ...tooltip(c, (p) => p.data.i === undefined ? "" : label(p.data.i)) },
    xAxis: { type: "value", min: 0, max: Math.max(1, last), minInterval: 1, axisLine: { lineStyle: { color: c.line } }, axisTick: { show: false }, splitLine: { show: false }, axisLabel: text(c) },
    yAxis: { type: "value", scale: true, splitLine: { lineStyle: { color: c.line } }, axisLabel: { ...text(c), formatter: short } },
    series: [
      { type: "scatter", data: dim, symbolSize: 6, itemStyle: { color: c.idle, opacity: 0.25 } },
      { type: "scatter", data: lit, symbolSize: data.number.length > 2000 ? 4 : 7, itemStyle: { color: c.run, opacity: 0.75 }, large: lit.length > 3000 },
      { type: "line", data: best, step: "end", symbol: "none", lineStyle: { color: c.ok, width: 2 }, silent: true },
      { type: "scatter", data: chosen >= 0 && data.value[chosen] !== null ? [{ value: [selected, data.value[chosen]], i: chosen }] : [], symbolSize: 13, itemStyle: { color: "transparent", borderColor: c.text, borderWidth: 2 }, z: 5 },
    ],
  }, { notMerge: true });
}

function drawParallel(c) {
  const names = axes(), values = data.value.filter((value) => value !== null);
  const low = Math.min(...values), high = Math.max(...values);
  const faint = Math.max(0.04, Math.min(1, 150 / values.length)); // many lines are to show where they are dense
  charts.parallel.setOption({
    animation: false, textStyle: text(c),
    parallel: { left: 60, right: 70, top: 40, bottom: 16, parallelAxisDefault: { nameLocation: "end", nameGap: 14, nameTextStyle: { ...text(c), color: c.text, fontFamily: "JetBrains Mono, monospace" }, axisLine: { lineStyle: { color: c.muted } }, axisTick: { lineStyle: { color: c.line } }, axisLabel: { ...text(c), textBorderColor: c.surface, textBorderWidth: 3 }, areaSelectStyle: { width: 18, color: c.run, opacity: 0.18, borderColor: c.run, borderWidth: 1 }, realtime: true } },
    parallelAxis: names.map((name, dim) => {
      const column = data.params[name];
      if (column && column.type === "category") return { dim, name, type: "category", data: categories(name) };
      return { dim, name, type: column?.log ? "log" : "value", scale: true, axisLabel: { formatter: short }, splitNumber: 4 };
    }),
    visualMap: high > low ? { show: false, dimension: names.length - 1, min: low, max: high, inRange: { color: data.direction === "maximize" ? [c.idle, c.run] : [c.run, c.idle], opacity: [0.35 * faint, 0.9 * faint] } } : undefined,
    series: { type: "parallel", lineStyle: { width: 1.3, opacity: Math.max(0.06, Math.min(0.7, 25 / data.number.length)), color: c.run }, inactiveOpacity: 0.04, activeOpacity: 0.85, smooth: 0.25, data: indices().filter((i) => data.value[i] !== null).map((i) => names.map((name) => { const column = data.params[name], value = at(name, i); return value === null ? "-" : column?.type === "category" ? column.values[i] : value; })) },
  }, { notMerge: true });
  for (const [name, [from, to]] of Object.entries(brushes)) {
    const dim = names.indexOf(name);
    if (dim >= 0) charts.parallel.dispatchAction({ type: "axisAreaSelect", parallelAxisId: charts.parallel.getOption().parallelAxis[dim].id, parallelAxisIndex: dim, intervals: [[from, to]] });
  }
}

// -- table
const COLUMNS = () => [["number", "Trial"], ["value", data.objective], ...Object.keys(data.params).map((name) => [`p.${name}`, name]), ["steps", "Steps"], ["seconds", "Duration"]];
function cellOf(key, i) {
  if (key.startsWith("p.")) return data.params[key.slice(2)].values[i];
  return key === "steps" ? (data.steps[i] ? data.reused[i] / data.steps[i] : 0) : data[key][i];
}
function bestIndex() {
  const sign = data.direction === "maximize" ? 1 : -1;
  return indices().filter((i) => data.value[i] !== null).reduce((best, i) => best === null || sign * data.value[i] > sign * data.value[best] ? i : best, null);
}
function sorted() {
  const descending = order.descending ?? data.direction === "maximize", sign = descending ? -1 : 1;
  return indices().filter(kept).sort((a, b) => {
    const [x, y] = [cellOf(order.key, a), cellOf(order.key, b)];
    if (x === null || x === undefined) return 1;
    if (y === null || y === undefined) return -1;
    return x < y ? -sign : x > y ? sign : data.number[a] - data.number[b];
  });
}
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
function icon(status) {
  const holder = document.createElement("template");
  const safe = /^[a-z]+$/.test(status) ? status : "draft";
  holder.innerHTML = `<svg class="s s-${safe}" role="img" aria-label="${safe}"><use href="${$(".brand use").getAttribute("href").split("#")[0]}#s-${safe}"/></svg>`;
  return holder.content.firstChild;
}
function squares(ran, reused) {
  const total = ran + reused, shown = Math.min(total, 16), purple = total ? Math.round(shown * reused / total) : 0;
  const holder = document.createElement("template");
  const boxes = Array.from({ length: shown }, (_, k) => `<rect class="${k < purple ? "re" : "ran"}" x="${k * 8}" width="6.5" height="10" rx="1.5"/>`);
  holder.innerHTML = `<svg class="squares" width="${shown * 8}" height="10" role="img" aria-label="${reused} of ${total} steps reused">${boxes.join("")}</svg>`;
  return holder.content.firstChild;
}
function drawTable() {
  const columns = COLUMNS(), rows = sorted(), best = bestIndex();
  const head = element("tr");
  for (const [key, name] of columns) {
    const mine = order.key === key, descending = order.descending ?? data.direction === "maximize";
    const button = element("button", { className: "link", type: "button", textContent: name + (mine ? (descending ? " ↓" : " ↑") : "") });
    button.dataset.order = key;
    const cell = element("th", { className: key === "number" ? "" : "r mono" }, button);
    cell.setAttribute("aria-sort", mine ? (descending ? "descending" : "ascending") : "none");
    head.append(cell);
  }
  $("#trials thead").replaceChildren(head);
  const body = rows.slice(0, SHOWN).map((i) => {
    const row = element("tr");
    row.dataset.trial = data.number[i];
    row.setAttribute("aria-selected", String(data.number[i] === selected));
    for (const [key] of columns) {
      const cell = element("td", { className: key === "number" ? "nowrap" : "r mono" });
      if (key === "number") {
        const link = element("a", { href: `?trial=${data.number[i]}`, textContent: data.number[i] });
        cell.append(icon(data.status[i]), link);
        if (i === best) cell.append(" ", element("span", { className: "chip", textContent: "best" }));
      } else if (key === "seconds") cell.textContent = data.seconds[i] === null ? "" : duration(data.seconds[i]);
      else if (key === "steps") cell.append(squares(data.steps[i] - data.reused[i], data.reused[i]));
      else cell.append(key === "value" ? element("b", { textContent: short(cellOf(key, i)) }) : short(cellOf(key, i)));
      row.append(cell);
    }
    return row;
  });
  $("#trials tbody").replaceChildren(...body);
  const total = data.number.length, filtered = Object.keys(brushes).length > 0;
  $("#trial-count").textContent = filtered ? `${rows.length} of ${total}` : total + (rows.length > SHOWN ? `, the first ${SHOWN}` : "");
  const bar = $("#filterbar");
  bar.replaceChildren();
  if (filtered) {
    bar.append(Object.entries(brushes).map(([name, [low, high]]) => data.params[name]?.type === "category" ? `${name}: ${categories(name).slice(Math.ceil(low), Math.floor(high) + 1).join(", ")}` : `${name} ${short(low)} to ${short(high)}`).join(", "));
    const clear = element("button", { className: "link", type: "button", textContent: "Clear" });
    clear.addEventListener("click", () => { brushes = {}; writeAddress(true); draw(); });
    bar.append(clear);
  }
}

function draw() {
  if (!charts.history || !data || !data.number.length) return;
  const c = colours();
  drawHistory(c);
  drawParallel(c);
  drawTable();
  if (!performance.getEntriesByName("drawn").length) requestAnimationFrame(() => requestAnimationFrame(() => performance.mark("drawn")));
}

async function select(number, push = true) {
  selected = number;
  if (push) writeAddress(true);
  if (data) { drawHistory(colours()); for (const row of $$("#trials tr[data-trial]")) row.setAttribute("aria-selected", String(Number(row.dataset.trial) === number)); }
  replace($("#trial"), await fragment(`/studies/${study}/part/trial${number === null ? "" : `?trial=${number}`}`));
}

async function load() {
  const answer = await fetch(`/api/v1/studies/${study}/trials`);
  if (!answer.ok) return;
  data = await answer.json();
  for (const name of Object.keys(known)) delete known[name];
  if (!charts.history) {
    if (!$("#history")) { if (data.number.length) location.reload(); return; }
    start();
  }
  draw();
}
function start() {
  charts.history = echarts.init($("#history"));
  charts.parallel = echarts.init($("#parallel"));
  charts.history.on("click", (event) => { if (event.data?.i !== undefined) select(data.number[event.data.i]); });
  charts.parallel.on("axisareaselected", throttled(120, () => {
    const names = axes();
    const found = {};
    charts.parallel.getOption().parallelAxis.forEach((axis, dim) => {
      const interval = charts.parallel.getModel().getComponent("parallelAxis", dim).activeIntervals[0];
      if (interval) found[names[dim]] = [Math.min(...interval), Math.max(...interval)];
    });
    if (JSON.stringify(found) === JSON.stringify(brushes)) return;
    brushes = found;
    writeAddress();
    drawHistory(colours());
    drawTable();
  }));
  addEventListener("resize", () => Object.values(charts).forEach((chart) => chart.resize()));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-order]");
  if (button) {
    const key = button.dataset.order, descending = order.descending ?? data.direction === "maximize";
    order = { key, descending: order.key === key ? !descending : key === "value" ? null : false };
    drawTable();
    return;
  }
  const row = event.target.closest("#trials tr[data-trial]");
  if (row && !event.ctrlKey && !event.metaKey) { event.preventDefault(); select(Number(row.dataset.trial)); }
});
document.addEventListener("theme-changed", draw);
matchMedia("(prefers-color-scheme:dark)").addEventListener("change", draw);
addEventListener("popstate", () => { readAddress(); draw(); select(selected, false); });

readAddress();
const again = throttled(2000, async () => {
  await load();
  await morph($("#facts"), await fragment(`/studies/${study}/part/facts`));
  if (selected === null) select(null, false);
});
load();
select(selected, false);
let opens = 0;
listen({ study }, (records) => { if (records.length || opens++ > 0) again(); });
