"""Chores: what keeps a connection true and healthy, on a schedule, whether or not any webhook comes.

A chore is a row with a due time, claimed by a conditional update, so any number of workers may do them. What
reconciliation finds goes through the same door as a webhook: stored, then processed, with no second code path.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import structlog
from sqlalchemy import bindparam, or_, select
from sqlalchemy.exc import DBAPIError

from . import claims, collecting, ingest, privacy, tracking
from .access import open_account
from .catalogue import TEMPLATES, Template, template_name, template_text
from .db import Instant, Session
from .dispatch import keep_cities
from .errors import ConfigurationError, NotUnderstood, OutcomeUnknown, PermanentError, TransientError
from .events import OrderChanged, OrderRemoved
from .house import House
from .orders import Book, Order, apply_removed, forget_early_scans, is_news
from .ports import Account, Books, TemplateSeen, WatchesWebhooks, WebhookRequest, offers
from .stores import EVERY, Chore, Connection, Store, hurry
from .values import LANGUAGES

log = structlog.get_logger(__name__)

OVERLAP = timedelta(minutes=5)
"""How far back each reconciliation looks beyond its cursor: vendors' clocks and indexes lag."""

BACKFILL = timedelta(days=30)
"""How far back the first reconciliation of a store looks."""

_LEASE = timedelta(seconds=45)
"""For so long a chore is its worker's without a sign of life. A killed worker's chores wait no longer than that."""


_NOW, _MACHINE = bindparam("now", type_=Instant), bindparam("machine", type_=Instant)
_DUE = (
    select(Chore.store_id)
    .join(Store, Store.id == Chore.store_id)
    .where(Chore.due_at <= _NOW, or_(Chore.leased_until.is_(None), Chore.leased_until < _MACHINE))
    .union(select(privacy.PrivacyRequest.store_id).where(privacy.PrivacyRequest.met_at.is_(None)))
)


def due_chores(house: House) -> Iterator[tuple[str, int]]:
    """(door, store) of every store with a chore or a privacy request due."""
    at = {"now": house.clock.now(), "machine": house.clock.machine()}
    with house.db.operator() as session:
        for store_id in session.scalars(_DUE, at):
            yield "chores", store_id


def run(house: House, store_id: int) -> None:
    """Do what is due for one store: privacy first, then each chore under its own lease."""
    with house.db.lane(store_id) as session:
        privacy.meet_requests(session)
        active = session.get_one(Store, store_id).active
    while (claimed := _claim(house, store_id)) is not None:
        chore_id, name, connection_id, was_due = claimed
        failed, sentence = False, ""
        if active or name == "prune":
            try:
                with _held(house, store_id, chore_id):
                    sentence = CHORES[name](house, store_id, connection_id)
            except (ConfigurationError, PermanentError) as fault:
                failed, sentence = True, str(fault)
                _note_broken(house, store_id, connection_id, name, str(fault))
            except (TransientError, OutcomeUnknown) as fault:
                failed, sentence = True, str(fault)
            except Exception as fault:  # a bug of one chore stops no other, and is seen
                failed, sentence = True, ingest.place_of(fault)
                log.error("chore.bug", chore=name, store_id=store_id, fault=sentence)
        _put_back(house, store_id, chore_id, was_due, failed, sentence)


def _claim(house: House, store_id: int) -> tuple[int, str, int, datetime] | None:
    machine = house.clock.machine()
    with house.db.lane(store_id) as session:
        free = or_(Chore.leased_until.is_(None), Chore.leased_until < machine)
        chore = session.scalars(
            select(Chore).where(Chore.due_at <= session.now(), free).order_by(Chore.due_at, Chore.id).limit(1)
        ).first()
        if chore is None:
            return None
        chore.leased_until = machine + _LEASE
        return chore.id, chore.name, chore.connection_id, chore.due_at


@contextmanager
def _held(house: House, store_id: int, chore_id: int) -> Iterator[None]:
    """A chore stays its worker's for as long as that takes: its lease is renewed meanwhile."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(_LEASE.total_seconds() / 3):
            try:
                with house.db.lane(store_id) as session:
                    if (chore := session.get(Chore, chore_id)) is not None and not over.is_set():
                        chore.leased_until = house.clock.machine() + _LEASE
            except DBAPIError as fault:  # the next time, or somebody else takes it on
                log.warning("chore.not_renewed", store_id=store_id, fault=type(fault).__name__)

    keeper = threading.Thread(target=renew, name="lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


def _put_back(house: House, store_id: int, chore_id: int, was_due: datetime, failed: bool, sentence: str) -> None:
    """Done until next time, unless somebody hurried it while it ran: then it is due again at once."""
    with house.db.lane(store_id) as session:
        chore = session.get(Chore, chore_id)
        if chore is None:
            return
        now = session.now()
        chore.leased_until, chore.last_run_at, chore.last_sentence = None, now, sentence[:500]
        chore.failures = chore.failures + 1 if failed else 0
        every = EVERY.get(chore.name, timedelta(hours=1))
        if failed:
            every = min(timedelta(minutes=1) * 2 ** min(chore.failures - 1, 6), every)
        if chore.due_at == was_due:
            chore.due_at = now + every


def _note_broken(house: House, store_id: int, connection_id: int, name: str, sentence: str) -> None:
    log.warning("chore.refused", chore=name, store_id=store_id)
    if name in ("reconcile", "profile", "webhooks", "track", "collect"):
        with house.db.lane(store_id) as session:
            session.get_one(Connection, connection_id).broke(sentence)


# -- stores --------------------------------------------------------------------------------------------------------


def reconcile(house: House, store_id: int, connection_id: int) -> str:
    """Pull the orders changed since last time and post to ourselves those that no webhook told us."""
    account = open_account(house, store_id, connection_id)
    with house.db.read(store_id) as session:
        connection = session.get_one(Connection, connection_id)
        adapter = house.registry.get(connection.room, connection.adapter)
    newest, found, missed = connection.cursor, 0, 0
    since = newest - OVERLAP if newest is not None else house.clock.now() - BACKFILL
    seen: list[tuple[list[OrderChanged], WebhookRequest]] = []
    for request in adapter.fetch_orders(account, since):
        found += 1
        facts = _orders_in(adapter, request)
        newest = max(filter(None, (newest, *(fact.occurred_at for fact in facts))), default=newest)
        seen.append((facts, request))
        if len(seen) >= 100:
            missed += _post(house, connection, seen)
            seen = []
    missed += _post(house, connection, seen)
    with house.db.lane(store_id) as session:
        connection = session.get_one(Connection, connection_id)
        connection.cursor = newest or house.clock.now() - OVERLAP
        if connection.health == "broken":
            connection.mended()
    return f"{found} orders looked at, {missed} that no webhook had told us"


def _orders_in(adapter: Any, request: WebhookRequest) -> list[OrderChanged]:
    """What a found order says. Of one that cannot be read nothing: it is posted all the same, and shown as such."""
    try:
        return [fact for fact in adapter.parse(request) if isinstance(fact, OrderChanged)]
    except NotUnderstood:
        return []


def _post(house: House, connection: Connection, seen: list[tuple[list[OrderChanged], WebhookRequest]]) -> int:
    """Post to ourselves what would change anything. Returns how many."""
    with house.db.read(connection.store_id) as session:
        book = Book(session, session.get_one(Store, connection.store_id))
        book.fetch([fact for facts, _ in seen for fact in facts])
        news = [request for facts, request in seen if not facts or any(is_news(book, fact) for fact in facts)]
    ingest.post(house, connection, news)
    return len(news)


def absent(house: House, store_id: int, connection_id: int) -> str:
    """Ask for the open orders by name: what a store threw away appears in no list of changes."""
    account = open_account(house, store_id, connection_id)
    with house.db.read(store_id) as session:
        connection = session.get_one(Connection, connection_id)
        adapter = house.registry.get(connection.room, connection.adapter)
        recent = session.now() - BACKFILL
        open_ = session.scalars(
            select(Order.external_id).where(
                Order.placed_at > recent,
                Order.removed_at.is_(None),
                Order.fulfilment.in_(("unfulfilled", "booked")),
                Order.cancelled_at.is_(None),
            )
        ).all()
    gone = set(adapter.absent_orders(account, open_)) if open_ else set()
    if gone:
        with house.db.lane(store_id) as session:
            book = Book(session, session.get_one(Store, store_id))
            for external_id in gone:
                apply_removed(book, OrderRemoved(external_id=external_id))
                if (order := book.order(external_id)) is not None:
                    ingest.leave_all(session, order)
    return f"{len(open_)} open orders asked for, {len(gone)} no longer there"


def webhooks(house: House, store_id: int, connection_id: int) -> str:
    """See that the store's webhooks exist and are on; repair them where not."""
    with house.db.read(store_id) as session:
        connection = session.get_one(Connection, connection_id)
        adapter = house.registry.get(connection.room, connection.adapter)
        room, name = connection.room, connection.adapter
    if not isinstance(adapter, WatchesWebhooks):
        return "declared with the platform, nothing to watch"
    account = open_account(house, store_id, connection_id)
    url = webhook_url(house, room, name, account)
    state, sentence = adapter.ensure_webhooks(account, url, account.credentials["webhook_secret"])
    with house.db.lane(store_id) as session:
        connection = session.get_one(Connection, connection_id)
        made = any(connection.state.get(name) != value for name, value in state.items())
        connection.remember(**state)
        if sentence and connection.health != "broken":
            connection.sentence = sentence[:500]
        if made or sentence:  # what fell into the gap, the very first one too, is fetched at once
            hurry(session, connection_id, "reconcile")
    return sentence or "all in place"


def webhook_url(house: House, room: str, adapter: str, account: Account) -> str:
    return f"{house.settings.public_url}/webhooks/{room}/{adapter}/{account.credentials['webhook_token']}"


# -- channels ------------------------------------------------------------------------------------------------------


def templates(house: House, store_id: int, connection_id: int) -> str:
    """Read back what the channel holds, and submit the starter templates it does not have."""
    account = open_account(house, store_id, connection_id)
    with house.db.read(store_id) as session:
        connection = session.get_one(Connection, connection_id)
        adapter = house.registry.get(connection.room, connection.adapter)
    with house.db.lane(store_id) as session:
        heard = _lay_out(session, connection_id, adapter)
    asked_at = house.clock.now()
    held = {(seen.name, seen.language): seen for seen in adapter.fetch_templates(account)}
    submitted, refused = 0, ""
    enough: TransientError | None = None
    for key, language in product(TEMPLATES, LANGUAGES):
        name, code = template_name(key, language), adapter.language_code(language)
        if (name, code) not in held:
            try:
                held[name, code] = adapter.create_template(account, template_text(key, language))
                submitted += 1
            except PermanentError as fault:
                held[name, code] = TemplateSeen(
                    vendor_id="", name=name, language=code, status="rejected", category="unknown", reason=str(fault)
                )
                refused = str(fault)
            except TransientError as fault:  # so many an hour, says the channel; what was read is kept all the same
                enough = fault
                break
    with house.db.lane(store_id) as session:
        if _keep_templates(session, connection_id, held, heard, asked_at):
            ingest.hurry_waiting(session)
        session.bells.add("deliver")
    house.ring("deliver", store_id)
    if enough is not None:
        raise enough
    return f"{submitted} templates submitted" + (f"; one was refused: {refused}" if refused else "")


def _lay_out(session: Session, connection_id: int, adapter: object) -> dict[int, datetime | None]:
    """A row for every starter template before any is submitted: a verdict may come while we still submit the others.
    Returns when each was last heard of.
    """
    known = {
        (t.name, t.code): t for t in session.scalars(select(Template).where(Template.connection_id == connection_id))
    }
    for key, (_, wanted) in TEMPLATES.items():
        for language in LANGUAGES:
            name, code = template_name(key, language), adapter.language_code(language)  # type: ignore[attr-defined]
            if (name, code) not in known:
                known[name, code] = Template(
                    store_id=session.store_id,
                    connection_id=connection_id,
                    key=key,
                    language=language,
                    name=name,
                    code=code,
                    wanted=wanted,
                )
                session.add(known[name, code])
    session.flush()
    return {template.id: template.changed_at for template in known.values()}


def _keep_templates(
    session: Session,
    connection_id: int,
    held: dict[tuple[str, str], TemplateSeen],
    heard: dict[int, datetime | None],
    asked_at: datetime,
) -> bool:
    """Remember what was read, but of templates that there was news of meanwhile: news is newer. True when one has
    become approved.
    """
    approved = False
    for template in session.scalars(select(Template).where(Template.connection_id == connection_id)):
        seen = held.get((template.name, template.code))
        if seen is None or template.id not in heard or template.changed_at != heard[template.id]:
            continue
        approved |= seen.status == "approved" != template.status
        template.vendor_id, template.status = seen.vendor_id, seen.status
        template.category, template.quality = seen.category, seen.quality
        template.reason, template.changed_at = seen.reason[:300], asked_at
    return approved


def profile(house: House, store_id: int, connection_id: int) -> str:
    """What the number says of itself: throughput, quality, whether it may send."""
    account = open_account(house, store_id, connection_id)
    with house.db.read(store_id) as session:
        connection = session.get_one(Connection, connection_id)
        adapter = house.registry.get(connection.room, connection.adapter)
    seen = adapter.profile(account)
    with house.db.lane(store_id) as session:
        connection = session.get_one(Connection, connection_id)
        connection.remember(rate=seen.rate, quality=seen.quality, number=seen.number, name=seen.name, **seen.facts)
        if seen.healthy:
            connection.mended()
        else:
            connection.broke(seen.sentence)
    return f"{seen.number}, quality {seen.quality}, {seen.rate} messages a second"


def prune(house: House, store_id: int, connection_id: int) -> str:
    with house.db.lane(store_id) as session:
        forget_early_scans(session)
        return f"{ingest.prune(session)} old requests forgotten"


def cities(house: House, store_id: int, connection_id: int) -> str:
    """Learn where a courier delivers to."""
    with house.db.read(store_id) as session:
        adapter = house.registry.get("couriers", session.get_one(Connection, connection_id).adapter)
    if not offers(adapter, Books):
        return "it tells no cities"
    found = adapter.cities(open_account(house, store_id, connection_id))
    with house.db.lane(store_id) as session:
        return f"{keep_cities(session, connection_id, found)} cities"


CHORES: dict[str, Callable[[House, int, int], str]] = {
    "reconcile": reconcile,
    "absent": absent,
    "webhooks": webhooks,
    "templates": templates,
    "profile": profile,
    "prune": prune,
    "track": tracking.track,
    "cities": cities,
    "collect": collecting.collect,
    "pictures": claims.fetch_pictures,
}
