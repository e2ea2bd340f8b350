// A Dask cluster as it is now. All text is set as text, never as HTML: names and reasons come from elsewhere.
import { mark, node } from "./_page.js";
import { inNotebook } from "./_notebook.js";

function bytes(value) {
  return value >= 2 ** 30 ? `${(value / 2 ** 30).toFixed(1)} GiB` : `${Math.round(value / 2 ** 20)} MiB`;
}

function seconds(value) {
  if (value < 120) return `${Math.round(value)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  return `${(value / 3600).toFixed(1)} h`;
}

function gauge(label, value, most, words, cls) {
  const box = node("div", undefined, cls);
  const bar = node("progress");
  bar.max = most || 1;
  bar.value = Math.min(value, most);
  bar.setAttribute("aria-label", label);
  box.append(node("div", words, "line"), bar);
  return box;
}

// Workers as a line, tasks left as an area, over the time that was watched.
function chart(history) {
  const svg = mark("svg", { viewBox: "0 0 800 96", role: "img", preserveAspectRatio: "none" });
  const [first, last] = [history[0][0], history.at(-1)[0]];
  const most = Math.max(1, ...history.map((point) => point[1]));
  const tasks = Math.max(1, ...history.map((point) => point[2]));
  const x = (time) => 4 + ((time - first) / Math.max(last - first, 1)) * 792;
  svg.append(mark("title", {}, `Workers (line, at most ${most}) and tasks left (area, at most ${tasks}) over ${seconds(last - first)}`));
  const area = history.map((point) => `L${x(point[0])},${78 - (point[2] / tasks) * 60}`).join("");
  svg.append(mark("path", { class: "load", d: `M${x(first)},78${area}L${x(last)},78Z` }));
  const line = history.map((point, number) => `${number ? "L" : "M"}${x(point[0])},${78 - (point[1] / most) * 60}`).join("");
  svg.append(mark("path", { class: "strength", d: line }));
  svg.append(mark("line", { class: "axis", x1: 4, y1: 78, x2: 796, y2: 78 }));
  svg.append(mark("text", { x: 4, y: 12 }, `workers (line, up to ${most}) and tasks left (area, up to ${tasks})`));
  svg.append(mark("text", { x: 4, y: 92 }, `${seconds(last - first)} ago`), mark("text", { x: 796, y: 92, "text-anchor": "end" }, "now"));
  return svg;
}

const COLUMNS = [
  ["Worker", "name", (row) => row.name],
  ["State", "state", (row) => row.state],
  ["Machine", "host", (row) => row.host],
  ["CPU", "cpu_percent", (row) => (row.threads ? `${Math.round(row.cpu_percent)} %` : ""), "number"],
  ["Memory", "memory_bytes", (row) => (row.memory_limit_bytes ? `${bytes(row.memory_bytes)} of ${bytes(row.memory_limit_bytes)}` : ""), "number"],
  ["Tasks", "tasks", (row) => (row.threads ? String(row.tasks) : ""), "number"],
  ["Ends in", "ends_in_s", (row) => (row.ends_in_s === null ? "" : seconds(row.ends_in_s)), "number"],
  ["Why it waits", "position", (row) => (row.position ? `place ${row.position}: ` : "") + row.reason, "words"],
];

function table(workers, view, redraw) {
  const box = node("div", undefined, "rows");
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", "workers");
  if (!workers.length) {
    box.append(node("div", "No workers now. Work that is sent, or a number of workers set below, brings some.", "line"));
    return box;
  }
  const made = node("table");
  const head = node("tr");
  for (const [title, key, , cls] of COLUMNS) {
    const cell = node("th", undefined, cls === "number" ? cls : undefined);
    cell.scope = "col";
    const sort = node("button", title + (view.key === key ? (view.down ? " ▾" : " ▴") : ""));
    sort.dataset.focus = `sort-${key}`;
    sort.addEventListener("click", () => {
      view.down = view.key === key ? !view.down : false;
      view.key = key;
      redraw();
    });
    if (view.key === key) cell.setAttribute("aria-sort", view.down ? "descending" : "ascending");
    cell.append(sort);
    head.append(cell);
  }
  made.append(head);
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a ?? "").localeCompare(String(b ?? ""), undefined, { numeric: true }));
  const sorted = [...workers].sort((a, b) => compare(a[view.key], b[view.key]) * (view.down ? -1 : 1));
  for (const row of sorted.slice(0, 300)) {
    const line = node("tr");
    for (const [, , words, cls] of COLUMNS) line.append(node("td", words(row), cls));
    made.append(line);
  }
  box.append(made);
  return box;
}

function waiting(workers) {
  const those = workers.filter((worker) => worker.state === "waiting");
  if (!those.length) return null;
  const first = those.find((worker) => worker.position) ?? those[0];
  const place = first.position ? `, place ${first.position} in the queue` : "";
  return node("div", `${those.length} ${those.length > 1 ? "workers wait" : "worker waits"}${place}. ${first.reason}`, "line waits");
}

function controls(model, view, status, redraw) {
  const form = node("form");
  const fields = {};
  for (const [name, label] of [["minimum", "Workers from"], ["maximum", "to"]]) {
    const field = node("input");
    field.type = "number";
    field.min = 0;
    field.value = view[name] ?? status[name];
    field.dataset.focus = name;
    field.addEventListener("input", () => (view[name] = field.value));
    const tag = node("label", `${label} `);
    tag.append(field);
    fields[name] = field;
    form.append(tag);
  }
  const set = node("button", "Set");
  set.dataset.focus = "set";
  form.append(set);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [minimum, maximum] = [fields.minimum.valueAsNumber, fields.maximum.valueAsNumber];
    view.minimum = view.maximum = undefined;
    model.send({ command: "scale", minimum, maximum });
  });
  // Ending work takes a second click: what runs is lost.
  const stop = node("button", view.sure ? "Stop all workers: yes, what runs now is lost" : "Stop all workers", view.sure ? "sure" : undefined);
  stop.type = "button";
  stop.dataset.focus = "stop";
  stop.addEventListener("click", () => {
    if (view.sure) model.send({ command: "stop" });
    view.sure = !view.sure;
    clearTimeout(view.timer);
    view.timer = setTimeout(() => {
      view.sure = false;
      redraw();
    }, 8000);
    redraw();
  });
  form.append(stop);
  return form;
}

function draw(root, model, view) {
  const status = model.get("status");
  if (!status.name) return;
  const redraw = () => draw(root, model, view);
  const active = root.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  const scrolled = root.querySelector(".rows")?.scrollTop ?? 0;
  const working = status.workers.filter((worker) => worker.state === "working");
  const parts = [];

  const header = node("header");
  header.append(node("h4", `Dask cluster ${status.name}`));
  header.append(node("span", status.closed ? "closed" : `${working.length} of ${status.maximum} workers`, "badge strength-now"));
  header.append(node("span", status.scheduler === "local" ? "this machine" : status.scheduler, "badge"));
  if (status.attached) header.append(node("span", "attached", "badge"));
  if (status.released) header.append(node("span", "idle: workers given back", "badge"));
  if (!status.closed) {
    const link = node("a", "Dask's dashboard");
    link.href = model.get("dashboard");
    link.target = "_blank";
    link.rel = "noopener";
    header.append(link);
  }
  parts.push(header);

  const { done, failed, left } = status.work;
  const gauges = node("div", undefined, "gauges");
  const counts = done + left ? `${done.toLocaleString()} of ${(done + left).toLocaleString()} tasks done${failed ? `, ${failed} failed` : ""}` : "No work yet";
  gauges.append(gauge("tasks done", done, done + left, counts, "tasks"));
  const used = working.reduce((sum, worker) => sum + worker.memory_bytes, 0);
  const most = working.reduce((sum, worker) => sum + worker.memory_limit_bytes, 0);
  gauges.append(gauge("memory used", used, most, most ? `${bytes(used)} of ${bytes(most)} of memory` : "No memory yet", "memory"));
  parts.push(gauges);

  const waits = waiting(status.workers);
  if (waits) parts.push(waits);
  for (const words of new Set([model.get("message"), status.trouble, status.refusal].filter(Boolean))) {
    const fault = node("div", words, "line fault");
    fault.setAttribute("role", "alert");
    parts.push(fault);
  }
  const history = model.get("history");
  if (history.length > 1) parts.push(chart(history));
  if (!status.closed) parts.push(table(status.workers, view, redraw));
  // The form stays where it is while nothing in it changes: a button that is replaced under the pointer loses the click.
  const shown = JSON.stringify([status.closed, view.sure, status.minimum, status.maximum]);
  if (view.form?.isConnected && view.shown === shown) {
    for (const old of [...root.children]) if (old !== view.form) old.remove();
    view.form.before(...parts);
  } else {
    view.form = status.closed ? undefined : controls(model, view, status, redraw);
    view.shown = shown;
    root.replaceChildren(...parts, ...(view.form ? [view.form] : []));
  }
  root.querySelector(".rows")?.scrollTo(0, scrolled);
  if (active) root.querySelector(`[data-focus='${active}']`)?.focus();
}

function render({ model, el }) {
  const root = node("section", undefined, "genesis-compute");
  root.setAttribute("aria-live", "off");
  el.append(root);
  const view = { key: "name", down: false };
  const update = () => draw(root, model, view);
  model.on("change:status change:message", update);
  update();
  return () => {
    clearTimeout(view.timer);
    model.off("change:status change:message", update);
  };
}

export default inNotebook(render);
