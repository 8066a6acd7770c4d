// Signs an approval in the browser. The private key is read here, used here and forgotten; only the signed note is sent.
"use strict";

const form = document.getElementById("decide-form");
if (form !== null && globalThis.crypto?.subtle !== undefined) {
  document.getElementById("signing").hidden = false;
  const file = document.getElementById("key-file");
  const approve = document.getElementById("approve");
  const problem = document.getElementById("sign-problem");
  let ready = null;  // what the person has seen and may now sign

  const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const base64Of = (bytes) => btoa(String.fromCharCode(...bytes));
  const hexOf = (bytes) => [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");

  async function keyOf(chosen) {
    const found = /-----BEGIN PRIVATE KEY-----([\sA-Za-z0-9+/=]+)-----END PRIVATE KEY-----/.exec(await chosen.text());
    if (found === null) throw new Error("The file holds no unencrypted private key in PEM (PKCS#8).");
    try {
      const der = bytesOf(found[1].replace(/\s/g, ""));
      const key = await crypto.subtle.importKey("pkcs8", der, { name: "Ed25519" }, true, ["sign"]);
      const { x } = await crypto.subtle.exportKey("jwk", key);
      const pub = bytesOf(x.replaceAll("-", "+").replaceAll("_", "/").padEnd(Math.ceil(x.length / 4) * 4, "="));
      return { key, public: hexOf(pub) };
    } catch {
      throw new Error("This browser cannot read the key as Ed25519. Use `vedette rollout approve --key`.");
    }
  }

  function forget() {
    ready = null;
    form.elements.note.value = "";
    document.getElementById("to-sign").hidden = true;
    approve.textContent = file.files.length ? "Show what I sign" : "Approve";
  }

  async function prepare() {
    const { key, public: pub } = await keyOf(file.files[0]);
    form.elements.public.value = pub;
    form.elements.key_name.value = file.files[0].name.replace(/\.[^.]*$/, "").replace(/[\s+]/g, "-");
    const body = new URLSearchParams(new FormData(form));
    body.set("verb", "approve");
    const answer = await fetch(form.dataset.text, { method: "POST", body });
    if (!answer.ok) throw new Error(`The text to sign cannot be had (${answer.status}). Load the page again.`);
    ready = { key, ...(await answer.json()) };
    document.getElementById("sign-text").textContent = ready.text;
    document.getElementById("to-sign").hidden = false;
    approve.textContent = "Sign and approve";
    document.getElementById("sign-text").focus();
  }

  async function sign() {
    const signature = new Uint8Array(await crypto.subtle.sign({ name: "Ed25519" }, ready.key, new TextEncoder().encode(ready.text)));
    const id = Uint8Array.from(ready.keyId.match(/../g), (h) => parseInt(h, 16));
    form.elements.note.value = `${ready.text}\n\u2014 ${ready.keyName} ${base64Of([...id, ...signature])}\n`;
    form.elements.evidence.value = ready.evidence;
  }

  file.addEventListener("change", forget);
  form.elements.why.addEventListener("input", forget);
  form.elements.role?.addEventListener("change", forget);
  form.addEventListener("submit", async (event) => {
    if (event.submitter !== approve || file.files.length === 0 || form.elements.note.value !== "") return;
    event.preventDefault();
    problem.textContent = "";
    try {
      if (ready === null) {
        await prepare();
      } else {
        await sign();
        setTimeout(() => form.requestSubmit(approve));  // within the event that it was prevented in, it would be ignored
      }
    } catch (error) {
      problem.textContent = error.message;
    }
  });
}

// Buttons are for what the person saw: when the rollout moves on, the page says so.
const step = document.querySelector("[data-tells-stale]");
if (step !== null) {
  const first = step.textContent;
  document.addEventListener("vedette:parts", (event) => {
    if (event.detail.includes(step.id)) document.getElementById("stale").hidden = step.textContent === first;
  });
}
