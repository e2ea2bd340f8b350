// Describe an experiment, launch it, and watch it. The engine checks, decides and remembers; this page asks and shows.
import { ago, badge, box, button, described, label, node, redraw, short, sureOf } from "./_page.js";
import { bestSoFar, front, parallel, slice } from "./_plots.js";
import { formOf } from "./_form.js";
import { inNotebook } from "./_notebook.js";

const SHOWN = ["summary", "trials", "pending", "slices", "queue", "laboratories", "message"];

// --- the trials -------------------------------------------------------------------------------------------------------

function table(summary, trials, view, choose, again) {
  const objectives = [summary.spec.objective, ...(summary.spec.further_objectives ?? [])];
  const columns = [
    ["trial", (row) => row.trial, "number"],
    ...summary.spec.space.map((each) => [label(each.name, each.unit), (row) => row.parameters[each.name], each.type === "categorical" ? "" : "number"]),
    ...objectives.map((each) => [label(each.name, each.unit), (row) => row.values[each.name], "number"]),
    ["state", (row) => row.state, ""],
    ["from", (row) => (row.arm === "main" ? row.proposer : `${row.arm}: ${row.proposer}`), ""],
    ["reason", (row) => row.reason || (row.rationale ? `“${row.rationale}”` : ""), "words"],
  ];
  const made = node("table");
  const head = node("tr");
  columns.forEach(([title, , cls], place) => {
    const cell = node("th", undefined, cls);
    cell.scope = "col";
    const sorted = view.column === place;
    cell.append(button(title + (sorted ? (view.down ? " ▾" : " ▴") : ""), () => {
      view.down = sorted ? !view.down : false;
      view.column = place;
      again();
    }, `sort-${place}`, "plain"));
    if (sorted) cell.setAttribute("aria-sort", view.down ? "descending" : "ascending");
    head.append(cell);
  });
  const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a ?? "").localeCompare(String(b ?? ""), undefined, { numeric: true }));
  const by = columns[view.column ?? 0][1];
  const down = view.column === undefined || view.down;
  made.append(head);
  for (const row of [...trials].sort((a, b) => order(by(a), by(b)) * (down ? -1 : 1))) {
    const line = node("tr", undefined, view.chosen === row.trial ? "chosen" : "");
    for (const [, value, cls] of columns) {
      const seen = value(row);
      line.append(node("td", seen === undefined || seen === null ? "" : short(seen), cls));
    }
    line.addEventListener("click", () => choose(row.trial));
    made.append(line);
  }
  const rows = box("rows", trials.length ? made : node("p", "No trial yet: the first is proposed in a moment."));
  rows.dataset.scroll = "trials";
  rows.tabIndex = 0;
  rows.setAttribute("role", "region");
  rows.setAttribute("aria-label", "trials");
  const more = summary.trials.proposed - trials.length;
  return [rows, more > 0 ? node("p", `The latest ${trials.length.toLocaleString()} of ${summary.trials.proposed.toLocaleString()} trials.`, "small") : null];
}

// --- what waits for a person ------------------------------------------------------------------------------------------

function asked(model, summary, each, view, again) {
  const key = `${each.for}-${each.trial}-${each.step ?? ""}`;
  const made = box("asked", node("strong", `Trial ${each.trial}`), ` ${described(each.parameters)}. `, node("span", each.why));
  const costs = Object.entries(each.reserved).map(([name, amount]) => `${short(amount)} ${summary.budget[name]?.unit ?? name.replaceAll("_", " ")}`);
  if (costs.length) made.append(node("span", ` Planned to cost ${costs.join(", ")}.`));
  const reason = node("input");
  reason.dataset.focus = `reason-${key}`;
  reason.placeholder = "reason, which stays with the trial";
  reason.setAttribute("aria-label", `reason for trial ${each.trial}`);
  reason.value = view.reasons[key] ?? "";
  const reasoned = [];
  const ready = () => reasoned.forEach((each) => { each.disabled = !reason.value.trim(); });
  // The engine takes these with a reason only.
  const needing = (words, act, focus) => {
    reasoned.push(button(words, act, focus));
    ready();
    return reasoned.at(-1);
  };
  reason.addEventListener("input", () => { view.reasons[key] = reason.value; ready(); });
  const say = (command, more) => () => model.send({ command, trial: each.trial, step: each.step ?? null, reason: reason.value, ...more });
  const line = box("line");
  const { name: me, alone } = model.get("person");
  if (each.for === "approval" && me === summary.owner && !alone) {
    line.append(node("span", awaited(summary.spec.groups)));
  } else if (each.for === "approval") {
    line.append(button("Approve", say("approve", { digest: each.digest }), `approve-${key}`, "primary"), reason, needing("Refuse", say("refuse"), `refuse-${key}`));
    line.append(node("span", `for exactly ${each.digest.slice(0, 19)}…`, "small"));
  } else if (each.for === "values") {
    const step = each.step ? summary.spec.steps.find((one) => one.name === each.step) : null;
    const outcomes = (step ? step.arguments : summary.spec.executor_arguments).outcomes;
    const fields = Object.entries(outcomes).map(([name, unit]) => {
      const input = node("input", undefined, "number");
      input.dataset.focus = `value-${key}-${name}`;
      input.setAttribute("aria-label", label(name, unit));
      input.placeholder = label(name, unit);
      input.value = view.reasons[`${key}-${name}`] ?? "";
      input.addEventListener("input", () => (view.reasons[`${key}-${name}`] = input.value));
      line.append(input);
      return [name, input];
    });
    const values = () => Object.fromEntries(fields.filter(([, input]) => input.value.trim()).map(([name, input]) => [name, Number.isFinite(Number(input.value)) ? Number(input.value) : input.value]));
    line.append(button("Enter", () => model.send({ command: "enter", trial: each.trial, step: each.step ?? null, values: values() }), `enter-${key}`, "primary"));
  } else {
    line.append(reason, needing("It failed", say("resolve", { became: "failed" }), `failed-${key}`), button("Run it again", say("resolve", { became: "again" }), `again-${key}`));
  }
  made.append(line);
  return made;
}

// Nobody approves what they launched themselves, and nobody else sees what is shared with no group.
function awaited(groups) {
  if (groups.length) return `Somebody else of ${groups.join(" or ")} approves it.`;
  return "Nobody but you can see it, so nobody can approve it: stop it, describe a changed one, and tick a group whose members may approve.";
}

// --- queue and laboratories -------------------------------------------------------------------------------------------------

function standing(queue, laboratories) {
  const parts = [];
  if (queue.length) {
    const list = node("ul", undefined, "plainly");
    for (const each of queue) {
      const line = node("li", each.trial ? `Trial ${each.trial}${each.step ? `, ${each.step}` : ""}: ${each.state}` : "");
      if (each.words) line.append(each.trial ? `, ${each.words}` : each.words);
      if (each.since) line.append(" · since ", ago(each.since));
      list.append(line);
    }
    parts.push(node("h5", "Under way"), list);
  }
  return [...parts, ...laboratories.flatMap(inside)];
}

function stopOf(laboratory) {
  return `EMERGENCY STOP by ${laboratory.stop.who}: ${laboratory.stop.why}`;
}

function inside(laboratory) {
  const parts = [];
  const head = node("h5", laboratory.title);
  if (laboratory.simulated) head.append(" ", badge("simulated", "simulated"));
  parts.push(head);
  if (laboratory.trouble) return [...parts, node("p", laboratory.trouble, "fault")];
  parts.push(...(laboratory.warnings ?? []).map((each) => node("p", each, "fault")));
  if (laboratory.stop?.who) parts.push(node("p", stopOf(laboratory), "fault"));
  const devices = node("table");
  for (const each of laboratory.devices) {
    const row = node("tr");
    const readings = Object.entries(each.readings ?? {}).map(([name, value]) => `${name.replaceAll("_", " ")} ${short(value)}`).join(", ");
    row.append(node("th", each.name), node("td", each.status + (each.reason ? `, ${each.reason}` : "")), node("td", readings, "words"), node("td", each.reserved?.who ? `reserved by ${each.reserved.who}` : ""));
    devices.append(row);
  }
  parts.push(devices);
  const waiting = laboratory.queue.filter((each) => each.state === "queued").length;
  parts.push(node("p", laboratory.queue.length ? `${laboratory.queue.length} plans in its queue, ${waiting} of them waiting.` : "Its queue is empty.", "small"));
  return parts;
}

// --- the finding -------------------------------------------------------------------------------------------------------------

function finding(model, summary) {
  if (!summary.finding) return [];
  const { decision, says, evidence, caution, deviations } = summary.finding;
  const made = box("finding", node("strong", `The hypothesis is ${decision}. `));
  // Findings of older ledgers say nothing themselves; theirs count the trials that reach the bound.
  made.append(node("span", `${says ?? `${evidence.reaching.length} of ${evidence.observed} observed trials reach the bound.`} ${summary.reason}`));
  if (caution) made.append(node("p", caution, "caution"));
  for (const change of deviations ?? [])
    made.append(node("p", `Changed after ${change.observed} observations: ${sentence(change.reason)} That rule would decide: ${change.would_decide}.`, "deviation"));
  const details = node("details");
  const list = node("dl");
  // The best point and the front are shown above, and lists that are empty say nothing.
  const worth = Object.entries(evidence ?? {}).filter(([name, value]) => !["best", "front"].includes(name) && !(Array.isArray(value) && !value.length));
  for (const [name, value] of worth)
    list.append(node("dt", name.replaceAll("_", " ")), node("dd", typeof value === "object" ? JSON.stringify(value) : short(value)));
  list.append(node("dt", "committed as"), node("dd", summary.hypothesis.digest));
  details.append(node("summary", "Evidence"), list, node("p", `Anyone can compute it again: workbench verify ${summary.id}`, "small"));
  made.append(details);
  return [made];
}

// A person's words, ended as a sentence before others follow.
function sentence(words) {
  return /[.!?]$/.test(words.trim()) ? words.trim() : `${words.trim()}.`;
}

// --- the head: what it is, how far it is, and the ways to hold it ---------------------------------------------------------------

function head(summary) {
  const parts = [];
  const title = node("header");
  title.append(node("h4", summary.title), badge(summary.state, "state"));
  if (summary.simulated) title.append(badge("simulated", "simulated", "As declared, observations are computed, all or some of them, and come from no instrument."));
  title.append(node("span", `${summary.owner} · `, "small"), ago(summary.created));
  parts.push(title, node("div", `${sentence(summary.hypothesis.statement)} Rule: ${summary.hypothesis.rule}.`, "line"));
  const { budget, observed, failed, refused, waiting } = summary.trials;
  const bar = node("progress");
  bar.max = budget;
  bar.value = observed + failed + refused;
  bar.setAttribute("aria-label", "trials done");
  const left = budget - observed - failed - refused;
  const words = [`${observed} of ${budget} trials observed`, failed && `${failed} failed`, refused && `${refused} refused`, waiting && `${waiting} waiting for a person`, left && summary.state !== "ended" && `${left} to go`];
  parts.push(bar, node("div", words.filter(Boolean).join(", "), "line counts"));
  for (const [name, each] of Object.entries(summary.budget)) {
    const used = node("progress");
    [used.max, used.value] = [each.limit, Math.min(each.limit, each.spent + each.reserved)];
    used.setAttribute("aria-label", name.replaceAll("_", " "));
    parts.push(box("amount", used, node("span", `${short(each.spent)} of ${short(each.limit)} ${each.unit} spent${each.reserved ? `, ${short(each.reserved)} reserved` : ""}`)));
  }
  const best = summary.best;
  const further = summary.spec.further_objectives?.length ?? 0;
  parts.push(node("div", best ? `Best: trial ${best.trial}, ${short(best.value)} ${best.unit} at ${described(best.parameters)}` : "Nothing observed yet.", "line"));
  if (further) parts.push(node("div", `Shown is the first of ${further + 1} objectives; ${summary.front.length} points are on the Pareto front.`, "line"));
  return parts;
}

function controls(model, summary, view, turn) {
  const line = box("actions");
  if (summary.state !== "ended") {
    const pause = summary.state === "paused" ? "resume" : "pause";
    line.append(button(pause[0].toUpperCase() + pause.slice(1), () => model.send({ command: pause }), "pause"));
    // Ending it takes a second click: the rule then decides on what there is.
    if (view.asking !== "stop") line.append(button("Stop", () => turn("stop", "why"), "stop"));
    else {
      const why = node("input");
      why.dataset.focus = "why";
      why.placeholder = "why (may be left out)";
      why.setAttribute("aria-label", "why it is stopped");
      why.value = view.why ?? "";
      why.addEventListener("input", () => (view.why = why.value));
      const stop = () => { model.send({ command: "stop", reason: view.why ?? "" }); turn(undefined, "pause"); };
      line.append(why, ...sureOf("Stop it: the rule decides now", stop, "stop", "Go on", () => turn(undefined, "stop")));
    }
  }
  if (model.get("only")) return [line];
  const fork = () => model.send({ command: "fork" });
  if (view.asking !== "fork") line.append(button("Describe a changed one", () => (model.get("unsaved") ? turn("fork", "fork-back") : fork()), "fork"));
  else line.append(node("span", "The form holds a description that was not launched."), ...sureOf("Replace it", fork, "fork", "Keep it", () => turn(undefined, "fork")));
  return [line];
}

// Each part of the view is drawn again only where something in it has changed: a button that is replaced under the
// pointer loses the click.
function watchOf(model, root) {
  const view = { reasons: {}, keys: {}, chosen: undefined };
  const names = ["told", "head", "controls", "pending", "finding", "plots", "standing", "trials"];
  const parts = Object.fromEntries(names.map((name) => [name, node("div", undefined, name)]));
  parts.told.setAttribute("role", "alert");
  parts.pending.setAttribute("role", "status");
  root.append(...names.map((name) => parts[name]));
  const show = (name, key, make) => {
    const now = JSON.stringify(key);
    if (view.keys[name] === now) return;
    view.keys[name] = now;
    redraw(parts[name], make());
  };
  const choose = (trial) => {
    view.chosen = view.chosen === trial ? undefined : trial;
    again();
  };
  // Ask whether something is meant, or leave it, with the keyboard on what comes next.
  const turn = (asking, focus) => {
    view.asking = asking;
    again();
    parts.controls.querySelector(`[data-focus='${focus}']`)?.focus();
  };
  function again() {
    const summary = model.get("summary");
    if (!summary.id) return;
    const [trials, pending, slices, queue, laboratories] = SHOWN.slice(1, 6).map((name) => model.get(name));
    const { finding: found, ...about } = summary;
    show("head", about, () => head(summary));
    // A stop is said above everything, whatever of the page is in sight.
    const stops = laboratories.filter((each) => each.stop?.who).map((each) => `${each.title}: ${stopOf(each)}`);
    const told = [...stops, model.get("message")].filter(Boolean);
    show("told", told, () => told.map((each) => node("p", each, "fault")));
    show("controls", [summary.id, summary.state, view.asking], () => controls(model, summary, view, turn));
    show("pending", pending, () => (pending.length ? [node("h5", `${pending.length} ${pending.length === 1 ? "waits" : "wait"} for a person`), ...pending.slice(0, 20).map((each) => asked(model, summary, each, view, again)), pending.length > 20 ? node("p", `and ${pending.length - 20} more`) : null] : []));
    show("finding", [found, summary.reason], () => finding(model, summary));
    const several = summary.spec.further_objectives?.length ?? 0;
    show("plots", [trials, slices, view.chosen, view.along, view.across, view.up, summary.front], () => [
      box("plot", node("h5", "Best so far"), bestSoFar(summary, trials, view, choose)),
      several ? box("plot", node("h5", "Pareto front"), front(summary, trials, view, choose, again)) : null,
      box("plot", node("h5", "All parameters"), parallel(summary, trials, view, choose)),
      box("plot", node("h5", "What the model expects"), slices.length ? slice(summary, slices, view, again) : node("p", "It needs four points at least, in a space without conditions.", "small")),
    ]);
    show("standing", [queue, laboratories, Math.floor(Date.now() / 5000)], () => standing(queue, laboratories));
    show("trials", [trials, view.column, view.down, view.chosen], () => [node("h5", "Trials"), ...table(summary, trials, view, choose, again)]);
  }
  const events = SHOWN.map((name) => `change:${name}`).join(" ");
  model.on(events, again);
  again();
  return () => model.off(events, again);
}

// A trial that waits is what holds an experiment up.
function standingOf({ state, trials: { waiting } }) {
  return waiting && state !== "ended" ? `${state}, ${waiting} ${waiting === 1 ? "waits" : "wait"}` : state;
}

// --- the list --------------------------------------------------------------------------------------------------------------------

function listOf(model, root) {
  const draw = () => {
    const mine = model.get("mine");
    const made = node("table");
    const titles = node("tr");
    for (const title of ["experiment", "by", "state", "trials", "finding", "launched"]) {
      const cell = node("th", title);
      cell.scope = "col";
      titles.append(cell);
    }
    made.append(titles);
    for (const each of mine) {
      const row = node("tr");
      const title = node("td");
      title.append(button(each.title, () => model.send({ command: "open", experiment: each.id }), `open-${each.id}`, "link"));
      if (each.simulated) title.append(" ", badge("simulated", "simulated"));
      const when = node("td");
      when.append(ago(each.created));
      row.append(title, node("td", each.owner), node("td", standingOf(each)), node("td", `${each.trials.observed} of ${each.trials.budget}`, "number"), node("td", each.finding?.decision ?? ""), when);
      made.append(row);
    }
    redraw(root, [mine.length ? made : node("p", "No experiment yet. Describe one: its form is behind the first tab.")]);
  };
  model.on("change:mine", draw);
  draw();
  return () => model.off("change:mine", draw);
}

// --- all of it -----------------------------------------------------------------------------------------------------------------------

function render({ model, el }) {
  const root = node("section", undefined, "genesis-launcher");
  const tabs = node("nav");
  const told = node("div", "", "told");
  told.setAttribute("role", "alert");
  const body = node("div");
  root.append(...(model.get("only") ? [] : [tabs, told]), body);
  el.append(root);
  let leave = () => undefined;
  const views = { describe: formOf, list: listOf, watch: watchOf };
  const head = () => {
    const view = model.get("view");
    const found = [["describe", "Describe"], ["list", `Experiments (${model.get("mine").length})`]].map(([name, words]) => {
      const made = button(words, () => model.send({ command: name }), `tab-${name}`, "tab");
      made.setAttribute("aria-pressed", String(view === name));
      return made;
    });
    if (view === "watch") {
      const here = node("span", model.get("summary").title ?? "…", "tab here");
      found.push(here);
    }
    redraw(tabs, found);
    told.textContent = view === "watch" ? "" : model.get("message");
    root.dataset.experiment = model.get("summary").id ?? "";
  };
  const turn = () => {
    leave();
    body.replaceChildren();
    leave = views[model.get("view")](model, body);
    head();
  };
  const events = "change:mine change:summary change:message";
  model.on("change:view", turn);
  model.on(events, head);
  turn();
  return () => {
    leave();
    model.off("change:view", turn);
    model.off(events, head);
  };
}

export default inNotebook(render);
