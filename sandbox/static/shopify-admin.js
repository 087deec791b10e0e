/* The admin around the embedded app: follows its address, shows its navigation and its toasts. */
(() => {
  "use strict";
  const nav = document.getElementById("app-nav");
  const toasts = document.getElementById("toasts");
  const { origin, path: base } = document.currentScript.dataset;

  function follow(path) {
    const inside = path.replace(/^\//, "");
    history.replaceState(null, "", inside ? `${base}/${inside}` : base);
    for (const link of nav.children) link.toggleAttribute("aria-current", link.dataset.path === path.split("?")[0]);
  }

  function navigation(items) {
    nav.replaceChildren(
      ...items
        .filter((item) => !item.home)
        .map((item) => {
          const link = document.createElement("a");
          const path = new URL(item.href, origin).pathname;
          link.href = base + path.replace(/\/$/, "");
          link.dataset.path = path;
          link.textContent = item.title;
          link.toggleAttribute("aria-current", location.pathname === link.pathname);
          return link;
        }),
    );
  }

  function toast(message, isError) {
    const line = document.createElement("p");
    line.textContent = message;
    line.classList.toggle("error", isError);
    toasts.append(line);
    setTimeout(() => line.remove(), 5000);
  }

  window.addEventListener("message", (event) => {
    const app = document.getElementById("app")?.contentWindow; // the frame comes after this script
    if (event.origin !== origin || event.source !== app || !event.data?.dastakSandbox) return;
    const { type, path, items, message, isError } = event.data;
    if (type === "path") follow(String(path));
    else if (type === "navigation" && Array.isArray(items)) navigation(items);
    else if (type === "toast") toast(String(message), Boolean(isError));
  });
})();
