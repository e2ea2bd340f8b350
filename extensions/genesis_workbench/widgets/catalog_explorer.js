// The catalog to look through. All text is set as text, never as HTML: records come from everywhere.
import { button, mark, node, selectOf } from "./_page.js";
import { inNotebook } from "./_notebook.js";

const FACETS = [["agency", "Agency"], ["field", "Field"], ["format", "Format"], ["licence", "Licence"], ["label", "Access"], ["source", "Source"]];
const FIRST_YEAR = 1900;

// Where there is land, 2 degrees a bit, from 90 north and 180 west on; from the altitudes that come with pvlib.
const LAND = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAHwAf/AAAAAAAAAAAAAAAAAAAAAAAA//////+AAAAADAABAAAAAAAAAAAAAI/+P///4AA+AAAAAA0AAAAAAAAAAAwAr4f///4AAIAAAAAAHAAAAAAAAAAAPivwAf//wAAAAADAAf/4AGAAAAAAAD4338AP//gAAAAAEBD///+DAAAABgAAfw3/gH//gAAAgAEDf///+/9gAAP////59j4H/+AAAP/AB//////////8P//////h+H/gAAAf/z///////////Mf//////n8D8A+AA+/P///////////AP/////4A8B4AAAD5/////////////Af/////gHgA4AAAP5///////////PwAHgH///gH0AAAAAH4/////////+AMAABAD///4D+AAAAGCx/////////4A8AAAAB////n/gAAAODj/////////wA4AAAAAf///v/wAAAbH///////////AwAAAAAP/////wAAADf//////////9AAAAAAAH////8YAAAB///////////9AAAAAAAD////8AAAAB///////////4AAAAAAAD////+AAAAB/f4fP//////wAAAAAAAD////gAAAAPxvwPP//////jAAAAAAAD////AAAAAPiT//v/////+CAAAAAAAD///+AAAAAfADf/n////+MCAAAAAAAB///8AAAAAOGAP/n/////mEAAAAAAAA///8AAAAAH+AA///////E8AAAAAAAAf//wAAAAAP/AA///////hAAAAAAAAAP//gAAAAAf/7////////gAAAAAAAAAH/AwAAAAAf////f/////gAAAAAAAAAF+AQAAAAB///+/n/////AAAAAAAAAAC+AAAAAAD////f0H////AAAAAAAAAAAeAQAAAAD////f/D///8gAAAAAAAAAAeEEAAAAD////v+B/z/AAAAAAAAAAAAPMBgAAAD////n+A/B+gAAAAAAAAAAAD8AAAAAD////34AeB/AgAAAAAAAAAAAPAAAAAD////3gAcAfAgAAAAAAAAAAADAAAAAD////+AAcAfgQAAAAAAAAAAABBwAAAD////9wAMATAYAAAAAAAAAAAAj/AAAB/////gAIAQAIAAAAAAAAAAAAH/gAAA/////gACAIAIAAAAAAAAAAAAH/8AAAYH///AAAAsGAAAAAAAAAAAAAH/+AAAAB//+AAAAUOAAAAAAAAAAAAAP/+AAAAB//8AAAAceAAAAAAAAAAAAAP//gAAAB//4AAAAMeggAAAAAAAAAAAP//8AAAB//wAAAAGcg+AAAAAAAAAAAf///AAAA//wAAAACAAPgAAAAAAAAAAP///gAAA//wAAAABwAHwAAAAAAAAAAH///AAAAf/wAAAAAAIBQAAAAAAAAAAH///AAAAf/wAAAAAAAAAAAAAAAAAAAD//+AAAA//wgAAAAABxAAAAAAAAAAAD//+AAAA//wgAAAAAPxgAAAAAAAAAAA//8AAAA//jgAAAAAf/gAAAAAAAAAAAf/8AAAA//DgAAAAAf/gAAAAAAAAAAAf/8AAAAf/DAAAAAD//4AAAAAAAAAAAf/4AAAAf/DAAAAAH//4AAAAAAAAAAAf/AAAAAf+CAAAAAH//8AAAAAAAAAAAf/AAAAAP8AAAAAAH//+AAAAAAAAAAA/+AAAAAP8AAAAAAH//+AAAAAAAAAAA/+AAAAAH4AAAAAAD//+AAAAAAAAAAA/8AAAAAHwAAAAAADwf8AAAAAAAAAAA/4AAAAAAAAAAAAACAH4AAAAAAAAAAB/wAAAAAAAAAAAAAAAD4AEAAAAAAAAB/AAAAAAAAAAAAAAAAAAAGAAAAAAAAB+AAAAAAAAAAAAAAAAAQAIAAAAAAAAB8AAAAAAAAAAAAAAAAAQAYAAAAAAAAB4AAAAAAAAAAAAAAAAAAAwAAAAAAAAD4AAAAAAAAAAAAAAAAAAAAAAAAAAAADwAAAAAAAAAAAAAAAAAAAAAAAAAAAADwAAAAAAAAAAAAAAAAAAAAAAAAAAAABwAAAAAAAAAAAAAAAAAAAAAAAAAAAAA4AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAADAAAAAAAAAAAAAAAAAAAAAAAAAAAAAOAAAAAAAAA+AA//8//AAAAAAAAAAAAuAAAAAAADP/+H//5/3xAAAAAAAAAAB/AAAAf//////////////AAAAAAAH+P/AAAP///////////////gAAAH//3///AAB///////////////8AAAP///////+AP///////////////8A//////////////////////////////////////////////////////////////////////////////////////////AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

// Text with the parts that were looked for. The positions count characters, not UTF-16 units.
function marked(tag, text, ranges) {
  const made = node(tag);
  const letters = Array.from(text);
  let at = 0;
  for (const [start, end] of ranges ?? []) {
    if (start < at || end > letters.length) continue;
    made.append(letters.slice(at, start).join(""), node("mark", letters.slice(start, end).join("")));
    at = end;
  }
  made.append(letters.slice(at).join(""));
  return made;
}

const color = (name, other) => getComputedStyle(document.body).getPropertyValue(name).trim() || other;

// --- the map -----------------------------------------------------------------------------------------------------

function drawMap(canvas, bbox, hits) {
  const pen = canvas.getContext("2d");
  const [wide, high] = [canvas.width, canvas.height];
  pen.fillStyle = color("--jp-layout-color2", "#eee");
  pen.fillRect(0, 0, wide, high);
  pen.fillStyle = color("--jp-border-color1", "#999");
  const bits = Uint8Array.from(atob(LAND), (letter) => letter.charCodeAt(0));
  const [dx, dy] = [wide / 180, high / 90];
  for (let at = 0; at < 180 * 90; at++)
    if (bits[at >> 3] & (128 >> (at & 7))) pen.fillRect((at % 180) * dx, Math.floor(at / 180) * dy, dx + 0.5, dy + 0.5);
  pen.strokeStyle = color("--jp-brand-color1", "#1565c0");
  pen.globalAlpha = 0.45;
  for (const box of hits) for (const part of parts(box)) pen.strokeRect(...onMap(part, wide, high));
  pen.globalAlpha = 1;
  if (!bbox) return;
  pen.lineWidth = 2;
  pen.strokeStyle = color("--jp-warn-color0", "#8a5300");
  for (const part of parts(bbox)) pen.strokeRect(...onMap(part, wide, high));
  pen.lineWidth = 1;
}

// A box over the date line is two boxes on the map.
function parts([west, south, east, north]) {
  return west <= east ? [[west, south, east, north]] : [[west, south, 180, north], [-180, south, east, north]];
}

function onMap([west, south, east, north], wide, high) {
  return [((west + 180) / 360) * wide, ((90 - north) / 180) * high, ((east - west) / 360) * wide, ((north - south) / 180) * high];
}

function mapOf(asked, hits, change) {
  const box = node("div");
  box.append(node("h5", "Where"));
  const canvas = node("canvas", undefined, "map");
  [canvas.width, canvas.height] = [248, 124];
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Map of the hits; drag to choose a box, or type its edges below");
  drawMap(canvas, asked.bbox, hits);
  const place = (event) => {
    const edge = canvas.getBoundingClientRect();
    const clip = (value, most) => Math.max(0, Math.min(most, value));
    return [clip(((event.clientX - edge.left) / edge.width) * 360, 360) - 180, 90 - clip(((event.clientY - edge.top) / edge.height) * 180, 180)];
  };
  let begun = null;
  const between = (event) => {
    const [x, y] = place(event);
    const round = (value) => Math.round(value * 10) / 10;
    return [Math.min(begun[0], x), Math.min(begun[1], y), Math.max(begun[0], x), Math.max(begun[1], y)].map(round);
  };
  canvas.addEventListener("pointerdown", (event) => {
    begun = place(event);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => begun && drawMap(canvas, between(event), hits));
  canvas.addEventListener("pointerup", (event) => {
    const made = between(event);
    begun = null;
    change({ bbox: made[2] - made[0] > 1 && made[3] - made[1] > 1 ? made : undefined });
  });
  box.append(canvas);
  const edges = node("div", undefined, "line");
  ["west", "south", "east", "north"].forEach((name, number) => {
    const field = node("input", undefined, "number");
    field.type = "number";
    field.setAttribute("aria-label", `${name}, degrees`);
    field.placeholder = name;
    field.dataset.focus = name;
    field.value = asked.bbox ? asked.bbox[number] : "";
    field.addEventListener("change", () => {
      const values = [...edges.querySelectorAll("input")].map((each) => each.value);
      if (values.every((each) => each !== "")) change({ bbox: values.map(Number) });
      else if (values.every((each) => each === "")) change({ bbox: undefined });
    });
    edges.append(field);
  });
  box.append(edges);
  if (asked.bbox) box.append(button("Anywhere", () => change({ bbox: undefined }), "anywhere"));
  return box;
}

// --- the time ----------------------------------------------------------------------------------------------------

// Which time the data cover.
function timeOf(asked, change) {
  const box = node("div");
  box.append(node("h5", "When"));
  const fields = node("div", undefined, "line");
  ["from", "to"].forEach((name, number) => {
    const field = node("input", undefined, "number");
    field.placeholder = name;
    field.setAttribute("aria-label", `data ${name}, a date such as 2010 or 2010-06-30`);
    field.dataset.focus = `time-${name}`;
    field.value = asked.period?.[number] ?? "";
    field.addEventListener("change", () => {
      const values = [...fields.querySelectorAll("input")].map((each) => each.value.trim());
      change({ period: values.some(Boolean) ? values.map((each) => each || null) : undefined });
    });
    fields.append(field, " ");
  });
  if (asked.period) fields.append(button("Any time", () => change({ period: undefined }), "any-time"));
  box.append(fields);
  return box;
}

// In which year the records last changed: what a bar counts is what a click on it leaves.
function changedOf(asked, years, change) {
  const box = node("div");
  box.append(node("h5", "Last changed"));
  const last = new Date().getFullYear();
  const counted = Object.entries(years).map(([year, count]) => [+year, count]).filter(([year]) => year >= FIRST_YEAR && year <= last);
  const first = Math.min(last - 20, ...counted.map(([year]) => year));
  const [wide, high] = [248, 54];
  const apart = wide / (last + 1 - first);
  const svg = mark("svg", { viewBox: `0 0 ${wide} ${high}`, class: "years", role: "img" });
  svg.append(mark("title", {}, "Records by the year in which they last changed; click a bar for those alone, or type the year below"));
  const most = Math.max(1, ...counted.map(([, count]) => count));
  const choose = (year) => change({ year: +asked.year === year ? undefined : year });
  for (const [year, count] of counted) {
    const tall = 4 + (count / most) * 34;
    const bar = mark("g", { "data-year": year });
    bar.append(mark("title", {}, `${count} last changed in ${year}`));
    // The whole height takes the click: a bar of one record is low.
    bar.append(mark("rect", { class: "room", x: (year - first) * apart, y: 0, width: apart, height: 40 }));
    bar.append(mark("rect", { class: +asked.year === year ? "in" : "", x: (year - first) * apart, y: 40 - tall, width: Math.max(1.5, apart - 1), height: tall }));
    bar.addEventListener("click", () => choose(year));
    svg.append(bar);
  }
  svg.append(mark("text", { x: 0, y: 52 }, String(first)), mark("text", { x: wide, y: 52, "text-anchor": "end" }, String(last)));
  const fields = node("div", undefined, "line");
  const field = node("input", undefined, "number");
  field.placeholder = "year";
  field.setAttribute("aria-label", "year in which the record last changed");
  field.dataset.focus = "year";
  field.value = asked.year ?? "";
  field.addEventListener("change", () => change({ year: field.value.trim() || undefined }));
  fields.append(field, " ");
  if (asked.year) fields.append(button("Any year", () => change({ year: undefined }), "any-year"));
  box.append(svg, fields);
  return box;
}

// --- facets and sources --------------------------------------------------------------------------------------------

function facetsOf(asked, facets, change) {
  const box = node("div");
  for (const [name, title] of FACETS) {
    const values = Object.entries(facets[name] ?? {}).sort((a, b) => b[1] - a[1]);
    if (asked[name] && !values.some(([value]) => value === asked[name])) values.unshift([asked[name], 0]);
    if (values.length < 2 && !asked[name]) continue;
    box.append(node("h5", title));
    for (const [value, count] of values.slice(0, 6)) {
      const made = button(undefined, () => change({ [name]: asked[name] === value ? undefined : value }), `${name}-${value}`);
      made.className = "facet";
      made.title = value;
      made.setAttribute("aria-pressed", String(asked[name] === value));
      made.append(node("span", value), node("span", count.toLocaleString(), "count"));
      box.append(made);
    }
  }
  return box;
}

function sourcesOf(sources) {
  const box = node("details");
  const well = sources.filter((each) => each.state === "fresh").length;
  box.append(node("summary", `${well} of ${sources.length} sources fresh`));
  const list = node("table");
  for (const each of sources) {
    const row = node("tr");
    row.append(node("td", each.title));
    const state = node("td", each.line, each.state === "fresh" ? "" : "stale");
    state.title = each.since;
    row.append(state, node("td", `${each.records.toLocaleString()} records${each.rejected ? `, ${each.rejected.toLocaleString()} could not be read` : ""}`), node("td", each.reason));
    list.append(row);
  }
  box.append(list);
  return box;
}

// --- a look into the data ----------------------------------------------------------------------------------------

function line(values, title, unit) {
  const svg = mark("svg", { viewBox: "0 0 600 130", role: "img", style: "width:600px" });
  svg.append(mark("title", {}, title ?? "values"));
  const there = values.filter((each) => each !== null);
  const [low, high] = [Math.min(...there), Math.max(...there)];
  const points = values.map((each, at) => (each === null ? null : `${60 + (at / Math.max(values.length - 1, 1)) * 530},${110 - ((each - low) / (high - low || 1)) * 90}`));
  svg.append(mark("polyline", { points: points.filter(Boolean).join(" "), fill: "none", stroke: color("--jp-brand-color1", "#1565c0"), "stroke-width": 1.5 }));
  svg.append(mark("text", { x: 0, y: 22 }, String(+high.toPrecision(4))), mark("text", { x: 0, y: 112 }, String(+low.toPrecision(4))));
  svg.append(mark("text", { x: 60, y: 10 }, `${title ?? ""} ${unit ? `(${unit})` : ""}`));
  return svg;
}

// Viridis in five steps: readable for everybody, and in grey too.
const SCALE = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

function picture(values, aspect) {
  const canvas = node("canvas");
  [canvas.width, canvas.height] = [values[0].length, values.length];
  // As wide to high as the data are, within what fits.
  const wide = Math.min(560, 420 / aspect);
  [canvas.style.width, canvas.style.height] = [`${wide}px`, `${Math.max(wide * aspect, 24)}px`];
  canvas.style.imageRendering = "pixelated";
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(canvas.width, canvas.height);
  const there = values.flat().filter((each) => each !== null);
  const low = there.reduce((a, b) => Math.min(a, b), Infinity);
  const high = there.reduce((a, b) => Math.max(a, b), -Infinity);
  values.flat().forEach((value, at) => {
    if (value === null) return;
    const place = ((value - low) / (high - low || 1)) * (SCALE.length - 1);
    const [a, b] = [SCALE[Math.floor(place)], SCALE[Math.min(SCALE.length - 1, Math.floor(place) + 1)]];
    const part = place - Math.floor(place);
    for (let each = 0; each < 3; each++) image.data[at * 4 + each] = a[each] + (b[each] - a[each]) * part;
    image.data[at * 4 + 3] = 255;
  });
  pen.putImageData(image, 0, 0);
  return [canvas, low, high];
}

function lookOf(looked) {
  const box = node("div", undefined, "looked");
  if (looked.kind === "wait") {
    const bar = node("progress");
    bar.setAttribute("aria-label", "opening");
    box.append("Opening, and reading a little of it … ", bar);
    return box;
  }
  if (looked.kind === "error") {
    box.append(node("div", looked.words, "fault"));
    return box;
  }
  if (looked.about) box.append(node("div", looked.about, "facts"));
  if (looked.kind === "image") {
    const [canvas, low, high] = picture(looked.values, looked.aspect);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${looked.title}: ${looked.axes.join(" by ")}`);
    box.append(canvas, node("div", `${looked.title}: ${+low.toPrecision(4)} to ${+high.toPrecision(4)}${looked.unit ? ` ${looked.unit}` : ""}; ${looked.axes.join(" by ")}${looked.at ? `; ${looked.at}` : ""}`));
  } else if (looked.kind === "line") box.append(line(looked.values, `${looked.title} over ${looked.axis}`, looked.unit));
  else if (looked.kind === "rows") {
    if (looked.line) box.append(line(looked.line, looked.title));
    const table = node("table");
    const head = node("tr");
    for (const name of looked.columns) {
      const cell = node("th", name);
      cell.scope = "col";
      head.append(cell);
    }
    table.append(head);
    for (const values of looked.rows) {
      const row = node("tr");
      for (const value of values) row.append(node("td", value));
      table.append(row);
    }
    box.append(table);
  } else box.append(node("pre", looked.words));
  return box;
}

// --- hits ----------------------------------------------------------------------------------------------------------

// The opening line into the notebook, below the cell that shows this; where the page has no notebook, to be pasted.
async function insert(id, view, redraw) {
  const code = `data = gw.open(${JSON.stringify(id)})\ndata`;
  const app = window.jupyterapp;
  view.inserted = { id };
  try {
    if (!app) throw new Error("no notebook");
    const book = app.shell.currentWidget.content;
    book.model.sharedModel.insertCell(book.activeCellIndex + 1, { cell_type: "code", source: code });
    book.activeCellIndex += 1;
    await book.scrollToItem(book.activeCellIndex);
    view.inserted.words = "The line is in the cell below.";
  } catch (error) {
    console.warn("the line could not be put into the notebook", error);
    await navigator.clipboard?.writeText(code).catch(() => undefined);
    view.inserted.words = `Paste this into a cell: ${code.split("\n")[0]}`;
  }
  redraw();
}

function hitOf(model, hit, view, sources, redraw) {
  const box = node("article", undefined, "hit");
  box.append(marked("h5", hit.title, hit.highlights.title));
  const facts = node("div", undefined, "facts");
  facts.append(node("span", hit.openable ? "opens here" : "see its page", `badge${hit.openable ? " opens" : ""}`));
  facts.append(node("span", hit.label, `badge${hit.label === "public" ? "" : " guarded"}`));
  const source = sources.find((each) => each.name === hit.source);
  const words = [hit.agency, source?.title ?? hit.source, source?.line, hit.licence || "licence not stated", hit.formats.join(", "), hit.access];
  facts.append(words.filter(Boolean).join(" · "));
  box.append(facts);
  if (hit.description) {
    const long = hit.description.length > 240 && !view.open[hit.id];
    box.append(marked("p", long ? `${Array.from(hit.description).slice(0, 240).join("")} …` : hit.description, long ? (hit.highlights.description ?? []).filter(([, end]) => end <= 240) : hit.highlights.description));
  }
  const line = node("div", undefined, "line");
  line.append(node("code", hit.id), " ");
  if (hit.openable) {
    line.append(button("Look", () => model.send({ command: "look", id: hit.id }), `look-${hit.id}`), " ");
    line.append(button("Insert code", () => insert(hit.id, view, redraw), `insert-${hit.id}`), " ");
  }
  if (hit.description.length > 240) line.append(button(view.open[hit.id] ? "Less" : "More", () => { view.open[hit.id] = !view.open[hit.id]; redraw(); }, `more-${hit.id}`), " ");
  if (/^https?:\/\//.test(hit.landing_page)) {
    const link = node("a", "its page");
    link.href = hit.landing_page;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    line.append(link);
  }
  if (hit.places.length) line.append(` also listed by ${hit.places.map((each) => each.agency || each.source).join(", ")}`);
  box.append(line);
  if (view.inserted?.id === hit.id && view.inserted.words) {
    const told = node("div", view.inserted.words);
    told.setAttribute("role", "status");
    box.append(told);
  }
  const looked = model.get("looked");
  if (looked.id === hit.id) box.append(lookOf(looked));
  return box;
}

function hitsOf(model, result, view, redraw) {
  const box = node("div", undefined, "hits");
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", "datasets");
  for (const hit of result.items) box.append(hitOf(model, hit, view, result.sources, redraw));
  if (!result.items.length) box.append(node("p", "Nothing found. Try fewer words, another place or time, or take a facet away."));
  if (result.more) box.append(button("More hits", () => model.send({ command: "more" }), "more"));
  return box;
}

function draw(parts, model, view, change) {
  const result = model.get("result");
  const fault = model.get("message");
  parts.note.replaceChildren(fault || (result.note ?? ""));
  parts.note.className = `line${fault ? " fault" : ""}`;
  if (fault && model.get("passing")) parts.note.append(" ", button("Try again", () => change({})));
  if (!result.items) return;
  const asked = model.get("asked");
  const redraw = () => draw(parts, model, view, change);
  const root = parts.body;
  const active = root.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  const scrolled = root.querySelector(".hits")?.scrollTop ?? 0;
  const sameSearch = view.shown === JSON.stringify(asked);
  view.shown = JSON.stringify(asked);
  parts.total.textContent = `${result.total.toLocaleString()} dataset${result.total === 1 ? "" : "s"}${model.get("busy") ? " …" : ""}`;
  parts.meaning.hidden = !result.by_meaning;
  const side = node("div", undefined, "side");
  const boxes = result.items.map((hit) => hit.spatial).filter((box) => box && !(box[0] <= -179 && box[2] >= 179));
  side.append(mapOf(asked, boxes, change), timeOf(asked, change), changedOf(asked, result.facets.year ?? {}, change), facetsOf(asked, result.facets, change));
  const main = node("div");
  main.append(hitsOf(model, result, view, redraw), sourcesOf(result.sources));
  const opened = root.querySelector("details")?.open;
  root.replaceChildren(side, main);
  root.querySelector("details").open = Boolean(opened);
  if (sameSearch) root.querySelector(".hits").scrollTo(0, scrolled);
  if (active) root.querySelector(`[data-focus='${CSS.escape(active)}']`)?.focus();
}

function render({ model, el }) {
  const root = node("section", undefined, "genesis-catalog");
  const parts = { body: node("div", undefined, "body"), note: node("div", undefined, "line"), total: node("strong") };
  const view = { open: {} };
  const near = node("input");
  near.type = "checkbox";
  near.checked = model.get("asked").by_meaning === true;
  parts.meaning = node("label");
  parts.meaning.hidden = true;
  parts.meaning.title = "Look for keywords that are near in meaning too; the line below names them";
  parts.meaning.append(near, " by meaning");
  const ask = node("div", undefined, "ask");
  const words = node("input");
  words.type = "search";
  words.value = model.get("asked").text ?? "";
  words.placeholder = 'Search every source: sea ice, "solar wind", agency:energy, -snow';
  words.setAttribute("aria-label", "Search every source");
  const orders = [["relevance", "best first"], ["newest", "newest first"], ["title", "by title"]];
  const sort = selectOf(orders, model.get("asked").sort ?? "relevance", (order) => change({ sort: order }));
  sort.setAttribute("aria-label", "Order");
  const change = (changed) => {
    const asked = { ...model.get("asked"), ...changed };
    for (const name of Object.keys(asked)) if (asked[name] === undefined) delete asked[name];
    model.send({ command: "search", asked });
  };
  let timer;
  words.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => change({ text: words.value }), 200);
  });
  near.addEventListener("change", () => change({ by_meaning: near.checked || undefined }));
  ask.append(words, parts.meaning, sort, parts.total);
  parts.note.setAttribute("role", "status");
  root.append(ask, parts.note, parts.body);
  el.append(root);
  const update = () => draw(parts, model, view, change);
  model.on("change:result change:looked change:message change:passing change:busy", update);
  update();
  return () => {
    clearTimeout(timer);
    model.off("change:result change:looked change:message change:passing change:busy", update);
  };
}

export default inNotebook(render);
