// The charts of a study. Axes, points and brushes are ECharts'; the lines of the parallel coordinates, which may be ten
// thousand, are drawn on a canvas of their own below it, which takes a tenth of the time.
import * as echarts from "./vendor/echarts.js";
import { $ } from "./dom.js";

const charts = {};
const MANY = 2000; // points from which on they are small, and drawn as one

export const short = (value) => value === null || value === undefined ? "–" : typeof value === "number" ? String(+value.toPrecision(5)) : value;

function token(name) {
  const probe = document.createElement("i");
  probe.hidden = true;
  probe.className = `tok-${name}`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}
let known = null;
const colours = () => (known ??= Object.fromEntries(["text", "muted", "line", "run", "ok", "idle", "surface"].map((name) => [name, token(name)])));
export function forgetColours() { known = null; }

const text = (c) => ({ color: c.muted, fontFamily: "Inter, sans-serif", fontSize: 11 });
const mono = (c) => ({ ...text(c), color: c.text, fontFamily: "JetBrains Mono, monospace" });
function tooltip(c, formatter) {
  return { trigger: "item", renderMode: "richText", confine: true, backgroundColor: c.surface, borderColor: c.line, textStyle: { ...text(c), color: c.text, fontSize: 12 }, formatter };
}
function label(data, i) {
  const goals = data.objectives.map((goal) => `${goal.name} ${short(goal.values[i])}`);
  const params = Object.entries(data.params).map(([name, column]) => `${name} ${short(column.choices ? column.choices[column.values[i]] : column.values[i])}`);
  const state = data.infeasible.has(data.number[i]) ? `${data.status[i]}, infeasible` : data.status[i];
  return [`Trial ${data.number[i]}  ${state}`, ...goals, ...params].join("\n");
}
const axis = (c, more) => ({ type: "value", axisLine: { lineStyle: { color: c.line } }, axisTick: { show: false }, axisLabel: { ...text(c), formatter: short }, splitLine: { lineStyle: { color: c.line } }, ...more });
const points = (found, count, style) => ({ type: "scatter", data: found, symbolSize: count > MANY ? 4 : 7, itemStyle: style, large: found.length > MANY, largeThreshold: MANY });
function ring(found, c) {
  return { type: "scatter", data: found, symbolSize: 13, itemStyle: { color: "transparent", borderColor: c.text, borderWidth: 2 }, z: 5 };
}

// `pick(i)` is called for the trial at place `i` that was clicked, `brushed(found)` with {axis: [low, high]}.
export function start(pick, brushed) {
  for (const name of ["history", "pareto", "parallel"]) {
    const element = $(`#${name}`);
    if (!element) continue;
    if (name === "parallel") element.append(Object.assign(document.createElement("canvas"), { className: "lines" }));
    const holder = document.createElement("div");
    element.append(holder);
    charts[name] = echarts.init(holder);
    if (name !== "parallel") charts[name].on("click", (event) => { if (event.value?.length > 2) pick(event.value[2]); });
  }
  charts.parallel.on("axisareaselected", () => {
    if (charts.restoring) return;
    const names = axesOf(charts.data), found = {};
    names.forEach((name, dim) => {
      const interval = charts.parallel.getModel().getComponent("parallelAxis", dim).activeIntervals[0];
      if (interval) found[name] = [Math.min(...interval), Math.max(...interval)];
    });
    brushed(found);
  });
}
export function resize() {
  for (const name of ["history", "pareto", "parallel"]) charts[name]?.resize();
}
export const started = () => Boolean(charts.parallel);

// What stands on the axes of the parallel coordinates, the objectives last.
export const axesOf = (data) => [...Object.keys(data.params), ...data.objectives.map((goal) => goal.name)];
export function columnOf(data, name) {
  return data.objectives.find((goal) => goal.name === name)?.values ?? data.params[name]?.values;
}

export function drawHistory(data, kept, selected) {
  const c = colours(), goal = data.objectives[0], maximize = goal.direction === "maximize";
  const dim = [], lit = [], out = [], best = [], count = data.number.length;
  let top = null;
  for (let i = 0; i < count; i++) {
    const value = goal.values[i];
    if (value === null) continue;
    const is_out = data.infeasible.has(data.number[i]);
    (kept[i] ? is_out ? out : lit : dim).push([data.number[i], value, i]);
    if (is_out) continue;  // never the best
    if (top === null || (maximize ? value > top : value < top)) best.push([data.number[i], top = value]);
  }
  const last = data.number[count - 1];
  // What is drawn, for whoever cannot look: which trials were the best when they ended, and how many are lit.
  Object.assign($("#history").dataset, { best: best.map((point) => point.join(":")).join(" "), lit: lit.length + out.length });
  if (best.length) best.push([last, top]);
  const at = data.number.indexOf(selected);
  charts.history.setOption({
    animation: false, textStyle: text(c), grid: { left: 52, right: 16, top: 14, bottom: 26 },
    tooltip: tooltip(c, (p) => p.value.length < 3 ? "" : label(data, p.value[2])),
    xAxis: axis(c, { min: 0, max: Math.max(1, last), minInterval: 1, splitLine: { show: false }, axisLabel: text(c) }),
    yAxis: axis(c, { scale: true, axisLine: { show: false } }),
    series: [
      { ...points(dim, count, { color: c.idle, opacity: 0.25 }), symbolSize: 4 },
      points(lit, count, { color: c.run, opacity: count > MANY ? 0.45 : 0.75 }),
      { ...points(out, count, { color: c.idle, opacity: 0.6 }), symbol: "triangle" },
      { type: "line", data: best, step: "end", symbol: "none", lineStyle: { color: c.ok, width: 2 }, silent: true },
      ring(at >= 0 && goal.values[at] !== null ? [[selected, goal.values[at], at]] : [], c),
    ],
  }, { notMerge: true });
}

// Of two values for each feasible trial those that no other is better than in both.
function front(data, all) {
  const [x, y] = data.objectives, signs = [x, y].map((goal) => goal.direction === "maximize" ? -1 : 1);
  const ordered = all.filter((point) => !data.infeasible.has(data.number[point[2]])).sort((a, b) => signs[0] * (a[0] - b[0]) || signs[1] * (a[1] - b[1]));
  const found = [];
  for (const point of ordered) {
    const last = found.at(-1);
    if (!last || signs[1] * point[1] < signs[1] * last[1] || (point[0] === last[0] && point[1] === last[1])) found.push(point);
  }
  return found;
}
export function drawPareto(data, kept, selected) {
  if (!charts.pareto) return;
  const c = colours(), [x, y] = data.objectives;
  const all = data.number.map((_, i) => [x.values[i], y.values[i], i]).filter((point) => point[0] !== null && point[1] !== null);
  const best = front(data, all), at = data.number.indexOf(selected);
  const name = (goal) => ({ name: goal.name, nameTextStyle: text(c), nameLocation: "middle", scale: true });
  charts.pareto.setOption({
    animation: false, textStyle: text(c), grid: { left: 62, right: 16, top: 14, bottom: 42 },
    tooltip: tooltip(c, (p) => p.value.length < 3 ? "" : label(data, p.value[2])),
    xAxis: axis(c, { ...name(x), nameGap: 24, splitLine: { show: false } }), yAxis: axis(c, { ...name(y), nameGap: 46, axisLine: { show: false } }),
    series: [
      points(all.filter((point) => !kept[point[2]]), all.length, { color: c.idle, opacity: 0.25 }),
      points(all.filter((point) => kept[point[2]] && !data.infeasible.has(data.number[point[2]])), all.length, { color: c.run, opacity: 0.5 }),
      { ...points(all.filter((point) => kept[point[2]] && data.infeasible.has(data.number[point[2]])), all.length, { color: c.idle, opacity: 0.6 }), symbol: "triangle" },
      { type: "line", data: best, symbolSize: 8, symbol: "circle", itemStyle: { color: c.ok }, lineStyle: { color: c.ok, width: 1.5 } },
      ring(all.filter((point) => point[2] === at), c),
    ],
  }, { notMerge: true });
  $("#pareto").dataset.lit = all.filter((point) => kept[point[2]]).length;
  $("#pareto").dataset.front = best.map((point) => data.number[point[2]]).sort((a, b) => a - b).join(",");
}

// -- parallel coordinates
function range(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) if (value !== null) { if (value < low) low = value; if (value > high) high = value; }
  return low <= high ? [low, high] : [0, 1];
}
function widened([low, high], log) {
  if (log) return low < high ? [low, high] : [low / 2, high * 2];
  const space = high > low ? 0.02 * (high - low) : Math.abs(low) / 10 || 1;
  return [low - space, high + space];
}
export function drawParallel(data, kept, brushes) {
  const c = colours(), names = axesOf(data), goals = new Map(data.objectives.map((goal) => [goal.name, goal]));
  charts.data = data;
  const scales = names.map((name) => {
    const column = goals.get(name) ?? data.params[name];
    return { name, column, choices: column.choices, log: Boolean(column.log), limits: column.choices ? null : widened(range(column.values), column.log) };
  });
  charts.scales = scales;
  const areaSelectStyle = { width: 18, color: c.run, opacity: 0.22, borderColor: c.run, borderWidth: 1 };
  charts.parallel.setOption({
    animation: false, textStyle: text(c),
    parallel: { left: 60, right: 70, top: 40, bottom: 16, parallelAxisDefault: { nameLocation: "end", nameGap: 14, nameTextStyle: mono(c), axisLine: { lineStyle: { color: c.muted } }, axisTick: { lineStyle: { color: c.line } }, axisLabel: { ...text(c), textBorderColor: c.surface, textBorderWidth: 3 }, realtime: true } },
    parallelAxis: scales.map(({ name, choices, log, limits }, dim) => choices
      ? { dim, name, areaSelectStyle, type: "category", data: choices }
      : { dim, name, areaSelectStyle, type: log ? "log" : "value", min: limits[0], max: limits[1], axisLabel: { formatter: short, showMinLabel: false, showMaxLabel: false }, splitNumber: 4 }),
    series: { type: "parallel", silent: true, data: [] }, // no lines: see drawLines
  }, { notMerge: true });
  charts.restoring = true;
  for (const [name, [from, to]] of Object.entries(brushes)) {
    const dim = names.indexOf(name);
    if (dim >= 0) charts.parallel.dispatchAction({ type: "axisAreaSelect", parallelAxisId: charts.parallel.getOption().parallelAxis[dim].id, parallelAxisIndex: dim, intervals: [[from, to]] });
  }
  charts.restoring = false;
  drawLines(data, kept);
}

// Where the values of one axis stand, in pixels.
function places({ name, column, choices, log, limits }, system) {
  const at = (value) => system.dataToPoint(value, system.dimensions[name]);
  if (choices) {
    const known = choices.map((_, k) => at(k));
    return { x: known[0][0], y: column.values.map((value) => value === null ? NaN : known[value][1]) };
  }
  const [[x, bottom], [, top]] = limits.map(at), scale = log ? Math.log : (value) => value;
  const begin = scale(limits[0]), size = (top - bottom) / (scale(limits[1]) - begin);
  return { x, y: column.values.map((value) => value === null ? NaN : bottom + (scale(value) - begin) * size) };
}
function between(one, other, share) {
  const [a, b] = [one, other].map((colour) => colour.match(/[\d.]+/g).map(Number));
  return `rgb(${[0, 1, 2].map((k) => Math.round(a[k] + (b[k] - a[k]) * share)).join(",")})`;
}
export function drawLines(data, kept) {
  const canvas = $("#parallel .lines"), c = colours(), ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas.parentElement;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const system = charts.parallel.getModel().getComponent("parallel").coordinateSystem;
  const named = {};
  axesOf(data).forEach((name, dim) => { named[name] = system.dimensions[dim]; });
  const axes = charts.scales.map((scale) => places(scale, { dataToPoint: (value) => system.dataToPoint(value, named[scale.name]), dimensions: named }));
  const goal = data.objectives[0], sign = goal.direction === "maximize" ? 1 : -1;
  const done = [];
  for (let i = 0; i < data.number.length; i++) if (goal.values[i] !== null) done.push(i);
  done.sort((a, b) => (kept[a] - kept[b]) || sign * (goal.values[a] - goal.values[b])); // the best last, on top
  const lit = done.filter((i) => kept[i]).length, [low, high] = range(goal.values);
  const faint = Math.max(0.06, Math.min(0.9, 60 / Math.max(1, lit))); // many lines are to show where they are dense
  const each = Math.ceil(done.length / 1500); // lines drawn at a stroke
  // One pixel of the screen is drawn without an outline being made of the line: in an eighth of the time.
  context.lineWidth = done.length > MANY ? 1 / ratio : 1.2;
  for (let from = 0; from < done.length; from += each) {
    const some = done.slice(from, from + each), on = kept[some[0]];
    const share = high > low ? (goal.values[some[0]] - low) / (high - low) : 1, good = sign > 0 ? share : 1 - share;
    context.strokeStyle = on ? between(c.idle, c.run, good) : c.idle;
    context.globalAlpha = on ? faint * (0.5 + 0.5 * good) : Math.max(0.012, 0.08 * Math.min(1, 200 / done.length));
    context.beginPath();
    for (const i of some) {
      let drawing = false;
      for (const { x, y } of axes) {
        if (Number.isNaN(y[i])) { drawing = false; continue; }
        if (drawing) context.lineTo(x, y[i]); else context.moveTo(x, y[i]);
        drawing = true;
      }
    }
    context.stroke();
  }
}
