"""The face: one page with the shop, the phones, the couriers' scanner, the gateways, the clock, the faults and the log,
and the one answer it polls for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, render_template, request

from sandbox.answers import as_json
from sandbox.catalogue import CAST, PAYMENTS, PRODUCTS, SHIPPING
from sandbox.control import whole
from sandbox.faults import MODES, VENDORS
from sandbox.phones import as_shown, normalised
from sandbox.shopify import DEMO

if TYPE_CHECKING:
    from sandbox import Sandbox

ORDERS_SHOWN = 25
PHONES_SHOWN = 24
PARCELS_SHOWN = 25
SCANS_SHOWN = 12
CHECKOUTS_SHOWN = 25
LINES_SHOWN = 120

_SHORT = {"shopify": "Shopify", "woocommerce": "Woo", "whatsapp": "WhatsApp"}


class Face:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def blueprint(self) -> Blueprint:
        face = Blueprint("face", __name__)
        face.add_url_rule("/", view_func=self.page)
        face.add_url_rule("/face/state", view_func=self.state)
        return face

    def page(self) -> Response:
        handle = DEMO.removesuffix(".myshopify.com")
        page = render_template(
            "face.html",
            products=PRODUCTS.values(),
            payments=PAYMENTS,
            shipping=SHIPPING,
            cast=[{"name": one.name, "phone": one.phone, "city": one.city, "locale": one.locale} for one in CAST],
            modes={mode: means for mode, (_, means) in MODES.items()},
            vendors=(
                ("Stores and WhatsApp", {name: title for name, title in _SHORT.items() if name in VENDORS}),
                ("Couriers", {desk.name: desk.title for desk in self._sandbox.couriers.desks.values()}),
                ("Gateways", {one.name: one.title for one in self._sandbox.gateways.all.values()}),
            ),
            gateways={
                one.name: {"title": one.title, "outcomes": one.outcomes, "account": one.account}
                for one in self._sandbox.gateways.all.values()
            },
            couriers={
                desk.name: {"title": desk.title, "words": desk.offered(), "account": desk.account}
                for desk in self._sandbox.couriers.desks.values()
            },
            shopify_name=self._sandbox.shopify.shops[DEMO]["name"],
            woo_name=self._sandbox.woocommerce.store["name"],
            shopify_admin=f"/shopify/admin/store/{handle}",
            shopify_app=f"/shopify/admin/store/{handle}/apps/dastak",
            app_url=self._sandbox.settings.app_url,
        )
        response = Response(page, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = (
            "default-src 'self'; img-src 'self' data:; frame-ancestors 'self'; base-uri 'none'; form-action 'self'"
        )
        return response

    def state(self) -> Response:
        """Everything the page shows. It asks once a second while someone looks at it."""
        sandbox, world = self._sandbox, self._sandbox.world
        phones = []
        for phone in sandbox.phones.all():
            chat = sandbox.phones.chat(phone["phone"])
            if chat:
                last = chat[-1]
                phones.append(
                    {
                        "phone": phone["phone"],
                        "name": phone["name"],
                        "unread": sandbox.phones.unread_count(phone["phone"]),
                        "at": last["at"],
                    }
                )
        phones.sort(key=lambda one: one["at"], reverse=True)
        asked = normalised(request.args.get("phone", ""))
        with world.lock:
            messages = [as_shown(message) for message in sandbox.phones.chat(asked)[-100:]] if asked else []
        orders, total = sandbox.stores.newest(ORDERS_SHOWN)
        parcels, parcels_total = sandbox.couriers.newest(PARCELS_SHOWN)
        checkouts, checkouts_total = sandbox.gateways.newest(CHECKOUTS_SHOWN)
        return as_json(
            {
                "now": world.clock.now().isoformat(timespec="milliseconds"),
                "offset": world.clock.offset(),
                "verified": sandbox.whatsapp.verified,
                "installed": sandbox.shopify.shops[DEMO]["installed"],
                "connected": len(sandbox.woocommerce.keys.keys) > 0,
                "waiting": sum(queue.waiting() for queue in sandbox.queues().values()),
                "phones": phones[:PHONES_SHOWN],
                "phones_total": len(phones),
                "phone": asked,
                "messages": messages,
                "orders": orders,
                "orders_total": total,
                "parcels": [{**one, "scans": one["scans"][-SCANS_SHOWN:]} for one in parcels],
                "parcels_total": parcels_total,
                "checkouts": checkouts,
                "checkouts_total": checkouts_total,
                "faults": world.faults.active(),
                "log": world.log.read(None, whole("since", 0, 10**12), LINES_SHOWN, bodies=False),
                "last": world.log.last,
            }
        )
