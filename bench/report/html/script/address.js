// The state of the page in its address: #board=…&group=…&sort=…&search=…&hide=…, or #method=…, and so on.

const addressOf = (entries) => "#" + new URLSearchParams(entries.filter(([, value]) => value !== null && value !== undefined));
const readAddress = () => new URLSearchParams(location.hash.slice(1));

/** Write entries of the address: null removes one, an array gives one several values. */
function writeAddress(changes, { silently = false } = {}) {
  const state = readAddress();
  for (const [name, value] of Object.entries(changes)) {
    state.delete(name);
    for (const one of value === null ? [] : [value].flat()) state.append(name, one);
  }
  history[silently ? "replaceState" : "pushState"](null, "", "#" + state);
}
