// Warns before an idle server ends. No build: this is the module that JupyterLab's loader asks for, with the two packages
// that it shares; tests/browser/test_idle.py keeps to that contract.
let shared;

const use = async (name) => {
  const versions = Object.values(shared[name]);
  return (await versions[0].get())();
};

const notice = {
  id: "genesis-idle-notice:plugin",
  description: "Warns before an idle server ends.",
  autoStart: true,
  activate: async () => {
    const { Notification } = await use("@jupyterlab/apputils");
    const { ServerConnection } = await use("@jupyterlab/services");
    const settings = ServerConnection.makeSettings();
    const url = `${settings.baseUrl}genesis/idle`;
    let shown = null;

    const hide = () => {
      if (shown !== null) Notification.dismiss(shown);
      shown = null;
    };
    const keep = async () => {
      await ServerConnection.makeRequest(url, { method: "POST" }, settings);
      hide();
    };
    const words = (left) => {
      const time = left > 90 ? `${Math.round(left / 60)} minutes` : `${Math.max(0, Math.round(left))} seconds`;
      return `Nothing works in this server. It ends in about ${time}; files are kept, kernels are not.`;
    };
    const look = async () => {
      try {
        const answer = await ServerConnection.makeRequest(url, {}, settings);
        if (answer.status === 404) return; // this server has no end
        const { left_s: left, warn_s: warn } = await answer.json();
        if (left > warn) hide();
        else if (shown === null || !Notification.manager.has(shown))
          shown = Notification.warning(words(left), {
            autoClose: false,
            actions: [{ label: "Keep it running", displayType: "accent", callback: keep }],
          });
        else Notification.update({ id: shown, message: words(left) });
        setTimeout(look, 1000 * Math.min(30, Math.max(1, warn / 6)));
      } catch {
        setTimeout(look, 30000); // the server does not answer just now
      }
    };
    look();
  },
};

window._JUPYTERLAB ??= {};
window._JUPYTERLAB["genesis-idle-notice"] = {
  init: (scope) => { shared = scope; },
  get: async () => () => ({ __esModule: true, default: notice }),
};
