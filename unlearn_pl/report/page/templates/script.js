"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const value = (row, column, kind) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    if (kind !== "number") return text.toLowerCase();
    return text === "" ? NaN : Number(text);
  };
  const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));

  function sort(table, column, kind, ascending) {
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
      const keyed = rows.map((row) => [value(row, column, kind), row]);
      keyed.sort(([a], [b]) => {
        const missing = Number(Number.isNaN(a)) - Number(Number.isNaN(b));
        return missing || (Number.isNaN(a) ? 0 : ascending ? compare(a, b) : compare(b, a));
      });
      body.append(...keyed.map(([, row]) => row));
    }
  }

  for (const table of all("table.sorted")) {
    const heads = all("thead th", table);
    for (const [column, head] of heads.entries()) {
      head.querySelector("button").addEventListener("click", () => {
        const ascending = head.getAttribute("aria-sort") !== "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        sort(table, column, head.dataset.kind, ascending);
        table.dispatchEvent(new Event("sorted"));
      });
    }
  }

  const tools = document.getElementById("question-tools");
  if (tools) {
    const [search, split, verbatim, count] = ["search", "split", "verbatim", "count"].map((id) => document.getElementById(id));
    const rows = [...document.getElementById("questions-table").tBodies[0].rows];
    const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    const showAll = document.getElementById("show-all");
    let limit = 50;
    const filter = () => {
      const rows = [...document.getElementById("questions-table").tBodies[0].rows];
      const wanted = search.value.toLowerCase().trim();
      let shown = 0;
      for (const row of rows) {
        row.hidden = !(texts.get(row).includes(wanted) && (!split.value || row.dataset.split === split.value)
          && (!verbatim?.checked || row.dataset.verbatim));
        shown += row.hidden ? 0 : 1;
        row.classList.toggle("later", shown > limit);
      }
      showAll.hidden = shown <= limit;
      showAll.textContent = `Show all ${shown}`;
      count.textContent = `${shown} of ${rows.length} ${count.dataset.unit}`;
    };
    for (const control of [search, split, verbatim]) control?.addEventListener("input", filter);
    showAll.addEventListener("click", () => { limit = Infinity; filter(); });
    document.getElementById("questions-table").addEventListener("sorted", filter);
    tools.hidden = false;
    filter();
  }

  function download(text, type, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  const data = () => JSON.parse(document.getElementById("report-data").textContent);
  const quoted = (given) => {
    let text = given === null || given === undefined ? "" : String(given);
    if (typeof given === "string" && /^\s*[=+\-@]/.test(text)) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = (rows) => rows.map((row) => row.map(quoted).join(",")).join("\r\n") + "\r\n";
  const tables = {
    "metrics-table": ({ models, metrics }) => [
      ["metric", "better", ...models.flatMap(({ name }) => [name, `${name} low`, `${name} high`])],
      ...metrics.map((one) => [one.name, one.direction,
        ...models.flatMap(({ name }) => one.values[name] ?? [null, null, null])]),
    ],
    "questions-table": ({ models, questions, question_scores: scores }) => [
      ["split", "number", "question", "answer", "score", ...models.flatMap(({ name }) => [name, `${name} answer`])],
      ...questions.map((one) => [one.split, one.index, one.question, one.answer, scores[one.split],
        ...models.flatMap(({ name }) => [one.scores[name], one.given[name]])]),
    ],
  };
  for (const button of all("button.csv")) {
    button.hidden = false;
    button.addEventListener("click", () => download(lines(tables[button.dataset.table](data())), "text/csv", button.dataset.file));
  }
  const json = document.getElementById("download-json");
  json.hidden = false;
  json.addEventListener("click", () => download(document.getElementById("report-data").textContent, "application/json", "report.json"));
})();
