// What plots are drawn on: a frame with a title for who does not see it, the reach of values, two axes.
import { mark, short } from "./_page.js";

export const WIDE = 720;

export function frame(high, title) {
  const svg = mark("svg", { viewBox: `0 0 ${WIDE} ${high}`, role: "img", style: `aspect-ratio: ${WIDE} / ${high}` });
  svg.append(mark("title", {}, title));
  return svg;
}

export function range(values) {
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!Number.isFinite(low)) return [0, 1];
  return low < high ? [low, high] : [low - (Math.abs(low) || 1) / 2, high + (Math.abs(low) || 1) / 2];
}

// Beside an axis there is room for seven signs.
const narrow = (value) => (value !== 0 && Math.abs(value) < 0.01 ? value.toExponential(1) : short(value));

export function axes(svg, { left, right, top, bottom }, [low, high], words) {
  svg.append(mark("path", { class: "axis", d: `M${left},${top}V${bottom}H${right}`, fill: "none" }));
  for (const [value, y] of [[low, bottom], [high, top]])
    svg.append(mark("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, narrow(value)));
  svg.append(mark("text", { x: left, y: top - 10 }, words));
}
