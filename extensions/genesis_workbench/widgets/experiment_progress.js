// Live progress of an experiment. All text is set as text, never as HTML: titles and reasons come from people.

const STYLE = `
.genesis-progress { font-family: var(--jp-ui-font-family, system-ui, sans-serif); font-size: 13px;
  color: var(--jp-ui-font-color1, CanvasText); border: 1px solid var(--jp-border-color2, #bbb); border-radius: 6px;
  padding: 12px 14px; max-width: 760px; box-sizing: border-box; }
.genesis-progress header { display: flex; gap: 8px; align-items: baseline; flex-wrap: wrap; }
.genesis-progress h4 { margin: 0; font-size: 15px; }
.genesis-progress .badge { border: 1px solid currentColor; border-radius: 9px; padding: 0 8px; font-size: 11px; }
.genesis-progress .simulated { color: var(--jp-warn-color0, #8a5300); }
.genesis-progress progress { width: 100%; height: 10px; margin: 8px 0 2px; accent-color: var(--jp-brand-color1, #1565c0); }
.genesis-progress .line { min-height: 1.5em; }
.genesis-progress svg { width: 100%; height: 190px; display: block; }
.genesis-progress svg text { fill: var(--jp-ui-font-color1, CanvasText); font-size: 11px; }
.genesis-progress .axis { stroke: var(--jp-border-color1, #999); stroke-width: 1; }
.genesis-progress .dot { fill: var(--jp-brand-color1, #1565c0); }
.genesis-progress .best { fill: none; stroke: var(--jp-ui-font-color1, CanvasText); stroke-width: 1.5; }
.genesis-progress .bound { stroke: var(--jp-warn-color0, #8a5300); stroke-width: 1.5; stroke-dasharray: 5 4; }
.genesis-progress button { font: inherit; padding: 3px 12px; margin-right: 6px; border-radius: 4px; cursor: pointer;
  border: 1px solid var(--jp-border-color1, #999); background: var(--jp-layout-color1, Canvas); color: inherit; }
.genesis-progress button:focus-visible { outline: 2px solid var(--jp-brand-color1, #1565c0); }
.genesis-progress .finding { border-top: 1px solid var(--jp-border-color2, #bbb); margin-top: 8px; padding-top: 8px; }
.genesis-progress .fault { color: var(--jp-error-color0, #b00020); }
`;

const SVG = "http://www.w3.org/2000/svg";

function node(tag, text, cls) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (cls) made.className = cls;
  return made;
}

function mark(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function short(value) {
  return typeof value === "number" ? String(Number(value.toPrecision(4))) : String(value);
}

function described(parameters) {
  return Object.entries(parameters).map(([name, value]) => `${name} = ${short(value)}`).join(", ");
}

// The bound of the hypothesis, where it is on the objective in the objective's own unit.
function boundOf(summary) {
  const rule = summary.spec.hypothesis.rule;
  const objective = summary.spec.objective;
  if (rule.metric !== objective.name || rule.unit !== objective.unit) return null;
  return rule.at_least ?? rule.at_most ?? null;
}

function chart(summary, trials) {
  const svg = mark("svg", { viewBox: "0 0 720 190", role: "img" });
  const seen = trials.filter((trial) => trial.value !== null);
  const objective = summary.spec.objective;
  const label = `${objective.name.replaceAll("_", " ")}${objective.unit ? ` (${objective.unit})` : ""}`;
  svg.append(mark("title", {}, `${label} over ${seen.length} trials`));
  const bound = boundOf(summary);
  const values = seen.map((trial) => trial.value).concat(bound === null ? [] : [bound]);
  const low = values.length ? Math.min(...values) : 0;
  const high = values.length ? Math.max(...values) : 1;
  const span = high - low || Math.abs(high) || 1;
  const x = (number) => 64 + (number / Math.max(summary.trials.budget, 1)) * 640;
  const y = (value) => 156 - ((value - low) / span) * 126;
  svg.append(mark("line", { class: "axis", x1: 64, y1: 166, x2: 704, y2: 166 }));
  svg.append(mark("line", { class: "axis", x1: 64, y1: 20, x2: 64, y2: 166 }));
  svg.append(mark("text", { x: 64, y: 12 }, label));
  svg.append(mark("text", { x: 704, y: 184, "text-anchor": "end" }, `trial ${summary.trials.budget}`));
  for (const number of [1, Math.round(summary.trials.budget / 2)])
    svg.append(mark("text", { x: x(number), y: 184, "text-anchor": "middle" }, String(number)));
  if (values.length)
    for (const value of new Set([low, high]))
      svg.append(mark("text", { x: 58, y: y(value) + 4, "text-anchor": "end" }, short(value)));
  if (bound !== null) svg.append(mark("line", { class: "bound", x1: 64, x2: 704, y1: y(bound), y2: y(bound) }));
  let best = null;
  let path = "";
  for (const trial of seen) {
    const better = best === null || (objective.maximize ? trial.value > best : trial.value < best);
    path += path ? `H${x(trial.trial)}` : `M${x(trial.trial)},${y(trial.value)}`;
    if (better) {
      best = trial.value;
      path += `V${y(best)}`;
    }
  }
  if (path) svg.append(mark("path", { class: "best", d: path }));
  for (const trial of seen) {
    const dot = mark("circle", { class: "dot", cx: x(trial.trial), cy: y(trial.value), r: 4 });
    dot.append(mark("title", {}, `Trial ${trial.trial} (${trial.proposer}): ${short(trial.value)}; ${described(trial.parameters)}`));
    svg.append(dot);
  }
  return svg;
}

function draw(root, model) {
  const summary = model.get("summary");
  const trials = model.get("trials");
  if (!summary.id) return;
  const { budget, observed, failed } = summary.trials;
  const focused = root.contains(document.activeElement) ? document.activeElement.textContent : null;
  const parts = [];

  const header = node("header");
  header.append(node("h4", summary.title), node("span", summary.state, "badge state"));
  if (summary.simulated) {
    const badge = node("span", "simulated", "badge simulated");
    badge.title = "Every observation comes from a simulator, none from an instrument.";
    header.append(badge);
  }
  parts.push(header);
  parts.push(node("div", `${summary.hypothesis.statement} Rule: ${summary.hypothesis.rule}.`, "line"));

  const bar = node("progress");
  bar.max = budget;
  bar.value = observed + failed;
  bar.setAttribute("aria-label", "trials done");
  parts.push(bar);
  const left = budget - observed - failed;
  const counts = `${observed} of ${budget} trials observed${failed ? `, ${failed} failed` : ""}${left && summary.state !== "ended" ? `, ${left} to go` : ""}`;
  parts.push(node("div", counts, "line counts"));
  const further = summary.spec.further_objectives?.length ?? 0;
  if (further)
    parts.push(node("div", `Shown is the first of ${further + 1} objectives; ${summary.front.length} points are on the Pareto front.`, "line"));
  parts.push(chart(summary, trials));
  parts.push(
    node("div", summary.best ? `Best: trial ${summary.best.trial}, ${short(summary.best.value)} ${summary.best.unit} at ${described(summary.best.parameters)}` : "Nothing observed yet.", "line"),
  );

  if (summary.state !== "ended") {
    const buttons = node("div");
    for (const command of [summary.state === "paused" ? "resume" : "pause", "stop"]) {
      const button = node("button", command[0].toUpperCase() + command.slice(1));
      button.addEventListener("click", () => model.send({ command }));
      buttons.append(button);
    }
    parts.push(buttons);
  }
  if (summary.finding) {
    const box = node("div", undefined, "finding");
    box.append(node("strong", `The hypothesis is ${summary.finding.decision}. `));
    // Findings of older ledgers say nothing themselves; theirs count the trials that reach the bound.
    const { reaching, observed: seen } = summary.finding.evidence;
    const says = summary.finding.says ?? `${reaching.length} of ${seen} observed trials reach the bound.`;
    box.append(node("span", `${says} ${summary.reason}`));
    if (summary.finding.caution) box.append(node("div", summary.finding.caution, "line caution"));
    const changes = summary.finding.deviations ?? [];
    for (const change of changes)
      box.append(node("div", `Changed after ${change.observed} observations: ${change.reason} That rule would decide: ${change.would_decide}.`, "line deviation"));
    parts.push(box);
  }
  if (model.get("message")) {
    const fault = node("div", model.get("message"), "fault");
    fault.setAttribute("role", "alert");
    parts.push(fault);
  }
  root.replaceChildren(...parts);
  if (focused) [...root.querySelectorAll("button")].find((button) => button.textContent === focused)?.focus();
}

function render({ model, el }) {
  const style = node("style", STYLE);
  const root = node("section", undefined, "genesis-progress");
  root.setAttribute("aria-live", "off");
  el.append(style, root);
  const update = () => draw(root, model);
  model.on("change:summary change:trials change:message", update);
  update();
  return () => model.off("change:summary change:trials change:message", update);
}

export default { render };
