// The records: a line for each, and each with all that it says.

function showRecords(section) {
  const view = find(".view", section);
  if (view.hasChildNodes() || !data.records.lines.length) return;
  const columns = data.records.columns.map(([name, kind, hint, hasMenu]) => ({ name, kind, hint, hasMenu }));
  const lines = data.records.lines.map(([name, , entries]) => columns.map((column, i) => recordCell(column, entries[i], name)));
  const table = tableOf("Records", columns, lines);
  const menus = make("div", { class: "menus" }, columns.map(({ name, hasMenu }, number) => (hasMenu ? recordMenu(name, number) : "")));
  view.replaceChildren(menus, boxed(table));
  filterBy(menus, enhance(table, { deferRender: true }));
}

function recordMenu(label, number) {
  const choices = [...new Set(data.records.lines.map(([, , entries]) => entries[number]))];
  const made = menu(label, [["", "all"], ...choices.map((choice) => [choice, choice])], "", () => {});
  find("select", made).name = number;
  return made;
}

function recordCell({ name, kind }, value, record) {
  const shown = kind === "name" ? anchor([["record", record]], value) : String(value);
  const look = name === "status" ? value : classOf(kind);
  const order = kind === "number" ? (value === "–" ? -1 : +value) : null;
  return make("td", { class: look, "data-order": order }, shown);
}

function showRecord(section, state) {
  const line = recordLines.get(state.get("record"));
  if (!line) return showMissing(section, `The page has no record of a cell ${state.get("record")}; python -m bench show prints one.`);
  const [name, onBoard, [suite, backbone, recipe, task, label, seed, status], lists, remark, traceback, command] = line;
  const place = [suite, backbone, recipe];
  const board = onBoard ? data.boards.find((one) => one.place.every((part, i) => part === place[i])) : null;
  setHeading(section, `${label} on ${task}, seed ${seed}`);
  find(".view", section).replaceChildren(
    make("p", {}, board ? [anchor(methodEntries(board, label), `← ${label}, all its tasks`), " · "] : "", make("a", { href: "#cells" }, "All records")),
    make("p", {}, `${place.join(" · ")} · cell `, make("code", {}, name), " · ", make("span", { class: status }, status)),
    remark ? make("p", {}, remark) : "",
    ...(command ? [make("h3", {}, "Run it again"), preformatted(command, "Command")] : []),
    ...lists.flatMap((number, i) => [...recordList(number), i === 0 && traceback ? preformatted(traceback, "Traceback") : ""]),
  );
}

const preformatted = (text, label) => make("pre", { tabindex: "0", role: "region", "aria-label": label }, text);

function recordList(number) {
  const [head, ...values] = data.records.lists[number];
  const [title, ...names] = data.records.heads[head];
  return [make("h3", {}, title), definitions(names.map((name, i) => [name, textOf(values[i])]))];
}
