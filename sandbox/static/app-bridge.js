/* A stand-in for Shopify's App Bridge: the part that an app without a build step relies on.
 *
 * Fetches 60-second ID tokens, puts them on same-origin fetch() calls and asks again once when told to, reloads the
 * page named by `shopify-reload` with a fresh token, shows toasts in the admin, and tells the admin where the app is.
 */
(() => {
  "use strict";
  const SANDBOX = new URL(document.currentScript.src).origin;
  const RETRY = "X-Shopify-Retry-Invalid-Session-Request";
  const here = new URL(location.href);
  const framed = window.parent !== window;
  const tell = (message) => framed && window.parent.postMessage({ dastakSandbox: true, ...message }, SANDBOX);

  const remembered = (name, value) => {
    try {
      if (value) sessionStorage.setItem(`app-bridge:${name}`, value);
      return value || sessionStorage.getItem(`app-bridge:${name}`) || "";
    } catch {
      return value || ""; // storage is blocked: the address has to carry it
    }
  };
  const shop = remembered("shop", here.searchParams.get("shop"));
  const host = remembered("host", here.searchParams.get("host"));
  const apiKey = document.querySelector('meta[name="shopify-api-key"]')?.content ?? "";
  const plainFetch = window.fetch.bind(window);

  async function idToken() {
    if (!shop) throw new Error("App Bridge: the address names no shop");
    const handle = shop.replace(/\.myshopify\.com$/, "");
    const answer = await plainFetch(`${SANDBOX}/shopify/admin/store/${encodeURIComponent(handle)}/id-token`, {
      cache: "no-store",
      credentials: "omit",
    });
    if (!answer.ok) throw new Error(`App Bridge: no ID token (${answer.status})`);
    return (await answer.json()).id_token;
  }

  window.fetch = async function fetch(input, init) {
    const request = new Request(input, init);
    const ours = new URL(request.url).origin === location.origin && !request.headers.has("Authorization");
    if (!ours || !shop) return plainFetch(request);
    const again = request.clone();
    request.headers.set("Authorization", `Bearer ${await idToken()}`);
    const answer = await plainFetch(request);
    if (answer.status !== 401 || !answer.headers.has(RETRY)) return answer;
    again.headers.set("Authorization", `Bearer ${await idToken()}`);
    return plainFetch(again);
  };

  async function reload(target) {
    const url = new URL(target, location.origin);
    if (url.origin !== location.origin) return;
    url.searchParams.set("id_token", await idToken());
    for (const [name, value] of [
      ["shop", shop],
      ["host", host],
      ["embedded", "1"],
    ]) {
      if (value && !url.searchParams.has(name)) url.searchParams.set(name, value);
    }
    location.replace(url);
  }

  const OWN = new Set(["id_token", "hmac", "timestamp", "session", "embedded", "shop", "host", "locale"]);
  function tellWhere() {
    const url = new URL(location.href);
    for (const name of [...url.searchParams.keys()]) if (OWN.has(name)) url.searchParams.delete(name);
    tell({ type: "path", path: url.pathname + url.search });
  }
  function tellNavigation() {
    const links = document.querySelectorAll("s-app-nav a, s-app-nav s-link, ui-nav-menu a");
    const items = [...links]
      .filter((link) => link.getAttribute("href"))
      .map((link) => ({ href: link.getAttribute("href"), title: link.textContent.trim(), home: link.rel === "home" }));
    if (items.length) tell({ type: "navigation", items });
  }

  for (const name of ["pushState", "replaceState"]) {
    const plain = history[name].bind(history);
    history[name] = (...given) => {
      plain(...given);
      tellWhere();
    };
  }
  window.addEventListener("popstate", tellWhere);

  const config = { apiKey, shop, host, locale: here.searchParams.get("locale") || "en" };
  window.shopify = {
    config,
    origin: location.origin,
    ready: Promise.resolve(),
    environment: { embedded: framed, mobile: false, pos: false },
    idToken,
    toast: {
      show(message, options = {}) {
        tell({ type: "toast", message: String(message), isError: Boolean(options.isError) });
        return String(Date.now());
      },
      hide() {},
    },
    loading(on = true) {
      tell({ type: "loading", on: Boolean(on) });
    },
    saveBar: { show: async () => {}, hide: async () => {}, leaveConfirmation: async () => {} },
    scopes: { query: async () => ({ granted: [], required: [], optional: [] }) },
  };

  const target = here.searchParams.get("shopify-reload");
  if (target) {
    reload(target).catch((error) => console.warn(error.message));
    return;
  }
  const start = () => {
    tellWhere();
    tellNavigation();
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
