// Elements made from data: whatever a record says enters the page as text or as an attribute's value.

const find = (selector, within = document) => within.querySelector(selector);
const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];

/** Return an element; functions among the attributes listen to the event of their name. */
function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== ""));
  return node;
}

const anchor = (entries, text, attributes = {}) => make("a", { href: addressOf(entries), ...attributes }, text);

/** Return a drop-down with its label; `choices` are texts, or pairs of value and text. */
function menu(label, choices, chosen, changed) {
  const options = choices.map((choice) => {
    const [value, text] = Array.isArray(choice) ? choice : [choice, choice];
    return make("option", { value, selected: value === chosen }, text);
  });
  return make("label", {}, label, " ", make("select", { name: label, autocomplete: "off", change: ({ target }) => changed(target.value) }, options));
}

/** Return names and values as a list of definitions; long values take a line of their own. */
function definitions(pairs) {
  const look = (value) => ({ class: value.length > 26 ? "long" : null });
  return make("dl", {}, pairs.map(([name, value]) => [make("dt", look(value), name), make("dd", look(value), value)]));
}
