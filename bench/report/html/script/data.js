// The data of the page, and what is looked up in them.

/** Return the JSON that an element holds as base64 of gzip. */
async function unpacked(selector) {
  const packed = Uint8Array.from(atob(find(selector).textContent), (character) => character.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

const data = await unpacked("#data");
const boardNames = new Map(data.boards.map((board) => [board.name, board]));
const textOf = (number) => data.records.texts[number];
for (const line of data.records.lines) line[2] = line[2].map(textOf);
const recordLines = new Map(data.records.lines.map((line) => [line[0], line]));

const boardOf = (state) => boardNames.get(state.get("board")) ?? data.boards[0];
const rowNumber = (board, label) => board.rows.findIndex((row) => row.label === label);
const boardEntry = (board) => ["board", board.name];
const methodEntries = (board, label) => [boardEntry(board), ["method", label]];

/** Return a column as an object: the data have it as a list. */
const columnOf = ([name, kind, hint, group, isTask]) => ({ name, kind, hint, group, isTask });
const described = (board) => board.columns.map((column, number) => ({ ...columnOf(column), number }));

/** Return an entry of a line as an object; `order` is what it sorts by, and absent for plain text. */
const entryOf = ([text, order = null, aside = "", look = ""]) => ({ text, order, aside, look });

/** Return the tasks of a board: name, group, and the number of their column. */
const tasksOf = (board) => described(board).filter(({ isTask }) => isTask);

/** Return the board's comparison of two complete rows, or null; the difference is that of i minus j. */
function comparisonOf(board, i, j) {
  const { rows, ends, p } = board.pairs;
  if (i === j || Math.max(i, j) >= rows) return null;
  const [first, second] = [Math.min(i, j), Math.max(i, j)];
  const pair = (first * (2 * rows - first - 1)) / 2 + second - first - 1;
  const [low, high] = [ends[2 * pair] / 100, ends[2 * pair + 1] / 100];
  return { low: i < j ? low : -high, high: i < j ? high : -low, p: p[pair] ?? "1" };
}
