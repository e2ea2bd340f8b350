// The model zoo to look through. All text is set as text, never as HTML: cards come from everybody.
import { button, mark, node } from "./_page.js";
import { inNotebook } from "./_notebook.js";

const TABS = [["card", "Card"], ["versions", "Versions"], ["lineage", "Lineage"], ["try", "Try it"], ["history", "History"]];

function when(iso) {
  const made = node("time");
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  const [size, unit] = [[86400, "day"], [3600, "hour"], [60, "minute"]].find(([each]) => seconds >= each) ?? [1, "second"];
  made.textContent = Number.isFinite(seconds) ? new Intl.RelativeTimeFormat("en").format(-Math.floor(seconds / size), unit) : "";
  made.dateTime = made.title = iso;
  return made;
}

const bytes = (size) => (size < 1e3 ? `${size} bytes` : size < 1e6 ? `${(size / 1e3).toFixed(1)} kB` : `${(size / 1e6).toFixed(1)} MB`);
const number = (value) => String(+value.toPrecision(4));
const metricName = (metric) => `${metric.name}, on ${metric.data}`;

function badges(version) {
  const box = node("span");
  for (const alias of version.aliases) box.append(node("span", `@${alias}`, "badge alias"));
  const stage = node("span", `${version.stage === "approved" ? "✓ " : ""}${version.stage}`, `badge ${version.stage}`);
  if (version.approved_by) stage.title = `approved by ${version.approved_by}`;
  box.append(stage);
  if (version.deprecation) box.append(node("span", "deprecated", "badge deprecated"));
  box.append(node("span", version.card.label, `badge${version.card.label === "public" ? "" : " guarded"}`));
  return box;
}

// --- the list ------------------------------------------------------------------------------------------------------

function listOf(model) {
  const box = node("div", undefined, "list");
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", "models");
  for (const each of model.get("found")) {
    const entry = button(undefined, () => model.send({ command: "look", name: each.name }), `entry-${each.name}`);
    entry.className = "entry";
    entry.setAttribute("aria-pressed", String(model.get("chosen") === each.name));
    entry.append(node("strong", each.card.title), node("code", each.reference), " ", badges(each));
    const [best] = each.card.metrics;
    if (best) entry.append(node("div", `${best.name} ${number(best.value)} ${best.unit} on ${best.data}`));
    box.append(entry);
  }
  if (!model.get("found").length) {
    box.append(node("p", model.get("text")
      ? "No model has all of these words. Try fewer."
      : "The zoo is empty. Register a model with gw.models.register(...)."));
  }
  return box;
}

// --- what is known of one model ----------------------------------------------------------------------------------

function cardOf(version) {
  const box = node("div");
  const card = version.card;
  const table = node("table");
  const row = (name, value) => {
    if (!value || (Array.isArray(value) && !value.length)) return;
    const made = node("tr");
    const head = node("th", name);
    head.scope = "row";
    const cell = node("td");
    for (const each of [value].flat()) cell.append(node("div", each));
    made.append(head, cell);
    table.append(made);
  };
  row("For", card.what_for);
  row("Trained on", card.trained_on);
  row("Datasets", card.datasets.map((each) => [each.identifier, each.version && `version ${each.version}`, each.digest].filter(Boolean).join(" · ")));
  row("Limits", card.limits);
  row("Imitates", card.surrogate_of);
  row("Takes", version.takes);
  row("Gives", version.gives);
  row("Outside", version.domain ? `flagged by a domain fitted to ${version.domain.toLocaleString()} training rows` : "flagged by the ranges of the inputs");
  row("Intervals", version.intervals ? `from ${version.intervals.toLocaleString()} held-out rows` : "");
  row("Licence", card.licence);
  row("Contact", card.contact);
  row("Cite", version.cite);
  box.append(node("h5", "Metrics"));
  if (card.metrics.length) box.append(metricsOf(card.metrics));
  else box.append(node("p", "Its card has no metrics."));
  box.append(node("h5", "About"), table);
  return box;
}

function metricsOf(metrics) {
  const table = node("table");
  const head = node("tr");
  for (const [name, cls] of [["Metric", ""], ["Value", "number"], ["Measured on", ""]]) {
    const cell = node("th", name, cls);
    cell.scope = "col";
    head.append(cell);
  }
  table.append(head);
  for (const metric of metrics) {
    const row = node("tr");
    row.append(node("td", metric.name), node("td", `${number(metric.value)} ${metric.unit}`, "number"), node("td", metric.data));
    table.append(row);
  }
  return table;
}

function versionsOf(detail) {
  const box = node("div");
  const table = node("table", undefined, "versions");
  const { versions } = detail;
  const names = [...new Set(versions.flatMap((each) => each.card.metrics.map(metricName)))];
  const metric = (version, name) => {
    const found = version.card.metrics.find((each) => metricName(each) === name);
    return found ? `${number(found.value)} ${found.unit}` : "not measured";
  };
  const rows = [
    ["Title", (each) => each.card.title],
    ...names.map((name) => [name, (each) => metric(each, name)]),
    ["Trained on", (each) => each.card.trained_on],
    ["Datasets", (each) => each.card.datasets.map((data) => [data.identifier, data.version].filter(Boolean).join(" ")).join("; ") || "none named"],
    ["Takes", (each) => each.takes.join("; ")],
    ["Gives", (each) => each.gives.join("; ")],
    ["Limits", (each) => each.card.limits],
    ["Licence", (each) => each.card.licence],
    ["Format", (each) => `${each.format}, ${bytes(each.size_bytes)}`],
    ["Artifact", (each) => each.artifact.slice(0, 19) + "…"],
  ];
  const head = node("tr");
  head.append(node("th"));
  for (const each of versions) {
    const cell = node("th");
    cell.scope = "col";
    cell.append(node("div", `version ${each.version}`), badges(each), when(each.registered_at));
    head.append(cell);
  }
  const top = node("thead");
  top.append(head);
  const body = node("tbody");
  for (const [name, of] of rows) {
    const values = versions.map(of);
    const row = node("tr", undefined, new Set(values).size > 1 ? "differs" : "");
    const cell = node("th", name);
    cell.scope = "row";
    row.append(cell, ...values.map((value) => node("td", value)));
    body.append(row);
  }
  table.append(top, body);
  box.append(table, node("p", versions.length > 1 ? "Rows that differ are marked." : "There is one version."));
  if (detail.more) box.append(node("p", `${detail.more} older versions are not shown: gw.models.versions(${JSON.stringify(detail.name)}).`));
  return box;
}

// --- lineage -------------------------------------------------------------------------------------------------------

const [WIDE, HIGH, APART, BETWEEN] = [200, 46, 14, 64];
const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function lineageOf(detail) {
  const box = node("div");
  if (!detail.edges.length) {
    box.append(node("p", "Its record does not say where it came from."));
    return box;
  }
  const tall = Math.max(...detail.columns.map((each) => each.length)) * (HIGH + APART);
  const wide = detail.columns.length * (WIDE + BETWEEN) - BETWEEN;
  const svg = mark("svg", { viewBox: `-2 -2 ${wide + 4} ${tall + 4}`, role: "img",
    style: `width: 100%; min-width: ${wide * 0.7}px; max-width: ${wide}px` });
  svg.append(mark("title", {}, `Lineage of ${detail.name}: ${detail.columns.flat().map((each) => `${each.kind} ${each.label}`).join(", ")}`));
  const at = {};
  detail.columns.forEach((column, x) => column.forEach((each, y) => {
    at[each.id] = [x * (WIDE + BETWEEN), (tall - column.length * (HIGH + APART)) / 2 + y * (HIGH + APART)];
  }));
  for (const edge of detail.edges) {
    const [x, y, toX, toY] = [at[edge.start][0] + WIDE, at[edge.start][1] + HIGH / 2, at[edge.end][0], at[edge.end][1] + HIGH / 2];
    const middle = (x + toX) / 2;
    svg.append(mark("path", { d: `M${x} ${y}C${middle} ${y} ${middle} ${toY} ${toX} ${toY}` }));
    svg.append(mark("text", { x: x + 3, y: y - 4, class: "small" }, edge.what));
  }
  for (const each of detail.columns.flat()) {
    const [x, y] = at[each.id];
    const group = mark("g", { class: each.kind });
    group.append(mark("title", {}, `${each.kind} ${each.label} ${each.detail}`));
    group.append(mark("rect", { x, y, width: WIDE, height: HIGH, rx: 6 }));
    group.append(mark("text", { x: x + 9, y: y + 19 }, cut(each.label, 26)));
    group.append(mark("text", { x: x + 9, y: y + 36, class: "small" }, cut(`${each.kind} ${each.detail.replace(/sha256:([0-9a-f]{12})[0-9a-f]*/g, "$1…")}`, 32)));
    svg.append(group);
  }
  box.append(svg);
  return box;
}

// --- a try ---------------------------------------------------------------------------------------------------------

function tryOf(model, version) {
  const box = node("div");
  const tried = model.get("tried");
  const mine = tried.reference === version.reference;
  box.append(node("p", "Runs the model here on the example that came with it, and puts the answers beside the reference."));
  const start = button("Run the example", () => model.send({ command: "try", reference: version.reference }), "run-example");
  start.disabled = Boolean(mine && tried.wait);
  box.append(start);
  if (!mine) return box;
  if (tried.wait) {
    const bar = node("progress");
    bar.setAttribute("aria-label", "loading and running");
    box.append(" Verifying, loading and running … ", bar);
    return box;
  }
  if (tried.fault) {
    box.append(node("p", tried.fault, "fault"));
    return box;
  }
  const table = node("table");
  const head = node("tr");
  for (const each of tried.columns) {
    const cell = node("th", each.unit ? `${each.title} (${each.unit})` : each.title, "number");
    cell.scope = "col";
    head.append(cell);
  }
  table.append(head);
  for (const values of tried.rows) {
    const row = node("tr");
    for (const value of values) row.append(node("td", value, "number"));
    table.append(row);
  }
  const said = Object.entries(tried.off).map(([name, off]) => `${name} is off by at most ${number(off)}`).join("; ");
  box.append(table, node("p", `${tried.ok ? "✓" : "✗"} ${said}; allowed are ${tried.allowed}. ${tried.samples} samples.`));
  return box;
}

function historyOf(detail) {
  const box = node("div");
  if (!detail.history.length) box.append(node("p", "Nothing was moved, approved or deprecated yet."));
  const table = node("table");
  for (const each of [...detail.history].reverse()) {
    const row = node("tr");
    const time = node("td");
    time.append(when(each.when));
    row.append(time, node("td", each.who), node("td", each.line), node("td", each.reason));
    table.append(row);
  }
  box.append(table);
  return box;
}

// The loading line into the notebook, below the cell that shows this; where the page has no notebook, to be pasted.
async function insert(code, view, redraw) {
  try {
    if (!window.jupyterapp) throw new Error("no notebook");
    const book = window.jupyterapp.shell.currentWidget.content;
    book.model.sharedModel.insertCell(book.activeCellIndex + 1, { cell_type: "code", source: code });
    book.activeCellIndex += 1;
    await book.scrollToItem(book.activeCellIndex);
    view.told = "The line is in the cell below.";
  } catch (error) {
    console.warn("the line could not be put into the notebook", error);
    await navigator.clipboard?.writeText(code).catch(() => undefined);
    view.told = `Paste this into a cell: ${code.split("\n")[0]}`;
  }
  redraw();
}

function detailOf(model, view, redraw) {
  const box = node("div", undefined, "detail");
  const detail = model.get("detail");
  if (!detail.name) {
    box.append(node("p", "Choose a model to see its card, its versions side by side and where it came from."));
    return box;
  }
  if (detail.wait) {
    const bar = node("progress");
    bar.setAttribute("aria-label", "reading");
    box.append("Reading … ", bar);
    return box;
  }
  if (detail.fault) {
    box.append(node("p", detail.fault, "fault"));
    return box;
  }
  const version = detail.versions.find((each) => each.stage !== "retired") ?? detail.versions[0];
  const line = node("div", undefined, "line");
  line.append(node("code", version.reference), " ", badges(version), ` registered by ${version.owner} `, when(version.registered_at));
  box.append(node("h4", version.card.title), line);
  if (version.deprecation) box.append(node("div", version.deprecation, "warning"));
  const act = node("div", undefined, "line");
  act.append(button("Insert code", () => insert(version.code, view, redraw), "insert"), " ");
  const told = node("span", view.told);
  told.setAttribute("role", "status");
  act.append(told);
  box.append(act, tabsOf(view, redraw));
  const panel = node("div");
  panel.setAttribute("role", "tabpanel");
  panel.setAttribute("aria-label", TABS.find(([name]) => name === view.tab)[1]);
  panel.tabIndex = 0;
  const make = { card: () => cardOf(version), versions: () => versionsOf(detail), lineage: () => lineageOf(detail), try: () => tryOf(model, version), history: () => historyOf(detail) };
  panel.append(make[view.tab]());
  box.append(panel);
  return box;
}

function tabsOf(view, redraw) {
  const list = node("div");
  list.setAttribute("role", "tablist");
  const choose = (name) => {
    view.tab = name;
    view.focus = `tab-${name}`;
    redraw();
  };
  TABS.forEach(([name, title], at) => {
    const tab = button(title, () => choose(name), `tab-${name}`);
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-selected", String(view.tab === name));
    tab.tabIndex = view.tab === name ? 0 : -1;
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) choose(TABS[(at + step + TABS.length) % TABS.length][0]);
    });
    list.append(tab);
  });
  return list;
}

function draw(parts, model, view) {
  const redraw = () => draw(parts, model, view);
  const root = parts.body;
  const active = view.focus ?? (root.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined);
  view.focus = undefined;
  const scrolled = root.querySelector(".list")?.scrollTop ?? 0;
  const count = model.get("found").length;
  parts.total.textContent = `${count} model${count === 1 ? "" : "s"}${model.get("busy") ? " …" : ""}`;
  parts.note.textContent = model.get("message");
  root.replaceChildren(listOf(model), detailOf(model, view, redraw));
  root.querySelector(".list").scrollTop = scrolled;
  if (active) root.querySelector(`[data-focus='${CSS.escape(active)}']`)?.focus();
}

function render({ model, el }) {
  const root = node("section", undefined, "genesis-zoo");
  root.setAttribute("aria-label", "Model zoo");
  const parts = { body: node("div", undefined, "body"), note: node("div", undefined, "line fault"), total: node("strong") };
  const view = { tab: "card", told: "" };
  const words = node("input");
  words.type = "search";
  words.value = model.get("text");
  words.placeholder = "Search the zoo: band gap, irradiation, surrogate";
  words.setAttribute("aria-label", "Search the zoo");
  let timer;
  words.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => model.send({ command: "search", text: words.value }), 200);
  });
  const ask = node("div", undefined, "ask");
  ask.append(words, parts.total);
  parts.note.setAttribute("role", "status");
  root.append(ask, parts.note, parts.body);
  el.append(root);
  const update = () => draw(parts, model, view);
  const changed = () => {
    view.told = "";
    update();
  };
  model.on("change:found change:tried change:message change:busy", update);
  model.on("change:detail change:chosen", changed);
  update();
  return () => {
    clearTimeout(timer);
    model.off("change:found change:tried change:message change:busy", update);
    model.off("change:detail change:chosen", changed);
  };
}

export default inNotebook(render);
