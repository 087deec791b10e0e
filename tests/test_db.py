"""Tenancy, lanes and migrations: every table, both engines."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Integer, LargeBinary, delete, func, insert, inspect, select, text, update
from sqlalchemy.exc import DBAPIError

from integration.clock import Clock
from integration.customers import Consent
from integration.db import Amount, Base, Database, Instant, Json, Tenant, TenantItself
from integration.errors import Unscoped
from integration.house import House
from integration.inbox import Conversation
from integration.migrations import upgrade
from integration.orders import Order
from integration.stores import Connection, Store

from . import factories

TABLES = sorted((m.class_ for m in Base.registry.mappers), key=lambda table: table.__tablename__)
TENANTS = [table for table in TABLES if issubclass(table, Tenant)]
NOT_TENANTS = [table for table in TABLES if not issubclass(table, Tenant)]


def _fill(house: House, table: type[Base], store_id: int) -> int:
    """One row of a table in a store, with whatever it needs. Foreign keys of no matter here are switched off."""
    values: dict[str, Any] = {}
    for column in inspect(table).columns:
        if column.primary_key:
            continue
        if column.name == "store_id":
            values[column.name] = store_id
        elif column.foreign_keys and not column.nullable:
            target = next(iter(column.foreign_keys)).column.table.name
            owner = next(m.class_ for m in Base.registry.mappers if m.class_.__tablename__ == target)
            values[column.name] = _fill(house, owner, store_id)
        elif not column.nullable and column.default is None:
            values[column.name] = _sample(column.type)
    with house.db.operator_writing() as session:
        row = table(**values)
        session.add(row)
        session.flush()
        return int(row.id)  # type: ignore[attr-defined]


def _sample(kind: Any) -> Any:
    """A value a column takes, unlike the last one."""
    number = next(factories._numbers)
    samples = (
        (Amount, Decimal(number)),
        (Instant, datetime.now(UTC)),
        (Json, {}),
        (LargeBinary, b"x"),
        (Integer, number),
    )
    return next((value for type_, value in samples if isinstance(kind, type_)), None) or f"{number}"[-3:]


def test_every_table_belongs_to_a_store_or_is_known_not_to() -> None:
    assert {table.__tablename__ for table in NOT_TENANTS} == {"stores", "install_attempts"}


@pytest.mark.parametrize("table", TENANTS, ids=lambda t: t.__tablename__)
def test_a_store_sees_changes_and_deletes_only_its_own(house: House, table: type[Base]) -> None:
    """Select, count, get, bulk update, bulk delete: scoped to one store for every table there is."""
    ours, theirs = factories.store(house, channel=False), factories.store(house, channel=False)
    mine, other = _fill(house, table, ours), _fill(house, table, theirs)
    with house.db.lane(ours) as session:
        assert {row.id for row in session.scalars(select(table))} >= {mine}  # type: ignore[attr-defined]
        assert all(row.store_id == ours for row in session.scalars(select(table)))  # type: ignore[attr-defined]
        assert session.get(table, other) is None
        assert session.scalar(select(func.count()).select_from(table).where(table.id == other)) == 0  # type: ignore[attr-defined]
        touched = session.execute(update(table).where(table.id.in_([mine, other])).values(store_id=ours))  # type: ignore[attr-defined]
        assert touched.rowcount == 1  # type: ignore[attr-defined]
        gone = session.execute(delete(table).where(table.id == other))  # type: ignore[attr-defined]
        assert gone.rowcount == 0  # type: ignore[attr-defined]
    with house.db.operator() as session:
        assert session.get_one(table, other).store_id == theirs  # type: ignore[attr-defined]


@pytest.mark.parametrize("table", TENANTS, ids=lambda t: t.__tablename__)
def test_a_store_writes_nothing_into_another(lite_house: House, table: type[Base]) -> None:
    ours, theirs = factories.store(lite_house, channel=False), factories.store(lite_house, channel=False)
    with pytest.raises(Unscoped), lite_house.db.lane(ours) as session:
        session.add(table(store_id=theirs))
    with pytest.raises(Unscoped), lite_house.db.lane(ours) as session:
        session.append(table(store_id=theirs))
    with pytest.raises(Unscoped), lite_house.db.lane(ours) as session:
        session.execute(insert(table), [{"store_id": theirs}])


def test_a_store_sees_only_itself_among_stores(house: House) -> None:
    ours, theirs = factories.store(house), factories.store(house)
    with house.db.lane(ours) as session:
        assert [store.id for store in session.scalars(select(Store))] == [ours]
        assert session.get(Store, theirs) is None
        session.get_one(Store, ours).name = "renamed"
    with pytest.raises(Unscoped), house.db.lane(ours) as session:
        session.add(Store(name="mine too", installed_at=session.now()))
    assert issubclass(Store, TenantItself)


def test_a_lazy_load_is_scoped_too(house: House) -> None:
    ours = factories.store(house)
    with house.db.lane(ours) as session:
        made = factories.order(session)
    with house.db.read(ours) as session:
        assert session.get_one(Order, made.id).shipments == []


def test_plain_sql_and_unbound_sessions_are_refused(lite_house: House) -> None:
    ours = factories.store(lite_house)
    with lite_house.db.read(ours) as session, pytest.raises(Unscoped):
        session.execute(text("SELECT * FROM orders"))
    with lite_house.db.read(ours) as session, pytest.raises(Unscoped):
        session.execute(select(Order.__table__))
    with lite_house.db.read(None) as session, pytest.raises(Unscoped):  # type: ignore[arg-type]
        session.scalars(select(Order))


def test_a_failed_transaction_leaves_nothing(house: House) -> None:
    ours = factories.store(house)
    with pytest.raises(RuntimeError), house.db.lane(ours) as session:
        factories.order(session, external_id="lost")
        raise RuntimeError("in the middle")
    with house.db.read(ours) as session:
        assert session.scalar(select(Order).where(Order.external_id == "lost")) is None


def test_a_databases_error_names_no_customer(house: House) -> None:
    """It is written into logs and into the record of a failed job."""
    with pytest.raises(DBAPIError) as failed, house.db.operator() as session:
        session.execute(text("SELECT * FROM nowhere WHERE phone = :phone"), {"phone": "+923001234567"})
    assert "nowhere" in str(failed.value)
    assert "+923001234567" not in str(failed.value)


def test_a_lane_is_held_by_one_at_a_time(house: House) -> None:
    """Two writers add to one number many times; no increment is lost."""
    ours = factories.store(house)
    with house.db.lane(ours) as session:
        order_id = factories.order(session, total=Decimal(0)).id

    def add() -> None:
        for _ in range(15):
            with house.db.lane(ours) as session:
                session.get_one(Order, order_id).total += 1

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with house.db.read(ours) as session:
        assert session.get_one(Order, order_id).total == 45


def test_a_webhook_waits_for_one_lane_and_not_for_the_queue_behind_it(lite_house: House) -> None:
    """Lanes stand in a queue for SQLite's one writer; a vendor that waits for its answer goes before those that only
    wait. Of six that want it all the time one is at work and now and then another gets in.
    """
    ours, lanes, ended = factories.store(lite_house), 0, threading.Event()

    def busy() -> None:
        nonlocal lanes
        while not ended.is_set():
            with lite_house.db.lane(ours):
                lanes += 1
                time.sleep(0.005)  # what it does there

    workers = [threading.Thread(target=busy) for _ in range(6)]
    for worker in workers:
        worker.start()
    passed = []
    for _ in range(50):
        before = lanes
        with lite_house.db.receiving():
            passed.append(lanes - before)
    ended.set()
    for worker in workers:
        worker.join(10)
    assert sum(passed) <= 3 * len(passed)


def test_whose_time_is_up_while_waiting_leaves_the_turn_to_others(lite_house: House) -> None:
    """RQ ends a job that takes too long by an exception wherever it is."""
    ours = factories.store(lite_house)
    held, release, hits = threading.Event(), threading.Event(), 0

    def holder() -> None:
        other = Database(lite_house.settings.database_url, lite_house.clock)  # as another process would
        with other.lane(ours):
            held.set()
            release.wait(20)
        other.close()

    def time_is_up(*_: object) -> None:
        nonlocal hits
        hits += 1
        raise TimeoutError

    thread = threading.Thread(target=holder)
    thread.start()
    held.wait(20)
    before = signal.signal(signal.SIGALRM, time_is_up)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(TimeoutError), lite_house.db.lane(ours):
            pass
    finally:
        signal.signal(signal.SIGALRM, before)
        release.set()
        thread.join(20)
    assert hits == 1
    with lite_house.db.lane(ours) as session:  # hangs for ever where the lock was kept
        assert session.get(Store, ours) is not None


def test_a_new_row_is_of_this_store_and_gone_with_its_transaction(lite_house: House) -> None:
    ours, theirs = factories.store(lite_house), factories.store(lite_house)
    with lite_house.db.lane(ours) as session:
        with pytest.raises(Unscoped):
            session.append(Conversation(store_id=theirs))
        session.append(Conversation(store_id=ours), contact_point_id=factories.contact(session))
        session.rollback()
    with lite_house.db.operator() as session:
        assert session.scalar(select(func.count()).select_from(Conversation)) == 0


def test_rows_changed_by_their_ids_are_of_this_store(house: House) -> None:
    ours, theirs = factories.store(house), factories.store(house)
    with house.db.lane(theirs) as session:
        foreign = factories.order(session, name="#9").id
    with house.db.lane(ours) as session:
        own = factories.order(session, name="#1").id
    with house.db.lane(ours) as session:
        session.amend(Order, [])
        session.amend(Order, [{"id": number, "name": "changed", "tags": ["late"]} for number in (own, foreign)])
        with pytest.raises(Unscoped):
            session.execute(update(Order), [{"id": foreign, "name": "changed"}])
    with pytest.raises(Unscoped), house.db.read(None) as session:  # type: ignore[arg-type]
        session.amend(Order, [{"id": foreign, "name": "changed"}])
    with house.db.operator() as session:
        names = {order.id: (order.name, order.tags) for order in session.scalars(select(Order))}
        assert names == {own: ("changed", ["late"]), foreign: ("#9", [])}


def test_append_only_rows_are_written_with_their_owners(house: House) -> None:
    """In bulk, at the end, with ids that did not exist when they were appended."""
    ours = factories.store(house)
    with house.db.lane(ours) as session:
        made = factories.contact(session, consent=False)
        word = Consent(store_id=ours, purpose="utility", state="granted", source="t", at=session.now())
        session.append(word, contact_point_id=made)
    with house.db.read(ours) as session:
        [kept] = session.scalars(select(Consent))
        assert (kept.contact_point_id, kept.purpose) == (made.id, "utility")


def test_the_consent_ledger_cannot_be_rewritten(lite_house: House) -> None:
    ours = factories.store(lite_house)
    with lite_house.db.lane(ours) as session:
        factories.contact(session)
    with pytest.raises(RuntimeError, match="append-only"), lite_house.db.lane(ours) as session:
        session.scalars(select(Consent)).one().state = "revoked"


@pytest.mark.parametrize("amount", ["0.1", "9448", "12345678901234.5678", "-500.00", "0"])
def test_amounts_are_exact(house: House, amount: str) -> None:
    ours = factories.store(house)
    with house.db.lane(ours) as session:
        order_id = factories.order(session, total=Decimal(amount)).id
    with house.db.read(ours) as session:
        assert session.get_one(Order, order_id).total == Decimal(amount)


def test_times_come_back_aware_and_to_the_microsecond(house: House) -> None:
    ours, moment = factories.store(house), datetime(2026, 5, 4, 12, 30, 15, 123456, tzinfo=UTC)
    with house.db.lane(ours) as session:
        contact = factories.contact(session)
        session.add(Conversation(store_id=ours, contact_point_id=contact.id, last_inbound_at=moment))
    with house.db.read(ours) as session:
        assert session.scalars(select(Conversation)).one().last_inbound_at == moment
    with pytest.raises(Exception, match="without a zone"), house.db.lane(ours) as session:
        session.scalars(select(Connection).limit(1)).one().cursor = datetime(2026, 5, 4)  # noqa: DTZ001


def test_migrations_from_empty_give_the_tables_the_code_expects(
    engine: str, postgres: Callable[[str], str], fresh_url: Callable[[str], str], tmp_path: Path
) -> None:
    """From an empty database, on both engines, twice: the second run changes nothing."""
    url = f"sqlite:///{tmp_path}/empty.sqlite3" if engine == "sqlite" else fresh_url("postgresql")
    db = Database(url, Clock())
    if engine == "postgresql":
        with db.receiving() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    upgrade(db)
    upgrade(db)
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, Base.metadata) == []
    db.close()


def test_due_work_is_found_by_index(house: House) -> None:
    """A tick with nothing due must not read what is not due."""
    if not house.db.is_sqlite:
        pytest.skip("SQLite tells its plan for tiny tables, PostgreSQL rightly scans them")
    with house.db.receiving() as connection:
        for query, index in (
            ("SELECT DISTINCT store_id FROM webhook_deliveries WHERE state = 'received'", "deliveries_waiting"),
            ("SELECT DISTINCT store_id FROM enrollments WHERE next_due_at <= '2026-01-01'", "enrollments_due"),
            (
                "SELECT DISTINCT store_id FROM outbox WHERE kind='message' AND state = 'queued' AND due_at <= '2026'",
                "outbox_due",
            ),
            ("SELECT store_id FROM outbox WHERE leased_until < '2026-01-01'", "outbox_in_flight"),
        ):  # fmt: skip
            plan = " ".join(str(row) for row in connection.execute(text(f"EXPLAIN QUERY PLAN {query}")))
            assert index in plan, f"{query}: {plan}"


def test_a_nul_in_a_strangers_text_costs_nothing_but_itself(house: House) -> None:
    """PostgreSQL keeps no NUL in any text: neither reading nor writing fails over one."""
    store_id = factories.store(house)
    with house.db.lane(store_id) as session:
        placed = factories.order(session)
        placed.customer_name, order_id = "Aye\0sha", placed.id
    with house.db.read(store_id) as session:
        kept = session.get_one(Order, order_id).customer_name
        found = session.scalar(select(Order.id).where(Order.customer_name == "Aye\0sha"))
    assert kept.replace("\0", "") == "Ayesha"
    assert found == order_id


def test_a_store_that_goes_takes_everything_with_it(house: House) -> None:
    ours = factories.store(house)
    with house.db.lane(ours) as session:
        factories.order(session)
    with house.db.operator_writing() as session:
        session.execute(delete(Store).where(Store.id == ours))
    with house.db.operator() as session:
        assert session.scalar(select(func.count()).select_from(Order)) == 0
