// Tables of runs: choosing columns, choosing runs to compare.
import { $, $$, address } from "./dom.js";

const button = $("#compare-button");
function count() {
  if (!button) return;
  const chosen = $$("input[name=runs]:checked").length;
  button.setAttribute("aria-disabled", String(chosen < 2));
}
document.addEventListener("change", (event) => {
  const field = event.target;
  if (field.name === "runs") count();
  if (field.dataset.col) {
    const cols = $$("[data-col]").filter((each) => each.checked).map((each) => each.dataset.col).join(",");
    address({ cols: cols || "none" });
    location.reload();
  }
  if (field.id === "differences") { address({ all: field.checked ? null : "1" }); location.reload(); }
  if (field.id === "add-run" && field.value) {
    address({ runs: [...field.dataset.runs.split(",").filter(Boolean), field.value].join(",") });
    location.reload();
  }
});
$("#compare")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const runs = $$("input[name=runs]:checked").map((each) => each.value).reverse();
  if (runs.length > 1) location.href = `/compare?runs=${runs.join(",")}`;
});
count();
