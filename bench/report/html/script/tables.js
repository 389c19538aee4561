// Tables that sort, search and filter: made from data or found in the page, and enhanced by DataTables.

const bundle = new Blob([find("#datatables").textContent], { type: "text/javascript" });
const { default: DataTable } = await import(URL.createObjectURL(bundle));

const LANGUAGE = { info: "_START_–_END_ of _TOTAL_ lines", infoFiltered: "", infoEmpty: "no line", lengthMenu: "_MENU_ lines a page", search: "Search" };
const LAYOUT = { topStart: "search", topEnd: "info", bottomStart: "pageLength", bottomEnd: "paging" };
const LENGTHS = [25, 50, 100, { label: "all", value: -1 }];

/** Sort, search and page a table; the box in which it scrolls can be reached by Tab. */
function enhance(table, options = {}) {
  const made = new DataTable(table, { order: [], autoWidth: false, pageLength: 50, lengthMenu: LENGTHS, layout: LAYOUT, language: LANGUAGE, ...options });
  const box = table.closest(".dt-layout-table");
  fill(box, { tabindex: "0", role: "region", "aria-label": `${table.getAttribute("aria-label")}, scrolls` }, []);
  return made;
}

/** Return a table; `columns` have name, kind and hint, `lines` are lists of cells. */
function tableOf(label, columns, lines) {
  const head = columns.map(({ name, kind, hint }) => make("th", { scope: "col", class: classOf(kind), title: hint || null }, name));
  const rows = lines.map((line) => make("tr", {}, line));
  return make("table", { "aria-label": label }, make("thead", {}, make("tr", {}, head)), make("tbody", {}, rows));
}

const classOf = (kind) => (kind === "text" ? null : kind);
const boxed = (table) => make("div", { class: "sheet" }, table);

/** Return the box of a table that stays as it is, with a caption. */
function plainTable(caption, columns, lines) {
  const table = tableOf(caption, columns, lines);
  table.removeAttribute("aria-label");
  table.prepend(make("caption", {}, caption));
  return fill(boxed(table), { tabindex: "0", role: "region", "aria-label": caption }, []);
}

/** Filter a table by drop-downs, each of the column that its name has as a number. */
function filterBy(menus, made) {
  menus.onchange = () => {
    for (const { name, value } of findAll("select", menus)) {
      made.column(+name).search.fixed("menu", value ? (text) => text === value : null);
    }
    made.draw();
  };
}

/** Enhance the tables that stand in a section of the page, once. */
function enhanceSection(section) {
  for (const table of findAll("table:not(.dataTable)", section)) {
    filterBy(find(".menus", section), enhance(table));
  }
}

addEventListener("keydown", (event) => {
  if (event.key === " " && event.target.closest("th")) {
    event.preventDefault();
    event.target.click();
  }
});
