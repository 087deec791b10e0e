/* A stand-in for Facebook's JavaScript SDK: FB.init and FB.login with a configuration, as WhatsApp's signup uses them. */
(() => {
  "use strict";
  const SANDBOX = new URL(document.currentScript.src).origin;
  let app = null;

  window.FB = {
    init(options) {
      app = options;
    },
    login(callback, options = {}) {
      if (!app) throw new Error("FB.login() called before FB.init().");
      const query = new URLSearchParams({ app_id: app.appId ?? "", config_id: options.config_id ?? "" });
      const opened = window.open(`${SANDBOX}/facebook/signup?${query}`, "facebook", "width=520,height=640");
      const hear = (event) => {
        if (event.origin !== SANDBOX || !event.data?.facebookSandbox) return;
        finish({ authResponse: { code: event.data.code }, status: "connected" });
      };
      // What the window said last may arrive after it is seen closed.
      let closed = 0;
      const gone = setInterval(() => {
        closed += opened?.closed ? 1 : 0;
        if (closed > 4) finish({ authResponse: null, status: "unknown" });
      }, 400);
      const finish = (answer) => {
        clearInterval(gone);
        removeEventListener("message", hear);
        callback(answer);
      };
      addEventListener("message", hear);
    },
  };
  window.fbAsyncInit?.();
})();
