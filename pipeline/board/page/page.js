"use strict";
// Each heading of a column becomes a button that sorts its table: numbers from high to low first, texts from A on.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const text = (cell) => cell.textContent.trim();
  const sortBy = (head, place) => {
    const numbers = !head.classList.contains("text"), was = head.getAttribute("aria-sort");
    const down = was ? was === "ascending" : numbers && text(head) !== "rank";
    const compare = (a, b) => {
      const [x, y] = [a.cells[place], b.cells[place]];
      return numbers ? Number(x.dataset.value) - Number(y.dataset.value) : text(x).localeCompare(text(y), "en");
    };
    body.append(...[...body.rows].sort((a, b) => (down ? -1 : 1) * compare(a, b)));
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  };
  for (const [place, head] of heads.entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sortBy(head, place));
    head.append(button);
  }
}
for (const hint of document.querySelectorAll(".sorts")) hint.hidden = false;

// A link to an entry opens it.
const open = () => {
  const entry = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (entry instanceof HTMLDetailsElement) entry.open = true;
};
addEventListener("hashchange", open);
open();
