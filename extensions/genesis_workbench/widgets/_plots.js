// Plots of an experiment, as SVG made by hand: no library, the notebook's own colours, a title for who does not see them.
import { button, box, described, label, mark, node, selectOf, short } from "./_page.js";
import { WIDE, axes, frame, range } from "./_axes.js";

// A dot for a trial, which says on hover what it was, and is chosen by a click.
function dot(trial, x, y, view, choose, words) {
  const made = mark("circle", { class: `dot${view.chosen === trial.trial ? " chosen" : ""}`, cx: x, cy: y, r: view.chosen === trial.trial ? 6 : 4 });
  made.append(mark("title", {}, `Trial ${trial.trial} (${trial.proposer}): ${words}; ${described(trial.parameters)}`));
  made.addEventListener("click", () => choose(trial.trial));
  return made;
}

// The bound of the hypothesis, where it is on the objective in the objective's own unit.
function boundOf(summary) {
  const rule = summary.spec.hypothesis.rule;
  const objective = summary.spec.objective;
  if (rule.metric !== objective.name || rule.unit !== objective.unit) return null;
  return rule.at_least ?? rule.at_most ?? null;
}

export function bestSoFar(summary, trials, view, choose) {
  const objective = summary.spec.objective;
  const seen = trials.filter((trial) => objective.name in trial.values);
  const svg = frame(190, `${label(objective.name, objective.unit)} over ${seen.length} trials, and the best so far`);
  const bound = boundOf(summary);
  const [low, high] = range(seen.map((trial) => trial.values[objective.name]).concat(bound === null ? [] : [bound]));
  const place = { left: 64, right: 704, top: 26, bottom: 166 };
  const most = Math.max(summary.trials.budget, 1);
  const x = (number) => 64 + (number / most) * 640;
  const y = (value) => 160 - ((value - low) / (high - low)) * 126;
  axes(svg, { ...place, bottom: 166 }, [low, high], label(objective.name, objective.unit));
  for (const number of new Set([1, Math.round(most / 2), most]))
    svg.append(mark("text", { x: x(number), y: 184, "text-anchor": number === most ? "end" : "middle" }, number === most ? `trial ${number}` : String(number)));
  if (bound !== null) {
    const line = mark("line", { class: "bound", x1: 64, x2: 704, y1: y(bound), y2: y(bound) });
    line.append(mark("title", {}, `The hypothesis: ${summary.hypothesis.rule}`));
    svg.append(line);
  }
  let best = null;
  let path = "";
  for (const trial of seen.filter((each) => each.decisive)) {
    const value = trial.values[objective.name];
    path += path ? `H${x(trial.trial)}` : `M${x(trial.trial)},${y(value)}`;
    if (best === null || (objective.maximize ? value > best : value < best)) path += `V${y((best = value))}`;
  }
  if (path) svg.append(mark("path", { class: "best", d: path }));
  for (const trial of seen) {
    const value = trial.values[objective.name];
    svg.append(dot(trial, x(trial.trial), y(value), view, choose, `${short(value)} ${objective.unit}`));
  }
  return svg;
}

// Viridis, its dark end lightened for dark pages: readable for everybody, and in grey too.
const SCALE = [[110, 64, 170], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

function shade(share) {
  const place = Math.max(0, Math.min(1, share)) * (SCALE.length - 1);
  const from = Math.min(SCALE.length - 2, Math.floor(place));
  const mixed = SCALE[from].map((value, each) => Math.round(value + (SCALE[from + 1][each] - value) * (place - from)));
  return `rgb(${mixed.join(",")})`;
}

const MOST_LINES = 300;

// Where a value lies on the axis of a parameter, as a share from its low end.
function shareOf(parameter, value) {
  if (value === undefined) return null;
  if (parameter.choices) return parameter.choices.length < 2 ? 0.5 : parameter.choices.indexOf(value) / (parameter.choices.length - 1);
  const [low, high, at] = parameter.log ? [parameter.low, parameter.high, value].map(Math.log) : [parameter.low, parameter.high, value];
  return (at - low) / (high - low);
}

export function parallel(summary, trials, view, choose) {
  const objective = summary.spec.objective;
  const seen = trials.filter((trial) => objective.name in trial.values);
  const ordered = [...seen].sort((a, b) => (a.values[objective.name] - b.values[objective.name]) * (objective.maximize ? 1 : -1));
  const shown = ordered.slice(-MOST_LINES);
  const [low, high] = range(seen.map((trial) => trial.values[objective.name]));
  const columns = summary.spec.space.map((parameter) => ({ words: label(parameter.name, parameter.unit), ends: parameter.choices ? [parameter.choices[0], parameter.choices.at(-1)] : [parameter.low, parameter.high], share: (trial) => shareOf(parameter, trial.parameters[parameter.name]) }));
  columns.push({ words: label(objective.name, objective.unit), ends: [low, high], share: (trial) => (trial.values[objective.name] - low) / (high - low) });
  const svg = frame(240, `Parameters and ${label(objective.name, objective.unit)} of ${shown.length} trials`);
  const x = (column) => 60 + (column / Math.max(columns.length - 1, 1)) * (WIDE - 120);
  const y = (share) => 208 - share * 140;
  for (const trial of shown) {
    const value = trial.values[objective.name];
    const share = (value - low) / (high - low);
    const points = columns.map((column, place) => [x(place), column.share(trial)]).filter(([, at]) => at !== null);
    const line = mark("polyline", { class: `line${view.chosen === trial.trial ? " chosen" : ""}`, points: points.map(([at, up]) => `${at},${y(up)}`).join(" "), stroke: shade(objective.maximize ? share : 1 - share) });
    line.append(mark("title", {}, `Trial ${trial.trial}: ${short(value)} ${objective.unit}; ${described(trial.parameters)}`));
    line.addEventListener("click", () => choose(trial.trial));
    svg.append(line);
  }
  columns.forEach((column, place) => {
    const anchor = place === 0 ? "start" : place === columns.length - 1 ? "end" : "middle";
    const at = place === 0 ? 4 : place === columns.length - 1 ? WIDE - 4 : x(place);
    svg.append(mark("line", { class: "axis", x1: x(place), x2: x(place), y1: 68, y2: 208 }));
    svg.append(mark("text", { x: at, y: place === columns.length - 1 ? 14 : place % 2 ? 46 : 30, "text-anchor": anchor }, column.words));
    svg.append(mark("text", { x: x(place), y: 64, "text-anchor": "middle" }, short(column.ends[1])));
    svg.append(mark("text", { x: x(place), y: 226, "text-anchor": "middle" }, short(column.ends[0])));
  });
  return svg;
}

function select(words, names, value, act) {
  const tag = node("label", `${words} `);
  const made = selectOf(names.map((name) => [name, name.replaceAll("_", " ")]), value, act);
  made.dataset.focus = words;
  tag.append(made);
  return tag;
}

export function front(summary, trials, view, choose, again) {
  const objectives = [summary.spec.objective, ...summary.spec.further_objectives];
  const names = objectives.map((each) => each.name);
  const [across, up] = [view.across ?? names[0], view.up ?? names[1]].map((name) => objectives.find((each) => each.name === name));
  const seen = trials.filter((trial) => across.name in trial.values && up.name in trial.values);
  const best = new Set(summary.front.map((point) => point.trial));
  const svg = frame(240, `${label(up.name, up.unit)} over ${label(across.name, across.unit)}; ${best.size} points on the Pareto front`);
  const [left, right] = range(seen.map((trial) => trial.values[across.name]));
  const [low, high] = range(seen.map((trial) => trial.values[up.name]));
  const x = (value) => 72 + ((value - left) / (right - left)) * 624;
  const y = (value) => 200 - ((value - low) / (high - low)) * 168;
  axes(svg, { left: 64, right: 704, top: 26, bottom: 208 }, [low, high], label(up.name, up.unit));
  svg.append(mark("text", { x: 64, y: 228 }, short(left)), mark("text", { x: 704, y: 228, "text-anchor": "end" }, `${label(across.name, across.unit)}  ${short(right)}`));
  const line = summary.front.map((point) => [point.values[across.name].value, point.values[up.name].value]).sort((a, b) => a[0] - b[0]);
  if (objectives.length === 2 && line.length) {
    // Between two points of the front nothing was seen: steps, on the side of what was.
    const stairs = line.map(([at, height], place) => (place ? (up.maximize === across.maximize ? `V${y(height)}H${x(at)}` : `H${x(at)}V${y(height)}`) : `M${x(at)},${y(height)}`));
    svg.append(mark("path", { class: "best", d: stairs.join("") }));
  }
  for (const trial of seen) {
    const made = dot(trial, x(trial.values[across.name]), y(trial.values[up.name]), view, choose, names.filter((name) => name in trial.values).map((name) => `${name} ${short(trial.values[name])}`).join(", "));
    if (!best.has(trial.trial)) made.classList.add("behind");
    svg.append(made);
  }
  const rest = objectives.length > 2 ? box("line", select("Across", names, across.name, (name) => { view.across = name; again(); }), " ", select("Up", names, up.name, (name) => { view.up = name; again(); })) : null;
  return box("plot", rest, svg);
}

export function slice(summary, slices, view, again) {
  const objective = summary.spec.objective;
  const at = slices.find((each) => each.parameter === view.along) ?? slices[0];
  const choosers = node("div", undefined, "line");
  choosers.setAttribute("role", "group");
  choosers.setAttribute("aria-label", "along");
  for (const each of slices) {
    const made = button(label(each.parameter, each.unit), () => { view.along = each.parameter; again(); }, `along-${each.parameter}`, "choice");
    made.setAttribute("aria-pressed", String(each === at));
    choosers.append(made, " ");
  }
  const [lows, highs] = [-2, 2].map((times) => at.mean.map((mean, place) => mean + times * at.deviation[place]));
  const [low, high] = range([...lows, ...highs]);
  const svg = frame(200, `What the model expects of ${objective.name} along ${at.parameter} at the best point, with twice its standard deviation`);
  const share = (place) => (at.at.length < 2 ? 0.5 : place / (at.at.length - 1));
  const x = (place) => 72 + share(place) * 624;
  const y = (value) => 164 - ((value - low) / (high - low)) * 132;
  axes(svg, { left: 64, right: 704, top: 26, bottom: 170 }, [low, high], label(objective.name, objective.unit));
  svg.append(mark("text", { x: 64, y: 190 }, short(at.at[0])), mark("text", { x: 704, y: 190, "text-anchor": "end" }, `${label(at.parameter, at.unit)}  ${short(at.at.at(-1))}`));
  if (at.at.every((value) => typeof value === "number")) {
    const edge = [...highs.map((value, place) => `${x(place)},${y(value)}`), ...lows.map((value, place) => `${x(place)},${y(value)}`).reverse()];
    svg.append(mark("polygon", { class: "band", points: edge.join(" ") }));
    svg.append(mark("polyline", { class: "expected", points: at.mean.map((value, place) => `${x(place)},${y(value)}`).join(" ") }));
  } else
    at.at.forEach((value, place) => {
      svg.append(mark("line", { class: "reach", x1: x(place), x2: x(place), y1: y(lows[place]), y2: y(highs[place]) }));
      const made = mark("circle", { class: "dot", cx: x(place), cy: y(at.mean[place]), r: 4 });
      made.append(mark("title", {}, `${value}: ${short(at.mean[place])} ± ${short(2 * at.deviation[place])}`));
      svg.append(made);
    });
  const best = at.at.indexOf(at.at.reduce((a, b) => (typeof b === "number" && Math.abs(b - at.best) < Math.abs(a - at.best) ? b : a), at.at.includes(at.best) ? at.best : at.at[0]));
  svg.append(mark("line", { class: "bound", x1: x(best), x2: x(best), y1: 26, y2: 170 }));
  const [kept, all] = at.points;
  const from = kept < all ? `${kept} of ${all} points, the best and the latest` : `${all} points`;
  return box("plot", choosers, svg, node("div", `Line: what a Gaussian process expects; band: twice its standard deviation; dashes: the best point. From ${from}.`, "small"));
}
