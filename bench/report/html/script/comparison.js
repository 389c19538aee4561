// Two methods of a board side by side: the difference on each task, its mean and the board's test.

const comparisonEntries = (board, first, second) => [boardEntry(board), ["compare", first], ["with", second]];
const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);

function showComparison(section, state) {
  const board = boardOf(state);
  const labels = [state.get("compare"), state.get("with")];
  const numbers = labels.map((label) => (board ? rowNumber(board, label) : -1));
  if (numbers.includes(-1)) return showMissing(section, `The board has no two methods named ${labels.join(" and ")}.`);
  setHeading(section, labels.join(" and "));
  const differences = taskDifferences(board, ...numbers);
  find(".view", section).replaceChildren(
    wayBack(board), make("p", {}, board.place.join(" · ")), comparisonMenus(board, labels),
    make("p", { class: "verdict" }, comparisonSentence(board, ...numbers)),
    differenceFigure(board, numbers, differences),
    make("h3", {}, "Task by task"), differenceTable(board, numbers, differences),
  );
}

function comparisonMenus(board, labels) {
  const choices = board.rows.map(({ label }) => label);
  const change = (at) => (label) => go(comparisonEntries(board, ...labels.with(at, label)));
  return make("div", { class: "menus" }, menu("first", choices, labels[0], change(0)), menu("second", choices, labels[1], change(1)));
}

/** Return each task with both accuracies, and their difference where both are there. */
function taskDifferences(board, i, j) {
  return tasksOf(board).map((task) => {
    const [a, b] = [i, j].map((row) => entryOf(board.lines[row][task.number]));
    const both = a.order >= 0 && b.order >= 0;
    return { ...task, a, b, difference: both ? a.order - b.order : null };
  });
}

function comparisonSentence(board, i, j) {
  const [first, second] = [i, j].map((row) => board.rows[row].label);
  const incomplete = [i, j].filter((row) => row >= board.complete).map((row) => board.rows[row].label);
  if (incomplete.length) return `No test: ${[...new Set(incomplete)].join(" and ")} has no result on some task.`;
  if (i === j) return "Both are the same method.";
  const found = comparisonOf(board, i, j);
  if (!found) return `No test: the page holds those of the first ${board.pairs.rows} methods of a board.`;
  const at = board.columns.findIndex(([name]) => name === "mean");
  const mean = board.lines[i][at][1] - board.lines[j][at][1];
  const apart = board.rows[i].better.includes(j) || board.rows[i].worse.includes(j);
  return `${first} minus ${second}: ${signed(mean)} points on average, 95 % interval ${signed(found.low)} to ${signed(found.high)} (bootstrap over ${board.units}). ` +
    `Wilcoxon over ${board.units}, Holm-corrected over all pairs of the board: p = ${found.p}. ` + (apart ? "They can be told apart." : "They cannot be told apart.");
}

function differenceTable(board, numbers, differences) {
  const [first, second] = numbers.map((row) => board.rows[row].label);
  const columns = [{ name: "task", kind: "text" }, { name: "group", kind: "text" }, { name: first, kind: "number" }, { name: second, kind: "number" }, { name: "difference", kind: "number", hint: "the first less the second, in points" }];
  const accuracy = ({ text, aside }) => cell(`${text} ${aside}`.trim(), "number");
  const lines = differences.map(({ name, group, a, b, difference }) => [rowHead(name), cell(group), accuracy(a), accuracy(b), cell(difference === null ? "–" : signed(difference), "number")]);
  return plainTable(`Accuracy of ${first} and ${second}`, columns, lines);
}
