// The views and the address: each address shows one section of the page.

const VIEWS = { record: ["record", showRecord], compare: ["comparison", showComparison], method: ["method", showMethod], cells: ["cells", showRecords] };

const setHeading = (section, text) => find("h2", section).replaceChildren(text);

function showMissing(section, sentence) {
  setHeading(section, "Not found");
  find(".view", section).replaceChildren(make("p", {}, sentence, " ", make("a", { href: "#leaderboard" }, "The leaderboard")));
}

/** Go to an address as a link would. */
function go(entries) {
  location.hash = addressOf(entries);
}

/** Return the section that an address shows, and the function that fills it. */
function viewOf(state) {
  const [name, view] = Object.entries(VIEWS).find(([key]) => state.has(key)) ?? [];
  if (name) return [find(`#${view[0]}`), view[1]];
  const named = [...state.keys()].map((key) => document.getElementById(key)).find((node) => node?.matches("main > section"));
  return !named || named.id === "leaderboard" ? [find("#leaderboard"), showBoard] : [named, enhanceSection];
}

function show() {
  const [section, fillIn] = viewOf(readAddress());
  for (const one of findAll("main > section")) one.hidden = one !== section;
  fillIn(section, readAddress());
  const title = find("h2", section).textContent;
  document.title = `${title} – PEFT methods for Vision Transformers`;
  const tab = { record: "cells", method: "leaderboard", comparison: "leaderboard" }[section.id] ?? section.id;
  for (const link of findAll("nav a")) link.ariaCurrent = link.hash === `#${tab}` ? "page" : null;
  return section;
}

/** After a link, the focus is on the view's heading; after a way back, on the link that had led away. */
addEventListener("hashchange", ({ oldURL }) => {
  const section = show();
  const left = new URL(oldURL).hash;
  const opener = left.includes("=") ? findAll("table a", section).find((link) => link.hash === left) : null;
  (opener ?? find("h2", section)).focus({ preventScroll: true });
  if (opener) opener.scrollIntoView({ block: "center" });
  else scrollTo(0, 0);
});

document.body.classList.add("scripted");
show();
