"""The simulated world a story speaks to: stores, phones, a clock, and the real app with real wire formats between.

The app is served over HTTP from this process, on a real database; work that workers would do is done by `settle`, in
the order in which it comes due, until nothing is left to do. So a story needs no sleep and misses nothing.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select
from werkzeug.serving import WSGIRequestHandler, make_server

import run
import sandbox
from integration import ingest, upkeep
from integration.db import Session
from integration.house import House
from integration.ingest import Mailroom
from integration.orders import Order, find_order
from integration.outbox import Outbox, Touchpoint
from integration.settings import Settings
from integration.stores import Connection, Store, connect
from integration.story import Story, tell, why
from integration.vault import new_token, token_hash
from sandbox.couriers import ACCOUNTS
from sandbox.demo import Merchant
from sandbox.gateways import ACCOUNTS as GATEWAY_ACCOUNTS
from sandbox.settings import Settings as SandboxSettings
from webapp import assemble
from worker import WORK

_phones = itertools.count(int(time.time() * 10) % 1_000_000 * 10)
PATIENCE = 90.0
WABAS = {"shopify": "100000000000001", "woocommerce": "100000000000002"}


@dataclass(frozen=True)
class Said:
    """A message as the phone shows it."""

    id: str
    by: str
    text: str
    buttons: tuple[str, ...]
    rows: tuple[str, ...]
    template: str
    status: str

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Said:
        return cls(
            raw["id"],
            raw["from"],
            raw["text"] or "",
            tuple(b["title"] for b in raw.get("buttons") or ()),
            tuple(r["title"] for r in (raw.get("list") or {}).get("rows", ())),
            raw.get("template") or "",
            raw["status"],
        )


class Phone:
    """A customer's phone."""

    def __init__(self, world: World, number: str) -> None:
        self._world, self.number = world, number

    @property
    def messages(self) -> list[Said]:
        return [Said.of(m) for m in self._world.control("GET", f"/control/phones/{self.number}")["messages"]]

    @property
    def heard(self) -> list[Said]:
        """What the shop said."""
        return [m for m in self.messages if m.by == "business"]

    @property
    def last(self) -> Said:
        return self.heard[-1]

    def tap(self, button: str, message: Said | None = None) -> None:
        """Tap a button or row, of the newest message that has it unless told which; then let the world settle."""
        self.tap_quietly(button, message)
        self._world.settle()

    def tap_quietly(self, button: str, message: Said | None = None) -> None:
        target = message or next(m for m in reversed(self.heard) if button in (*m.buttons, *m.rows))
        self._world.control("POST", f"/control/phones/{self.number}/tap", {"message_id": target.id, "button": button})

    def write(self, text: str) -> None:
        self._world.control("POST", f"/control/phones/{self.number}/send", {"text": text})
        self._world.settle()


@dataclass(frozen=True)
class Placed:
    """An order placed in a store, and the customer's phone."""

    store: str
    order_id: str
    name: str
    phone: Phone


class World:
    """Shops, phones, clock and the app between them."""

    def __init__(self, house: House, mailroom: Mailroom, running: Any, app_url: str) -> None:
        self.house, self.mailroom = house, mailroom
        self.sandbox = running
        self.app_url = app_url
        self._http = httpx.Client(base_url=running.url, timeout=30, trust_env=False)

    @classmethod
    @contextmanager
    def begin(
        cls,
        database_url: str,
        var: Path,
        settings_for: Callable[..., Settings],
        build: Callable[[Settings], House],
        **env: str,
    ) -> Iterator[World]:
        held: list[Any] = []

        def application(environ: dict[str, Any], start_response: Any) -> Any:
            answer = held[0](environ, start_response)  # the app needs to know its port before it can be made
            try:
                return [b"".join(answer)]  # werkzeug's server closes no file for a browser that went away
            finally:
                getattr(answer, "close", lambda: None)()

        server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Quiet)
        server.daemon_threads = True  # type: ignore[attr-defined]
        app_url = f"http://127.0.0.1:{server.server_port}"
        running = sandbox.serve(
            SandboxSettings(
                port=0,
                app_url=app_url,
                clock_file=var / "clock",
                template_review=0.0,
                sent_after=0.0,
                delivered_after=0.0,
                payment_after=0.0,
                cancel_job=0.0,
                shopify_first_retry=0.2,
                whatsapp_first_retry=0.2,
                answer_withheld=2.5,
            )
        )
        fakes = {name: value.format(sandbox=running.url) for name, value in run.SANDBOX_SETTINGS.items()} | {
            "PUBLIC_URL": app_url,
            "EVIDENCE_WAIT": "1",
            "SEND_LEASE": "4",
            "COURIER_RATE": "1000",
        }
        house = build(settings_for(database_url, var, **(fakes | env)))
        mailroom = Mailroom(house)
        held.append(assemble(house, mailroom))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield cls(house, mailroom, running, app_url)
        finally:
            running.stop()
            server.shutdown()
            server.server_close()
            house.close()

    def install(self) -> None:
        """Both demo stores install the app and connect their numbers, as merchants would."""
        self.connect()
        self.settle()

    def connect(self) -> None:
        """The same, before any worker has done its part."""
        Merchant(self.sandbox.world.settings, {}).play()

    # -- what people do --------------------------------------------------------------------------------------------

    def phone(self, number: str | None = None) -> Phone:
        return Phone(self, number or f"+92300{next(_phones) % 10_000_000:07d}")

    def place(
        self, store: str, payment: str = "cod", *, phone: Phone | None = None, settle: bool = True, **more: Any
    ) -> Placed:
        """A customer places an order."""
        phone = phone or self.phone()
        customer = {
            "name": "Ayesha Khan",
            "city": "Lahore",
            "locale": "en",
            **more.pop("customer", {}),
            "phone": phone.number,
        }
        items = more.pop("items", [{"sku": "KHS-01", "quantity": 2}])
        made = self.control(
            "POST",
            "/control/orders",
            {"store": store, "payment": payment, "customer": customer, "items": items, **more},
        )
        if settle:
            self.settle()
        return Placed(store, made["order_id"], made["name"], phone)

    def hand(self, placed: Placed, action: str, **more: Any) -> None:
        """The merchant's own hand in the store's admin."""
        self.control("POST", f"/control/orders/{placed.order_id}", {"store": placed.store, "action": action, **more})
        self.settle()

    def connect_courier(self, store: str, courier: str, *, push: bool = False, wrong: bool = False) -> None:
        """The merchant enters their account at a courier, and tells the courier where to push."""
        token = new_token()
        with self.house.db.operator_writing() as session:
            connect(
                session,
                store_id=self.store_id(store),
                room="couriers",
                adapter=courier,
                account=f"{courier}/{self.store_id(store)}",  # as the page names it
                credentials={**ACCOUNTS[courier], **({"api_password": "old"} if wrong else {})},
                state={},
                vault=self.house.vault,
                token_hash=token_hash(token),
            )
        if courier in ("leopards", "shiprocket", "trax"):
            address = f"{self.app_url}/webhooks/couriers/{courier}/{token}" if push else ""
            self.control("POST", "/control/couriers", {"courier": courier, "push_url": address})

    def connect_gateway(self, store: str, gateway: str) -> None:
        """The merchant enters their account at a gateway, and tells the gateway where to tell of payments."""
        token, adapter = new_token(), self.house.registry.get("payments", gateway)
        keys = GATEWAY_ACCOUNTS[gateway]
        with self.house.db.operator_writing() as session:
            connect(
                session,
                store_id=self.store_id(store),
                room="payments",
                adapter=gateway,
                account=f"{gateway}/{self.store_id(store)}",  # as the page names it
                credentials={**keys, "address_token": token},
                state={"merchant": keys.get(adapter.merchant_field, "")},
                vault=self.house.vault,
                token_hash=token_hash(token),
            )
        address = f"{self.app_url}/webhooks/payments/{gateway}/{token}"
        self.control("POST", "/control/gateways", {"gateway": gateway, "push_url": address, "shop": store})

    def pay(self, placed: Placed, gateway: str, outcome: str, **stated: Any) -> None:
        """Something becomes of an order's payment at a gateway; the customer goes there first, if need be."""
        told = {"gateway": gateway, "order_id": placed.order_id, "outcome": outcome, **stated}
        self.control("POST", "/control/payments", told)
        self.settle()

    def scan(self, courier: str, number: str, code: str, text: str, **more: str) -> None:
        """The courier scans a parcel, in its own words."""
        stated = {"courier": courier, "tracking_number": number, "code": code, "text": text, **more}
        self.control("POST", "/control/scans", stated)

    def in_store(self, placed: Placed) -> dict[str, Any]:
        """The order as the store sees it."""
        seen: dict[str, Any] = self.control("GET", f"/control/orders/{placed.order_id}")
        return seen

    def advance(self, by: str) -> None:
        """Time passes."""
        self.control("POST", "/control/clock", {"advance": by})
        self.settle()

    def fault(self, target: str, mode: str, **more: Any) -> None:
        self.control("POST", "/control/faults", {"target": target, "mode": mode, **more})

    def calm(self) -> None:
        """No faults any more."""
        self.control("DELETE", "/control/faults")

    def control(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(method, path, json=body)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        return answer.json() if answer.content else None

    def whatsapp(self, event: str, **stated: Any) -> None:
        """Something happens on WhatsApp's side."""
        self.control("POST", "/control/whatsapp", {"event": event, **stated})
        self.settle()

    def templates(self, store: str, **changes: Any) -> None:
        """WhatsApp's verdict on the store's templates, and the seconds after which it is certainly known."""
        self.control("POST", "/control/templates", {"waba": WABAS[store], **changes})
        self.settle()
        self.advance("3s")

    def forget_doors(self) -> None:
        """The web process remembers whose token is whose for some seconds; here it forgets now."""
        self.mailroom.forget()

    # -- letting things happen -------------------------------------------------------------------------------------

    def settle(self, *, wait_for_evidence: bool = False) -> None:
        """Do what workers and clock would do until the whole world has nothing left to do."""
        deadline, quiet = time.monotonic() + PATIENCE, 0
        while quiet < 2:
            assert time.monotonic() < deadline, f"the world does not settle: {self._unrest()}"
            bells = {*ingest.sweep(self.house), *upkeep.due_chores(self.house)}
            for door, store_id in sorted(bells):
                WORK[door](self.house, store_id)
            idle = self.sandbox.world.idle
            waiting = wait_for_evidence and self._uncertain()
            quiet = quiet + 1 if idle and not bells and not waiting else 0
            if not bells:
                time.sleep(0.01)  # the world's own threads take their turn

    def _uncertain(self) -> bool:
        with self.house.db.operator() as session:
            return session.scalar(select(Outbox.id).where(Outbox.leased_until.is_not(None)).limit(1)) is not None

    def _unrest(self) -> Any:
        return self.control("GET", "/control/health"), {*ingest.sweep(self.house), *upkeep.due_chores(self.house)}

    # -- what the merchant sees ------------------------------------------------------------------------------------

    def store_id(self, store: str) -> int:
        with self.house.db.operator() as session:
            named = select(Connection).where(Connection.adapter == store).order_by(Connection.id)
            return session.scalars(named.limit(1)).one().store_id

    @contextmanager
    def looking(self, store: str) -> Iterator[Session]:
        with self.house.db.read(self.store_id(store)) as session:
            yield session

    @contextmanager
    def deciding(self, store: str) -> Iterator[Store]:
        """The merchant changes something about the store."""
        store_id = self.store_id(store)
        with self.house.db.lane(store_id) as session:
            yield session.get_one(Store, store_id)

    def order(self, placed: Placed) -> Order:
        with self.looking(placed.store) as session:
            found = find_order(session, placed.order_id)
            assert found is not None, f"{placed.name} never reached Dastak"
            session.expunge_all()
            return found

    def states(self, placed: Placed) -> tuple[str, str, str]:
        order = self.order(placed)
        return order.confirmation, order.payment, order.fulfilment

    def story(self, placed: Placed) -> Story:
        with self.looking(placed.store) as session:
            found = find_order(session, placed.order_id)
            assert found is not None
            return tell(session, found)

    def why(self, placed: Placed) -> str:
        """The order's story as sentences, for a test that failed."""
        with self.looking(placed.store) as session:
            order = find_order(session, placed.order_id)
            assert order is not None
            return "\n".join(why(session, order, session.get_one(Store, self.store_id(placed.store))))

    def journeys(self, placed: Placed) -> dict[str, str]:
        """The journeys an order is in, or was: name to `state: sentence`."""
        with self.looking(placed.store) as session:
            order = find_order(session, placed.order_id)
            assert order is not None
            return {e.journey: f"{e.state}: {e.sentence}" for e in order.enrollments}

    def touchpoints(self, placed: Placed) -> dict[str, str]:
        """What became of each contact: step to `state` or `state: reason`."""
        with self.looking(placed.store) as session:
            order = find_order(session, placed.order_id)
            assert order is not None
            rows = session.scalars(select(Touchpoint).where(Touchpoint.order_id == order.id).order_by(Touchpoint.id))
            return {t.step: f"{t.state}: {t.reason}" if t.reason else t.state for t in rows}


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:
        pass
