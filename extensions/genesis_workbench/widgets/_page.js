// What a page is made of. All text is set as text, never as HTML: titles and reasons come from people.

const SVG = "http://www.w3.org/2000/svg";

export function node(tag, text, cls) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (cls) made.className = cls;
  return made;
}

export function mark(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// `focus` names it, so that the keyboard stays on it when what is around it is drawn again.
export function button(words, act, focus, cls) {
  const made = node("button", words, cls);
  made.type = "button";
  made.dataset.focus = focus ?? words;
  made.addEventListener("click", act);
  return made;
}

// `options` are pairs of a value and its words.
export function selectOf(options, value, act) {
  const made = node("select");
  for (const [name, words] of options) made.append(new Option(words, name, false, name === value));
  made.value = value;
  made.addEventListener("change", () => act(made.value));
  return made;
}

// The second click that what cannot be undone takes. Neither button is where the first one was, so that Enter, pressed twice,
// does nothing yet.
export function sureOf(words, act, focus, back, leave) {
  return [button(words, act, `${focus}-sure`, "sure"), button(back, leave, `${focus}-back`)];
}

export function box(cls, ...parts) {
  const made = node("div", undefined, cls);
  made.append(...parts.filter((part) => part !== null && part !== undefined && part !== ""));
  return made;
}

export function badge(words, cls, title) {
  const made = node("span", words, `badge ${cls ?? ""}`);
  if (title) made.title = title;
  return made;
}

export function short(value) {
  return typeof value === "number" ? String(Number(value.toPrecision(4))) : String(value);
}

export function label(name, unit) {
  return `${name.replaceAll("_", " ")}${unit ? ` (${unit})` : ""}`;
}

export function described(parameters) {
  return Object.entries(parameters).map(([name, value]) => `${name} = ${short(value)}`).join(", ");
}

function agoWords(time) {
  const seconds = Math.max(0, (Date.now() - Date.parse(time)) / 1000);
  const sizes = [[86400, "d"], [3600, "h"], [60, "min"]];
  const [size, word] = sizes.find(([each]) => seconds >= each) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${word} ago`;
}

// "3 min ago", with the exact time on hover.
export function ago(time) {
  const made = node("time", agoWords(time), "ago");
  made.dateTime = made.title = time;
  return made;
}

// Time goes on where nothing else changes.
export function renewAgo(root) {
  for (const made of root.querySelectorAll("time.ago")) made.textContent = agoWords(made.dateTime);
}

// Draw again what changed, and leave the keyboard, and what is scrolled, where they were.
export function redraw(root, parts) {
  const active = root.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  const scrolled = [...root.querySelectorAll("[data-scroll]")].map((each) => [each.dataset.scroll, each.scrollTop]);
  root.replaceChildren(...parts.filter(Boolean));
  for (const [name, top] of scrolled) root.querySelector(`[data-scroll='${name}']`)?.scrollTo(0, top);
  if (active) root.querySelector(`[data-focus='${CSS.escape(active)}']`)?.focus();
}
