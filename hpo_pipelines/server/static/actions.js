// What the buttons of a page do: forms are sent from here, and what is refused is said in the page that asked.
import { $, Problem, problemOf } from "./dom.js";

const AWAY = new Problem("No answer", "The server does not answer. See that it runs, and try again.");
export const problemIn = (error) => error instanceof Problem ? error : AWAY;

// Said where one looks: in the dialog that is open, else below the header.
export function tell(problem) {
  clear();
  const note = document.createElement("div"), text = document.createElement("p"), close = document.createElement("button");
  note.className = "problem";
  note.setAttribute("role", "alert");
  text.append(Object.assign(document.createElement("b"), { textContent: problem.title }), ` ${problem.message}`);
  Object.assign(close, { type: "button", className: "iconbtn sm", textContent: "×" });
  close.setAttribute("aria-label", "Dismiss");
  close.addEventListener("click", clear);
  note.append(text, close);
  ($("dialog[open] > *") ?? $("#problems")).prepend(note);
}
export function clear() {
  for (const note of document.querySelectorAll(".problem")) note.remove();
}

function go(address) {
  const there = new URL(address, location.href);
  // On the same page what is selected and filtered stays.
  if (there.pathname === location.pathname) location.reload(); else location.assign(there);
}

export async function send(form, submitter) {
  if (form.ariaBusy === "true") return; // a second click
  form.ariaBusy = "true";
  try {
    const answer = await fetch(submitter?.getAttribute("formaction") ?? form.getAttribute("action"), {
      method: "POST", headers: { "HX-Request": "true" }, body: new URLSearchParams(new FormData(form)), keepalive: true,
    });
    if (answer.ok) { clear(); go(answer.headers.get("HX-Redirect")); } else tell(await problemOf(answer));
  } catch (error) { tell(problemIn(error)); }
  form.ariaBusy = null;
}

// htmx would put whatever comes where the form stands.
document.addEventListener("htmx:before:response", (event) => {
  const { raw } = event.detail.ctx.response;
  if (!raw.headers.get("content-type")?.includes("problem+json")) return;
  event.preventDefault();
  problemOf(raw).then(tell);
});
document.addEventListener("htmx:error", (event) => {
  if (event.detail.ctx && !event.detail.ctx.response) tell(AWAY);
});
addEventListener("unhandledrejection", (event) => {
  if (!(event.reason instanceof Problem)) return;
  event.preventDefault();
  tell(event.reason);
});
