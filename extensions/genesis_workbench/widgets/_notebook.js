// What every widget is in a notebook: it has its own keys, its times go on, and it ends with its kernel.
import { node, renewAgo } from "./_page.js";

// JupyterLab takes the keys of whatever is no text input for its own: an arrow would go to the next cell, `b` insert one, `d`
// twice delete this one. Those with Control, Alt or Command stay Lab's, and so does Shift with Enter, which runs the cell.
function keepKeys(el) {
  el.addEventListener("keydown", (event) => {
    const theirs = event.ctrlKey || event.altKey || event.metaKey || event.key === "Escape" || (event.shiftKey && event.key === "Enter");
    if (!theirs) event.stopPropagation();
  });
}

// A page outlives its kernel: after a restart or a crash a widget would look alive, and every click in it would be lost, a
// "Stop" as well. So one whose kernel has ended says so and takes no clicks. JupyterLab tells of kernels; elsewhere nothing changes.
const ENDED = ["restarting", "autorestarting", "terminating", "dead"];
const WORDS = "The kernel that this belongs to has ended. What is shown is as it was then, and nothing can be done here: run its cell again.";

function close(el) {
  if (el.querySelector(":scope > .genesis-ended")) return;
  for (const part of el.children) part.inert = true;
  const told = node("p", WORDS, "genesis-ended");
  told.setAttribute("role", "alert");
  el.prepend(told);
}

// What a widget's file exports, of its `render`. anywidget calls it once for each widget.
export const inNotebook = (render) => () => {
  let ended = false;
  const shown = new Set();
  const end = () => {
    ended = true;
    shown.forEach(close);
  };
  return {
    initialize({ model }) {
      const kernel = model.widget_manager?.kernel;
      if (!kernel?.statusChanged) return undefined;
      const heard = (_, status) => ENDED.includes(status) && end();
      kernel.statusChanged.connect(heard);
      kernel.disposed.connect(end);
      return () => {
        kernel.statusChanged.disconnect(heard);
        kernel.disposed.disconnect(end);
      };
    },
    render(context) {
      const leave = render(context);
      keepKeys(context.el);
      shown.add(context.el);
      if (ended) close(context.el);
      const clock = setInterval(() => renewAgo(context.el), 5000);
      return () => {
        clearInterval(clock);
        shown.delete(context.el);
        leave?.();
      };
    },
  };
};
