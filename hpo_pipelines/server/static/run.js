// The page of a run: selection, views and drawer, all in the address; its parts are read again when something happens.
import { $, $$, address, fragment, morph, replace, throttled, typing } from "./dom.js";
import { listen } from "./live.js";
import { nudge, showConsole, stopConsole } from "./log.js";

const run = $("#head").dataset.run;
const state = {};
function read() {
  const query = new URLSearchParams(location.search);
  for (const name of ["step", "view", "tab"]) state[name] = query.get(name) || "";
}
read();

// -- parts
const asked = {};
let gone = false;
async function load(part, how) {
  if (gone) return;
  asked[part]?.abort();
  const control = asked[part] = new AbortController();
  const query = new URLSearchParams(Object.entries(state).filter(([, value]) => value));
  try {
    const text = await fragment(`/runs/${run}/part/${part}?${query}`, control.signal);
    if (control.signal.aborted) return;
    if (how === "replace") replace($(`#${part}`), text); else await morph($(`#${part}`), text);
    if (part === "center") drawn();
    if (part === "list") filter();
    if (part === "drawer") opened();
  } catch (error) {
    if (error.name !== "AbortError") $("#live").dataset.state = "reconnecting";
  }
}

function go(changes, { push = true } = {}) {
  const before = { ...state };
  Object.assign(state, changes);
  address(state, { push });
  applied(before);
}

function applied(before) {
  mark();
  if (before.view !== state.view) load("center", "replace");
  if (before.step !== state.step) load("inspector", "replace");
  if (before.step !== state.step || before.tab !== state.tab) {
    $("#drawer").hidden = !state.tab;
    if (!chosen) fit();
    reveal();
    if (state.tab) load("drawer", "replace"); else { stopConsole(); $("#drawer").replaceChildren(); maximize(false); }
  }
}

// What is selected, shown at once; the server says the rest.
function mark() {
  for (const node of $$("#dag a.node")) {
    const on = node.dataset.name === state.step;
    if (on) node.setAttribute("aria-current", "true"); else node.removeAttribute("aria-current");
    node.tabIndex = on ? 0 : -1;
  }
  if (!$("#dag a.node[tabindex='0']")) $("#dag a.node")?.setAttribute("tabindex", "0");
  $("#dag")?.classList.toggle("selecting", Boolean(state.step));
  for (const edge of $$("#dag .edge")) edge.classList.toggle("hot", Boolean(state.step) && [edge.dataset.from, edge.dataset.to].includes(state.step));
  for (const link of $$("#center .tl a[data-step]")) link.toggleAttribute("aria-current", link.dataset.step === state.step);
  for (const row of $$("#center tr")) row.setAttribute("aria-selected", String(Boolean(state.step) && $("a[data-step]", row)?.dataset.step === state.step));
  $("#details")?.setAttribute("aria-pressed", String(Boolean(state.tab)));
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-step],a[data-view],a[data-tab]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
    event.preventDefault();
    const changes = {};
    if (link.dataset.step) {
      changes.step = link.dataset.step;
      // An <a> of SVG has no href that is text.
      const tab = new URL(link.getAttribute("href"), location.href).searchParams.get("tab");
      if (tab) changes.tab = tab;
    }
    if (link.dataset.view) changes.view = link.dataset.view;
    if (link.dataset.tab) changes.tab = link.dataset.tab;
    go(changes);
    return;
  }
  if (event.target.closest("#details")) go({ tab: state.tab ? "" : "console" });
  else if (event.target.closest("#close-drawer")) { go({ tab: "" }); $("#details")?.focus(); }
  else if (event.target.closest("#maximize")) maximize();
  else if (event.target.closest("#zoom-in")) zoomTo(zoom * 1.2);
  else if (event.target.closest("#zoom-out")) zoomTo(zoom / 1.2);
  else if (event.target.closest("#zoom-fit")) fit(true);
  else if (event.target.id === "canvas" || event.target.id === "dag") { if (!dragged) go({ step: "" }); }
});
addEventListener("popstate", () => { const before = { ...state }; read(); applied(before); });

function maximize(on = !$(".center").classList.contains("maximized")) {
  $(".center").classList.toggle("maximized", on);
  $("#maximize")?.setAttribute("aria-pressed", String(on));
}
function opened() { if (state.tab === "console") showConsole(); else stopConsole(); }

// -- zoom and pan
let zoom = 1, chosen = false, dragged = false;
function zoomTo(value, byHand = true) {
  const dag = $("#dag");
  if (!dag) return;
  zoom = Math.min(1.6, Math.max(0.2, value));
  chosen = byHand;
  dag.setAttribute("width", dag.dataset.width * zoom);
  dag.setAttribute("height", dag.dataset.height * zoom);
  $("#zoom-value").textContent = `${Math.round(zoom * 100)}%`;
}
function fit(byHand = false) {
  const dag = $("#dag"), canvas = $("#canvas");
  if (!dag) return;
  const whole = Math.min(canvas.clientWidth / dag.dataset.width, canvas.clientHeight / dag.dataset.height);
  // Small enough to be read beats seeing all of it, unless that is asked for.
  zoomTo(byHand ? Math.min(whole, 1.3) : Math.min(Math.max(whole, 0.7), 1.12), false);
}
function drawn() {
  if (chosen) zoomTo(zoom); else fit();
  mark();
}
function reveal() { $("#dag a.node[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" }); }
document.addEventListener("wheel", (event) => {
  if (!event.ctrlKey || !event.target.closest?.("#canvas")) return;
  event.preventDefault();
  zoomTo(zoom * (event.deltaY < 0 ? 1.1 : 1 / 1.1));
}, { passive: false });
document.addEventListener("pointerdown", (event) => {
  const canvas = event.target.closest("#canvas");
  dragged = false;
  if (!canvas || event.target.closest("a") || event.button !== 0) return;
  const from = { x: event.clientX, y: event.clientY, left: canvas.scrollLeft, top: canvas.scrollTop };
  const move = (now) => {
    if (Math.hypot(now.clientX - from.x, now.clientY - from.y) > 4) { dragged = true; canvas.classList.add("dragging"); }
    canvas.scrollLeft = from.left - (now.clientX - from.x);
    canvas.scrollTop = from.top - (now.clientY - from.y);
  };
  const up = () => { canvas.classList.remove("dragging"); removeEventListener("pointermove", move); removeEventListener("pointerup", up); };
  addEventListener("pointermove", move);
  addEventListener("pointerup", up);
});
addEventListener("resize", () => { if (!chosen) fit(); });

// -- keys
function neighbour(node, key) {
  const edges = $$("#dag .edge"), name = node.dataset.name;
  const named = (other) => $$("#dag a.node").find((each) => each.dataset.name === other);
  const box = (each) => each.getBoundingClientRect(), here = box(node), middle = (b) => b.left + b.width / 2;
  let others;
  if (key === "ArrowDown") others = edges.filter((e) => e.dataset.from === name).map((e) => named(e.dataset.to));
  else if (key === "ArrowUp") others = edges.filter((e) => e.dataset.to === name).map((e) => named(e.dataset.from));
  else {
    const sign = key === "ArrowRight" ? 1 : -1;
    others = $$("#dag a.node").filter((each) => Math.abs(box(each).top - here.top) < 4 && sign * (middle(box(each)) - middle(here)) > 1);
  }
  return others.filter(Boolean).sort((a, b) => Math.abs(middle(box(a)) - middle(here)) - Math.abs(middle(box(b)) - middle(here)))[0];
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("dialog[open]")) {
    if (state.tab) { go({ tab: "" }); } else if (state.step) go({ step: "" });
    return;
  }
  const node = event.target.closest?.("#dag a.node");
  if (node && event.key.startsWith("Arrow")) {
    event.preventDefault();
    const next = neighbour(node, event.key);
    if (next) { next.focus({ preventScroll: true }); next.scrollIntoView({ block: "nearest", inline: "nearest" }); }
    return;
  }
  if (typing(event)) return;
  const actions = { l: { tab: "console" }, c: { tab: "code" }, 1: { view: "graph" }, 2: { view: "timeline" }, 3: { view: "steps" } };
  if (actions[event.key]) go(actions[event.key]);
});

// -- the list of runs
function filter() {
  const words = ($("#filter-runs")?.value || "").toLowerCase().split(/\s+/).filter(Boolean);
  for (const item of $$("#list li[id]")) {
    const text = (item.textContent + " " + ($("svg.s", item)?.getAttribute("aria-label") || "")).toLowerCase();
    item.hidden = !words.every((word) => text.includes(word));
  }
}
document.addEventListener("input", (event) => { if (event.target.id === "filter-runs") filter(); });

// -- live
const large = Number($$("#dag a.node").length) > 150;
const redraw = throttled(large ? 3000 : 700, () => { load("center"); });
const retell = throttled(900, () => { load("head"); if (!$("#inspector details[open]")) load("inspector"); if (state.tab && state.tab !== "console") load("drawer"); });
const relist = throttled(2500, () => load("list"));
let opens = 0;
listen({ run, others: true }, (records) => {
  const ours = records.some((record) => record.run === run || record.task === run);
  // Deleted, here or elsewhere: there is nothing to be read any more.
  gone ||= records.some((record) => record.kind === "deleted" && record.task === run);
  if (gone) { $("#live").textContent = "Deleted"; return; }
  const isOver = $("#head .pill.s-completed") !== null;
  if (records.length ? ours : opens++ > 0 || !isOver) { redraw(); retell(); nudge(); }
  if (records.some((record) => record.of === "pipeline" && record.kind !== "metrics")) relist();
}, $("#head").dataset.cursor);
drawn();
reveal();
opened();
filter();
