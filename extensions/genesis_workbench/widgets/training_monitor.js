// Follow a training run: what was reached, how fast, at what cost, and where it goes on from. The engine decides; this page asks and shows.
import { ago, badge, box, button, mark, node, redraw, selectOf, short } from "./_page.js";
import { WIDE, axes, frame, range } from "./_axes.js";
import { inNotebook } from "./_notebook.js";

const hours = (value) => `${short(value)} node-hour${value === 1 ? "" : "s"}`;

function span(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

// --- what is drawn --------------------------------------------------------------------------------------------------

function path(points, x, y, cls) {
  return mark("path", { class: cls, d: points.map(([step, value], place) => `${place ? "L" : "M"}${x(step)},${y(value)}`).join("") });
}

function plot(title, words, series, { checkpoints = [], log = false, from }) {
  const shown = series.filter(({ points }) => points.length);
  if (!shown.length) return null;
  const values = shown.flatMap(({ points }) => points.map(([, value]) => value));
  const curved = log && values.every((value) => value > 0);
  const ends = range(from === undefined ? values : [from, ...values]);
  const [low, high] = curved ? ends.map(Math.log) : ends;
  const place = { left: 72, right: 704, top: 30, bottom: 164 };
  const most = Math.max(...shown.map(({ points }) => points.at(-1)[0]), 1);
  const x = (step) => place.left + (step / most) * (place.right - place.left);
  const y = (value) => place.bottom - (((curved ? Math.log(value) : value) - low) / (high - low)) * (place.bottom - place.top);
  const svg = frame(190, title);
  axes(svg, place, ends, curved ? `${words}, logarithmic` : words);
  svg.append(mark("text", { x: place.left, y: 184 }, "0"), mark("text", { x: place.right, y: 184, "text-anchor": "end" }, `step ${most.toLocaleString("en")}`));
  for (const each of checkpoints) {
    const tick = mark("line", { class: "checkpoint", x1: x(each.step), x2: x(each.step), y1: place.bottom - 7, y2: place.bottom });
    tick.append(mark("title", {}, `Checkpoint of step ${each.step}, ${each.time}`));
    svg.append(tick);
  }
  shown.forEach(({ name, points }, row) => {
    svg.append(path(points, x, y, name));
    const [step, value] = points.at(-1);
    const end = mark("circle", { class: name, cx: x(step), cy: y(value), r: 3.5 });
    end.append(mark("title", {}, `${name}: ${short(value)} at step ${step}`));
    svg.append(end, mark("text", { class: `key ${name}`, x: WIDE - 16, y: 16 + 18 * row, "text-anchor": "end" }, `${name} ${short(value)}`));
  });
  return svg;
}

function plots(run, curves) {
  const drawn = [
    plot(`Training and validation loss of ${run.name} over steps`, "loss", [{ name: "training", points: curves.training ?? [] }, { name: "validation", points: curves.validation ?? [] }], { checkpoints: run.checkpoints, log: true }),
    plot(`Samples a second of ${run.name} over steps`, "samples a second", [{ name: "speed", points: curves.samples_per_s ?? [] }], { from: 0 }),
  ].filter(Boolean);
  return drawn.length ? box("plots", ...drawn) : box("plots", node("p", "Nothing was measured yet. The curves begin with the first steps.", "small"));
}

// --- words ----------------------------------------------------------------------------------------------------------

function head(run) {
  const ended = run.ended && run.ended !== "finished" ? `: ${run.ended}` : "";
  const header = node("header");
  header.append(node("h4", run.name), badge(`${run.state}${ended}`, `state ${run.state}`), badge(`recipe ${run.recipe}`));
  if (run.data.length) header.append(badge(run.data.join(", "), "data", "trained on"));
  if (run.label !== "public") header.append(badge(run.label, "guarded", "The model will carry this label too."));
  if (run.device) header.append(badge(run.device, "", "what it computes on, and how"));
  if (run.attempt > 1) header.append(badge(`attempt ${run.attempt}`));
  if (run.restarts) header.append(badge(`restarted ${run.restarts}×`, "", "by its scheduler; it went on from its last checkpoint"));
  header.append(node("code", run.run, "small"));
  return header;
}

function gauge(name, value, most, words) {
  const bar = node("progress");
  bar.max = most || 1;
  bar.value = Math.min(value, most || 1);
  bar.setAttribute("aria-label", name);
  return box("gauge", bar, node("span", words));
}

function work(run) {
  const left = run.can_stop && run.samples_per_s && run.samples ? ((run.steps - run.step) * (run.samples * run.epochs)) / run.steps / run.samples_per_s : 0;
  const words = run.steps ? `Step ${run.step.toLocaleString("en")} of ${run.steps.toLocaleString("en")}, epoch ${run.epoch} of ${run.epochs}` : "Not begun";
  const speed = run.samples_per_s ? ` · ${Math.round(run.samples_per_s).toLocaleString("en")} samples/s` : "";
  const used = run.utilisation === null ? "" : ` · ${Math.round(100 * run.utilisation)} % of the accelerator's peak`;
  return gauge("steps done", run.step, run.steps, `${words}${speed}${used}${left > 0 ? ` · about ${span(left)} left` : ""}`);
}

function cost(run) {
  if (run.budget_node_hours) return gauge("budget used", run.node_hours, run.budget_node_hours, `${short(run.node_hours)} of ${hours(run.budget_node_hours)}`);
  return box("gauge", node("span", `${hours(run.node_hours)}; no limit was set`));
}

function kept(run) {
  const last = run.checkpoints.at(-1);
  if (!last) return node("p", "No checkpoint yet.", "line");
  const made = node("p", `Checkpoint of step ${last.step.toLocaleString("en")}, `, "line");
  made.append(ago(last.time));
  if (run.best !== null) made.append(` · best validation loss ${short(run.best)}`);
  return made;
}

function waits(run) {
  const place = run.position ? `Place ${run.position} in the queue${run.queue ? ` ${run.queue}` : ""}. ` : "";
  return place || run.reason ? node("p", `${place}${run.reason}`, "line reason") : null;
}

// --- what one can do ------------------------------------------------------------------------------------------------

function chooser(model) {
  const runs = model.get("runs");
  if (model.get("only") || runs.length < 2) return null;
  const tag = node("label", "Run ");
  const options = runs.map((each) => [each.run, `${each.name} (${each.run})${each.model ? ` → ${each.model}` : ""}`]);
  const made = selectOf(options, model.get("chosen"), (run) => model.send({ command: "choose", run }));
  made.dataset.focus = "run";
  tag.append(made);
  return tag;
}

function actions(model, run, view) {
  const made = box("actions");
  const act = (command, more = {}) => () => model.send({ command, run: run.run, ...more });
  if (run.can_stop) made.append(button("Stop with a checkpoint", act("stop"), "stop"));
  if (run.can_resume) {
    if (run.ended === "budget") {
      const tag = node("label", "Budget in all, node-hours ");
      const field = node("input");
      Object.assign(field, { type: "number", min: 0, step: "any", value: view.budget ?? 2 * run.budget_node_hours });
      field.dataset.focus = "budget";
      field.addEventListener("input", () => (view.budget = field.value));
      tag.append(field);
      made.append(tag);
      made.append(button("Resume", () => model.send({ command: "resume", run: run.run, budget_node_hours: field.valueAsNumber }), "resume", "primary"));
    } else made.append(button("Resume", act("resume"), "resume", "primary"));
  }
  if (run.state === "completed" && run.ended !== "budget" && !run.model) made.append(button("Put it into the zoo", act("register"), "register", "primary"));
  if (run.model) made.append(node("code", `gw.model("${run.model}")`));
  const told = node("span", model.get("busy") || model.get("message"), model.get("busy") ? "small" : "fault");
  told.setAttribute("role", "alert");
  made.append(told);
  return made;
}

function draw(root, model, view) {
  const run = model.get("shown");
  root.dataset.run = run.run ?? "";
  if (!run.run) {
    const words = model.get("message") || 'No training run yet. Start one: gw.train("surrogate", data=["cec-pv-modules"])';
    redraw(root, [node("p", words, model.get("message") ? "fault" : "")]);
    return;
  }
  // What is clicked or typed into stays where it is while nothing in it changes: else a click between two pictures is lost.
  const shown = JSON.stringify([run.run, run.can_stop, run.can_resume, run.ended, run.state, run.model, model.get("busy"), model.get("message"), model.get("runs")]);
  if (view.shown !== shown || !view.fixed?.every((each) => root.contains(each))) {
    if (view.run !== run.run) view.budget = undefined;
    Object.assign(view, { shown, run: run.run, top: box("top"), middle: box("middle"), fixed: [actions(model, run, view)] });
    redraw(root, [chooser(model), view.top, ...view.fixed, view.middle]);
  }
  view.top.replaceChildren(head(run), work(run), cost(run), kept(run), ...[waits(run)].filter(Boolean));
  view.middle.replaceChildren(plots(run, model.get("curves")));
}

function render({ model, el }) {
  const root = node("section", undefined, "genesis-training");
  root.setAttribute("aria-label", "Training run");
  el.append(root);
  const view = {};
  const update = () => draw(root, model, view);
  const events = "change:shown change:curves change:message change:busy change:runs change:chosen";
  model.on(events, update);
  update();
  return () => model.off(events, update);
}

export default inNotebook(render);
