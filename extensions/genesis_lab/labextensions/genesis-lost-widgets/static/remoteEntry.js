// A notebook that is opened again has the outputs of earlier cells, but not what its widgets were: that was in a kernel that has
// ended. ipywidgets writes "Error displaying widget: model not found" in their place, which sounds as if something were broken.
const THEIRS = "Error displaying widget: model not found";
const OURS = "This was shown by a kernel that has ended. Run its cell to see it as it is now.";

const plainly = (node) => {
  if (node.nodeType === Node.TEXT_NODE && node.data === THEIRS && node.parentElement?.closest(".jp-OutputArea-output")) node.data = OURS;
};

const lost = {
  id: "genesis-lost-widgets:plugin",
  description: "Says in plain words that a widget of an earlier day needs its cell to be run.",
  autoStart: true,
  activate: () => {
    const changes = new MutationObserver((records) => {
      for (const record of records) record.addedNodes.forEach(plainly);
    });
    changes.observe(document.body, { childList: true, subtree: true });
  },
};

window._JUPYTERLAB ??= {};
window._JUPYTERLAB["genesis-lost-widgets"] = {
  init: () => {},
  get: async () => () => ({ __esModule: true, default: lost }),
};
