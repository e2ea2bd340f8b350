// anywidget gives a page two seconds to load a widget's code. On a busy machine it takes longer; the widget is shown then, and
// every word of its kernel is refused for good, without a message: it stays as it was when it was made. Here it gets two
// minutes. Nothing else of anywidget asks for a signal of exactly two seconds, and nothing but that is changed.
const GIVEN_MS = 2000;
const ENOUGH_MS = 120000;

const late = {
  id: "genesis-late-widgets:plugin",
  description: "Keeps a widget alive whose code the page takes more than two seconds to load.",
  autoStart: true,
  activate: () => {
    const timeout = AbortSignal.timeout.bind(AbortSignal);
    AbortSignal.timeout = (ms) => timeout(ms === GIVEN_MS ? ENOUGH_MS : ms);
  },
};

window._JUPYTERLAB ??= {};
window._JUPYTERLAB["genesis-late-widgets"] = {
  init: () => {},
  get: async () => () => ({ __esModule: true, default: late }),
};
