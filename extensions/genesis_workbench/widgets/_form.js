// The form: fields over one description, kept as JSON. What is wrong is said by the engine, and shown beside its field.
import { badge, box, button, label, node, redraw, selectOf, short, sureOf } from "./_page.js";

const KINDS = { real: "number", integer: "whole number", ordinal: "ordered choices", categorical: "names" };
const POLICIES = {
  laboratory: "each trial that touches the laboratory",
  each: "each trial",
  first: "the first trials",
  above: "trials above a cost",
  never: "no trial",
};
const AMOUNTS = { trials: "trials", node_hours: "node-hours", samples: "samples", instrument_minutes: "instrument minutes", money: "money" };
const WAIT_MS = 150;

// --- the description -----------------------------------------------------------------------------------------------

function valueAt(fields, path) {
  return path.split(".").reduce((value, part) => value?.[part], fields);
}

function put(fields, path, value) {
  const parts = path.split(".");
  let inside = fields;
  parts.slice(0, -1).forEach((part, place) => (inside = inside[part] ??= /^\d+$/.test(parts[place + 1]) ? [] : {}));
  if (value === undefined) delete inside[parts.at(-1)];
  else inside[parts.at(-1)] = value;
}

// A number where it is one; the text that was typed where not, so that the engine can say what is wrong with it.
function typed(text) {
  if (text.trim() === "") return undefined;
  return Number.isFinite(Number(text)) ? Number(text) : text;
}

function listed(text, separator) {
  const found = text.split(separator).map((part) => part.trim()).filter(Boolean);
  return found.length ? found : undefined;
}

// --- one field -----------------------------------------------------------------------------------------------------

// Where a fault is shown: its line is there before it is needed, so that nothing moves.
function slot(path) {
  const made = node("span", "", "told");
  made.dataset.at = path;
  made.id = `told-${path}`.replaceAll(".", "-");
  return made;
}

function field(form, path, words, input, help, cls) {
  const tag = node("label", undefined, `field ${cls ?? ""}`);
  input.dataset.focus = input.dataset.path = path;
  const [told, helped] = ["told", "help"].map((kind) => `${kind}-${path}`.replaceAll(".", "-"));
  input.setAttribute("aria-describedby", help ? `${told} ${helped}` : told);
  // The name alone: what is wrong, and the options, are not part of it.
  input.setAttribute("aria-label", words);
  tag.append(node("span", words, "words"), input);
  if (help) {
    tag.title = help;
    tag.append(helpOf(helped, help, path));
  }
  tag.append(slot(path));
  return tag;
}

// Whoever uses no mouse reads it too. It is seen once for fields that come in rows; a hidden one still describes its field.
function helpOf(id, help, path) {
  const made = node("span", help, "small");
  made.id = id;
  made.hidden = /\.[1-9]\d*\./.test(path);
  return made;
}

function text(form, path, words, { help, read = (given) => given.trim() || undefined, write = String, lines, list, cls, again, hint } = {}) {
  const input = node(lines ? "textarea" : "input");
  if (lines) input.rows = lines;
  const value = valueAt(form.fields, path);
  input.value = value === undefined || value === null ? "" : write(value);
  input.placeholder = hint ?? "";
  if (list?.length) {
    const offered = node("datalist");
    offered.id = `list-${path}`.replaceAll(".", "-");
    for (const each of list) offered.append(new Option(each));
    input.setAttribute("list", offered.id);
    input.append(offered);
    form.lists.append(offered);
  }
  input.addEventListener("input", () => form.change(path, read(input.value)));
  if (again) input.addEventListener("change", () => again(input.value));
  return field(form, path, words, input, help, cls);
}

const number = (form, path, words, more = {}) => text(form, path, words, { read: typed, cls: "number", ...more });

function choose(form, path, words, options, { help, otherwise, cls, act } = {}) {
  const value = String(valueAt(form.fields, path) ?? otherwise ?? "");
  const input = selectOf(options, value, (chosen) => {
    form.change(path, chosen || undefined);
    (act ?? (() => undefined))(chosen);
  });
  return field(form, path, words, input, help, cls);
}

function tick(form, path, words, { help, otherwise = false } = {}) {
  const input = node("input");
  input.type = "checkbox";
  input.checked = valueAt(form.fields, path) ?? otherwise;
  input.addEventListener("change", () => form.change(path, input.checked));
  return field(form, path, words, input, help, "tick");
}

// --- fields from a JSON Schema ------------------------------------------------------------------------------------------

function plain(schema, definitions) {
  const one = schema.anyOf?.find((each) => each.type !== "null") ?? schema;
  const found = one.$ref ? definitions[one.$ref.split("/").at(-1)] : one;
  return { ...found, description: schema.description ?? found.description, default: schema.default ?? found.default };
}

function settings(form, schema, path, lists = {}) {
  const fields = [];
  for (const [name, given] of Object.entries(schema.properties ?? {})) {
    const property = plain(given, schema.$defs ?? {});
    if (property.const !== undefined) continue;
    fields.push(setting(form, `${path}.${name}`, name, { ...property, $defs: schema.$defs }, (schema.required ?? []).includes(name), lists[name]));
  }
  return box("row", ...fields);
}

function setting(form, path, name, schema, needed, list) {
  const words = name.replaceAll("_", " ");
  const more = { help: schema.description, list, hint: schema.default === undefined || schema.default === null || typeof schema.default === "object" ? "" : String(schema.default) };
  if (schema.enum) return choose(form, path, words, [...(needed ? [["", "choose"]] : []), ...schema.enum.map((each) => [each, each])], { ...more, otherwise: schema.default });
  if (schema.type === "boolean") return tick(form, path, words, { ...more, otherwise: schema.default });
  if (schema.type === "number" || schema.type === "integer") return number(form, path, words, more);
  if (schema.type === "string") return text(form, path, words, more);
  if (schema.type === "array" && ["number", "integer"].includes(schema.items?.type))
    return text(form, path, words, { ...more, read: (given) => listed(given, ",")?.map(typed), write: (value) => value.join(", "), cls: "wide", hint: "numbers with commas between them" });
  if (schema.type === "array") return text(form, path, words, { ...more, lines: 3, cls: "wide", read: (given) => listed(given, "\n"), write: (value) => value.join("\n"), hint: "one a line" });
  if (schema.type === "object" && schema.additionalProperties?.type === "string")
    return text(form, path, words, { ...more, lines: 2, cls: "wide", hint: "name: value, one a line", write: (value) => Object.entries(value).map(([key, each]) => `${key}: ${each}`).join("\n"), read: pairs });
  if (schema.properties) {
    const inside = node("fieldset");
    inside.append(node("legend", words), settings(form, schema, path));
    return inside;
  }
  return text(form, path, words, { ...more, lines: 2, cls: "wide", hint: "JSON", write: (value) => JSON.stringify(value), read: (given) => { try { return given.trim() ? JSON.parse(given) : undefined; } catch { return given; } } });
}

function pairs(given) {
  const found = listed(given, "\n");
  return found && Object.fromEntries(found.map((line) => { const [name, ...rest] = line.split(":"); return [name.trim(), rest.join(":").trim()]; }));
}

// --- sections -------------------------------------------------------------------------------------------------------------

function section(title, help, path, ...parts) {
  const made = node("section");
  const head = node("h5", title);
  made.append(head, node("p", help, "small"));
  if (path) made.append(slot(path));
  made.append(...parts.filter(Boolean));
  return made;
}

function rows(form, path, words, make, { least = 0, fresh = {} } = {}) {
  const all = valueAt(form.fields, path) ?? [];
  const made = all.map((_, place) => {
    const line = box("row", ...make(`${path}.${place}`, all[place]));
    if (all.length > least) line.append(button("Remove", () => { all.splice(place, 1); form.change(path, all.length ? all : undefined); form.draw(); }, `${path}-remove-${place}`));
    return box("", line, slot(`${path}.${place}`));
  });
  made.push(button(`Add ${words}`, () => { form.change(path, [...all, { ...fresh }]); form.draw(); }, `${path}-add`));
  return made;
}

function executorOf(form) {
  return form.choices.executors.find((each) => each.name === form.fields.executor) ?? {};
}

// What executes a trial: one executor, or those of its steps; each with where its settings are.
function executorsOf(form) {
  const steps = form.fields.steps ?? [];
  if (!steps.length) return [[executorOf(form), "executor_arguments"]];
  return steps.map((step, place) => [form.choices.executors.find((each) => each.name === step.executor) ?? {}, `steps.${place}.arguments`]);
}

function outcomesOf(form) {
  return Object.assign({}, ...executorsOf(form).map(([each, path]) => each.outcomes ?? valueAt(form.fields, `${path}.outcomes`) ?? {}));
}

function parametersOf(form) {
  const known = executorsOf(form).map(([each]) => each.parameters).filter(Boolean);
  return known.length ? Object.assign({}, ...known) : undefined;
}

// Only where another parameter has one of some values; `earlier` are the names that can be asked.
function when(form, path, earlier) {
  const kept = valueAt(form.fields, `${path}.when`);
  if (!earlier.length && !kept) return [];
  const parts = [choose(form, `${path}.when.parameter`, "only where", [["", "always"], ...earlier.map((each) => [each, each])], {
    help: "It is there only where this parameter has one of the values.",
    act: (value) => { form.change(`${path}.when`, value ? { ...kept, parameter: value } : undefined); form.draw(); },
  })];
  if (kept) parts.push(text(form, `${path}.when.is_in`, "is one of", { hint: "water, ethanol", write: (value) => (Array.isArray(value) ? value.join(", ") : String(value)), read: (given) => listed(given, ",")?.map(typed) }), slot(`${path}.when`));
  return parts;
}

const names = (form) => (form.fields.space ?? []).map((row) => row.name).filter(Boolean);

// A unit that the executor knows is written down as soon as its name is.
function named(form, path, known) {
  return (name) => {
    if (known[name.trim()] && !valueAt(form.fields, `${path}.unit`)) {
      form.change(`${path}.unit`, known[name.trim()]);
      form.draw();
    }
  };
}

function parameter(form, path, row) {
  const known = parametersOf(form) ?? {};
  const parts = [
    text(form, `${path}.name`, "name", { list: Object.keys(known), help: "As the executor calls it: lower-case letters, digits and _.", again: named(form, path, known) }),
    choose(form, `${path}.type`, "kind", Object.entries(KINDS), { act: () => form.draw() }),
  ];
  if (row.type === "categorical" || row.type === "ordinal")
    parts.push(text(form, `${path}.choices`, "choices", { cls: "wide", hint: row.type === "ordinal" ? "1, 2, 5" : "water, ethanol", write: (value) => (Array.isArray(value) ? value.join(", ") : String(value)), read: (given) => listed(given, ",")?.map(row.type === "ordinal" ? typed : String) }));
  else parts.push(number(form, `${path}.low`, "from"), number(form, `${path}.high`, "to"));
  if (row.type !== "categorical") parts.push(text(form, `${path}.unit`, "unit", { hint: "degC", help: "As pint writes it; empty for a pure number.", cls: "number" }));
  if (row.type === "real" || row.type === "integer") parts.push(tick(form, `${path}.log`, "log", { help: "Equal factors are equal steps." }));
  const place = Number(path.split(".").at(-1));
  return [...parts, ...when(form, path, form.fields.space.slice(0, place).map((each) => each.name).filter(Boolean))];
}

function space(form) {
  const known = parametersOf(form);
  const absent = Object.keys(known ?? {}).filter((name) => !(form.fields.space ?? []).some((row) => row.name === name));
  const take = absent.length
    ? button(`Take from the executor: ${absent.join(", ")}`, () => {
        const kept = (form.fields.space ?? []).filter((row) => row.name);
        form.change("space", [...kept, ...absent.map((name) => ({ type: "real", name, ...(known[name] ? { unit: known[name] } : {}) }))]);
        form.draw();
      }, "space-take")
    : null;
  return section("What may be varied", "One row for each parameter, with its bounds and its unit.", "space",
    ...rows(form, "space", "a parameter", (path, row) => parameter(form, path, row), { least: 1, fresh: { type: "real" } }), take, ...fidelity(form));
}

function fidelity(form) {
  const kept = form.fields.fidelity;
  const chosen = choose(form, "fidelity.parameter", "how true to life", [["", "all trials alike"], ...names(form).map((each) => [each, `says ${each}`])], {
    help: "A parameter that says how true to life a trial is: only trials with its target decide, the others are there to learn from.",
    act: (value) => { form.change("fidelity", value ? { ...kept, parameter: value } : undefined); form.draw(); },
  });
  return [box("row", chosen, kept ? text(form, "fidelity.target", "the real thing is", { read: typed, hint: "laboratory" }) : null), slot("fidelity")];
}

function objective(form, path) {
  const known = outcomesOf(form);
  return [
    text(form, `${path}.name`, "outcome", { list: Object.keys(known), help: "What is measured, as the executor calls it.", again: named(form, path, known) }),
    text(form, `${path}.unit`, "unit", { cls: "number", help: "What it is shown in; converted from the executor's unit." }),
    choose(form, `${path}.maximize`, "better is", [["true", "more"], ["false", "less"]], { otherwise: true, act: (value) => form.change(`${path}.maximize`, value === "true") }),
  ];
}

function objectives(form) {
  return section("What is improved", "One outcome; with several, the Pareto front is looked for.", "objective",
    box("row", ...objective(form, "objective")),
    ...rows(form, "further_objectives", "another objective", (path) => objective(form, path), { fresh: { maximize: true } }));
}

function step(form, path, row) {
  const place = Number(path.split(".").at(-1));
  const chosen = form.choices.executors.find((each) => each.name === row.executor) ?? {};
  const before = form.fields.steps.slice(0, place).map((each) => each.name).filter(Boolean);
  return [
    text(form, `${path}.name`, "step", { hint: place ? "measure" : "make" }),
    choose(form, `${path}.executor`, "executor", [["", "choose"], ...executors(form)], { act: () => { form.change(`${path}.arguments`, undefined); form.draw(); } }),
    before.length ? text(form, `${path}.after`, "after", { hint: before.join(", "), list: before, write: (value) => (Array.isArray(value) ? value.join(", ") : String(value)), read: (given) => listed(given, ",") }) : null,
    text(form, `${path}.takes`, "takes", { lines: 2, cls: "wide", hint: "thickness: make.thickness, one a line", help: "What its executor takes that has another name in the space, or comes out of a step before.", write: (value) => Object.entries(value).map(([key, each]) => `${key}: ${each}`).join("\n"), read: pairs }),
    ...when(form, path, names(form)),
    chosen.refusal ? node("p", chosen.refusal, "fault") : null,
    chosen.schema ? settings(form, chosen.schema, `${path}.arguments`, { function: form.choices.functions }) : null,
  ].filter(Boolean);
}

// What it is, beside its name: "torax" alone says nothing to who has not used it.
const listing = (plugins) => plugins.map((each) => [each.name, `${each.name}${each.refusal ? " (not here)" : ""}${each.title ? `: ${each.title}` : ""}`]);
const executors = (form) => listing(form.choices.executors);

function steps(form) {
  const first = () => {
    const { executor: name, executor_arguments: given } = form.fields;
    form.change("executor", undefined);
    form.change("executor_arguments", undefined);
    form.change("steps", [{ name: "make", ...(name ? { executor: name } : {}), ...(given ? { arguments: given } : {}) }]);
    form.draw();
  };
  if (!form.fields.steps?.length) return [button("Several steps: make, then measure", first, "steps-begin")];
  return rows(form, "steps", "a step", (path, row) => step(form, path, row));
}

function executor(form) {
  if (form.fields.steps?.length)
    return section("What executes a trial", "Steps, each with its own executor; a step takes what those before it gave.", "steps", ...steps(form));
  const chosen = executorOf(form);
  const options = executors(form);
  const take = (name) => {
    const found = form.choices.executors.find((each) => each.name === name) ?? {};
    form.change("executor_arguments", undefined);
    const outcome = form.fields.objective?.name;
    const [first] = Object.entries(found.outcomes ?? {});
    // An outcome of the executor that was chosen before is none of this one's.
    const stale = form.choices.executors.some((each) => outcome in (each.outcomes ?? {})) && !(outcome in (found.outcomes ?? {}));
    if (stale || (first && !outcome)) form.change("objective", { maximize: true, ...(first ? { name: first[0], unit: first[1] } : {}) });
    form.draw();
  };
  const parts = [box("row", choose(form, "executor", "executor", [["", "choose"], ...options], { act: take }))];
  if (chosen.about) parts.push(node("p", chosen.about, "small"));
  if (chosen.refusal) parts.push(node("p", chosen.refusal, "fault"));
  if (chosen.outcomes) parts.push(node("p", `It measures ${Object.entries(chosen.outcomes).map(([name, unit]) => label(name, unit)).join(", ")}.`, "small"));
  if (chosen.laboratory) parts.push(node("p", `It runs in the laboratory ${chosen.laboratory}.`, "small"));
  if (chosen.schema) parts.push(settings(form, chosen.schema, "executor_arguments", { function: form.choices.functions }));
  return section("What executes a trial", "A simulation, a job, a procedure of a laboratory, or a person who enters values.", "executor_arguments", ...parts, ...steps(form));
}

function hypothesis(form) {
  const rule = form.choices.rules.find((each) => each.name === valueAt(form.fields, "hypothesis.rule.type")) ?? form.choices.rules[0];
  const known = outcomesOf(form);
  const switched = (type) => {
    const { metric, unit } = valueAt(form.fields, "hypothesis.rule") ?? {};
    form.change("hypothesis.rule", { type, ...(metric ? { metric } : {}), ...(unit ? { unit } : {}) });
    form.draw();
  };
  const guide = node("details");
  guide.append(node("summary", "Which rule?"));
  const list = node("dl");
  for (const each of form.choices.rules) list.append(node("dt", each.name), node("dd", each.about));
  guide.append(list, node("p", "The rule is committed before the first trial. Changing it afterwards is possible, and the finding says so.", "small"));
  return section("What is claimed", "A statement, and the rule that will decide it. Both are committed by hash before the first trial.", "hypothesis",
    box("row", text(form, "hypothesis.statement", "statement", { lines: 2, cls: "wide", hint: "Some tilt yields 900 kWh per square metre and year." })),
    box("row",
      choose(form, "hypothesis.rule.type", "rule", form.choices.rules.map((each) => [each.name, each.name]), { act: switched }),
      choose(form, "hypothesis.stopping", "ends", [["budget", "when the budget is spent"], ["decided", "as soon as it is decided"]], { otherwise: "budget", help: "Ending at the first yes is sound only for rules whose error does not grow with each look: threshold, sequential, betting and posterior." })),
    node("p", rule.about, "small"), slot("hypothesis.rule"),
    settings(form, rule.schema, "hypothesis.rule", { metric: Object.keys(known) }), guide);
}

function budget(form) {
  const table = box("amounts", node("span", ""), node("span", "at most", "words"), node("span", "for one trial", "words"));
  for (const [name, words] of Object.entries(AMOUNTS)) {
    const cost = name === "trials" ? node("span", "1", "small") : text(form, `cost.${name}`, `${words} for one trial`, { read: typed, write: (value) => String(value?.planned ?? value), hint: "0.5 * nodes", cls: "bare" });
    table.append(node("span", words, "name"), number(form, `budget.${name}`, `most ${words}`, { cls: "bare" }), cost);
  }
  return section("What it may use", "Reserved before a trial starts, settled afterwards, never overdrawn. Failed trials count. What one trial needs is a number, or an expression over the names of parameters.", "budget", table,
    box("row", text(form, "budget.currency", "currency", { hint: "USD", cls: "number" }), text(form, "budget.account", "shared budget", { help: "Name of a budget that several experiments draw from." })));
}

function approval(form) {
  const policy = valueAt(form.fields, "approval.policy") ?? "laboratory";
  const parts = [choose(form, "approval.policy", "a person approves", Object.entries(POLICIES), { otherwise: "laboratory", act: (value) => { form.change("approval", { policy: value }); form.draw(); } })];
  if (policy === "first") parts.push(number(form, "approval.first", "how many"));
  if (policy === "above") parts.push(...Object.entries(AMOUNTS).slice(1).map(([name, words]) => number(form, `approval.above.${name}`, words)));
  return section("Who must agree", form.person.alone ? "A trial that waits for a person is not executed. You approve, for exactly what is shown." : "A trial that waits for a person is not executed. Somebody else approves, of a group that may look at it, for exactly what is shown.", "approval", box("row", ...parts));
}

function course(form) {
  const proposers = listing(form.choices.proposers);
  const about = form.choices.proposers.find((each) => each.name === (form.fields.proposer ?? "gp"))?.about ?? "Only the points that people add are tried.";
  const groups = node("div", undefined, "row");
  for (const group of form.person.groups ?? []) {
    const input = node("input");
    input.type = "checkbox";
    input.dataset.focus = `group-${group}`;
    input.checked = (form.fields.groups ?? []).includes(group);
    input.addEventListener("change", () => {
      const rest = (form.fields.groups ?? []).filter((each) => each !== group);
      form.change("groups", input.checked ? [...rest, group] : rest.length ? rest : undefined);
    });
    const tag = node("label", undefined, "field tick");
    tag.append(node("span", group, "words"), input);
    groups.append(tag);
  }
  const more = node("details");
  more.open = Boolean(form.fields.constraints || form.fields.outcome_constraints || form.fields.arms);
  more.append(node("summary", "Constraints, limits on outcomes, arms of comparison"),
    text(form, "constraints", "constraints", { lines: 2, cls: "wide", hint: "x + y <= 1, one a line", write: (value) => (Array.isArray(value) ? value.map((each) => each.expression ?? JSON.stringify(each)).join("\n") : String(value)), read: (given) => listed(given, "\n")?.map(constraint) }),
    node("h6", "Limits that outcomes must keep to count as good"),
    ...rows(form, "outcome_constraints", "a limit", (path) => [text(form, `${path}.metric`, "outcome", { list: Object.keys(outcomesOf(form)) }), number(form, `${path}.at_least`, "at least"), number(form, `${path}.at_most`, "at most"), text(form, `${path}.unit`, "unit", { cls: "number" })]),
    node("h6", "Arms: every n-th point is a random one, to compare with"),
    ...rows(form, "arms", "an arm", (path) => [text(form, `${path}.name`, "name", { hint: "control" }), number(form, `${path}.every`, "every", { hint: "2" })]));
  return section("How it goes", about, "",
    box("row",
      choose(form, "proposer", "proposer", [...proposers, ["person", "person"]], { otherwise: "gp", act: () => form.draw() }),
      choose(form, "fall_back", "where it fails", proposers, { otherwise: "sobol" }),
      number(form, "parallel", "at once", { hint: "2", help: "Trials under way at once." }),
      number(form, "repeats", "repeats", { hint: "1", help: "Trials of each point, to measure the noise." }),
      number(form, "seed", "seed", { hint: "0" })),
    (form.person.groups ?? []).length ? node("span", "groups that may look at it", "words") : null, (form.person.groups ?? []).length ? groups : null, slot("groups"), more);
}

// A line is a condition; what code has written otherwise comes back as JSON.
function constraint(line) {
  try {
    return line.startsWith("{") ? JSON.parse(line) : { type: "condition", expression: line };
  } catch {
    return { type: "condition", expression: line };
  }
}

// --- before the launch ------------------------------------------------------------------------------------------------------

function estimate(checked, person) {
  const made = box("estimate");
  made.setAttribute("role", "status");
  if (checked.trials === undefined) return made;
  const about = checked.exact ? "" : "about ";
  const first = `${about}${checked.trials.toLocaleString()} ${checked.trials === 1 ? "trial" : "trials"}`;
  made.append(node("strong", checked.ends_by === "trials" ? first : `${first}; then the budget of ${AMOUNTS[checked.ends_by]} is spent`), " ");
  if (checked.simulated) made.append(badge("simulated", "simulated", "As declared, every observation is computed, and none comes from an instrument."));
  for (const name of checked.laboratory) made.append(" ", badge(`touches the laboratory: ${name}`, "simulated"));
  const table = node("table");
  for (const [name, each] of Object.entries(checked.amounts)) {
    const row = node("tr");
    const one = each.low < each.high ? `${short(each.low)} to ${short(each.high)} a trial` : `${short(each.mean)} a trial`;
    row.append(node("th", AMOUNTS[name]), node("td", `${about}${short(each.total)}${each.limit === null ? "" : ` of ${short(each.limit)}`} ${each.unit}`), node("td", one));
    table.append(row);
  }
  if (Object.keys(checked.amounts).length) made.append(table);
  const { needed, why, groups } = checked.approvals;
  const count = Math.ceil(needed);
  made.append(node("p", count ? `${count} of them ${count === 1 ? "waits" : "wait"} for a person. ${why}` : "No trial waits for a person."));
  if (count && !person.alone) made.append(approvers(groups, person));
  return made;
}

// Inside a hub nobody approves their own trials, and only the groups that are ticked see them.
function approvers(groups, person) {
  if (groups.length) return node("p", `Somebody else of ${groups.join(" or ")} approves.`);
  const tick = person.groups.length ? "tick a group whose members may approve" : "ask an administrator to put you into a group whose members may approve, and tick it";
  return node("p", `Nobody but you can see it, so nobody could approve: ${tick}.`, "caution");
}

// Show what is wrong where it is: beside a field that was touched, or beside all once a launch was tried.
function place(form, checked) {
  const slots = new Map([...form.root.querySelectorAll("[data-at]")].map((each) => [each.dataset.at, each]));
  for (const each of slots.values()) if (each.textContent) each.textContent = "";
  for (const each of form.root.querySelectorAll("[aria-invalid]")) each.removeAttribute("aria-invalid");
  const rest = [];
  for (const fault of checked.faults ?? []) {
    let where = fault.where;
    while (where && !slots.has(where)) where = where.split(".").slice(0, -1).join(".");
    const seen = form.tried || [...form.touched].some((path) => path === fault.where || path.startsWith(`${fault.where}.`) || path.startsWith(`${where}.`));
    if (!where) rest.push(fault.message);
    else if (seen) {
      const told = slots.get(where);
      if (!told.textContent.includes(fault.message)) told.textContent = `${told.textContent} ${fault.message}`.trim();
      form.root.querySelector(`[data-path='${CSS.escape(where)}']`)?.setAttribute("aria-invalid", "true");
    }
  }
  return rest;
}

function before(form) {
  const checked = form.model.get("checked");
  const rest = place(form, checked);
  const count = (checked.faults ?? []).length;
  const parts = [estimate(checked, form.person)];
  if (rest.length && form.tried) for (const words of new Set(rest)) parts.push(node("p", words, "fault"));
  parts.push(node("p", count ? `${count === 1 ? "One thing is" : `${count} things are`} missing or wrong${form.tried ? "" : "; Launch shows where"}.` : "", "line missing"));
  redraw(form.foot, parts);
}

export function formOf(model, root) {
  const form = { model, root: node("div", undefined, "form"), foot: node("div", undefined, "foot"), lists: node("div"), touched: new Set(), tried: false, timer: undefined };
  form.choices = model.get("choices");
  form.person = model.get("person");
  form.fields = structuredClone(model.get("draft"));
  // Each draft has a number, which comes back with what was found in it.
  form.turn = model.get("checked").turn ?? 0;
  const send = () => {
    clearTimeout(form.timer);
    form.timer = undefined;
    form.turn += 1;
    model.send({ command: "draft", draft: form.fields, turn: form.turn });
  };
  form.change = (path, value) => {
    put(form.fields, path, value);
    form.touched.add(path);
    clearTimeout(form.timer);
    form.timer = setTimeout(send, WAIT_MS);
  };
  form.draw = () => {
    form.lists.replaceChildren();
    const title = section("A new experiment", "Nothing is launched until you say so. What you type is kept.", "", box("row", text(form, "title", "title", { cls: "wide" })));
    const beyond = ["warm_start", "origin", "model_references", "dataset_references"].filter((name) => form.fields[name] !== undefined);
    redraw(form.root, [title, executor(form), space(form), objectives(form), hypothesis(form), budget(form), approval(form), course(form), beyond.length ? node("p", `Kept from the description in code: ${beyond.join(", ").replaceAll("_", " ")}.`, "small") : null, form.lists]);
    before(form);
  };
  const launch = button("Launch", () => {
    send();
    form.tried = form.launching = true;
  }, "launch", "primary");
  form.foot.tabIndex = -1;
  // What was typed and not launched is nowhere else: it goes at the second click only.
  const actions = box("actions");
  const ask = (asking, focus) => {
    const begin = asking
      ? [node("span", "What you typed was not launched."), ...sureOf("Start over: forget it", clear, "clear", "Keep it", () => ask(false, "clear"))]
      : [button("Start over", () => (form.touched.size || model.get("unsaved") ? ask(true, "clear-back") : clear()), "clear")];
    redraw(actions, [launch, ...begin]);
    actions.querySelector(`[data-focus='${focus}']`)?.focus();
  };
  const clear = () => {
    send();
    form.touched.clear();
    form.tried = false;
    model.send({ command: "clear" });
    ask(false, "clear");
  };
  ask(false);
  root.append(form.root, form.foot, actions);
  const renewed = () => {
    if (JSON.stringify(model.get("draft")) === JSON.stringify(form.fields)) return;
    form.fields = structuredClone(model.get("draft"));
    form.draw();
  };
  const checked = () => {
    before(form);
    if (!form.launching || model.get("checked").turn < form.turn) return;
    form.launching = false;
    if (model.get("checked").faults?.length) (form.root.querySelector("[aria-invalid]") ?? form.foot).focus();
    else model.send({ command: "launch" });
  };
  model.on("change:draft", renewed);
  model.on("change:checked", checked);
  form.draw();
  return () => {
    if (form.timer !== undefined) send();
    model.off("change:draft", renewed);
    model.off("change:checked", checked);
  };
}
