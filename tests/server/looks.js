// What is wrong with how the page looks, as lines of text: see test_browser_looks.py.
() => {
  const found = [], page = document.documentElement;
  const name = (e) => `<${e.localName}${e.id ? "#" + e.id : ""}${e.classList.length ? "." + [...e.classList].join(".") : ""}> ${(e.innerText ?? "").trim().slice(0, 40)}`;
  const seen = (e) => e.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && !e.closest(".sr, [hidden], .skip, dialog:not([open])");
  // What is left to see of an element: what those around it that clip or scroll show of it.
  function shown(e) {
    let { left, top, right, bottom } = e.getBoundingClientRect();
    for (let around = e.parentElement; around; around = around.parentElement) {
      const style = getComputedStyle(around);
      if (style.overflowX === "visible" && style.overflowY === "visible") continue;
      const box = around.getBoundingClientRect();
      if (style.overflowX !== "visible") { left = Math.max(left, box.left); right = Math.min(right, box.right); }
      if (style.overflowY !== "visible") { top = Math.max(top, box.top); bottom = Math.min(bottom, box.bottom); }
    }
    return { left, top, right, bottom, width: right - left, height: bottom - top };
  }
  const scrolls = (e) => { for (let a = e.parentElement; a; a = a.parentElement) if (/auto|scroll/.test(getComputedStyle(a).overflow)) return true; return false; };

  if (page.scrollWidth > innerWidth) found.push(`the page is ${page.scrollWidth} px wide, of ${innerWidth}`);
  const acted = [...document.querySelectorAll("button, a[href], input:not([type=hidden]), select, summary, textarea")].filter(seen);
  for (const e of acted) {
    const whole = e.getBoundingClientRect(), box = shown(e);
    if (!whole.width || !whole.height) { found.push(`nothing to click at: ${name(e)}`); continue; }
    if (!scrolls(e) && (whole.left < -1 || whole.right > innerWidth + 1)) found.push(`off the page: ${name(e)}`);
    if (!scrolls(e) && (box.width < whole.width - 1 || box.height < whole.height - 1)) found.push(`cut off: ${name(e)}`);
    // What one would click at its middle is it, or a part of it.
    if (box.width < 4 || box.height < 4) continue;
    const x = (box.left + box.right) / 2, y = (box.top + box.bottom) / 2;
    if (x < 0 || y < 0 || x >= innerWidth || y >= innerHeight) continue;
    const hit = document.elementFromPoint(x, y), label = e.id ? document.querySelector(`label[for="${e.id}"]`) : null;
    if (hit?.closest("details.menu[open] > div") || e.closest("details.menu:not([open]) > div")) continue;
    if (hit && !e.contains(hit) && !hit.contains(e) && !label?.contains(hit)) found.push(`${name(hit)} lies over ${name(e)}`);
  }
  // Text that its own box cuts off without dots to say so.
  for (const e of document.querySelectorAll("h1, h2, h3, p, td, th, dt, dd, label, summary, button, a, .pill, .chip, .v, .k, .meta > span")) {
    if (!seen(e) || !e.innerText?.trim()) continue;
    const style = getComputedStyle(e);
    if (style.overflowX === "hidden" && e.scrollWidth > e.clientWidth + 1 && style.textOverflow !== "ellipsis") found.push(`cut without dots: ${name(e)}`);
    if (style.overflowY === "hidden" && e.scrollHeight > e.clientHeight + 3) found.push(`cut below: ${name(e)}`);
  }
  // Texts that run into one another: of two that stand beside each other neither holds the other.
  for (const row of document.querySelectorAll(".head, .acts, .meta, .kpis, nav, .row, .legend, .panel h2")) {
    const parts = [...row.children].filter((e) => seen(e) && e.getBoundingClientRect().width > 0);
    parts.forEach((one, i) => parts.slice(i + 1).forEach((other) => {
      const [a, b] = [one, other].map(shown);
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left), high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      const floats = [one, other].some((e) => /absolute|fixed/.test(getComputedStyle(e).position));
      if (wide > 1 && high > 1 && !floats) found.push(`${name(one)} overlaps ${name(other)} by ${Math.round(wide)} x ${Math.round(high)}`);
    }));
  }
  // An icon that its file does not have, or a picture that did not come, shows nothing.
  for (const e of document.querySelectorAll("svg use")) {
    if (seen(e.closest("svg")) && !e.getBoundingClientRect().width) found.push(`no such icon: ${e.getAttribute("href")}`);
  }
  for (const e of document.images) if (!e.naturalWidth) found.push(`no picture: ${e.src}`);
  return [...new Set(found)];
}
