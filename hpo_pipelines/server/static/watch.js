// Pages that are lists: read again, quietly, when something happens.
import { $, fragment, morph, throttled } from "./dom.js";
import { listen } from "./live.js";

const part = $("#watched");
let first = true;
const refresh = throttled(1500, async () => {
  if (document.activeElement?.closest("#watched input:checked, details[open]") || $("details.menu[open]")) return;
  try {
    const page = new DOMParser().parseFromString(await fragment(location.href), "text/html");
    const fresh = $(part.dataset.part, page);
    if (fresh) await morph(part, fresh.innerHTML);
  } catch { /* the label says that we are reconnecting */ }
});
// What is in use changes without an event.
if (part.dataset.every) setInterval(() => { if (!document.hidden) refresh(); }, Number(part.dataset.every));
listen({}, () => { if (first) { first = false; return; } refresh(); });
