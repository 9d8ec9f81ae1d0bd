// Small things that every module uses.
export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

export function duration(seconds) {
  if (seconds > 0 && seconds < 0.9995) return `${Math.max(1, Math.round(seconds * 1000))}ms`;
  if (seconds < 9.95) return `${Math.max(0, seconds).toFixed(1)}s`;
  const whole = Math.round(seconds), two = (n) => String(n).padStart(2, "0");
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}h ${two(Math.floor((whole % 3600) / 60))}m`;
  return `${Math.floor(whole / 86400)}d ${Math.floor((whole % 86400) / 3600)}h`;
}

// Whether a key is meant for a field, a dialog or the browser.
export const typing = (event) => event.target.closest("input,textarea,select,dialog") || event.ctrlKey || event.metaKey || event.altKey;

// At most one call in `ms`, and one more at the end if there was news meanwhile.
export function throttled(ms, work) {
  let timer = null, again = false;
  return function call() {
    if (timer) { again = true; return; }
    work();
    timer = setTimeout(() => { timer = null; if (again) { again = false; call(); } }, ms);
  };
}

// What was refused: a title, and the rule, the value and the cure (RFC 9457).
export class Problem extends Error {
  constructor(title, detail) {
    super(detail);
    this.title = title;
  }
}
export async function problemOf(answer) {
  try {
    const { title, detail } = await answer.json();
    return new Problem(title, detail);
  } catch {
    return new Problem(`${answer.status}`, "The server gave no reason; its log may have one.");
  }
}

export async function fragment(url, signal) {
  const answer = await fetch(url, { headers: { "HX-Request": "true" }, signal });
  if (!answer.ok) throw await problemOf(answer);
  return answer.text();
}

// Morphed, what one does there goes on: focus, scrolling, what is unfolded.
export async function morph(target, text) {
  await window.htmx.swap({ target, text, swap: "innerMorph", sourceElement: target });
}
export function replace(target, text) {
  target.innerHTML = text;
  window.htmx.process(target);
}

// Change the address without loading: what is null leaves it.
export function address(changes, { push = true } = {}) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  if (url.href !== location.href) history[push ? "pushState" : "replaceState"](null, "", url);
  return url.searchParams;
}
