// What every page has: theme, palette, dialogs, copying, ticking durations.
import { clear, problemIn, send, tell } from "./actions.js";
import { $, $$, duration, fragment, replace, typing } from "./dom.js";

const root = document.documentElement;
$("#theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme:dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("hpo-theme", root.dataset.theme);
  document.dispatchEvent(new Event("theme-changed"));
});

// Durations of what is under way tick here; the server says the rest.
function tick() {
  const now = Date.now() / 1000;
  for (const element of $$("[data-since]")) {
    const since = Number(element.dataset.since);
    if (since) element.textContent = duration(now - since) + (element.dataset.suffix || "");
  }
}
setInterval(tick, 1000);

// -- palette
const palette = $("#palette"), query = $("#palette-q");
function openPalette() {
  if (palette.open) return;
  palette.showModal();
  query.value = "";
  window.htmx.trigger(query, "load-now");
}
$("#jump").addEventListener("click", openPalette);
palette.addEventListener("keydown", (event) => {
  const links = $$("li a", palette), at = links.indexOf(document.activeElement);
  if (event.key === "ArrowDown") links[Math.min(at + 1, links.length - 1)]?.focus();
  else if (event.key === "ArrowUp") (at > 0 ? links[at - 1] : query).focus();
  else if (event.key === "Enter" && document.activeElement === query) { if (links[0]) location.href = links[0].href; }
  else return;
  event.preventDefault();
});

// -- asking before what cannot be undone
const ask = $("#ask");
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post" || form.hasAttribute("hx-post") || "plain" in form.dataset) return; // htmx's, or the browser's
  event.preventDefault();
  if (!form.dataset.ask || form.dataset.asked) {
    delete form.dataset.asked;
    send(form, event.submitter);
    return;
  }
  $("#ask-text").textContent = form.dataset.ask;
  ask.showModal();
  ask.onclose = () => {
    if (ask.returnValue !== "yes") return;
    form.dataset.asked = "1";
    form.requestSubmit();
  };
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("dialog footer button[value]");
  if (button) button.closest("dialog").close(button.value);
  if (event.target.closest("[data-close]")) {
    const dialog = event.target.closest("dialog");
    if (dialog) dialog.close(); else history.back();
  }
  // A click beside a dialog closes it.
  if (event.target instanceof HTMLDialogElement && event.target.open) {
    const box = event.target.getBoundingClientRect();
    if (event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom) event.target.close();
  }
});

// -- new run
const dialog = $("#dialog");
async function openNew(url) {
  if (dialog.open || document.body.dataset.role === "viewer") return;
  const body = $("#dialog-body");
  let form;
  try {
    form = await fragment(url);
  } catch (error) {
    tell(problemIn(error));
    return;
  }
  clear();
  replace(body, form);
  dialog.setAttribute("aria-label", $("h2", body)?.textContent ?? "Form");
  dialog.showModal();
  $("[autofocus]", dialog)?.focus();
}
dialog.addEventListener("close", () => $("#dialog-body").replaceChildren());
dialog.addEventListener("input", (event) => {
  const field = event.target, was = field.dataset.was;
  if (was === undefined) return;
  const value = field.type === "checkbox" ? String(field.checked) : field.value;
  const row = field.closest(".fld"), hint = $("small", row);
  row.classList.toggle("ch", value !== was);
  row.classList.remove("bad");
  $(".err", row)?.remove();
  field.removeAttribute("aria-invalid");
  hint.textContent = value === was ? hint.dataset.type : `was ${was}`;
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-new]");
  if (button) openNew(button.dataset.new);
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    navigator.clipboard.writeText($(copy.dataset.copy).innerText);
    copy.setAttribute("aria-pressed", "true");
    setTimeout(() => copy.removeAttribute("aria-pressed"), 900);
  }
});

// Rows of a form, as many as one likes.
document.addEventListener("click", (event) => {
  const add = event.target.closest("[data-add]"), remove = event.target.closest("[data-remove]");
  if (add) {
    const row = $(add.dataset.add).content.firstElementChild.cloneNode(true);
    const like = add.dataset.after ? $$(add.dataset.after, add.form).at(-1) : null;
    if (like) like.after(row); else add.closest(".fld").before(row);
    $("input,select", row).focus();
  }
  if (remove) {
    const row = remove.closest(remove.dataset.remove), form = remove.form;
    row.remove();
    $("[data-add]", form).focus();
  }
});

// -- keys of every page; a page's own modules add theirs
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") { event.preventDefault(); openPalette(); return; }
  if (typing(event)) return;
  if (event.key === "/") { event.preventDefault(); openPalette(); }
  if (event.key === "?") $("#help").showModal();
  if (event.key === "n") $(".btn.pri[data-new]")?.click();
});
if (new URLSearchParams(location.search).get("new")) $(".btn.pri[data-new]")?.click();
