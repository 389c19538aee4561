// Pictures that answer to the mouse and to keys, drawn by d3: each point is a link to its method.

const SIZE = { width: 760, height: 380, top: 16, right: 24, bottom: 46, left: 56 };
const QUANTITIES = [["trainable parameters (M)", true], ["initialisation (s)", false], ["training (s)", true]]; // name, logarithmic

/** Return a figure: an SVG, a caption, and room for the words on the point under the mouse. */
function figureOf(caption, svg, ...above) {
  const tip = make("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  const box = make("div", { class: "chart", tabindex: "0", role: "region", "aria-label": `${caption}, scrolls` }, svg);
  const figure = make("figure", {}, ...above, make("div", { class: "canvas" }, box, tip), make("figcaption", {}, caption));
  for (const point of findAll("[data-tip]", svg)) {
    for (const event of ["pointerenter", "focus"]) point.addEventListener(event, () => showTip(tip, point));
    for (const event of ["pointerleave", "blur"]) point.addEventListener(event, () => { tip.hidden = true; });
  }
  return figure;
}

function showTip(tip, point) {
  tip.textContent = point.dataset.tip;
  tip.hidden = false;
  const [place, canvas] = [point.getBoundingClientRect(), tip.parentElement.getBoundingClientRect()];
  const middle = place.left + place.width / 2 - canvas.left - tip.offsetWidth / 2;
  tip.style.left = `${Math.max(0, Math.min(middle, canvas.width - tip.offsetWidth))}px`;
  tip.style.top = `${place.top - canvas.top - tip.offsetHeight - 6}px`;
}

function drawing(height, label) {
  return d3.create("svg").attr("viewBox", `0 0 ${SIZE.width} ${height}`).attr("role", "group").attr("aria-label", label);
}

/** Append a link with a tip to a selection of SVG. */
function linkTo(parent, entries, words) {
  return parent.append("a").attr("href", addressOf(entries)).attr("aria-label", words).attr("data-tip", words);
}

function axis(svg, made, x, y) {
  svg.append("g").attr("class", "axis").attr("aria-hidden", "true").attr("transform", `translate(${x},${y})`).call(made);
}

function axisTitle(svg, text, x, y, turned = false) {
  svg.append("text").attr("class", "title").attr("aria-hidden", "true").attr("text-anchor", "middle").attr("transform", `translate(${x},${y})` + (turned ? " rotate(-90)" : "")).text(text);
}

/** Return the picture of a board's means against a quantity that a menu chooses. */
function paretoFigure(board, group) {
  const mean = described(board).find(({ name }) => name === (group && board.groups.length > 1 ? `mean ${group}` : "mean"));
  const points = board.rows.slice(0, board.complete).map((row, i) => ({ row, y: board.lines[i][mean.number][1], text: board.lines[i][mean.number][0] }));
  const offered = QUANTITIES.map(([name], i) => [String(i), name]).filter(([i]) => points.filter(({ row }) => row.x[i] !== null).length > 1);
  if (!offered.length) return "";
  const holder = make("div", { class: "picture" });
  const draw = (number) => holder.replaceChildren(paretoDrawing(board, group, points, +number, menu("against", offered, number, draw)));
  draw(offered[0][0]);
  return holder;
}

function paretoDrawing(board, group, all, number, chooser) {
  const [name, logarithmic] = QUANTITIES[number];
  const points = all.filter(({ row }) => row.x[number] !== null && (!logarithmic || row.x[number] > 0)).map((point) => ({ ...point, x: point.row.x[number] }));
  const caption = `Mean accuracy (${group || ALL_TASKS}) against ${name}; the line joins methods that none beats in both. A point opens its method.`;
  const svg = drawing(SIZE.height, caption);
  const [x, y] = scales(points, logarithmic);
  axis(svg, d3.axisBottom(x).ticks(6, logarithmic ? "~g" : undefined), 0, SIZE.height - SIZE.bottom);
  axis(svg, d3.axisLeft(y).ticks(6), SIZE.left, 0);
  axisTitle(svg, name, (SIZE.left + SIZE.width - SIZE.right) / 2, SIZE.height - 8);
  axisTitle(svg, "mean accuracy (%)", 14, (SIZE.height - SIZE.bottom) / 2, true);
  const front = frontOf(points);
  svg.append("path").attr("class", "front").attr("d", d3.line(({ x: at }) => x(at), ({ y: at }) => y(at)).curve(d3.curveStepAfter)(front));
  for (const point of points) {
    const words = `${point.row.label}: ${point.text} %, ${name} ${d3.format(".3~g")(point.x)}`;
    const link = linkTo(svg, methodEntries(board, point.row.label), words).attr("transform", `translate(${x(point.x)},${y(point.y)})`);
    link.append("circle").attr("class", "reach").attr("r", 11);
    link.append("path").attr("class", "mark").attr("d", d3.symbol(d3.symbols[point.row.family % d3.symbols.length], 70)()).attr("fill", data.families[point.row.family][1]);
  }
  nameFront(svg, front, x, y);
  return figureOf(caption, svg.node(), make("div", { class: "menus" }, chooser), legend(points));
}

function scales(points, logarithmic) {
  const [left, right] = d3.extent(points, ({ x }) => x);
  const across = logarithmic ? d3.scaleLog().domain([left / 1.4, right * 1.4]) : d3.scaleLinear().domain([0, right || 1]).nice();
  const up = d3.scaleLinear().domain(d3.extent(points, ({ y }) => y)).nice();
  return [across.range([SIZE.left + 8, SIZE.width - SIZE.right]), up.range([SIZE.height - SIZE.bottom, SIZE.top])];
}

/** Return the points that no other beats with as little or less, from the left. */
function frontOf(points) {
  const front = [];
  for (const point of [...points].sort((a, b) => a.x - b.x || b.y - a.y)) {
    if (!front.length || point.y > front[front.length - 1].y) front.push(point);
  }
  return front;
}

/** Write the names along the front, but for those that would lie on another. */
function nameFront(svg, front, x, y) {
  const taken = [];
  for (const { row, x: across, y: up } of [...front].reverse()) {
    const label = row.label.length > 24 ? `${row.label.slice(0, 23)}…` : row.label;
    const [width, height, atEnd] = [6.6 * label.length, 13, x(across) < SIZE.left + 6.6 * label.length + 12];
    const box = { left: x(across) + (atEnd ? 10 : -10 - width), top: y(up) - 9 - height };
    if (taken.some((other) => box.left < other.left + other.width && other.left < box.left + width && Math.abs(box.top - other.top) < height)) continue;
    taken.push({ ...box, width });
    svg.append("text").attr("class", "name").attr("aria-hidden", "true").attr("x", box.left).attr("y", box.top + height - 3).text(label);
  }
}

function legend(points) {
  const shown = [...new Set(points.map(({ row }) => row.family))].sort((a, b) => a - b);
  return make("ul", { class: "legend", "aria-label": "Families of methods" }, shown.map((family) => {
    const svg = d3.create("svg").attr("viewBox", "-7 -7 14 14").attr("aria-hidden", "true");
    svg.append("path").attr("class", "mark").attr("d", d3.symbol(d3.symbols[family % d3.symbols.length], 70)()).attr("fill", data.families[family][1]);
    return make("li", {}, svg.node(), data.families[family][0]);
  }));
}

/** Return the picture of the differences of two methods: a bar for each task, towards the better. */
function differenceFigure(board, numbers, differences) {
  const found = differences.filter(({ difference }) => difference !== null);
  if (!found.length) return make("p", {}, "No task has a result of both.");
  const [first, second] = numbers.map((row) => board.rows[row].label);
  const [line, left] = [22, 150];
  const height = SIZE.top + line * found.length + SIZE.bottom;
  const caption = `Accuracy of ${first} less that of ${second}, in points. A bar opens the method that is ahead.`;
  const svg = drawing(height, caption);
  const most = d3.max(found, ({ difference }) => Math.abs(difference)) || 1;
  const x = d3.scaleLinear().domain([-most, most]).nice().range([left, SIZE.width - SIZE.right]);
  axis(svg, d3.axisBottom(x).ticks(7), 0, height - SIZE.bottom);
  axisTitle(svg, "difference (points)", (left + SIZE.width - SIZE.right) / 2, height - 8);
  found.forEach(({ name, a, b, difference }, i) => {
    const words = `${name}: ${first} ${a.text} %, ${second} ${b.text} %, difference ${signed(difference)}`;
    const ahead = numbers[difference < 0 ? 1 : 0];
    const link = linkTo(svg, methodEntries(board, board.rows[ahead].label), words).attr("transform", `translate(0,${SIZE.top + line * i})`);
    link.append("rect").attr("class", "reach").attr("width", SIZE.width).attr("height", line);
    link.append("text").attr("class", "name").attr("x", left - 10).attr("y", line / 2 + 4).attr("text-anchor", "end").text(name.length > 20 ? `${name.slice(0, 19)}…` : name);
    link.append("rect").attr("class", difference < 0 ? "bar behind" : "bar").attr("x", x(Math.min(0, difference))).attr("y", 4).attr("width", Math.max(1, Math.abs(x(difference) - x(0)))).attr("height", line - 8);
  });
  svg.append("line").attr("class", "zero").attr("x1", x(0)).attr("x2", x(0)).attr("y1", SIZE.top).attr("y2", height - SIZE.bottom);
  return figureOf(caption, svg.node());
}
