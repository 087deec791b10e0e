/* The face of the sandbox: asks the world once a second how it is, and shows only what changed. */
(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const cast = JSON.parse($("cast").textContent);
  const couriers = JSON.parse($("couriers").textContent);
  const gateways = JSON.parse($("gateway-data").textContent);
  const SHIPPING = 250;
  const ZONE = "Asia/Karachi";

  function make(tag, props = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(props)) {
      if (value === undefined || value === null || value === false) continue;
      if (name === "class") node.className = value;
      else if (name === "data") Object.assign(node.dataset, value);
      else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
    return node;
  }

  /* Keep the nodes whose data did not change: focus, scroll, open details and finished animations survive. */
  function keyed(container, items, keyOf, render) {
    const before = new Map([...container.children].map((node) => [node.dataset.key, node]));
    const after = items.map((item) => {
      const key = keyOf(item);
      const state = JSON.stringify(item);
      const known = before.get(key);
      if (known && known.dataset.state === state) return known;
      const node = render(item, known);
      node.dataset.key = key;
      node.dataset.state = state;
      return node;
    });
    const kept = new Set(after);
    let focus = null;
    for (const [key, old] of before) {
      if (kept.has(old)) continue;
      const place = [...old.querySelectorAll("button, a, summary")].indexOf(document.activeElement);
      if (place >= 0) focus = [key, place];
      old.remove();
    }
    let cursor = container.firstElementChild;
    for (const node of after) {
      if (node === cursor) cursor = cursor.nextElementSibling;
      else container.insertBefore(node, cursor);
    }
    while (cursor) {
      const next = cursor.nextElementSibling;
      cursor.remove();
      cursor = next;
    }
    if (focus) {
      const successor = after.find((node) => node.dataset.key === focus[0]);
      successor?.querySelectorAll("button, a, summary")[focus[1]]?.focus({ preventScroll: true });
    }
  }

  async function call(method, path, body) {
    const answer = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const value = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(value.error || `The sandbox answered ${answer.status}.`);
    return value;
  }
  const money = (amount) => `Rs ${Number(amount).toLocaleString("en-PK", { maximumFractionDigits: 0 })}`;
  const clockTime = (iso) =>
    new Date(iso).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: ZONE });
  const dayOf = (iso) =>
    new Date(iso).toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: ZONE });

  function trouble(message) {
    $("trouble").textContent = message;
    $("trouble").hidden = !message;
  }
  const attempt =
    (act) =>
    async (...given) => {
      try {
        trouble("");
        await act(...given);
        hurry();
      } catch (error) {
        trouble(error.message);
      }
    };

  /* ---- the shop ---- */
  const basket = $("basket");
  const lines = [...document.querySelectorAll(".products li")];
  const quantityOf = (line) => Number(line.querySelector("output").value);

  function total() {
    const goods = lines.reduce((sum, line) => sum + Number(line.dataset.price) * quantityOf(line), 0);
    for (const line of lines) line.classList.toggle("in", quantityOf(line) > 0);
    $("total").textContent = goods ? money(goods + SHIPPING) : "–";
    $("place").disabled = !goods;
    $("place").textContent = goods ? "Place order" : "The basket is empty";
    $("leave").hidden = basket.store.value !== "shopify";
  }
  basket.addEventListener("click", (event) => {
    const step = event.target.closest("[data-step]");
    if (!step) return;
    const output = step.parentElement.querySelector("output");
    output.value = Math.max(0, Math.min(99, Number(output.value) + Number(step.dataset.step)));
    total();
  });
  basket.addEventListener("change", () => {
    $("other").hidden = basket.customer.value !== "other";
    total();
  });

  function customer() {
    if (basket.customer.value !== "other") return cast[Number(basket.customer.value)];
    return { name: basket.name.value, phone: basket.phone.value, city: basket.city.value };
  }
  function said(message, bad = false) {
    $("said").textContent = message;
    $("said").classList.toggle("bad", bad);
  }
  async function ordered(path) {
    const who = customer();
    const items = lines.filter(quantityOf).map((line) => ({ sku: line.dataset.sku, quantity: quantityOf(line) }));
    const body = { store: basket.store.value, payment: basket.payment.value, customer: who, items };
    try {
      const placed = await call("POST", path, body);
      const first = who.name.split(" ")[0];
      said(
        path.endsWith("orders")
          ? `${placed.name} is placed. ${first}'s phone will ring.`
          : `The cart ${placed.name} is left behind by ${first}.`,
      );
      choose(plain(who.phone));
      hurry();
    } catch (error) {
      said(error.message, true);
    }
  }
  basket.addEventListener("submit", (event) => {
    event.preventDefault();
    ordered("/control/orders");
  });
  $("leave").addEventListener("click", () => ordered("/control/checkouts"));

  /* ---- whose phone ---- */
  let chosen = null; // the number of the phone on screen, normalised
  let following = true; // until someone picks a phone, the one that rang last is shown
  let business = null; // which chat of that phone
  let state = { phones: [], messages: [], orders: [], parcels: [], faults: [] };

  function plain(written) {
    const digits = written.replace(/\D/g, "");
    if (written.trim().startsWith("+")) return `+${digits}`;
    return digits.startsWith("0") ? `+92${digits.slice(1)}` : `+${digits}`;
  }
  function choose(number, byHand = false) {
    if (!number || number.length < 9) return;
    if (number !== chosen) business = null;
    chosen = number;
    following = following && !byHand;
    showPeople();
    hurry();
  }
  function showPeople() {
    const people = [...state.phones];
    if (chosen && !people.some((one) => one.phone === chosen)) {
      const known = cast.find((one) => plain(one.phone) === chosen);
      people.unshift({ phone: chosen, name: known ? known.name : "", unread: 0 });
    }
    keyed(
      $("people"),
      people.map((one) => ({ ...one, at: undefined, on: one.phone === chosen })),
      (one) => one.phone,
      (one) =>
        make(
          "button",
          { type: "button", "aria-pressed": String(one.on), title: one.phone, onclick: () => choose(one.phone, true) },
          one.name || one.phone,
          one.unread && !one.on ? make("i", { "aria-label": `${one.unread} unread` }, String(one.unread)) : null,
        ),
    );
    $("people").hidden = people.length < 2;
    const unread = state.phones.reduce((sum, one) => sum + one.unread, 0);
    $("tab-unread").hidden = !unread;
    $("tab-unread").textContent = unread;
  }

  /* ---- the chat ---- */
  const FORMATS = [
    [/```([^`]+)```/, "code"],
    [/(?<![\w*])\*(?=\S)([^*\n]+?)(?<=\S)\*(?![\w*])/, "b"],
    [/(?<![\w_])_(?=\S)([^_\n]+?)(?<=\S)_(?![\w_])/, "i"],
    [/(?<![\w~])~(?=\S)([^~\n]+?)(?<=\S)~(?![\w~])/, "s"],
    [/https?:\/\/[^\s<>"]+/, "a"],
  ];
  /* WhatsApp's own marks as nodes; text stays text. */
  function formatted(text) {
    let earliest = null;
    for (const [pattern, tag] of FORMATS) {
      const match = pattern.exec(text);
      if (match && (!earliest || match.index < earliest.match.index)) earliest = { match, tag };
    }
    if (!earliest) return text ? [text] : [];
    const { match, tag } = earliest;
    const inside =
      tag === "a"
        ? make("a", { href: match[0], target: "_blank", rel: "noopener noreferrer" }, match[0])
        : make(tag, {}, ...(tag === "code" ? [match[1]] : formatted(match[1])));
    return [text.slice(0, match.index), inside, ...formatted(text.slice(match.index + match[0].length))];
  }
  const TICKS = { accepted: "🕓", held: "🕓", sent: "✓", delivered: "✓✓", read: "✓✓", played: "✓✓" };

  function stamp(message) {
    const parts = [make("time", {}, clockTime(message.at))];
    if (message.status === "failed") {
      parts.push(make("span", { class: "failed" }, `not delivered${message.error ? `: ${message.error.title}` : ""}`));
    } else {
      const what = message.from === "business" ? `The store knows: ${message.status}` : message.status;
      parts.push(
        make(
          "span",
          { class: `ticks ${message.status}`, title: what, role: "img", "aria-label": what },
          TICKS[message.status] || "",
        ),
      );
    }
    return make("div", { class: "stamp" }, ...parts);
  }
  const tap = attempt(async (message, button) => {
    await call("POST", `/control/phones/${encodeURIComponent(chosen)}/tap`, { message_id: message.id, button });
  });

  function choiceNode(message, button) {
    if (button.url && /^https?:/.test(button.url)) {
      return make("a", { href: button.url, target: "_blank", rel: "noopener noreferrer" }, `${button.title} ↗`);
    }
    if (button.url) return make("button", { type: "button", disabled: true, title: button.url }, button.title);
    return make("button", { type: "button", dir: "auto", onclick: () => tap(message, button.id) }, button.title);
  }
  function openList(message) {
    $("sheet-title").textContent = message.list.button;
    $("rows").replaceChildren(
      ...message.list.rows.map((row) =>
        make(
          "button",
          {
            type: "button",
            dir: "auto",
            onclick: () => {
              $("sheet").close();
              tap(message, row.id);
            },
          },
          row.title,
          row.description ? make("small", {}, row.description) : null,
        ),
      ),
    );
    $("sheet").showModal();
  }
  function messageNode(message, known) {
    if (message.day) return make("div", { class: "day" }, message.day);
    const shape = JSON.stringify({ ...message, status: "", error: null });
    if (known?.shape === shape) {
      // only its status moved: the buttons stay the nodes they are, so that no click is lost
      known.querySelector(".stamp").replaceWith(stamp(message));
      return known;
    }
    const own = message.from === "customer";
    const quoted = message.context && state.messages.find((one) => one.id === message.context);
    const bubble = make(
      "div",
      { class: "bubble" },
      quoted && own ? make("div", { class: "quoted", dir: "auto" }, quoted.text || quoted.type) : null,
      message.media ? make("div", { class: "picture" }, message.media.filename || message.media.kind) : null,
      message.header ? make("h4", { dir: "auto" }, message.header) : null,
      message.text ? make("p", { dir: "auto" }, ...formatted(message.text)) : null,
      message.footer ? make("p", { class: "footer", dir: "auto" }, message.footer) : null,
      stamp(message),
    );
    const choices = message.buttons.map((button) => choiceNode(message, button));
    if (message.list) {
      choices.push(make("button", { type: "button", onclick: () => openList(message) }, `☰ ${message.list.button}`));
    }
    const node = make(
      "div",
      {
        class: `message${own ? " own" : ""}${known ? "" : " new"}`,
        onanimationend: (event) => event.currentTarget.classList.remove("new"),
      },
      bubble,
      message.reaction ? make("span", { class: "reaction" }, message.reaction) : null,
      choices.length ? make("div", { class: "choices-below" }, ...choices) : null,
    );
    node.shape = shape;
    return node;
  }
  const badge = () => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-label", "verified business");
    svg.innerHTML =
      '<circle cx="12" cy="12" r="11" fill="#1fa855"/><path d="M7 12.500l3.500 3.500L17 9" stroke="#fff" stroke-width="2.500" fill="none"/>';
    return svg;
  };

  function showChat() {
    const names = [...new Set(state.messages.map((message) => message.business))];
    if (!names.includes(business) || following) business = names.length ? state.messages.at(-1).business : null;
    const messages = state.messages.filter((message) => message.business === business);
    const number = messages.length ? messages[0].number : "";
    const head = $("chat-head");
    const headState = JSON.stringify([business, number, names, chosen]);
    if (head.dataset.state !== headState) {
      head.dataset.state = headState;
      const owner = [...state.phones, ...cast].find((one) => plain(one.phone) === chosen);
      const parts = [
        make("span", { class: "face", "aria-hidden": "true" }, business ? business[0] : "·"),
        make(
          "div",
          {},
          make("b", {}, business || "No conversation yet", business ? badge() : null),
          make(
            "small",
            {},
            business ? number : chosen ? `the phone of ${owner?.name || chosen}` : "a customer's phone",
          ),
        ),
      ];
      if (names.length > 1) {
        const open = (name) => () => {
          business = name;
          following = false;
          showChat();
        };
        const chats = names.map((name) =>
          make("button", { type: "button", "aria-pressed": String(name === business), onclick: open(name) }, name),
        );
        parts.push(make("div", { class: "switch-chat", role: "group", "aria-label": "Conversation" }, ...chats));
      }
      head.replaceChildren(...parts);
    }
    const chat = $("chat");
    const atEnd = chat.scrollHeight - chat.scrollTop - chat.clientHeight < 80;
    if (!messages.length) {
      const line = "Place an order, the phone will ring here.";
      if (chat.firstElementChild?.className !== "nothing") chat.replaceChildren(make("p", { class: "nothing" }, line));
    } else {
      const shown = [];
      let day = null;
      for (const message of messages) {
        if (dayOf(message.at) !== day) {
          day = dayOf(message.at);
          shown.push({ day, id: `day ${day}` });
        }
        shown.push(message);
      }
      const grown = chat.dataset.count !== `${chosen}${shown.length}`;
      keyed(chat, shown, (message) => message.id, messageNode);
      chat.dataset.count = `${chosen}${shown.length}`;
      if (grown && atEnd) chat.scrollTop = chat.scrollHeight;
    }
    $("write").hidden = !messages.length;
    const visible = !document.hidden && $("chat").offsetParent !== null;
    const unread = messages.some((one) => one.from === "business" && ["sent", "delivered"].includes(one.status));
    if (visible && unread) call("POST", `/control/phones/${encodeURIComponent(chosen)}/read`).catch(() => {});
  }
  $("write").addEventListener("submit", (event) => {
    event.preventDefault();
    const input = event.target.elements.text;
    const text = input.value.trim();
    if (!text) return;
    input.value = "";
    attempt(() => call("POST", `/control/phones/${encodeURIComponent(chosen)}/send`, { text, to: toOf() }))();
  });
  $("picture").addEventListener("click", () =>
    attempt(() =>
      call("POST", `/control/phones/${encodeURIComponent(chosen)}/send`, { image: "receipt.jpg", to: toOf() }),
    )(),
  );
  const toOf = () => state.messages.find((message) => message.business === business)?.number;

  /* ---- orders ---- */
  const MOOD = {
    paid: "good",
    completed: "good",
    fulfilled: "good",
    processing: "good",
    pending: "open",
    "on-hold": "open",
    unfulfilled: "open",
    "checkout-draft": "open",
    cancelled: "bad",
    voided: "bad",
    failed: "bad",
    refunded: "bad",
    trash: "bad",
  };
  const mark = (text) => make("span", { class: `mark ${MOOD[text] || ""}` }, text.replaceAll("_", " "));
  const openOrders = new Set();

  function orderMarks(order) {
    if (order.store === "woocommerce")
      return [mark(order.status), order.payment_status === "paid" ? mark("paid") : null];
    const cancelled = order.status === "cancelled" ? [mark("cancelled")] : [];
    return [...cancelled, mark(order.payment_status), mark(order.fulfillment_status)];
  }
  const ACTIONS = {
    shopify: [
      ["pay", "Mark paid"],
      ["fulfil", "Fulfil"],
      ["cancel", "Cancel"],
    ],
    woocommerce: [
      ["complete", "Complete"],
      ["hold", "On hold"],
      ["pay", "Mark paid"],
      ["cancel", "Cancel"],
      ["trash", "Trash"],
      ["restore", "Restore"],
    ],
  };
  function possible(order, action) {
    if (order.store === "shopify") {
      if (order.status === "cancelled") return false;
      if (action === "pay") return order.payment_status === "pending";
      return order.fulfillment_status !== "fulfilled";
    }
    if (order.status === "trash") return action === "restore";
    if (action === "pay") return order.payment_status === "pending" && order.status !== "cancelled";
    return (
      { complete: "completed", hold: "on-hold", cancel: "cancelled", restore: order.status }[action] !== order.status
    );
  }
  function orderNode(order) {
    const key = order.store + order.order_id;
    const facts = [
      ["Items", order.items.map((item) => `${item.quantity} × ${item.name}`).join("\n")],
      ["Pays by", order.payment_method],
      ["Phone", order.customer.phone || "none"],
      ["Note", order.note],
      ["Cancelled", order.cancel_reason ? `reason: ${order.cancel_reason}` : ""],
      ["Notes", order.notes.map((note) => note.note).join("\n")],
      [
        "Fields",
        Object.entries(order.meta)
          .filter(([name]) => !name.startsWith("_wc_") && !name.endsWith("_hash"))
          .map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
          .join("\n"),
      ],
    ];
    const node = make(
      "details",
      {
        class: "order",
        open: openOrders.has(key),
        ontoggle: (event) => (event.target.open ? openOrders.add(key) : openOrders.delete(key)),
      },
      make(
        "summary",
        {},
        make("b", {}, order.name),
        make("span", { class: "who", dir: "auto" }, order.customer.name || "no name"),
        make("span", { class: "store" }, order.store === "shopify" ? "Shopify" : "WooCommerce"),
        make("span", { class: "amount" }, money(order.total)),
        make(
          "span",
          { class: "marks" },
          ...orderMarks(order),
          ...order.tags.map((tag) => make("span", { class: "mark tag" }, tag)),
        ),
      ),
      make(
        "div",
        { class: "inside" },
        make(
          "dl",
          {},
          ...facts
            .filter(([, value]) => value)
            .flatMap(([name, value]) => [make("dt", {}, name), make("dd", { dir: "auto" }, value)]),
        ),
        make(
          "div",
          { class: "actions" },
          ...ACTIONS[order.store]
            .filter(([action]) => possible(order, action))
            .map(([action, title]) =>
              make(
                "button",
                {
                  type: "button",
                  onclick: attempt(() => call("POST", `/control/orders/${order.order_id}`, { action })),
                },
                title,
              ),
            ),
          order.phone
            ? make(
                "button",
                {
                  type: "button",
                  class: "plain",
                  onclick: () => {
                    choose(order.phone, true);
                    showTab("phones");
                  },
                },
                "Show the phone",
              )
            : null,
        ),
      ),
    );
    return node;
  }
  function showOrders() {
    $("orders-count").textContent = state.orders_total ? `${state.orders_total.toLocaleString("en")} so far` : "";
    const list = $("order-list");
    if (!state.orders.length) {
      if (list.firstElementChild?.className !== "empty") {
        list.replaceChildren(
          make(
            "p",
            { class: "empty" },
            "No orders yet. Fill the basket and press “Place order”: the store sends its webhooks at once.",
          ),
        );
      }
      return;
    }
    keyed(list, state.orders, (order) => order.store + order.order_id, orderNode);
  }

  /* ---- the couriers' scanner ---- */
  const STAGES = {
    booked: "Booked",
    picked_up: "Picked up",
    in_transit: "In transit",
    at_destination: "In the city",
    out_for_delivery: "Out for delivery",
    attempted: "Failed attempt",
    delivered: "Delivered",
    returning: "Going back",
    returned: "Returned",
    cancelled: "Cancelled",
  };
  const NEXT = {
    booked: "picked_up",
    picked_up: "in_transit",
    in_transit: "at_destination",
    at_destination: "out_for_delivery",
    out_for_delivery: "delivered",
    returning: "returned",
  };
  const STAGE_MOOD = { delivered: "good", attempted: "open", returning: "bad", returned: "bad", cancelled: "bad" };
  const CODES = ["id", "action", "type", "statusId", "shipper_advice_status"]; // of an advice: said by its meaning
  const openParcels = new Set();
  const newestOf = (parcel) => parcel.scans.reduce((newest, scan) => (scan.at >= newest.at ? scan : newest));
  const wordsOf = (scan) => [scan.text || scan.code, scan.reason].filter(Boolean).join(": ");
  const scanTime = (at) =>
    new Date(`${at}Z`).toLocaleString("en-GB", {
      weekday: "short",
      day: "numeric",
      month: "short",
      hour: "2-digit",
      minute: "2-digit",
      timeZone: "UTC", // the courier's own clock, whatever it is
    });

  async function scanned(parcel, word) {
    await call("POST", "/control/scans", {
      courier: parcel.courier,
      tracking_number: parcel.number,
      code: word.code,
      text: word.text,
      reason: word.reason,
      location: word.at_origin ? parcel.origin : parcel.destination,
    });
    $("scanned").textContent = `${couriers[parcel.courier].title} scanned ${parcel.number}: ${wordsOf(word)}.`;
  }
  function scannerNode(parcel) {
    const words = couriers[parcel.courier].words;
    const stages = [...new Set(words.map((word) => word.stage))];
    const advised = { return: "returning", "re-attempt": "out_for_delivery" }[parcel.advice.at(-1)?.means];
    const next = parcel.stage === "attempted" ? advised : NEXT[parcel.stage];
    return make(
      "div",
      { class: "scanner", role: "group", "aria-label": `Scan ${parcel.number}` },
      ...stages.map((stage) =>
        make(
          "div",
          { class: `stage${stage === next ? " next" : ""}`, role: "group", "aria-label": STAGES[stage] },
          make("span", { "aria-hidden": "true" }, STAGES[stage]),
          ...words
            .filter((word) => word.stage === stage)
            .map((word) =>
              make(
                "button",
                { type: "button", onclick: attempt(() => scanned(parcel, word)) },
                word.text,
                word.reason ? make("small", {}, word.reason) : null,
              ),
            ),
        ),
      ),
    );
  }
  function adviceText(advice) {
    const said = Object.entries(advice.said).filter(([name]) => !CODES.includes(name));
    return [advice.means, ...said.map(([, value]) => value)].join(" · ");
  }
  function parcelNode(parcel) {
    const key = parcel.courier + parcel.number;
    const newest = newestOf(parcel);
    const booking = parcel.booking || {};
    const advice = parcel.advice.at(-1);
    const cod = booking.cod ? money(booking.cod) : parcel.booking ? "nothing to collect" : "";
    const facts = [
      ["To", [booking.name, booking.phone].filter(Boolean).join(", ")],
      ["Address", [booking.address, booking.city].filter(Boolean).join(", ")],
      ["Collect", parcel.courier === "shiprocket" ? cod.replace("Rs", "₹") : cod],
      ["Way", `${parcel.origin} to ${parcel.destination}`],
      ["Note", booking.note],
      ["Booked", parcel.booking ? "" : "not through the courier: it was handed over"],
    ];
    return make(
      "details",
      {
        class: "order parcel",
        name: "parcel",
        open: openParcels.has(key),
        ontoggle: (event) => (event.target.open ? openParcels.add(key) : openParcels.delete(key)),
      },
      make(
        "summary",
        {},
        make("b", {}, parcel.number),
        make("span", { class: "who", dir: "auto" }, parcel.order ? `order ${parcel.order}` : "no order named"),
        make("span", { class: "store" }, couriers[parcel.courier].title),
        make(
          "span",
          { class: "marks" },
          make("span", { class: `mark ${STAGE_MOOD[parcel.stage] || ""}` }, wordsOf(newest)),
          advice ? make("span", { class: "mark tag" }, `advice: ${advice.means}`) : null,
        ),
      ),
      make(
        "div",
        { class: "inside" },
        make(
          "dl",
          {},
          ...facts
            .filter(([, value]) => value)
            .flatMap(([name, value]) => [make("dt", {}, name), make("dd", { dir: "auto" }, value)]),
          ...parcel.advice.flatMap((one) => [make("dt", {}, "Advice"), make("dd", { dir: "auto" }, adviceText(one))]),
        ),
        parcel.stage === "cancelled" ? null : scannerNode(parcel),
        make(
          "ol",
          { class: "scans", "aria-label": "Scans, newest first" },
          ...[...parcel.scans]
            .reverse()
            .map((scan) =>
              make(
                "li",
                {},
                make("time", {}, scanTime(scan.at)),
                make("span", {}, wordsOf(scan)),
                make("small", {}, scan.location),
              ),
            ),
        ),
      ),
    );
  }
  function showParcels() {
    $("parcels-count").textContent = state.parcels_total ? `${state.parcels_total.toLocaleString("en")} so far` : "";
    const list = $("parcel-list");
    if (!state.parcels.length) {
      if (list.firstElementChild?.className !== "empty") {
        list.replaceChildren(
          make("p", { class: "empty" }, "No parcels yet. Book one in Dastak, and scan it here as a rider would."),
        );
      }
      return;
    }
    keyed(list, state.parcels, (parcel) => parcel.courier + parcel.number, parcelNode);
  }
  $("take-in").addEventListener("submit", (event) => {
    event.preventDefault();
    const form = event.target.elements;
    const courier = form.courier.value;
    const parcel = { courier, number: form.number.value.trim(), origin: "LAHORE", destination: "KARACHI" };
    const word = couriers[courier].words.find((one) => one.stage === "picked_up");
    attempt(async () => {
      await scanned(parcel, word);
      for (const one of $("parcel-list").querySelectorAll("[open]")) one.open = false;
      openParcels.clear();
      openParcels.add(courier + parcel.number);
      form.number.value = "";
    })();
  });

  /* ---- the gateways ---- */
  const OUTCOMES = [
    ["paid", "Pay"],
    ["failed", "Fail"],
    ["expired", "Expire"],
    ["refunded", "Refund"],
  ];
  const HOLDS = ["paid", "partially_refunded", "disputed"];
  const STATE_MOOD = { paid: "good", open: "open", failed: "bad", expired: "bad", cancelled: "bad", disputed: "bad" };
  const openCheckouts = new Set();
  const canBecome = (checkout, outcome) =>
    gateways[checkout.gateway].outcomes.includes(outcome) &&
    (outcome === "refunded"
      ? HOLDS.includes(checkout.state)
      : outcome === "paid"
        ? ["open", "failed", "expired"].includes(checkout.state)
        : checkout.state === "open");
  const sum = (one) => `${one.currency} ${Number(one.amount).toLocaleString("en", { minimumFractionDigits: 2 })}`;

  async function happened(checkout, outcome) {
    await call("POST", "/control/payments", {
      gateway: checkout.gateway,
      order_id: checkout.reference || checkout.id,
      outcome,
    });
    $("paid").textContent = `${checkout.reference || checkout.id} is ${outcome} at ${gateways[checkout.gateway].title}.`;
  }
  function checkoutNode(checkout) {
    const key = checkout.gateway + checkout.id;
    const answered = (one) =>
      one.answers.length ? one.answers.map((answer) => answer.status ?? "no answer").join(", ") : "not delivered yet";
    return make(
      "details",
      {
        class: "order checkout",
        name: "checkout",
        open: openCheckouts.has(key),
        ontoggle: (event) => (event.target.open ? openCheckouts.add(key) : openCheckouts.delete(key)),
      },
      make(
        "summary",
        {},
        make("b", {}, checkout.reference || "not opened yet"),
        make("span", { class: "who" }, sum(checkout)),
        make("span", { class: "store" }, gateways[checkout.gateway].title),
        make(
          "span",
          { class: "marks" },
          make(
            "span",
            { class: `mark ${STATE_MOOD[checkout.state] || ""}` },
            checkout.state.replaceAll("_", " "),
          ),
        ),
      ),
      make(
        "div",
        { class: "inside" },
        make(
          "div",
          { class: "actions", role: "group", "aria-label": `What becomes of ${checkout.reference || checkout.id}` },
          ...OUTCOMES.filter(([outcome]) => canBecome(checkout, outcome)).map(([outcome, label]) =>
            make("button", { type: "button", onclick: attempt(() => happened(checkout, outcome)) }, label),
          ),
          make("a", { href: checkout.page, target: "_blank", rel: "noreferrer" }, "The customer's page"),
        ),
        make(
          "ol",
          { class: "scans", "aria-label": "What it told, newest first" },
          ...[...checkout.events]
            .reverse()
            .map((one) =>
              make(
                "li",
                {},
                make("time", {}, `${dayOf(one.at)}, ${clockTime(one.at)}`),
                make(
                  "span",
                  {},
                  [one.event, one.forged ? "forged" : "", one.replayed ? "again" : ""].filter(Boolean).join(", "),
                ),
                make("small", {}, answered(one)),
              ),
            ),
        ),
      ),
    );
  }
  function showCheckouts() {
    const total = state.checkouts_total;
    $("checkouts-count").textContent = total ? `${total.toLocaleString("en")} so far` : "";
    const list = $("checkout-list");
    if (!state.checkouts.length) {
      if (list.firstElementChild?.className !== "empty") {
        list.replaceChildren(
          make("p", { class: "empty" }, "Nobody is paying. Open a link to pay on a phone, and it stands here."),
        );
      }
      return;
    }
    keyed(list, state.checkouts, (checkout) => checkout.gateway + checkout.id, checkoutNode);
  }

  /* ---- the world ---- */
  let lastOffset = null;
  function showClock() {
    const now = new Date(state.now);
    $("now").textContent = `${dayOf(state.now)}, ${clockTime(state.now)}`;
    $("now").dateTime = now.toISOString();
    if (state.offset === lastOffset) return;
    lastOffset = state.offset;
    const hours = Math.round(state.offset / 360) / 10;
    $("ahead").textContent = !state.offset
      ? ""
      : hours >= 24
        ? `${Math.round(hours / 2.4) / 10} days ahead`
        : `${hours} h ahead`;
    $("clock-reset").hidden = !state.offset;
  }
  document.querySelector(".clock").addEventListener("click", (event) => {
    const step = event.target.closest("[data-advance]")?.dataset.advance;
    if (step) attempt(() => call("POST", "/control/clock", step === "reset" ? { reset: true } : { advance: step }))();
  });

  function showWorld() {
    const lights = [
      [state.verified === "verified", state.verified === "verified" ? "Dastak answers" : `Dastak: ${state.verified}`],
      [state.installed, state.installed ? "installed on Shopify" : "not installed on Shopify"],
      [state.connected, state.connected ? "connected to WooCommerce" : "not connected to WooCommerce"],
    ];
    if (state.waiting) lights.push([false, `${state.waiting} webhooks waiting`]);
    keyed(
      $("app-state"),
      lights,
      (light) => String(lights.indexOf(light)),
      ([yes, text]) => make("span", { class: yes ? "yes" : "no" }, text),
    );

    const active = new Map(state.faults.map((fault) => [`${fault.target}|${fault.mode}`, fault]));
    for (const box of document.querySelectorAll(".switch")) {
      box.checked = active.has(`${box.dataset.target}|${box.dataset.mode}`);
    }
    $("fault-count").textContent = state.faults.length ? `${state.faults.length} on` : "";
    keyed(
      $("active-faults"),
      state.faults,
      (fault) => String(fault.id),
      (fault) =>
        make(
          "li",
          {},
          `${fault.mode.replaceAll("_", " ")} at ${fault.target}, ${Math.round(fault.rate * 100)} %, struck ${fault.struck} times`,
        ),
    );
  }
  document.querySelector(".faults").addEventListener("change", (event) => {
    if (event.target.id === "rate") return;
    const { target, mode } = event.target.dataset;
    if (!target) return;
    const known = state.faults.find((fault) => fault.target === target && fault.mode === mode);
    attempt(() =>
      event.target.checked
        ? call("POST", "/control/faults", { target, mode, rate: Number($("rate").value) / 100 })
        : known && call("DELETE", `/control/faults/${known.id}`),
    )();
  });
  $("rate").addEventListener("input", () => ($("rate-shown").textContent = `${$("rate").value} %`));

  const KEPT_LINES = 200;
  let seen = 0;
  const good = (outcome) => /^(ok|delivered|verified)/.test(outcome);
  function logNode(entry) {
    const line = make(
      "button",
      {
        type: "button",
        "aria-expanded": "false",
        onclick: async () => {
          const item = line.parentElement;
          if (item.children.length > 1) {
            item.lastElementChild.remove();
            line.setAttribute("aria-expanded", "false");
            return;
          }
          const found = await call("GET", `/control/log?since=${entry.n - 1}&limit=5000`).catch(() => ({ log: [] }));
          const whole = found.log.find((one) => one.n === entry.n) || entry;
          item.append(make("pre", {}, JSON.stringify(whole, null, 1)));
          line.setAttribute("aria-expanded", "true");
        },
      },
      make("span", { class: "t" }, new Date(entry.at).toLocaleTimeString("en-GB", { timeZone: ZONE })),
      make(
        "span",
        {
          class: `v-${entry.vendor}`,
          title: `${entry.vendor}, ${entry.direction === "api" ? "Dastak called" : "calls Dastak"}`,
        },
        entry.direction === "api" ? "←" : "→",
      ),
      make("span", { class: "w" }, entry.what),
      make(
        "span",
        { class: good(entry.outcome) ? "o" : "o bad" },
        entry.status ? `${entry.status} ${entry.outcome}` : entry.outcome,
      ),
    );
    return make("li", {}, line);
  }
  function showLog(entries) {
    const log = $("log");
    if (!entries.length) {
      if (!log.children.length)
        log.append(
          make("li", { class: "none" }, "Quiet so far. Every call to a vendor and every webhook will show here."),
        );
      return;
    }
    log.querySelector(".none")?.remove();
    log.prepend(...entries.slice(-KEPT_LINES).reverse().map(logNode));
    while (log.children.length > KEPT_LINES) log.lastElementChild.remove();
  }

  $("fresh").addEventListener("click", () => $("sure").showModal());
  $("sure").addEventListener("close", () => {
    const choice = $("sure").returnValue;
    $("sure").returnValue = "";
    if (!choice) return;
    attempt(async () => {
      await call("POST", "/control/reset", { keep_connections: choice === "keep" });
      $("log").replaceChildren();
      following = true;
    })();
  });

  /* ---- tabs of the narrow page ---- */
  function showTab(name) {
    document.body.dataset.tab = name;
    for (const tab of document.querySelectorAll(".tabs button"))
      tab.toggleAttribute("aria-current", tab.dataset.tab === name);
    if (name === "phones") {
      showChat();
      $("chat").scrollTop = $("chat").scrollHeight;
    }
  }
  document.querySelector(".tabs").addEventListener("click", (event) => {
    const tab = event.target.closest("[data-tab]");
    if (tab) showTab(tab.dataset.tab);
  });

  /* ---- once a second ---- */
  let timer = null;
  let asking = false;
  let away = false;
  let soon = 0; // ask faster for a moment after someone did something
  function hurry() {
    soon = 8;
    clearTimeout(timer);
    timer = setTimeout(ask, 120);
  }
  async function ask() {
    if (asking) return;
    asking = true;
    try {
      if (!document.hidden) {
        const asked = chosen;
        const answer = await call("GET", `/face/state?since=${seen}&phone=${encodeURIComponent(chosen || "")}`);
        if (away) trouble("");
        away = false;
        if (answer.last < seen) {
          seen = 0;
        } else {
          seen = answer.last;
          show(answer, asked);
        }
      }
    } catch (error) {
      away = true;
      trouble("The sandbox does not answer. Is it still running?");
    } finally {
      asking = false;
      soon = Math.max(0, soon - 1);
      clearTimeout(timer);
      timer = setTimeout(ask, soon ? 350 : 1000);
    }
  }
  function show(answer, asked) {
    const messages = answer.phone === chosen || asked === chosen ? answer.messages : state.messages;
    state = { ...answer, messages };
    const latest = state.phones[0];
    if (latest && (!chosen || (following && latest.phone !== chosen))) {
      chosen = latest.phone;
      state.messages = [];
      hurry();
    }
    showClock();
    showPeople();
    showChat();
    showOrders();
    showParcels();
    showCheckouts();
    showWorld();
    showLog(answer.log);
  }
  document.addEventListener("visibilitychange", () => document.hidden || hurry());
  total();
  chosen = plain(cast[0].phone);
  showPeople();
  showChat();
  ask();
})();
