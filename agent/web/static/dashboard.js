/* Asks for new figures while the page is looked at; says how old they are; keeps open what was opened. */
"use strict";
(() => {
  const EVERY = 10000, SOON = 1000;
  let last = Date.now();

  const ages = () => {
    for (const time of document.querySelectorAll("time[data-at]")) {
      const seconds = Math.max(0, Math.round(Date.now() / 1000 - Number(time.dataset.at)));
      time.textContent = seconds < 90 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`;
    }
  };

  setInterval(() => {
    ages();
    if (document.hidden) return;
    const due = Date.now() - last >= EVERY;
    if (due) last = Date.now();
    for (const part of document.querySelectorAll(due ? "[data-tick]" : "[data-soon]")) {
      part.dispatchEvent(new CustomEvent("tick"));
    }
  }, SOON);

  let open = [];
  document.addEventListener("htmx:before:swap", () => {
    open = [...document.querySelectorAll("details[open][id]")].map((one) => one.id);
  });
  document.addEventListener("htmx:after:swap", () => {
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    ages();
  });
  ages();
})();
