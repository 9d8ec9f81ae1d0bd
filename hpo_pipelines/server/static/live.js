// One stream of events for this tab, from the store's table of events. Closed while nobody looks; resumed by id.
import { $ } from "./dom.js";

const WORDS = { live: "Live", reconnecting: "Reconnecting", paused: "Paused", polling: "Live" };
const POLL = [2000, 4000, 8000, 10000];

// `from` is the id of the last event that the page knows; without it the stream begins now.
export function listen(query, changed, from = null) {
  const label = $("#live");
  let source = null, cursor = from, failures = 0, timer = null, closed = false, quiet = 0;

  function say(state) {
    if (label.dataset.state === state) return;
    label.dataset.state = state;
    label.textContent = WORDS[state] || "";
  }
  function url() {
    const all = new URLSearchParams(query);
    if (cursor !== null) all.set("after", cursor);
    return `/api/v1/events?${all}`;
  }
  function heard(records) {
    if (records.length) changed(records);
  }
  function open() {
    if (closed || document.hidden) return;
    clearTimeout(timer);
    source = new EventSource(url());
    source.onopen = () => { failures = 0; say("live"); changed([]); };
    source.addEventListener("changes", (event) => { cursor = Number(event.lastEventId); heard(JSON.parse(event.data)); });
    source.onerror = () => {
      say("reconnecting");
      failures += 1;
      if (source.readyState === EventSource.CLOSED) { source.close(); timer = setTimeout(poll, POLL[0]); }
    };
  }
  async function poll() {
    if (closed || document.hidden) return;
    try {
      const answer = await fetch(url());
      if (!answer.ok) throw new Error(answer.status);
      const found = await answer.json();
      const first = cursor === null;
      cursor = found.next;
      quiet = found.items.length ? 0 : Math.min(quiet + 1, POLL.length - 1);
      say("polling");
      if (first) changed([]); else heard(found.items);
    } catch { say("reconnecting"); }
    timer = setTimeout(poll, POLL[quiet]);
  }
  function close() {
    clearTimeout(timer);
    source?.close();
    source = null;
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { close(); say("paused"); } else open();
  });
  addEventListener("pagehide", () => { closed = true; close(); });
  addEventListener("pageshow", (event) => { if (event.persisted) { closed = false; open(); } });
  open();
}
