// The page of a study: charts over columns of numbers, a table read page by page; one selection filters all of them.
import { $, $$, address, fragment, morph, replace, throttled } from "./dom.js";
import { axesOf, columnOf, drawHistory, drawLines, drawParallel, drawPareto, forgetColours, resize, short, start, started } from "./charts.js";
import { listen } from "./live.js";

const study = $("#head").dataset.study, base = `/studies/${study}`;
let data = null, brushes = {}, selected = null, sort = "", kept = [];

// -- what is selected, in the address: brushes as name:low..high
function readAddress() {
  const query = new URLSearchParams(location.search);
  selected = query.has("trial") ? Number(query.get("trial")) : null;
  sort = query.get("sort") ?? "";
  brushes = {};
  for (const part of (query.get("brush") ?? "").split(";")) {
    const match = /^(.+):(-?[\d.eE+-]+)\.\.(-?[\d.eE+-]+)$/.exec(part);
    if (match) brushes[match[1]] = [Number(match[2]), Number(match[3])];
  }
}
const brushText = () => Object.entries(brushes).map(([name, [low, high]]) => `${name}:${+low.toPrecision(7)}..${+high.toPrecision(7)}`).join(";");
const writeAddress = (push = false) => address({ brush: brushText(), sort, trial: selected }, { push });

function filter() {
  const ranges = Object.entries(brushes).map(([name, limits]) => [columnOf(data, name), ...limits]).filter(([column]) => column);
  kept = data.number.map((_, i) => ranges.every(([column, low, high]) => column[i] !== null && column[i] >= low - 1e-12 && column[i] <= high + 1e-12));
}

// -- table
let asked = 0; // an answer that a later one has overtaken is not shown
async function drawTable(rows = null) {
  const query = new URLSearchParams({ sort, brush: brushText() }), mine = ++asked, body = $("#trials tbody");
  $("#trials").setAttribute("aria-busy", "true");
  if (rows) query.set("rows", rows);
  const text = await fragment(`${base}/part/rows?${query}`);
  if (mine !== asked) return;
  if (rows) await morph(body, text); else replace(body, text);
  $("#trials").removeAttribute("aria-busy");
  mark();
  describe();
}
function mark() {
  for (const row of $$("#trials tr[data-trial]")) row.setAttribute("aria-selected", String(Number(row.dataset.trial) === selected));
}
const descending = () => sort ? sort.startsWith("-") : $("#trials [data-order=value]").closest("th").dataset.first === "descending";
const ordered = () => sort.replace(/^-/, "") || "value";
function describe() {
  for (const button of $$("#trials [data-order]")) {
    const mine = button.dataset.order === ordered();
    button.closest("th").setAttribute("aria-sort", mine ? (descending() ? "descending" : "ascending") : "none");
    button.textContent = button.textContent.replace(/ [↓↑]$/, "") + (mine ? (descending() ? " ↓" : " ↑") : "");
  }
  const count = $("#trials [data-count]")?.dataset.count, total = data.number.length, filtered = Object.keys(brushes).length > 0;
  $("#trial-count").textContent = filtered ? `${count} of ${total}` : total;
  const bar = $("#filterbar");
  bar.replaceChildren();
  if (!filtered) return;
  bar.append(Object.entries(brushes).map(([name, [low, high]]) => {
    const choices = data.params[name]?.choices;
    return choices ? `${name}: ${choices.slice(Math.max(0, Math.ceil(low)), Math.floor(high) + 1).join(", ")}` : `${name} ${short(low)} to ${short(high)}`;
  }).join(", "));
  const clear = Object.assign(document.createElement("button"), { className: "link", type: "button", textContent: "Clear" });
  clear.addEventListener("click", () => { brushes = {}; writeAddress(true); draw(); drawTable(); });
  bar.append(clear);
}

// -- charts
function draw() {
  if (!started() || !data?.number.length) return;
  filter();
  drawHistory(data, kept, selected);
  drawPareto(data, kept, selected);
  drawParallel(data, kept, brushes);
}
const brushed = throttled(120, () => {
  $("#trials").setAttribute("aria-busy", "true");
  writeAddress();
  filter();
  drawHistory(data, kept, selected);
  drawPareto(data, kept, selected);
  drawLines(data, kept);
  brushedTable();
});
const brushedTable = throttled(250, () => drawTable());

async function select(number, push = true) {
  selected = number;
  if (push) writeAddress(true);
  mark();
  if (started() && data?.number.length) { drawHistory(data, kept, selected); drawPareto(data, kept, selected); }
  await inspect();
}
async function inspect() {
  const number = selected, text = await fragment(`${base}/part/trial${number === null ? "" : `?trial=${number}`}`);
  if (number === selected) replace($("#trial"), text);
}

// -- reading: the whole once, then what may have changed since
function laid(fresh) {
  fresh.status = fresh.status.map((code) => fresh.statuses[code]);
  fresh.infeasible = new Set(fresh.infeasible);
  return fresh;
}
const lists = (one) => [one.number, one.status, ...one.objectives.map((goal) => goal.values), ...Object.values(one.params).map((column) => column.values)];
const shape = (one) => JSON.stringify([one.objectives.map((goal) => goal.name), Object.entries(one.params).map(([name, column]) => [name, column.choices])]);
function joined(before, fresh) {
  const from = before.number.findIndex((number) => number >= before.settled), begin = from < 0 ? before.number.length : from;
  const [old, more] = [lists(before), lists(fresh)];
  old.forEach((list, k) => { list.length = begin; for (const value of more[k]) list.push(value); });
  for (const number of fresh.infeasible) before.infeasible.add(number);
  before.settled = fresh.settled;
  return before;
}
async function read() {
  if (data) {
    const answer = await fetch(`${base}/chart?first=${data.settled}`);
    if (!answer.ok) return;
    const fresh = laid(await answer.json());
    if (shape(fresh) === shape(data)) {
      const whole = joined(data, fresh);
      if (whole.number.length === fresh.total) return;
    }
  }
  const answer = await fetch(`${base}/chart`);
  if (answer.ok) data = laid(await answer.json());
}
async function load() {
  await read();
  if (!data) return;
  if (!$("#history")) { if (data.number.length) location.reload(); return; }
  if (!started()) start((i) => select(data.number[i]), (found) => {
    if (JSON.stringify(found) === JSON.stringify(brushes)) return;
    brushes = found;
    brushed();
  });
  draw();
}
function drawn() {
  if (!performance.getEntriesByName("drawn").length) requestAnimationFrame(() => requestAnimationFrame(() => performance.mark("drawn")));
}
// What takes the server long comes after what is looked at first.
async function rest() {
  const parts = started() ? ["facts", "work", "importance"] : ["facts"];
  await Promise.all(parts.map(async (name) => {
    const text = await fragment(`${base}/part/${name}`);
    await morph($(`#${name}`), text);
  }));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-order]");
  if (button) {
    const key = button.dataset.order, first = button.closest("th").dataset.first === "descending";
    sort = (ordered() === key ? !descending() : first) ? `-${key}` : key;
    writeAddress(true);
    drawTable();
    return;
  }
  const row = event.target.closest("#trials tr[data-trial]");
  if (row && !event.ctrlKey && !event.metaKey) { event.preventDefault(); select(Number(row.dataset.trial)); }
});
function redrawn() { forgetColours(); draw(); }
document.addEventListener("theme-changed", redrawn);
matchMedia("(prefers-color-scheme:dark)").addEventListener("change", redrawn);
addEventListener("resize", throttled(100, () => { if (started()) { resize(); draw(); } }));
addEventListener("popstate", () => { readAddress(); draw(); if (data?.number.length) drawTable(); select(selected, false); });

async function open() {
  readAddress();
  await Promise.all([load().then(() => { if (data && started()) { mark(); describe(); drawn(); } }), inspect()]);
  await rest();
}
open();
// Left before it was whole, and come back to as it was left.
addEventListener("pageshow", (event) => { if (event.persisted) open(); });
let gone = false;
const again = throttled(2000, async () => {
  if (gone) return;
  await load();
  await morph($("#head"), await fragment(`${base}/part/head`));
  if (started()) await drawTable(Math.max(60, $$("#trials tr[data-trial]").length));
  if (selected === null) await inspect();
  await rest();
});
listen({ study }, (records) => {
  gone ||= records.some((record) => record.kind === "deleted" && record.task === study);
  // Deleted, here or elsewhere: there is nothing to be read any more.
  if (gone) $("#live").textContent = "Deleted"; else if (records.length) again();
}, Number($("#head").dataset.cursor));
