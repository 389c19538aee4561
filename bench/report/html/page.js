const bundle = new Blob([document.getElementById("datatables").textContent], { type: "text/javascript" });
const { default: DataTable } = await import(URL.createObjectURL(bundle));
document.querySelectorAll("main table").forEach((node) => {
  const table = new DataTable(node);
  const menus = node.closest("section").querySelector(".menus");
  const chosen = ({ value }) => (value ? (text) => text === value : null);
  menus.onchange = () => [...menus.querySelectorAll("select")].map((menu) => table.column(+menu.name).search.fixed("menu", chosen(menu))) && table.draw();
  menus.onchange();
});
let opener; // the link to the panel that is open, which has the focus again once it is closed
addEventListener("click", ({ target }) => { if (target.hash && target.closest("main")) opener = target; });
addEventListener("hashchange", () => { if (!document.querySelector(".panel:target")) { opener?.focus(); opener = null; } });
addEventListener("keydown", ({ key }) => { if (key === "Escape") document.querySelector(".panel:target .close")?.click(); });
addEventListener("keydown", (event) => { if (event.key === " " && event.target.closest("th")) { event.preventDefault(); event.target.click(); } });
