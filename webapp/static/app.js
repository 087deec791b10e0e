// Pages are plain HTML. Inside a platform's frame there are no cookies: links and forms are fetched instead, because the
// platform's script puts the session token on every fetch. Outside of a frame this file does next to nothing.
(() => {
  "use strict";
  const embedded = () => typeof window.shopify === "object" && window.shopify !== null;

  const show = (html, url, push) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    const fresh = page.querySelector("main");
    if (!fresh) {
      location.assign(url);
      return;
    }
    document.title = page.title;
    document.querySelector("main").replaceWith(document.adoptNode(fresh));
    const bar = document.querySelector("nav.bar"),
      newBar = page.querySelector("nav.bar");
    if (bar && newBar) bar.replaceWith(document.adoptNode(newBar));
    if (push) history.pushState({}, "", url);
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target) target.scrollIntoView();
    else scrollTo(0, 0);
    document.getElementById("main").focus({ preventScroll: true });
    arrive();
  };

  const clean = (url) => {
    const u = new URL(url, location.href);
    u.searchParams.delete("id_token");
    return u;
  };

  const go = async (url, options = {}, push = true) => {
    document.documentElement.classList.add("loading");
    try {
      const answer = await fetch(url, { headers: { Accept: "text/html" }, ...options });
      const end = clean(answer.url);
      if (!end.hash) end.hash = new URL(url, location.href).hash;
      show(await answer.text(), end.href, push);
    } catch {
      location.assign(url);
    } finally {
      document.documentElement.classList.remove("loading");
    }
  };

  addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (
      !embedded() ||
      !link ||
      event.defaultPrevented ||
      event.button ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey
    )
      return;
    if (
      link.target ||
      link.origin !== location.origin ||
      (link.hash && clean(link.href).pathname === location.pathname && link.search === location.search)
    )
      return;
    event.preventDefault();
    go(link.href);
  });

  // A box that ticks all boxes of a name.
  addEventListener("change", (event) => {
    const name = event.target.dataset && event.target.dataset.all;
    if (!name) return;
    for (const box of document.getElementsByName(name)) box.checked = event.target.checked;
  });

  // A file comes by fetch too, and is handed to the browser from there.
  const download = async (form, fields) => {
    const answer = await fetch(form.action, { method: "POST", body: fields });
    if (!(answer.headers.get("Content-Type") || "").startsWith("application/pdf")) {
      show(await answer.text(), location.href, false);
      return;
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = form.dataset.download;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };

  addEventListener("submit", (event) => {
    const form = event.target;
    if (!embedded() || event.defaultPrevented) return;
    event.preventDefault();
    const given = new FormData(form, event.submitter);
    if (form.dataset.download) {
      download(form, new URLSearchParams(given));
      return;
    }
    if (form.method === "get") {
      go(`${form.action.split("?")[0]}?${new URLSearchParams(given)}`);
      return;
    }
    const files = form.enctype === "multipart/form-data";
    go(form.action, { method: "POST", body: files ? given : new URLSearchParams(given) });
  });

  addEventListener("popstate", () => {
    if (embedded()) go(location.href, {}, false);
  });

  // A page that waits for something ("On its way …") looks again by itself, a few times.
  let looks = 0;
  const refreshLater = () => {
    if (!document.querySelector("[data-refresh]") || looks >= 15) {
      looks = 0;
      return;
    }
    looks += 1;
    setTimeout(() => {
      embedded() ? go(location.href, {}, false) : location.reload();
    }, 1500);
  };

  // A picture that only its merchant may see: an image in a frame cannot say whose it is, a fetch can.
  const fetchPicture = async (image) => {
    const answer = await fetch(image.dataset.src);
    if (!answer.ok) return;
    const reader = new FileReader();
    reader.onload = () => (image.src = reader.result);
    reader.readAsDataURL(await answer.blob());
  };

  // Parts of a page that bring a script of their own.
  const arrive = () => {
    document.querySelectorAll("img[data-src]").forEach(fetchPicture);
    for (const part of document.querySelectorAll("[data-module]"))
      import(part.dataset.module).then((module) => module.ready(part));
    refreshLater();
  };
  addEventListener("DOMContentLoaded", () => {
    document.documentElement.classList.toggle("embedded", embedded());
    arrive();
  });
})();
