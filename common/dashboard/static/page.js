// Has what changes on the page written anew by the node every two seconds; without it the page stands as it was loaded.
const main = document.getElementById("main");
const EVERY_MILLISECONDS = 2000;

async function refresh() {
  if (!document.hidden) {
    try {
      const answer = await fetch(`content?span=${main.dataset.span}`, { cache: "no-store", signal: AbortSignal.timeout(10000) });
      if (!answer.ok) throw new Error(String(answer.status));
      show(await answer.text());
      main.classList.remove("stale");
    } catch {
      main.classList.add("stale");
    }
  }
  setTimeout(refresh, EVERY_MILLISECONDS);
}

// Parts that say the same stay in place, and with them focus and whoever reads them aloud.
function show(text) {
  const fresh = document.createElement("template");
  fresh.innerHTML = text;
  const parts = [...fresh.content.children];
  if (parts.length !== main.children.length) {
    main.replaceChildren(...parts);
    return;
  }
  parts.forEach((part, place) => replace(main.children[place], part));
}

function replace(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  const alike = old.tagName === fresh.tagName && old.children.length === fresh.children.length && old.children.length > 0;
  if (alike && old.matches("section, .charts")) [...fresh.children].forEach((part, place) => replace(old.children[place], part));
  else old.replaceWith(fresh);
}

setTimeout(refresh, EVERY_MILLISECONDS);
