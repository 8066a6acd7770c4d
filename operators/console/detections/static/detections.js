// Detections: keys, labels without a new page, and the number of new alerts. Links and forms do the same without it.
"use strict";
(() => {
  const base = document.body.dataset.base;
  const form = document.getElementById("alerts-form");
  const grid = document.getElementById("alerts");
  const news = document.getElementById("news");
  const keys = document.getElementById("keys");
  const rows = grid ? [...grid.tBodies[0].rows] : [];
  const announce = (words) => { document.getElementById("announce").textContent = words; };

  const current = () => rows.find((row) => row.tabIndex === 0);
  function move(to) {
    if (!to) return;
    for (const row of rows) { row.tabIndex = row === to ? 0 : -1; row.setAttribute("aria-selected", row === to ? "true" : "false"); }
    to.focus();
    to.scrollIntoView({ block: "nearest" });
  }
  for (const row of rows) row.addEventListener("focusin", () => { if (row.tabIndex !== 0) for (const other of rows) other.tabIndex = other === row ? 0 : -1; });

  const fresh = () => (crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random().toString(36).slice(2)}`);
  async function say(row, verdict) {
    if (!grid.dataset.mayLabel || row.dataset.busy) return;
    row.dataset.busy = "1";
    const body = new URLSearchParams(new FormData(form));
    body.set("say", `${verdict} ${row.dataset.event}`);
    body.set("nonce", fresh());
    body.set("part", "1");
    try {
      const answer = await fetch(form.action, { method: "POST", body, redirect: "error" });
      if (!answer.ok || !(answer.headers.get("content-type") ?? "").includes("json")) throw new Error(String(answer.status));
      const found = await answer.json();
      row.querySelector(".label-state").innerHTML = found.html;  // the server has escaped it
      announce(found.said);
    } catch (problem) {
      row.querySelector(".label-state").textContent = problem.message === "401" ? "You are not signed in any more." : "The label was not kept. Try again.";
      announce("The label was not kept.");
    } finally { delete row.dataset.busy; }
  }
  form?.addEventListener("submit", (event) => {
    const button = event.submitter;
    const row = button?.closest("tr");
    if (!row || button.name !== "say") return;
    event.preventDefault();
    move(row);
    say(row, button.value.split(" ")[0]);
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea") || keys?.open) return;
    const row = current();
    const at = rows.indexOf(row);
    const onRow = row && document.activeElement?.closest("tr") === row;
    const acts = {
      j: () => move(onRow ? rows[at + 1] : row), k: () => move(onRow ? rows[at - 1] : row),
      t: () => onRow && say(row, "attack"), f: () => onRow && say(row, "benign"), u: () => onRow && say(row, "unsure"), z: () => onRow && say(row, "undo"),
      o: () => onRow && row.querySelector("a.open").click(), "?": () => keys?.showModal(),
    };
    if (onRow) { acts.ArrowDown = acts.j; acts.ArrowUp = acts.k; }
    if (row && document.activeElement === row) acts.Enter = acts.o;
    if (!Object.hasOwn(acts, event.key)) return;
    event.preventDefault();
    acts[event.key]();
  });

  // New alerts are counted, never put in: the row under the cursor stays where it is.
  let isAsking = false;
  async function count() {
    if (!news || isAsking) return;
    isAsking = true;
    try {
      const query = new URLSearchParams(news.dataset.query);
      query.set("from", news.dataset.newest);
      const answer = await fetch(`${base}/detections/new?${query}`);
      const found = answer.ok ? await answer.json() : { count: 0 };
      if (found.count > 0 && news.textContent !== found.words) {
        const link = document.createElement("a");
        link.href = `${base}/detections?${news.dataset.query}`;
        link.id = "show-new";
        link.textContent = found.words;
        news.replaceChildren(link);
      }
    } catch { /* the frame says that the console is not reached */ } finally { isAsking = false; }
  }
  document.addEventListener("vedette:parts", (event) => {
    const newest = document.getElementById("detections-newest");
    if (event.detail.includes("detections-newest") && Number(newest.textContent) > Number(news?.dataset.newest ?? 0)) count();
  });

  const reasons = document.getElementById("reasons");
  if (reasons?.dataset.ask) {
    reasons.setAttribute("aria-busy", "true");
    fetch(reasons.dataset.ask).then((answer) => (answer.ok ? answer.text() : Promise.reject(new Error(String(answer.status)))))
      .then((html) => { reasons.innerHTML = html; }, () => { reasons.textContent = "The reasons cannot be computed now."; })
      .finally(() => reasons.removeAttribute("aria-busy"));
  }
})();
