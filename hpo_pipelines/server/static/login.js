// A link of another site leads here without the cookie, which the browser keeps to itself: then there is nothing to ask.
const form = document.querySelector("form[data-next]");
const answer = await fetch("/login/known", { headers: { Accept: "application/json" } });
if (answer.ok && (await answer.json()).known) location.replace(form ? form.dataset.next : "/");
