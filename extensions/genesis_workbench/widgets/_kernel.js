// A page outlives its kernel: after a restart or a crash a widget would look alive, and every click in it would be lost, a
// "Stop" as well. So one whose kernel has ended says so and takes no clicks. JupyterLab tells of kernels; elsewhere nothing changes.
import { node } from "./_page.js";

const ENDED = ["restarting", "autorestarting", "terminating", "dead"];
const WORDS = "The kernel that this belongs to has ended. What is shown is as it was then, and nothing can be done here: run its cell again.";

function close(el) {
  if (el.querySelector(":scope > .genesis-ended")) return;
  for (const part of el.children) part.inert = true;
  const told = node("p", WORDS, "genesis-ended");
  told.setAttribute("role", "alert");
  el.prepend(told);
}

// What a widget's file exports: its `render`, and that it ends with its kernel. anywidget calls it once for each widget.
export const endsWithKernel = (render) => () => {
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
      shown.add(context.el);
      if (ended) close(context.el);
      return () => {
        shown.delete(context.el);
        leave?.();
      };
    },
  };
};
