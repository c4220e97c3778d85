"use strict";
// Narrows and sorts the rows that are on this page. What is not on it, the form and the links ask the server for.
(() => {
  const table = document.getElementById("list");
  const form = document.querySelector("form.search");
  const hits = document.getElementById("hits");
  if (!table || !form || !hits) return;
  const { q, status, sort } = form.elements;
  const body = table.tBodies[0];
  const total = Number(table.dataset.total);
  const cell = (row, name) => row.querySelector(name)?.textContent ?? "";
  const rows = Array.from(body.rows, (row, place) => ({
    row,
    place,
    name: cell(row, ".name a"),
    text: [cell(row, ".name"), row.dataset.names ?? "", cell(row, ".ca")].join(" ").toLowerCase(),
    until: row.querySelector(".until")?.dataset.key,
    next: row.querySelector(".next")?.dataset.key,
  }));
  const isWhole = rows.length === total;
  // As the server has shown them: these rows match already, by more than they show.
  const asked = { q: q.value, status: status.value, sort: sort.value, hits: hits.textContent };

  // A name in letters of another alphabet is looked for as certificates have it.
  const wanted = (text) => {
    if (/^[ -~]*$/.test(text)) return text;
    try {
      return new URL("ws:" + text).hostname;
    } catch {
      return text;
    }
  };

  const narrow = () => {
    const text = q.value === asked.q ? "" : wanted(q.value.trim().toLowerCase());
    const token = status.value === asked.status ? "" : status.value;
    let shown = 0;
    for (const { row, text: own } of rows) {
      row.hidden = !(own.includes(text) && (!token || row.dataset.status === token));
      shown += row.hidden ? 0 : 1;
    }
    const more = "; Enter asks for all " + total;
    if (!text && !token) hits.textContent = isWhole ? asked.hits : asked.hits + (q.value === asked.q ? "" : more);
    else if (isWhole) hits.textContent = `${shown} of ${total} ${total === 1 ? "domain" : "domains"}` + (shown ? "" : more);
    else hits.textContent = `${shown} of the ${rows.length} on this page` + more;
  };

  // Later addresses of this page show the same.
  let timer;
  const keep = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const pairs = Array.from(new FormData(form)).filter(([, value]) => value !== "");
      history.replaceState(null, "", "?" + new URLSearchParams(pairs));
    }, 300);
  };

  const compare = (column) => (one, other) => {
    if (column === "name") return one.name < other.name ? -1 : one.name > other.name ? 1 : 0;
    if (column === "status") return one.place - other.place;
    return Number(one[column]) - Number(other[column]);
  };

  const order = (column, isReverse) => {
    // What has no time comes last, in both directions.
    const has = ({ [column]: key }) => column === "name" || column === "status" || key !== undefined;
    const sorted = rows.filter(has).sort(compare(column));
    if (isReverse) sorted.reverse();
    body.append(...sorted.concat(rows.filter((row) => !has(row))).map(({ row }) => row));
    for (const head of table.tHead.rows[0].cells) {
      head.removeAttribute("aria-sort");
      if (head.dataset.sort === column) head.setAttribute("aria-sort", isReverse ? "descending" : "ascending");
    }
    const value = (isReverse ? "-" : "") + column;
    if (!Array.from(sort.options).some((option) => option.value === value)) sort.add(new Option("the reverse", value));
    sort.value = value;
    keep();
  };

  // Only the server knows what is serious: the order of these rows, where it has sorted them so.
  const isHere = (column) => isWhole && (column !== "status" || asked.sort === "status");

  q.addEventListener("input", () => {
    narrow();
    if (isWhole) keep();
  });
  status.addEventListener("change", () => {
    if (!isWhole || status.value === "attention") return form.requestSubmit();
    narrow();
    keep();
  });
  sort.addEventListener("change", () => {
    const column = sort.value.replace("-", "");
    if (!isHere(column)) return form.requestSubmit();
    order(column, sort.value.startsWith("-"));
  });
  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("a")?.closest("th");
    if (!head || event.ctrlKey || event.metaKey || event.shiftKey || !isHere(head.dataset.sort)) return;
    event.preventDefault();
    order(head.dataset.sort, head.getAttribute("aria-sort") === "ascending");
  });
  // A browser that comes back may have filled in the form.
  addEventListener("pageshow", narrow);
})();
