// One board at a time: its menus, its table and its picture.

const ALL_TASKS = "all tasks";
const MOST_TASKS = 8; // columns of tasks that are shown unless asked for
const TICK_TWO = "Select two methods to compare them.";
const PLACE = ["suite", "backbone", "recipe"];
const NARROW = ["rank", "method", "mean"]; // columns shown first on a narrow screen

/** Return the board whose place has `value`, and otherwise is most like that of `board`. */
function nearestBoard(board, part, value) {
  const likeness = ({ place }) => place.reduce((sum, own, i) => sum + (own === board.place[i] ? 10 ** (PLACE.length - i) : 0), 0);
  const found = data.boards.filter(({ place }) => place[part] === value && place.slice(0, part).every((own, i) => own === board.place[i]));
  return found.reduce((best, one) => (likeness(one) > likeness(best) ? one : best));
}

/** Return the menus that choose a board: each offers what there is with the choices before it. */
function boardMenus(board, group) {
  const menus = PLACE.map((label, part) => {
    const alike = data.boards.filter(({ place }) => place.slice(0, part).every((own, i) => own === board.place[i]));
    const choices = [...new Set(alike.map(({ place }) => place[part]))];
    return menu(label, choices, board.place[part], (value) => go([boardEntry(nearestBoard(board, part, value))]));
  });
  const groups = [ALL_TASKS, ...board.groups];
  const chosen = (value) => go([boardEntry(board), ["group", value === ALL_TASKS ? null : value]]);
  return make("div", { class: "menus" }, menus, menu("group", groups, group || ALL_TASKS, chosen));
}

/** Return the columns of a group, or those of all tasks. */
function columnsOf(board, group) {
  const of = (column) => (group ? column.name !== "mean" && (!column.group || column.group === group) : true);
  const columns = described(board).filter(of);
  const hasMean = columns.some(({ isTask, group: own }) => own && !isTask);
  return group && !hasMean ? described(board).filter((column) => of(column) || column.name === "mean") : columns;
}

function hiddenColumns(state, columns) {
  if (state.has("hide")) return state.getAll("hide");
  if (matchMedia("(max-width: 40rem)").matches) return columns.filter((column) => !isFirst(column)).map(({ name }) => name);
  const tasks = columns.filter(({ isTask }) => isTask).map(({ name }) => name);
  return tasks.length > MOST_TASKS ? tasks : [];
}

const isFirst = ({ name, group, isTask }) => NARROW.includes(name) || (group && !isTask && name.startsWith("mean "));

function showBoard(section, state) {
  const board = boardOf(state);
  if (!board) return;
  const group = board.groups.includes(state.get("group")) ? state.get("group") : "";
  const columns = columnsOf(board, group);
  const picked = make("p", { class: "picked", "aria-live": "polite" }, TICK_TWO);
  const table = tableOf(`Leaderboard, ${group || ALL_TASKS}`, [{ name: "", kind: "pick" }, ...columns], boardLines(board, columns, picked));
  findAll("thead th", table)[0].append(make("span", { class: "unseen" }, "compare"));
  const view = find(".view", section);
  const tools = make("div", { class: "tools" });
  view.replaceChildren(boardMenus(board, group), make("p", {}, board.told), board.notes.length ? make("details", {}, make("summary", {}, "More on this board"), board.notes.map((text) => make("p", {}, text))) : "", tools, boxed(table), paretoFigure(board, group));
  const made = enhance(table, { columnDefs: [{ targets: 0, orderable: false, searchable: false }] });
  tools.append(columnMenu(made, columns, hiddenColumns(state, columns)), picked);
  keepInAddress(made, columns, state);
}

function boardLines(board, columns, picked) {
  const picks = [];
  return board.lines.map((line, number) => {
    const { label } = board.rows[number];
    const pick = make("input", { type: "checkbox", autocomplete: "off", "aria-label": `compare ${label}`, change: () => choose(pick, label) });
    return [make("td", { class: "pick" }, pick), ...columns.map((column) => boardCell(board, number, column, entryOf(line[column.number])))];
  });

  function choose(pick, label) {
    if (pick.checked) picks.push({ pick, label });
    else picks.splice(picks.findIndex((one) => one.pick === pick), 1);
    if (picks.length > 2) picks.shift().pick.checked = false;
    const [first, second] = picks;
    const told = second ? anchor(comparisonEntries(board, first.label, second.label), `Compare ${first.label} with ${second.label}`) : first ? `${first.label}: tick a second method to compare.` : TICK_TWO;
    picked.replaceChildren(told);
  }
}

function boardCell(board, number, column, { text, order, aside, look }) {
  const classes = [classOf(column.kind), look].filter(Boolean).join(" ");
  const shown = column.kind === "name" ? [familyMark(board.rows[number]), anchor(methodEntries(board, text), text)] : [text];
  const more = aside ? [" ", make("small", {}, aside)] : [];
  return make("td", { class: classes || null, "data-order": order }, shown, more);
}

function familyMark(row) {
  const [name, colour] = data.families[row.family];
  return make("i", { style: `--mark:${colour}`, title: name });
}

/** Return a menu of the columns, each with a box to tick; what is hidden is kept in the address. */
function columnMenu(made, columns, hidden) {
  const optional = columns.map((column, number) => [column, number + 1]).filter(([{ kind }]) => kind !== "name");
  const boxes = optional.map(([{ name }, number]) => {
    const shown = !hidden.includes(name);
    made.column(number).visible(shown, false);
    const box = make("input", { type: "checkbox", checked: shown, autocomplete: "off", change: () => change(number, box.checked) });
    return make("label", {}, box, " ", name);
  });
  made.columns.adjust();
  return make("details", { class: "columns" }, make("summary", {}, "Columns"), make("div", {}, boxes));

  function change(number, shown) {
    made.column(number).visible(shown);
    const names = optional.filter(([, at]) => !made.column(at).visible()).map(([{ name }]) => name);
    writeAddress({ hide: names.length ? names : [""] });
  }
}

/** Take order and search words from the address, and write them there when they change. */
function keepInAddress(made, columns, state) {
  const [, sign, name] = /^(-?)(.*)$/s.exec(state.get("sort") ?? "");
  const number = columns.findIndex((column) => column.name === name) + 1;
  if (number) made.order([number, sign ? "desc" : "asc"]);
  made.search(state.get("search") ?? "").draw();
  made.on("order", () => {
    const [[at, direction] = []] = made.order();
    const sort = at && direction ? (direction === "desc" ? "-" : "") + columns[at - 1].name : null;
    if (sort !== readAddress().get("sort")) writeAddress({ sort });
  });
  made.on("search", () => {
    const words = made.search() || null;
    if (words !== readAddress().get("search")) writeAddress({ search: words }, { silently: true });
  });
}
