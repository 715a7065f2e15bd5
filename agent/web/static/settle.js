/* Keys and a clock for the page where differences are settled. Knows the marks in the template (data-key). The forms
   are plain ones: the page comes anew after each. */
"use strict";
(() => {
  const QUIET = 250; // ms after the page shows in which the key that brought it does nothing
  const shown = performance.now();
  const find = document.getElementById("find"), labels = document.getElementById("labels");
  let sent = false;

  for (const form of document.querySelectorAll("#settle form")) {
    form.addEventListener("submit", (event) => {
      if (sent) return event.preventDefault();
      sent = true;
      const seconds = form.elements.seconds;
      if (seconds) seconds.value = ((performance.now() - shown) / 1000).toFixed(2);
    });
  }
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  function named(event) {
    if (/^[ -~]$/.test(event.key) || event.key.length > 1) return event.key.length > 1 ? event.key : event.key.toLowerCase();
    return (/^(?:Key|Digit|Numpad)([A-Z0-9])$/.exec(event.code)?.[1] || "").toLowerCase();
  }

  function filter() {
    const words = find.value.trim().toLowerCase().split(/\s+/);
    for (const option of labels.children) {
      const name = (option.value || option.querySelector("input").value).toLowerCase();
      option.hidden = !words.every((word) => name.includes(word));
    }
  }

  function finding(event) {
    if (event.key === "Escape") {
      find.value = "";
      filter();
      document.getElementById("asked").focus();
    } else if (event.key === "Enter") {
      event.preventDefault();
      const first = [...labels.children].find((option) => !option.hidden);
      if (!find.value || !first || event.repeat) return;
      find.value = "";
      filter();
      first.click();
    }
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.keyCode === 229) return;
    if (event.target === find) return finding(event);
    if (event.target.matches("input:not([type=checkbox]), textarea")) {
      if (event.key === "Escape" || event.key === "Enter") {
        event.preventDefault();
        document.getElementById("asked")?.focus();
      }
      return;
    }
    const pressed = named(event);
    if (event.repeat || performance.now() - shown < QUIET) {
      if (/^[a-z0-9]$/.test(pressed) || pressed === "Enter") event.preventDefault();
      return;
    }
    if (event.target.closest("button, a, summary") && (pressed === "Enter" || pressed === " ")) return;
    if (pressed === "/" && find) {
      event.preventDefault();
      return find.focus();
    }
    if (!/^(?:[a-z0-9]|Enter)$/.test(pressed)) return;
    const what = document.querySelector(`[data-key~="${pressed}"]`);
    if (!what) return;
    event.preventDefault();
    what.click();
    if (pressed === "f") document.getElementById("flag").focus();
  });

  if (find) {
    find.closest(".find").hidden = false;
    find.addEventListener("input", filter);
  }
  document.getElementById("asked")?.focus({ preventScroll: true });
})();
