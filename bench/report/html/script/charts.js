// Pictures that answer to the mouse and to keys, drawn by d3: each point is a link to its method.

const SIZE = { height: 380, top: 16, right: 24, bottom: 46, left: 56 };
const QUANTITIES = [["trainable parameters (M)", true], ["initialisation (s)", false], ["training (s)", true]]; // name, logarithmic

/** Return the width of a picture, in pixels: that of the page, within bounds. */
const pictureWidth = () => Math.max(300, Math.min(760, find("nav").clientWidth - 2));

/** Return a figure: an SVG, a caption, and room for the words on the point under the mouse. */
function figureOf(caption, svg, ...above) {
  const tip = make("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  const box = make("div", { class: "chart" }, svg);
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

function drawing(width, height, label) {
  return d3.create("svg").attr("viewBox", `0 0 ${width} ${height}`).attr("role", "group").attr("aria-label", label);
}

/** Append a link with a tip to a selection of SVG. */
function linkTo(parent, entries, words) {
  return parent.append("a").attr("href", addressOf(entries)).attr("aria-label", words).attr("data-tip", words);
}

/** Append the mark of a family of methods: its colour, and a shape that tells it apart without. */
function appendMark(parent, family) {
  const shape = d3.symbol().type(d3.symbols[family % d3.symbols.length]).size(70);
  parent.append("path").attr("class", "mark").attr("d", shape()).attr("fill", data.families[family][1]);
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
  const width = pictureWidth();
  const svg = drawing(width, SIZE.height, caption);
  const [x, y] = scales(points, logarithmic, width);
  axis(svg, d3.axisBottom(x).ticks(width / 110, logarithmic ? "~g" : undefined), 0, SIZE.height - SIZE.bottom);
  axis(svg, d3.axisLeft(y).ticks(6), SIZE.left, 0);
  axisTitle(svg, name, (SIZE.left + width - SIZE.right) / 2, SIZE.height - 8);
  axisTitle(svg, "mean accuracy (%)", 14, (SIZE.height - SIZE.bottom) / 2, true);
  const front = frontOf(points);
  svg.append("path").attr("class", "front").attr("d", d3.line().x((point) => x(point.x)).y((point) => y(point.y)).curve(d3.curveStepAfter)(front));
  for (const point of points) {
    const words = `${point.row.label}: ${point.text} %, ${name} ${d3.format(".3~g")(point.x)}`;
    const link = linkTo(svg, methodEntries(board, point.row.label), words).attr("transform", `translate(${x(point.x)},${y(point.y)})`);
    link.append("circle").attr("class", "reach").attr("r", 11);
    appendMark(link, point.row.family);
  }
  nameFront(svg, front, points, x, y, width);
  return figureOf(caption, svg.node(), make("div", { class: "menus" }, chooser), legend(points));
}

function scales(points, logarithmic, width) {
  const [left, right] = d3.extent(points, ({ x }) => x);
  const across = logarithmic ? d3.scaleLog().domain([left / 1.4, right * 1.4]) : d3.scaleLinear().domain([0, right || 1]).nice();
  const up = d3.scaleLinear().domain(d3.extent(points, ({ y }) => y)).nice();
  return [across.range([SIZE.left + 8, width - SIZE.right]), up.range([SIZE.height - SIZE.bottom, SIZE.top])];
}

/** Return the points that no other beats with as little or less, from the left. */
function frontOf(points) {
  const front = [];
  for (const point of [...points].sort((a, b) => a.x - b.x || b.y - a.y)) {
    if (!front.length || point.y > front[front.length - 1].y) front.push(point);
  }
  return front;
}

const [LETTER, LINE, GAP] = [6.8, 13, 9]; // of a name on the picture: width of a letter, height, distance from its point

/** Write the names along the front: beside the point where there is room, else not at all. */
function nameFront(svg, front, points, x, y, whole) {
  const taken = points.map((point) => ({ point, left: x(point.x) - 6, top: y(point.y) - 6, width: 12, height: 12 }));
  for (const point of [...front].reverse()) {
    const name = shortened(point.row.label, 24);
    const width = LETTER * name.length;
    const corners = [[-GAP - width, -GAP - LINE], [GAP, -GAP - LINE], [GAP, GAP - 4], [-GAP - width, GAP - 4]];
    const boxes = corners.map(([across, down]) => ({ left: x(point.x) + across, top: y(point.y) + down, width, height: LINE }));
    const box = boxes.find((one) => isInside(one, whole) && !taken.some((other) => other.point !== point && overlap(one, other)));
    if (!box) continue;
    taken.push(box);
    svg.append("text").attr("class", "name").attr("aria-hidden", "true").attr("x", box.left).attr("y", box.top + LINE - 3).text(name);
  }
}

const shortened = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const isInside = ({ left, top, width }, whole) => left > SIZE.left && left + width < whole && top > 0;
const overlap = (a, b) => a.left < b.left + b.width && b.left < a.left + a.width && a.top < b.top + b.height && b.top < a.top + a.height;

function legend(points) {
  const shown = [...new Set(points.map(({ row }) => row.family))].sort((a, b) => a - b);
  return make("ul", { class: "legend", "aria-label": "Families of methods" }, shown.map((family) => {
    const svg = d3.create("svg").attr("viewBox", "-7 -7 14 14").attr("aria-hidden", "true");
    appendMark(svg, family);
    return make("li", {}, svg.node(), data.families[family][0]);
  }));
}

/** Return the picture of the differences of two methods: a bar for each task, towards the better. */
function differenceFigure(board, numbers, differences) {
  const found = differences.filter(({ difference }) => difference !== null);
  if (!found.length) return make("p", {}, "No task has a result of both.");
  const [first, second] = numbers.map((row) => board.rows[row].label);
  const [line, width] = [22, pictureWidth()];
  const left = Math.min(150, width / 3);
  const height = SIZE.top + line * found.length + SIZE.bottom;
  const caption = `Accuracy of ${first} minus that of ${second}, in points. A bar opens the method that is ahead.`;
  const svg = drawing(width, height, caption);
  const most = d3.max(found, ({ difference }) => Math.abs(difference)) || 1;
  const x = d3.scaleLinear().domain([-most, most]).nice().range([left, width - SIZE.right]);
  axis(svg, d3.axisBottom(x).ticks(width / 100), 0, height - SIZE.bottom);
  axisTitle(svg, "difference (points)", (left + width - SIZE.right) / 2, height - 8);
  found.forEach(({ name, a, b, difference }, i) => {
    const words = `${name}: ${first} ${a.text} %, ${second} ${b.text} %, difference ${signed(difference)}`;
    const ahead = numbers[difference < 0 ? 1 : 0];
    const link = linkTo(svg, methodEntries(board, board.rows[ahead].label), words).attr("transform", `translate(0,${SIZE.top + line * i})`);
    link.append("rect").attr("class", "reach").attr("width", width).attr("height", line);
    link.append("text").attr("class", "name").attr("x", left - 10).attr("y", line / 2 + 4).attr("text-anchor", "end").text(shortened(name, Math.floor(left / 7.5)));
    link.append("rect").attr("class", difference < 0 ? "bar behind" : "bar").attr("x", x(Math.min(0, difference))).attr("y", 4).attr("width", Math.max(1, Math.abs(x(difference) - x(0)))).attr("height", line - 8);
  });
  svg.append("line").attr("class", "zero").attr("x1", x(0)).attr("x2", x(0)).attr("y1", SIZE.top).attr("y2", height - SIZE.bottom);
  return figureOf(caption, svg.node());
}
