// WhatsApp's embedded signup. Facebook's window says which account was chosen in a message and hands a code, which lives
// 30 seconds, to the callback: both go to the server at once, in whichever order they come.
const loaded = new Map();

const load = (url) => {
  if (!loaded.has(url)) {
    loaded.set(
      url,
      new Promise((resolve, reject) => {
        const script = Object.assign(document.createElement("script"), { src: url, async: true, onload: resolve });
        script.onerror = () => {
          loaded.delete(url);
          reject(new Error("Facebook could not be reached."));
        };
        document.head.append(script);
      }),
    );
  }
  return loaded.get(url);
};

export const ready = async (form) => {
  const signup = JSON.parse(form.dataset.window);
  const button = form.querySelector("button"),
    status = form.querySelector("[role=status]");
  const trusted = (origin) =>
    origin === new URL(signup.script).origin || /^https:\/\/([a-z0-9-]+\.)*facebook\.com$/.test(origin);
  try {
    await load(signup.script);
  } catch (fault) {
    status.textContent = `${fault.message} Paste the credentials below instead.`;
    return;
  }
  window.FB.init({ appId: signup.app, version: signup.version, autoLogAppEvents: false, xfbml: false });
  button.disabled = false;

  button.addEventListener("click", () => {
    const given = {};
    status.textContent = "";
    const finish = () => {
      if (!given.code || !given.waba_id) return;
      removeEventListener("message", hear);
      for (const [name, value] of Object.entries(given)) {
        const field =
          form.elements.namedItem(name) ??
          form.appendChild(Object.assign(document.createElement("input"), { type: "hidden", name }));
        field.value = value;
      }
      button.disabled = true;
      status.textContent = "Connecting …";
      form.requestSubmit();
    };
    const hear = (event) => {
      if (!trusted(event.origin)) return;
      let said;
      try {
        said = typeof event.data === "string" ? JSON.parse(event.data) : event.data;
      } catch {
        return;
      }
      if (said?.type !== "WA_EMBEDDED_SIGNUP") return;
      if (String(said.event).startsWith("FINISH")) {
        given.waba_id = said.data?.waba_id;
        if (said.data?.phone_number_id) given.phone_number_id = said.data.phone_number_id;
        finish();
      } else if (said.data?.error_message) {
        status.textContent = `Facebook says: ${said.data.error_message}`;
      }
    };
    addEventListener("message", hear);
    window.FB.login(
      (answer) => {
        given.code = answer.authResponse?.code;
        if (given.code) {
          finish();
          return;
        }
        removeEventListener("message", hear);
        status.textContent ||= "Nothing was connected: the window was closed before it was finished.";
      },
      { config_id: signup.config, response_type: "code", override_default_response_type: true, extras: { setup: {} } },
    );
  });
};
