"""/app: the setup that ticks itself from data, what needs a look, and what went out and did not; / for everybody
else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
import structlog
from flask import Blueprint, abort, redirect, request
from flask import session as cookie
from sqlalchemy import func, select
from werkzeug.wrappers import Response as AnyResponse

from integration import privacy
from integration.access import live_connection, open_account
from integration.catalogue import TEMPLATES, Template
from integration.claims import Claim
from integration.db import Session
from integration.errors import ConfigurationError, OutcomeUnknown, PermanentError, TransientError
from integration.events import PrivacyRequested
from integration.guards import SKIP_REASONS
from integration.inbox import Conversation, Message
from integration.ingest import WebhookDelivery
from integration.journeys import JOURNEYS, Settled
from integration.orders import Order
from integration.outbox import Outbox, Touchpoint
from integration.ports import InstallsByApproval, InstallsByCode, WatchesWebhooks
from integration.stores import Connection, Store, hurry, uninstall
from integration.values import masked
from integration.watch import untold, watched

from .auth import channel_name, house, link, merchant, page, platforms, signed_in

log = structlog.get_logger(__name__)

pages = Blueprint("setup", __name__)


HAND_OVER = timedelta(days=30)
"""How long a shop has to give a customer their data (Shopify's rule for customers/data_request)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the checklist."""

    done: bool
    title: str
    detail: str
    href: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True)
class Concern:
    """Something a person should look at."""

    title: str
    detail: str
    href: str = ""
    tone: str = "bad"


@pages.get("/")
def landing() -> Any:
    """A platform opens its embedded app here; anybody else sees what Dastak is and where to begin."""
    if request.args.get("id_token") or any(adapter.account_hint(request.args) for _, adapter in platforms()):
        return home()
    stores = house().registry.room("stores")
    return page(
        "landing.html",
        approvals=[(n, a.label) for n, a in stores.items() if isinstance(a, InstallsByApproval)],
        codes=[(n, a.label) for n, a in stores.items() if isinstance(a, InstallsByCode)],
    )


@pages.get("/session/bounce")
def bounce() -> Any:
    """Nothing but the platform's script, which opens the address it came for with a fresh session token."""
    adapter = next((a for _, a in platforms() if a.account_hint(request.args)), None)
    return page("bounce.html", script=adapter.page_head() if adapter is not None else None)


@pages.get("/app/")
@signed_in
def home() -> Any:
    here = merchant()
    with house().db.read(here.store_id) as session:
        store = session.get_one(Store, here.store_id)
        steps = _steps(session, store)
        shop = store.connection("stores")
        return page(
            "home.html",
            store=store,
            steps=steps,
            leaves=isinstance(house().registry.find("stores", shop.adapter if shop else ""), InstallsByApproval),
            done=sum(step.done for step in steps),
            concerns=_concerns(session, store),
            today=_today(session),
        )


@pages.post("/app/check")
@signed_in
def check_now() -> AnyResponse:
    """Look for orders that no webhook told us, now."""
    with house().db.lane(merchant().store_id) as session:
        connection = live_connection(session, "stores")
        if connection is not None:
            hurry(session, connection.id, "reconcile")
    house().ring("chores", merchant().store_id)
    return redirect(link("setup.home"), 303)


@pages.post("/app/leave")
@signed_in
def leave() -> AnyResponse:
    """The merchant takes Dastak out of a store whose platform has no uninstall of its own.

    The store's webhooks go first, while there are keys to remove them with; a store that cannot be reached is
    disconnected all the same, and what it still sends finds nobody.
    """
    here = house()
    with here.db.read(merchant().store_id) as session:
        connection = live_connection(session, "stores")
        adapter = here.registry.find("stores", connection.adapter) if connection is not None else None
        if connection is None or not isinstance(adapter, InstallsByApproval):
            abort(404, "Remove Dastak in your store's admin, where you installed it.")
    if isinstance(adapter, WatchesWebhooks):
        try:
            adapter.remove_webhooks(open_account(here, merchant().store_id, connection.id))
        except (ConfigurationError, PermanentError, TransientError, OutcomeUnknown) as fault:
            log.warning("webhooks_left_behind", store=merchant().store_id, cause=str(fault))
    with here.db.lane(merchant().store_id) as session:
        uninstall(session.get_one(Store, merchant().store_id), session.now())
        if "erase" in request.form:
            privacy.record(session, PrivacyRequested(kind="erase_store", occurred_at=session.now()))
    here.ring("chores", merchant().store_id)
    cookie.clear()
    return redirect(link("setup.landing"), 303)


def _steps(session: Session, store: Store) -> list[Step]:
    shop, channel = store.connection("stores"), store.connection("channels")
    approved, submitted = _templates(session, channel.id if channel is not None else 0)
    languages = len({t.language for t in approved})
    tested = session.scalar(
        select(Touchpoint.id).where(Touchpoint.journey == "test", Touchpoint.state == "sent").limit(1)
    )
    settled = Settled(session, store)
    running = [journey.label for journey in JOURNEYS.values() if settled.enabled(journey)]
    first = session.scalars(select(Order).order_by(Order.id).limit(1)).first()
    said = session.scalar(
        select(Message.id)
        .where(Message.sender == "us", Message.order_id.is_not(None), Message.accepted_at.is_not(None))
        .limit(1)
    )
    return [
        Step(
            shop is not None and shop.health != "broken",
            "Your store is connected",
            shop.sentence if shop is not None and shop.sentence else store.name,
        ),
        Step(
            channel is not None and channel.health != "broken",
            "Your WhatsApp number is connected",
            _number(channel),
            _channel_page(),
            "Connect WhatsApp",
        ),
        Step(
            bool(approved),
            "WhatsApp has approved your messages",
            f"{len(approved)} of {len(TEMPLATES) * 6} texts approved, in {languages} languages"
            if submitted
            else "They are submitted by themselves once a number is connected",
            _channel_page() + "#templates",
            "See them",
        ),
        Step(
            tested is not None,
            "A test message reached your own phone",
            "See with your own eyes what customers will see",
            _channel_page() + "#test",
            "Send a test",
        ),
        Step(
            bool(running),
            "Journeys are on",
            ", ".join(running) or "Nothing is sent while all are off",
            link("journeys.show"),
            "Choose journeys",
        ),
        Step(
            first is not None,
            "The first order has arrived",
            f"{first.name}" if first is not None else "Place a test order in your store and watch it appear here",
            link("orders.listing") if first is not None else "",
            "See orders",
        ),
        Step(
            said is not None,
            "The first customer has heard from you",
            "From now on every order looks after itself"
            if said is not None
            else "Happens by itself with the next order",
        ),
    ]


def _channel_page() -> str:
    return link("channels.show", name=channel_name())


def _room_page(connection: Connection) -> str:
    """Where a connection can be mended."""
    if connection.room == "payments":
        return link("payments.setup") + f"#{connection.adapter}"
    return _channel_page() if connection.room == "channels" else ""


def _number(channel: Any) -> str:
    if channel is None:
        return "Customers hear from your own number"
    if channel.health == "broken":
        return str(channel.sentence)
    return f"{channel.state.get('number', channel.account)} {channel.state.get('name', '')}".strip()


def _templates(session: Session, connection_id: int) -> tuple[list[Template], list[Template]]:
    held = session.scalars(select(Template).where(Template.connection_id == connection_id)).all()
    return [t for t in held if t.status == "approved"], [t for t in held if t.status != "missing"]


@pages.get("/app/exports/<int:request_id>")
@signed_in
def export(request_id: int) -> Any:
    """What is kept about a customer who asked, for the merchant to hand over."""
    with house().db.read(merchant().store_id) as session:
        asked = session.get(privacy.PrivacyRequest, request_id) if request_id < 2**62 else None
        if asked is None or asked.result is None:
            abort(404, "There is no such export; a customer who was erased since leaves none.")
        written = orjson.dumps(asked.result, option=orjson.OPT_INDENT_2).decode()
        return page("export.html", asked=asked, written=written, until=asked.asked_at + HAND_OVER)


_FAILED = {
    "message": "A message failed",
    "write_back": "Your store could not be told",
    "courier": "Your courier could not be told",
}


def _concerns(session: Session, store: Store) -> list[Concern]:
    """What only a person can mend, worst first."""
    found = [
        Concern(
            f"{c.adapter.capitalize()} needs your attention",
            c.sentence,
            _room_page(c),
        )
        for c in store.connections
        if c.removed_at is None and c.health == "broken"
    ]
    if claims := session.scalar(select(func.count()).where(Claim.state == "open")):
        found.append(
            Concern(
                f"{claims} payment{'' if claims == 1 else 's'} to check",
                "Customers say they have paid. Nothing is sent before somebody has seen the money.",
                link("payments.show"),
                "wait",
            )
        )
    if parcels := len(watched(session, store)):
        found.append(
            Concern(
                f"{parcels} parcel{'' if parcels == 1 else 's'} need{'s' if parcels == 1 else ''} a look",
                "They went quiet, come back, or were tried in a way that does not add up.",
                link("look.show"),
                "wait",
            )
        )
    talks = session.scalars(
        select(Conversation).where(Conversation.needs_person != "").order_by(Conversation.needs_person_since).limit(20)
    )
    for talk in talks:
        said = session.scalars(
            select(Message)
            .where(Message.conversation_id == talk.id, Message.sender == "customer")
            .order_by(Message.id.desc())
            .limit(1)
        ).first()
        who = talk.contact.customer.name or masked(talk.contact.phone)
        order_id = said.order_id if said is not None else None
        found.append(
            Concern(
                f"{who}: {talk.needs_person}",
                f"“{said.text[:120]}”" if said is not None and said.text else "",
                link("orders.show", order_id=order_id) if order_id else "",
                "wait",
            )
        )
    for why, orders in untold(session).items():
        names = ", ".join(order.name for order in orders[:5]) + (" …" if len(orders) > 5 else "")
        told = "customer was" if len(orders) == 1 else "customers were"
        where = link("orders.show", order_id=orders[0].id) if len(orders) == 1 else link("orders.listing")
        found.append(Concern(f"{len(orders)} {told} not told about their order", f"{names}: {why}.", where))
    failed = session.scalars(
        select(Outbox)
        .where(Outbox.state == "failed", Outbox.settled_at > session.now() - timedelta(days=3))
        .order_by(Outbox.id.desc())
        .limit(10)
    )
    for row in failed:
        what = _FAILED[row.kind]
        name = row.order.name if row.order is not None else ""
        found.append(
            Concern(
                f"{what} {name}".strip(),
                row.sentence,
                link("orders.show", order_id=row.order_id) if row.order_id else "",
            )
        )
    asked = session.scalars(
        select(privacy.PrivacyRequest)
        .where(privacy.PrivacyRequest.result.is_not(None), privacy.PrivacyRequest.asked_at > session.now() - HAND_OVER)
        .order_by(privacy.PrivacyRequest.id)
    )
    for request_ in asked:
        found.append(
            Concern(
                "A customer asked for their data",
                f"It is ready; hand it over by {request_.asked_at + HAND_OVER:%d %B}.",
                link("setup.export", request_id=request_.id),
                "wait",
            )
        )
    lost = session.scalar(
        select(func.count()).select_from(WebhookDelivery).where(WebhookDelivery.state.in_(("not_understood", "failed")))
    )
    if lost:
        found.append(
            Concern(
                f"{lost} requests could not be understood",
                "They are kept and can be replayed once Dastak has learned to read them; nothing is lost.",
                "",
                "wait",
            )
        )
    return found


def _today(session: Session) -> dict[str, Any]:
    """The last 24 hours: what was sent, what was withheld and why."""
    since = session.now() - timedelta(days=1)
    counted = session.execute(
        select(Touchpoint.state, Touchpoint.reason, func.count())
        .where(Touchpoint.settled_at > since)
        .group_by(Touchpoint.state, Touchpoint.reason)
    ).all()
    withheld = sorted(
        (
            (count, SKIP_REASONS.get(reason, reason.replace("_", " ")))
            for state, reason, count in counted
            if state in ("skipped", "cancelled")
        ),
        reverse=True,
    )
    answered = session.scalar(
        select(func.count()).select_from(Message).where(Message.sender == "customer", Message.at > since)
    )
    orders = session.scalar(select(func.count()).select_from(Order).where(Order.seen_at > since))
    return {
        "orders": orders,
        "sent": sum(count for state, _, count in counted if state == "sent"),
        "answered": answered,
        "withheld": withheld,
        "withheld_total": sum(count for count, _ in withheld),
    }
