// The door: posts the token that a link carries in its fragment, which no server and no log has seen.
"use strict";

const form = document.getElementById("door");

function enter() {
  const token = location.hash.slice(1);
  if (!/^[\w-]{20,}$/.test(token)) return false;
  history.replaceState(null, "", location.pathname + location.search); // not kept in the browser's history
  form.elements.token.value = token;
  form.submit();
  return true;
}

window.addEventListener("hashchange", enter); // the link, opened where this page is open already
if (!enter()) {
  // A link from elsewhere comes without our cookie (SameSite=strict): who is signed in goes on by himself.
  fetch("/who", { redirect: "manual" }).then((answer) => {
    if (answer.ok) location.replace(form.dataset.after);
  }).catch(() => {});
}
