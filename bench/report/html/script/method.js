// A method on a board: what it is, each task with its interval, and its place against the others.

const INTERVALS = "Accuracy by task. The 95 % interval is over seeds (Student's t); with one seed it reflects the test images only (binomial) and says nothing about other seeds.";

function showMethod(section, state) {
  const label = state.get("method");
  const boards = data.boards.filter((board) => rowNumber(board, label) >= 0);
  const board = boards.includes(boardNames.get(state.get("board"))) ? boardNames.get(state.get("board")) : boards[0];
  if (!board) return showMissing(section, `The page has no method named ${label}.`);
  const number = rowNumber(board, label);
  const row = board.rows[number];
  setHeading(section, label);
  find(".view", section).replaceChildren(
    wayBack(board), make("p", {}, familyMark(row), " ", `family ${data.families[row.family][0]} · ${board.place.join(" · ")}`),
    ...sourceOf(row), make("h3", {}, "Facts"), definitions(row.facts),
    make("h3", {}, "Tasks"), taskTable(board, number),
    make("h3", {}, "Place on the board"), ...standing(board, number),
    ...elsewhere(boards, board, label),
  );
}

const wayBack = (board) => make("p", {}, anchor([boardEntry(board)], "← The board"));

function sourceOf({ method }) {
  const [text, papers] = data.sources[method] ?? ["Not one of the project's own methods: nothing is known of its paper.", []];
  const links = papers.map(([url, title], i) => [i ? ", " : " ", make("a", { href: url }, title)]);
  return [make("p", {}, text, papers.length ? ". Cited by its file:" : ".", links)];
}

function taskTable(board, number) {
  const columns = [{ name: "task", kind: "text" }, { name: "group", kind: "text" }, { name: "accuracy", kind: "number", hint: "top-1 percent; mean ± sd over seeds" }, { name: "95 % interval", kind: "number" }, { name: "over", kind: "text", hint: "what the interval is over" }, { name: "seed: accuracy", kind: "text" }];
  const lines = tasksOf(board).map((task, i) => {
    const { text, aside } = entryOf(board.lines[number][task.number]);
    const [interval, over, seeds] = board.rows[number].tasks[i];
    return [rowHead(task.name), cell(task.group), cell(`${text} ${aside}`.trim(), "number"), cell(interval, "number"), cell(over), make("td", { class: "seeds" }, seeds.map(seedResult))];
  });
  return plainTable(INTERVALS, columns, lines);
}

const cell = (text, look = null) => make("td", { class: look }, text);
const rowHead = (text) => make("th", { scope: "row" }, text);
const seedResult = ([seed, text, name]) => make("span", {}, `${seed}: `, recordLines.has(name) ? anchor([["record", name]], text || "record") : text);

function standing(board, number) {
  const { mean, better, worse, facts } = board.rows[number];
  if (number >= board.complete) return [make("p", {}, "The row is incomplete: it has no rank, and is compared with no other.")];
  const rank = facts.find(([name]) => name === "rank")[1];
  const place = `Rank ${rank} of ${board.complete}.` + (mean ? ` 95 % interval of its mean, over ${board.units}: ${mean}.` : "");
  const told = better.length + worse.length ? [listOf("Better than", board, better), listOf("Worse than", board, worse)] : [make("p", {}, "It cannot be told apart from any other method of this board.")];
  const others = board.rows.map(({ label }) => label).filter((_, i) => i !== number);
  const choose = menu("Compare with", [["", "choose a method"], ...others], "", (label) => label && go(comparisonEntries(board, board.rows[number].label, label)));
  return [make("p", {}, place), ...told, others.length ? make("div", { class: "menus" }, choose) : ""];
}

function listOf(title, board, numbers) {
  const links = numbers.map((i, at) => [at ? ", " : " ", anchor(methodEntries(board, board.rows[i].label), board.rows[i].label)]);
  return numbers.length ? make("p", {}, `${title} (significantly):`, links) : "";
}

function elsewhere(boards, shown, label) {
  const others = boards.filter((board) => board !== shown);
  if (!others.length) return [];
  return [make("h3", {}, "On other boards"), make("ul", {}, others.map((board) => make("li", {}, anchor(methodEntries(board, label), board.place.join(" · ")))))];
}
