// What the pages of the console share. Everything works without it, with links and forms; it adds live updates and keeps one's place.
"use strict";

const here = location.pathname.slice(document.body.dataset.base.length) + location.search;
for (const field of document.querySelectorAll("input[data-here]")) field.value = here;

for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => { if (!confirm(form.dataset.confirm)) event.preventDefault(); });
}
for (const select of document.querySelectorAll("select[data-submit]")) select.addEventListener("change", () => select.form.requestSubmit());

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") for (const menu of document.querySelectorAll("details.person[open]")) menu.open = false;
});

// Each element with an id that comes in an event gets the HTML that comes with it; the server has escaped it.
function replaceParts(parts) {
  for (const [id, html] of Object.entries(parts)) {
    const place = document.getElementById(id);
    if (place === null || place.contains(document.activeElement) && document.activeElement.matches("input, textarea, select")) continue;
    const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
    place.innerHTML = html;
    if (focused) document.getElementById(focused)?.focus();
  }
  document.dispatchEvent(new CustomEvent("vedette:parts", { detail: Object.keys(parts) }));
}

const SILENT_MS = 40_000;  // the server sends something each 15 s

function listen(live) {
  const query = new URLSearchParams({ topic: live.dataset.live, key: live.dataset.key ?? "" });
  let source = null, heard = Date.now();
  const open = () => {
    if (source !== null) return;
    source = new EventSource(`${document.body.dataset.base}/events?${query}`);
    heard = Date.now();
    source.addEventListener("parts", (event) => { heard = Date.now(); replaceParts(JSON.parse(event.data)); });
    source.addEventListener("here", () => { heard = Date.now(); });
    source.addEventListener("over", () => { close(); location.reload(); });
    source.addEventListener("error", () => {
      const words = source?.readyState === EventSource.CLOSED ? "Live updates have ended. Load the page again." : "The console is not reached; trying again.";
      document.getElementById("live-problem").textContent = words;
    });
    source.addEventListener("open", () => { document.getElementById("live-problem").textContent = ""; });
  };
  const close = () => { source?.close(); source = null; };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));  // a hidden page costs nothing
  window.addEventListener("pagehide", close);
  setInterval(() => {  // a connection that died without a word looks open
    if (source === null || source.readyState === EventSource.CLOSED || Date.now() - heard < SILENT_MS) return;
    document.getElementById("live-problem").textContent = "The console says nothing; what you see may be old. Trying again.";
    close();
    open();
  }, 5_000);
  if (!document.hidden) open();
}
for (const live of document.querySelectorAll("[data-live]")) listen(live);
