"use strict";
// Filters and sorts tables. Everything stands in the page already; without script it is only not filtered.
(() => {
  // The frame's rows are drawn when they are first unfolded.
  const frame = document.querySelector("details.frame");
  const waiting = frame ? frame.querySelectorAll('script[type="text/plain"]') : [];
  if (waiting.length) {
    frame.addEventListener("toggle", () => {
      for (const one of waiting) {
        const script = document.createElement("script");
        script.textContent = one.textContent;
        one.replaceWith(script);
      }
    }, {once: true});
  }
  const make = (name, properties, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };
  const cell = (row, column) => row.cells[column].textContent.trim();
  for (const table of document.querySelectorAll(".gpuready table.sortable")) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    if (rows.length < 2) continue;
    const count = make("output", {className: "quiet"});
    const find = make("input", {type: "search", placeholder: "words"});
    const label = make("label", {}, "Rows with ", find);
    let texts = null;
    find.addEventListener("input", () => {
      texts = texts || rows.map((row) => row.textContent.toLowerCase());
      const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, number) => {
        row.hidden = !words.every((word) => texts[number].includes(word));
        shown += row.hidden ? 0 : 1;
      });
      count.textContent = words.length ? ` ${shown} of ${rows.length} rows` : "";
    });
    table.parentElement.before(make("div", {className: "filter"}, label, count));
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = make("button", {type: "button"}, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const order = new Intl.Collator("en", {numeric: true});
        const keys = new Map(rows.map((row) => [row, cell(row, column)]));
        rows.sort((one, two) => order.compare(keys.get(one), keys.get(two)) * (up ? 1 : -1));
        body.append(...rows);
      });
    });
  }
})();
