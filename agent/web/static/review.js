/* Keys, patience and a clock for the card page. Knows the marks in the templates (data-key, data-do); no label, no text.

   A form is sent by htmx and repeated by `patient` until the server has it; the server counts a card's key once. The
   next card shows only after that. Nothing here makes HTML of data: what is swapped was escaped by the server.
*/
"use strict"; (() => {
  const desk = document.getElementById("desk");
  const QUIET = 250; // ms after a card shows in which the key (or button of the mouse) that brought it does nothing
  const LATE = 1500; // ms without a word from the server after which it is said that an answer is not saved yet
  const RENEW = 60_000; // ms after which cards that are being looked at are kept for longer
  const FINE = matchMedia("(pointer: fine)").matches;
  const help = document.getElementById("help"), panel = document.getElementById("panel");
  const net = document.getElementById("net"), live = document.getElementById("live");
  const one = (what) => document.getElementById("card").querySelector(what);
  const every = (what) => [...document.getElementById("card").querySelectorAll(what)];
  const key = () => document.getElementById("card").dataset.key;
  const PART = { headers: { "HX-Request": "true" } };
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const parsed = (html) => new DOMParser().parseFromString(html, "text/html").getElementById("card");
  const post = (path, fields) => fetch(path, {
    method: "POST", headers: { "HX-Request": "true" }, body: new URLSearchParams([["csrf", desk.dataset.csrf], ...fields]),
  });
  let ready = { key: "", html: "" }; // the card that the server sent ahead
  let busy = false, again = false, active = true; // a save is on its way; Enter came once; somebody is there
  let last = "", guided = "", cause = "", standing = "", shown = 0, since = 0, spent = 0, marked = -1, hushed = 0;

  // What is told ---------------------------------------------------------------------------------------------------
  function tell(words, passing) {
    clearTimeout(hushed);
    if (!passing) standing = words; // comes back after what passes
    net.textContent = words;
    net.hidden = !words;
    if (passing) hushed = setTimeout(() => tell(standing), 2000);
  }
  const hush = () => tell("One at a time: that key was not used, the card before is still being saved.", true);

  // A card shows ---------------------------------------------------------------------------------------------------
  function show() {
    busy = again = false;
    delete desk.dataset.busy;
    shown = since = performance.now();
    spent = 0;
    marked = -1;
    for (const made of every("[data-do][hidden], .find, .seek")) made.hidden = false;
    const flag = one("[data-flag]");
    if (flag) flag.hidden = true;
    for (const box of every(".folded")) box.classList.add("shut");
    dress();
    live.textContent = one("#word").textContent;
    const version = document.getElementById("card").dataset.guide;
    if (guided && guided !== version) tell("The guidelines have changed: press g to read them.");
    guided = version;
    ((FINE && one("#find")) || one("#asked")).focus({ preventScroll: true });
    window.scrollTo(0, 0);
    ahead();
  }

  function dress() {
    const find = one("#find"), box = one("#labels");
    if (!find || one("[type=checkbox][name=label]")) return;
    Object.assign(box, { role: "listbox", ariaLabel: "Labels" });
    for (const option of box.children) Object.assign(option, { role: "option", ariaSelected: "false", tabIndex: -1 });
    Object.assign(find, { role: "combobox", ariaExpanded: "true", ariaAutoComplete: "list" });
    find.setAttribute("aria-controls", "labels");
  }

  async function ahead() {
    const now = key();
    ready = { key: "", html: "" };
    try {
      const got = now && await fetch("/ahead", PART);
      const html = got.status === 200 ? await got.text() : "";
      if (html && now === key()) ready = { key: parsed(html).dataset.key, html };
    } catch { /* it comes with the answer then */ }
  }

  // Sending, until it is there -------------------------------------------------------------------------------------
  async function patient(path, options) {
    for (let wait = 250; ; wait = Math.min(2 * wait, 4000)) {
      const late = setTimeout(tell, LATE, "Not saved yet: the server is slow to answer. You need not do anything.");
      try {
        const got = await fetch(path, { ...options, signal: AbortSignal.timeout(20_000) });
        if (got.status < 500 && got.status !== 429) {
          tell("");
          return await taken(got);
        }
      } catch { /* no server, or no line to it */ } finally { clearTimeout(late); }
      tell("Not saved yet: trying again. You need not do anything.");
      await Promise.race([pause(wait), new Promise((done) => window.addEventListener("online", done, { once: true }))]);
    }
  }

  async function taken(got) {
    if (got.status === 401 || got.status === 403) {
      sessionStorage.setItem("word", "You had to sign in again: the last answer was not saved. Here is its card.");
      location.assign(got.status === 401 ? "/login?next=/" : "/");
      return new Promise(() => {});
    }
    const html = await got.text(), card = parsed(html);
    if (!card) {
      tell(new DOMParser().parseFromString(html, "text/html").body.textContent.trim() || "That did not work.");
      return new Response(null, { status: 204 });
    }
    if (!("there" in card.dataset)) return new Response(html, { status: got.status });
    if (card.dataset.key !== ready.key) return patient("/card", PART);
    const whole = parsed(ready.html);
    whole.querySelector(".along").replaceWith(card.querySelector(".along"));
    return new Response(whole.outerHTML, { status: got.status });
  }

  document.addEventListener("htmx:config:request", (event) => {
    const ctx = event.detail.ctx;
    if (ctx.request.method !== "POST") return;
    if (busy) {
      event.preventDefault();
      return hush();
    }
    busy = true;
    cause = last;
    desk.dataset.busy = "";
    ctx.request.body.set("seconds", ((spent + (document.hidden ? 0 : performance.now() - since)) / 1000).toFixed(2));
    ctx.request.body.set("ready", ready.key);
    ctx.fetch = patient;
  });
  document.addEventListener("htmx:after:settle", (event) => { if (event.target.id === "card") show(); });
  document.addEventListener("htmx:finally:request", () => { busy = false; delete desk.dataset.busy; });

  // Keys -----------------------------------------------------------------------------------------------------------
  function named(event) {
    // Where a keyboard writes another script, or digits only with Shift, a key is known by its place.
    const place = /^(?:Key|Digit|Numpad)([A-Z0-9])$/.exec(event.code)?.[1]?.toLowerCase() || "";
    if (event.key.length > 1) return event.key;
    return !/^[ -~]$/.test(event.key) || (/\d/.test(place) && !event.shiftKey) ? place : event.key.toLowerCase();
  }

  function held(event) {
    const early = event.code === cause && performance.now() - shown < QUIET;
    if (early && !event.repeat) tell("That key came too fast: look at the card first.", true);
    return event.repeat || early;
  }

  document.addEventListener("keydown", (event) => {
    last = event.code;
    active = true;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.keyCode === 229) return;
    const at = event.target, pressed = named(event);
    if (help.open) {
      if (pressed === "?") { event.preventDefault(); help.close(); }
      return;
    }
    if (at.id === "find") return finding(event);
    if (at.matches("input:not([type=checkbox]), textarea, select")) {
      if (pressed === "Escape" || (pressed === "Enter" && at.id === "flag")) { event.preventDefault(); one("#asked").focus(); }
      return;
    }
    const own = at.closest("button, a, summary") && (pressed === "Enter" || pressed === " ");
    if (held(event)) {
      if (own || /^[a-z0-9]$/.test(pressed)) event.preventDefault();
      return;
    }
    if (own) return;
    if (pressed === "Enter" && one("[data-do=save]")) { event.preventDefault(); return save(); }
    if (pressed === "Escape" && !panel.hidden) return guide();
    if (pressed === "/") { event.preventDefault(); return (one("#find") || one("[data-seek]"))?.focus(); }
    if (pressed === "m") return every("[data-do=more]").forEach(more);
    if (!/^[a-z0-9?]$/.test(pressed)) return;
    const what = one(`[data-key~="${pressed}"]`);
    if (!what) return;
    event.preventDefault();
    busy ? hush() : what.click();
  });

  function save() {
    if (busy) return hush();
    const none = !one("[name=label]:checked");
    if (none && !again) { again = true; return tell("No label at all? Enter again saves it so."); }
    tell("");
    one(none ? "[name=say][value=none]" : "[data-do=save]").click();
  }

  // The mouse, and what buttons do that send nothing -----------------------------------------------------------------
  document.addEventListener("pointerdown", () => { last = "pointer"; active = true; });
  document.addEventListener("click", (event) => {
    const on = event.target.closest("button, a, label");
    if (!on || !desk.contains(on)) return;
    if (event.detail > 0 && cause === "pointer" && performance.now() - shown < QUIET + 150) {
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    const deed = { flag, guide, help: () => help.showModal(), more: () => more(on) }[on.dataset.do];
    if (deed) event.preventDefault();
    deed?.();
  }, true);

  function flag() {
    const field = one("[data-flag]");
    field.hidden = !field.hidden;
    one("[data-do=flag]").setAttribute("aria-expanded", String(!field.hidden));
    (field.hidden ? one("#asked") : one("#flag")).focus();
  }

  const READING = "The guidelines are being read.";
  async function guide() {
    panel.hidden = !panel.hidden;
    if (panel.hidden) return one("#asked").focus();
    panel.textContent = READING;
    await Promise.resolve(htmx.ajax("GET", "/panel", { target: panel, swap: "innerHTML" })).catch(() => {});
    panel.hidden = panel.textContent === READING;
    panel.hidden ? tell("The guidelines cannot be read: the server cannot be reached.", true) : panel.focus();
  }

  async function more(link) {
    const box = link.closest(".piece").querySelector(".text");
    const shut = box.classList.toggle("shut");
    link.lastChild.textContent = shut ? " Show all" : " Show less";
    if (!shut) await whole(link, box);
  }

  async function whole(link, box) {
    if (!("cut" in link.dataset)) return;
    delete link.dataset.cut;
    await htmx.ajax("GET", link.getAttribute("href"), { target: box, swap: "innerHTML" });
  }

  // Finding a label, or a word in a long text ------------------------------------------------------------------------
  const options = () => [...one("#labels").children];
  const name = (option) => (option.value || option.querySelector("input").value).toLowerCase();

  function finding(event) {
    const pressed = event.key, find = event.target;
    if (pressed === "Escape") {
      event.preventDefault();
      if (!find.value) return one("#asked").focus();
      find.value = "";
      filter();
    } else if (pressed === "ArrowDown" || pressed === "ArrowUp") {
      event.preventDefault();
      mark(marked + (pressed === "ArrowDown" ? 1 : -1));
    } else if (pressed === "Enter") {
      event.preventDefault();
      if (held(event)) return;
      if (busy) return hush();
      const chosen = options().filter((option) => !option.hidden)[marked];
      if (!chosen && !find.value && one("[data-do=save]")) return save();
      if (!chosen) return tell(find.value ? "No label is called so." : "Type a part of a label’s name first.", true);
      find.value = "";
      (chosen.querySelector("input") || chosen).click();
      if (one("[data-do=save]")) filter();
    }
  }

  function mark(at) {
    const there = options().filter((option) => !option.hidden);
    marked = Math.max(Math.min(at, there.length - 1), -1);
    for (const option of options()) {
      const on = option === there[marked];
      option.classList.toggle("marked", on);
      if (option.role === "option") option.setAttribute("aria-selected", String(on));
      if (on) option.scrollIntoView({ block: "nearest" });
    }
    one("#find").setAttribute("aria-activedescendant", there[marked]?.id || "");
  }

  function filter() {
    // As the terminal finds: every word typed is in the name; the name itself first, then what begins so.
    const text = one("#find").value.trim().toLowerCase(), words = text.split(/\s+/);
    const fits = (option) => (name(option) === text ? 0 : name(option).startsWith(text) ? 1 : 2);
    const rank = (option) => (text ? fits(option) : Number(!option.querySelector(":checked"))); // what is chosen is seen
    const place = (option) => Number(option.id.slice(6));
    const sorted = options().sort((a, b) => rank(a) - rank(b) || place(a) - place(b));
    for (const option of sorted) option.hidden = !words.every((word) => name(option).includes(word));
    one("#labels").append(...sorted);
    const found = sorted.filter((option) => !option.hidden);
    one("#labels").scrollTop = 0;
    mark(text ? 0 : -1);
    if (text) live.textContent = `${found.length} found${found.length ? `, Enter takes ${found[0].querySelector("bdi").textContent}` : ""}`;
  }

  async function seek(field) {
    const piece = field.closest(".piece"), box = piece.querySelector(".text"), ranges = [];
    await whole(piece.querySelector("[data-do=more]"), box);
    const text = field.value.trim().replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    const nodes = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
    while (text && nodes.nextNode()) {
      for (const found of nodes.currentNode.data.matchAll(new RegExp(text, "giu"))) {
        const range = document.createRange();
        range.setStart(nodes.currentNode, found.index);
        range.setEnd(nodes.currentNode, found.index + found[0].length);
        ranges.push(range);
      }
    }
    if (window.Highlight) CSS.highlights.set("seek", new Highlight(...ranges.slice(0, 5000)));
    piece.querySelector("[data-count]").textContent = text ? `${ranges.length.toLocaleString("en")} found` : "";
    const first = ranges[0]?.getBoundingClientRect();
    if (first) box.scrollTop += first.top - box.getBoundingClientRect().top - 40;
  }

  document.addEventListener("input", (event) => {
    if (event.target.id === "find") filter();
    if (event.target.matches("[data-seek]")) seek(event.target);
  });
  document.addEventListener("submit", async (event) => {
    if (!event.target.matches("[data-off]")) return;
    event.preventDefault();
    const said = event.target.parentElement;
    const got = await post("/guidelines/example", new FormData(event.target)).catch(() => null);
    event.target.remove();
    said.querySelector("#word").textContent = live.textContent = got?.ok ? "Proposed as an example." : "It could not be proposed as an example.";
  });

  // The clock, the cards' leases, coming back -----------------------------------------------------------------------
  document.addEventListener("visibilitychange", () => {
    const now = performance.now();
    if (document.hidden) spent += now - since;
    else { since = now; active = true; keep(); }
  });

  async function keep() {
    if (!active || document.hidden || busy) return;
    active = false;
    try {
      const mine = key();
      if (!mine) return await arrived();
      const got = await post("/keep", [["key", mine], ...(ready.key ? [["key", ready.key]] : [])]);
      if (!got.ok) return;
      const kept = (await got.json()).held;
      if (!kept.includes(ready.key)) ready = { key: "", html: "" };
      if (mine === key() && !kept.includes(mine)) tell("This card went to somebody else meanwhile. Your answer would be kept as a further opinion.");
    } catch { /* the next answer will tell */ }
  }
  async function arrived() {
    const got = await fetch("/card", PART);
    const come = got.ok && parsed(await got.text())?.dataset.key;
    if (come) await htmx.ajax("GET", "/card", { target: "#card", swap: "outerHTML" });
  }
  setInterval(keep, RENEW);
  setInterval(() => { if (!key()) { active = true; keep(); } }, RENEW / 6);

  window.addEventListener("pagehide", () => {
    navigator.sendBeacon("/leave", new URLSearchParams({ csrf: desk.dataset.csrf, visit: desk.dataset.visit }));
  });
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  show();
  cause = "";
  tell(sessionStorage.getItem("word") || "");
  sessionStorage.removeItem("word");
})();
