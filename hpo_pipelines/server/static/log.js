// A console: whole lines by byte offset. Follows at its end; stays where it is when one has scrolled up.
import { $ } from "./dom.js";

const MOST = 400_000; // characters kept in the page
let timer = null, reading = null;

export function showConsole(live) {
  stopConsole();
  const pre = $("#console");
  if (!pre) return;
  const out = $("#out"), note = $("#console-note"), follow = $("#follow");
  const state = { pre, out, note, follow, url: pre.dataset.console, start: 0, end: null, live };
  reading = state;
  pre.replaceChildren();
  out.addEventListener("scroll", () => scrolled(state), { passive: true });
  follow.addEventListener("change", () => { if (follow.checked) out.scrollTop = out.scrollHeight; });
  $("#find")?.addEventListener("input", (event) => find(pre, out, event.target.value));
  read(state);
}

export function stopConsole() {
  clearTimeout(timer);
  reading = null;
}

// Something was said to have happened: look at once rather than at the next turn.
export function nudge() {
  if (reading && !reading.busy) { clearTimeout(timer); read(reading); }
}

async function read(state) {
  if (state.busy) return;
  state.busy = true;
  let wait = 1500;
  try {
    const from = state.end === null ? "" : `?offset=${state.end}`;
    const answer = await fetch(state.url + from);
    if (!answer.ok) throw new Error(answer.status);
    const part = await answer.json();
    if (reading !== state) return;
    if (state.end === null) state.start = part.start;
    const atEnd = state.out.scrollHeight - state.out.scrollTop - state.out.clientHeight < 40;
    if (part.html) state.pre.insertAdjacentHTML("beforeend", part.html);
    const moved = part.end !== state.end;
    state.end = part.end;
    trim(state);
    if ((atEnd || part.start === state.start) && state.follow.checked) state.out.scrollTop = state.out.scrollHeight;
    state.ended = part.ended;
    say(state);
    if (part.ended) return;
    if (moved && part.end < part.size) wait = 50;
  } catch { wait = 3000; } finally { state.busy = false; }
  if (reading === state) timer = setTimeout(() => read(state), wait);
}

function say(state) {
  const text = state.end ? "" : state.ended ? "Nothing was printed." : "Nothing has been printed yet.";
  state.note.textContent = text;
  state.note.hidden = !text;
}

function trim(state) {
  // Lines at the top go when there are too many; scrolling up brings them back.
  while (state.pre.textContent.length > MOST && state.pre.childNodes.length > 1) {
    state.start += new TextEncoder().encode(state.pre.firstChild.textContent).length;
    state.pre.firstChild.remove();
  }
}

async function scrolled(state) {
  const { out } = state;
  if (out.scrollHeight - out.scrollTop - out.clientHeight > 80) state.follow.checked = false;
  if (out.scrollTop > 30 || state.start <= 0 || state.older) return;
  state.older = true;
  try {
    const part = await (await fetch(`${state.url}?before=${state.start}`)).json();
    if (reading !== state || part.start >= state.start) return;
    const height = out.scrollHeight;
    state.pre.insertAdjacentHTML("afterbegin", part.html);
    state.start = part.start;
    out.scrollTop += out.scrollHeight - height;
  } finally { state.older = false; }
}

function find(pre, out, text) {
  CSS.highlights?.delete("found");
  if (!text || !CSS.highlights) return;
  const ranges = [], walker = document.createTreeWalker(pre, NodeFilter.SHOW_TEXT), wanted = text.toLowerCase();
  while (walker.nextNode() && ranges.length < 2000) {
    const content = walker.currentNode.nodeValue.toLowerCase();
    for (let at = content.indexOf(wanted); at >= 0; at = content.indexOf(wanted, at + wanted.length)) {
      const range = new Range();
      range.setStart(walker.currentNode, at);
      range.setEnd(walker.currentNode, at + wanted.length);
      ranges.push(range);
    }
  }
  CSS.highlights.set("found", new Highlight(...ranges));
  const last = ranges.at(-1)?.getBoundingClientRect();
  if (last) out.scrollTop += last.top - out.getBoundingClientRect().top - out.clientHeight / 2;
}
