"""Engine, tenant-scoped sessions and lanes.

Every query is bound to one store or refused: a scoped session adds `store_id = ...` to whatever it runs (select,
update, delete, lazy load), stamps and checks what it writes, and refuses plain SQL. The operator's session, which
sees all stores, must be asked for by name.

A *lane* is the unit of serialisation: all that changes one store's orders happens in its lane, one transaction at a
time. The lock is the database's own (a row lock on PostgreSQL, the single writer on SQLite), so it dies with whoever
held it and needs no lease.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import orjson
from psycopg.types.string import StrDumperUnknown
from sqlalchemy import (
    URL,
    BigInteger,
    Connection,
    DateTime,
    Dialect,
    Engine,
    ForeignKey,
    Integer,
    Numeric,
    String,
    Text,
    bindparam,
    create_engine,
    event,
    inspect,
    literal,
    orm,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, with_loader_criteria
from sqlalchemy.sql.base import ExecutableOption
from sqlalchemy.types import TypeDecorator

from .clock import Clock
from .errors import Unscoped

# -- column types --------------------------------------------------------------------------------------------------


class _Stamp(sqlite.DATETIME):
    """Writes what SQLite's own type writes, seven times as fast; every webhook and every row has such a time."""

    def bind_processor(self, dialect: Dialect) -> Any:
        return lambda value: None if value is None else value.isoformat(" ", "microseconds")


class Instant(TypeDecorator[datetime]):
    """An aware UTC time, kept to the microsecond on both engines. A naive one is refused."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        stamp = DateTime(timezone=True) if dialect.name == "postgresql" else _Stamp()  # type: ignore[no-untyped-call]
        return dialect.type_descriptor(stamp)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone reached the database")
        if value.tzinfo is not UTC:
            value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Amount(TypeDecorator[Decimal]):
    """A money amount: NUMERIC on PostgreSQL, exact text on SQLite (which would keep a float)."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(Numeric(20, 4))
        return dialect.type_descriptor(String(32))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        return value if value is None or dialect.name == "postgresql" else format(value, "f")

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value).normalize() + Decimal(0)


class Json(TypeDecorator[Any]):
    """A small document of ours, as text on both engines: nothing is ever queried inside it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else orjson.loads(value)


def inline(word: str) -> Any:
    """A word of ours written into the SQL itself: SQLite uses a partial index only when it sees the literal."""
    return literal(word, literal_execute=True)


Id = BigInteger().with_variant(Integer(), "sqlite")


class Base(DeclarativeBase):
    """All tables. A new row has its column defaults at once, not only after a flush: the core reads what it just made.

    Column values go straight into the row's dictionary. A row not yet inserted has no history to keep, and telling the
    unit of work about each value costs more than the insert itself. Relationships are set the ordinary way.
    """

    def __init__(self, **values: Any) -> None:
        columns, scalars, makers = _shape(type(self))
        own = self.__dict__
        own.update(scalars)
        for name, make in makers:
            own[name] = make()
        for name, value in values.items():
            if name in columns:
                own[name] = value
            else:
                setattr(self, name, value)


@cache
def _shape(table: type[Base]) -> tuple[frozenset[str], dict[str, Any], tuple[tuple[str, Callable[[], Any]], ...]]:
    """(column names, plain defaults, default makers) of a table."""
    scalars: dict[str, Any] = {}
    makers: list[tuple[str, Callable[[], Any]]] = []
    columns = inspect(table).column_attrs
    for attribute in columns:
        default = attribute.columns[0].default
        if default is None:
            continue
        if default.is_scalar and default.arg is not None:
            scalars[attribute.key] = default.arg
        elif default.is_callable:
            makers.append((attribute.key, partial(default.arg, None)))
    return frozenset(attribute.key for attribute in columns), scalars, tuple(makers)


class Tenant:
    """Mixed into every table that belongs to a store. The scope is stamped and checked by the session."""

    store_id: Mapped[int] = mapped_column(Id, ForeignKey("stores.id", ondelete="CASCADE"), sort_order=-1)


class TenantItself:
    """Mixed into the one table whose rows are the tenants."""

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)


# -- sessions ------------------------------------------------------------------------------------------------------


class Session(orm.Session):
    """A session bound to one store (`store_id`), or the operator's (`operator=True`)."""

    def __init__(
        self, *args: Any, clock: Clock, store_id: int | None = None, operator: bool = False, **kw: Any
    ) -> None:
        super().__init__(*args, autoflush=False, expire_on_commit=False, **kw)
        self.clock = clock
        self.store_id = store_id
        self.is_operator = operator
        self.bells: set[str] = set()
        """Doors to ring for this store once the transaction is committed: process, advance, deliver."""
        self._ledger: list[tuple[Base, dict[str, Base | None]]] = []

    def now(self) -> datetime:
        return self.clock.now()

    def append(self, row: Base, **owners: Base | None) -> None:
        """A new row, with the records it belongs to by the name of its foreign key: `order_id=order`.

        Most of what is written are such rows. They are inserted in bulk by the next flush, after their owners have
        their ids, at a tenth of what the unit of work would cost. What is done to one after that is kept only if other
        tables refer to its table; the rest only grow. A row of the unit of work that names one of these as its owner
        is made after a flush.
        """
        if not self.is_operator and (self.store_id is None or getattr(row, "store_id", None) != self.store_id):
            raise Unscoped(f"a {type(row).__name__} of another store")
        self._ledger.append((row, owners))

    def amend(self, table: type[Base], changes: Sequence[dict[str, Any]]) -> None:
        """Change rows by their `id`, all with one statement and without loading any; each of `changes` names the same
        columns. Rows of another store stay as they are.
        """
        if not changes:
            return
        if not self.is_operator and self.store_id is None:
            raise Unscoped("this session belongs to no store")
        into = table.__table__
        mine = into.c.id == bindparam("row_id")
        if not self.is_operator:
            mine &= into.c.store_id == self.store_id
        statement = into.update().where(mine).values({n: bindparam(n) for n in changes[0] if n != "id"})  # type: ignore[attr-defined]
        self.connection().execute(statement, [{"row_id": row["id"], **row} for row in changes])

    def flush(self, objects: Any = None) -> None:
        """Write what changed, then what `append` collected."""
        super().flush(objects)
        written = self._write_ledger()
        for row in written:
            orm.make_transient_to_detached(row)
        self.add_all(written)

    def rollback(self) -> None:
        self._ledger.clear()
        self.info.clear()  # what was remembered of this transaction never happened
        super().rollback()

    def commit(self) -> None:
        """Write everything and end the transaction."""
        super().flush()
        self._write_ledger()
        super().commit()

    def _write_ledger(self) -> list[Base]:
        """Insert what `append` collected, owners before what they own. Returns the rows that may still change."""
        ledger, self._ledger = self._ledger, []
        if not ledger:
            return []
        known, owned = _tables()
        rows: dict[type[Base], list[tuple[Base, dict[str, Base | None]]]] = {}
        for row, owners in ledger:
            rows.setdefault(type(row), []).append((row, owners))
        tables = sorted(rows, key=lambda table: known[table.__tablename__])
        numbered = {t.__tablename__: len(rows[t]) for t in tables if t.__tablename__ in owned}
        connection = self.connection()
        ids = _take_ids(connection, numbered) if numbered else {}
        changeable: list[Base] = []
        for table in tables:
            if table.__tablename__ in ids:
                for (row, _), number in zip(rows[table], ids[table.__tablename__], strict=True):
                    row.__dict__["id"] = number
                    changeable.append(row)
            for row, owners in rows[table]:
                for name, owner in owners.items():
                    if owner is not None:
                        row.__dict__[name] = owner.id  # type: ignore[attr-defined]
            insert = _insert_into(table, connection.dialect, table.__tablename__ in ids)
            connection.exec_driver_sql(insert.sql, [insert.bind(row.__dict__) for row, _ in rows[table]])
        return changeable


@dataclass(frozen=True, slots=True)
class _InsertInto:
    """An insert as the driver takes it, with what it needs to bind a row's dictionary."""

    sql: str
    binders: tuple[tuple[str, Callable[[Any], Any] | None], ...]
    positional: bool

    def bind(self, row: dict[str, Any]) -> Any:
        values = [row.get(name) if bind is None else bind(row.get(name)) for name, bind in self.binders]
        return tuple(values) if self.positional else dict(zip((n for n, _ in self.binders), values, strict=True))


@cache
def _insert_into(table: type[Base], dialect: Dialect, numbered: bool) -> _InsertInto:
    """Said once: asking SQLAlchemy at every flush how each value is bound costs as much as the insert."""
    columns = [c for c in table.__table__.columns if numbered or c.name != "id"]
    statement = table.__table__.insert().inline()  # type: ignore[attr-defined]
    compiled = statement.compile(dialect=dialect, column_keys=[column.name for column in columns])
    order = compiled.positiontup or [column.name for column in columns]
    binders = {c.name: c.type.dialect_impl(dialect).bind_processor(dialect) for c in columns}
    return _InsertInto(str(compiled), tuple((name, binders[name]) for name in order), compiled.positional)


@cache
def _tables() -> tuple[dict[str, int], frozenset[str]]:
    """(every table's place in an order in which owners come first, the tables that others refer to)."""
    tables = Base.metadata.sorted_tables
    owned = {key.column.table.name for table in tables for key in table.foreign_keys}
    return {table.name: place for place, table in enumerate(tables)}, frozenset(owned)


@event.listens_for(Session, "do_orm_execute")
def _scope_query(state: orm.ORMExecuteState) -> None:
    session = state.session
    assert isinstance(session, Session)
    if session.is_operator:
        return
    store_id = session.store_id
    if store_id is None:
        raise Unscoped("this session belongs to no store")
    if not state.is_orm_statement:
        raise Unscoped("plain SQL is for the operator's session: a store's session cannot scope it")
    if state.is_insert:
        rows: Any = state.parameters if isinstance(state.parameters, list) else [state.parameters or {}]
        if not all(row.get("store_id") == store_id for row in rows):
            raise Unscoped("an insert for another store, or for none")
        return
    if state.is_update and isinstance(state.parameters, list):
        raise Unscoped("an update of many rows by their ids cannot be scoped: use `amend`")
    if state.is_column_load:
        return
    state.statement = state.statement.options(*_scope_of(store_id))


@lru_cache(maxsize=1024)
def _scope_of(store_id: int) -> tuple[ExecutableOption, ...]:
    """What binds a query to one store. Kept, because making it costs as much as a small query."""
    return (
        with_loader_criteria(Tenant, lambda table: table.store_id == store_id, include_aliases=True),
        with_loader_criteria(TenantItself, lambda table: table.id == store_id, include_aliases=True),
    )


@event.listens_for(Session, "before_flush")
def _scope_writes(session: orm.Session, _context: Any, _instances: Any) -> None:
    assert isinstance(session, Session)
    if session.is_operator:
        return
    for row in (*session.new, *session.dirty, *session.deleted):
        if isinstance(row, TenantItself) and row.id == session.store_id and row not in session.new:
            continue
        if not isinstance(row, Tenant):
            raise Unscoped(f"a store's session may not write this {type(row).__name__}")
        if row.store_id is None and row in session.new:
            row.store_id = session.store_id
        if row.store_id != session.store_id:
            raise Unscoped(f"a {type(row).__name__} of another store")


@event.listens_for(Session, "before_flush")
def _number_new_rows(session: orm.Session, _context: Any, _instances: Any) -> None:
    """Give new rows their ids beforehand, all with one query.

    The unit of work then inserts them without asking each id back, by one prepared statement a table; letting the
    database number them costs PostgreSQL's driver a quarter of all its time on parsing the many-row statement.
    """
    new: dict[str, list[Any]] = {}
    for row in session.new:
        if "id" not in row.__dict__:
            new.setdefault(row.__tablename__, []).append(row)
    if new:
        ids = _take_ids(session.connection(), {table: len(rows) for table, rows in new.items()})
        for table, rows in new.items():
            for row, number in zip(rows, ids[table], strict=True):
                row.id = number


def _take_ids(connection: Connection, wanted: dict[str, int]) -> dict[str, list[int]]:
    """The next free ids of each table, as the table itself would give them."""
    if connection.dialect.name == "sqlite":  # this transaction is the only writer
        heads = connection.exec_driver_sql(
            "SELECT " + ", ".join(f"(SELECT coalesce(max(id), 0) FROM {table})" for table in wanted)
        ).one()
        return {table: list(range(h + 1, h + 1 + wanted[table])) for table, h in zip(wanted, heads, strict=True)}
    drawn = connection.exec_driver_sql(
        " UNION ALL ".join(
            f"SELECT '{table}', nextval('{table}_id_seq') FROM generate_series(1, {n})" for table, n in wanted.items()
        )
    )
    ids: dict[str, list[int]] = {table: [] for table in wanted}
    for table, number in drawn:
        ids[table].append(number)
    return ids


class Database:
    """One engine, its sessions and its lanes."""

    def __init__(self, url: str, clock: Clock, *, pool_size: int = 8) -> None:
        self.clock = clock
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.engine = _sqlite(parsed.database or "", pool_size) if self.is_sqlite else _postgres(parsed, pool_size)
        self._writing = self.engine.execution_options(dastak_writing=True)
        self.turn = _Turn(f"{parsed.database}.lock") if self.is_sqlite else nullcontext()
        self._queue = _Turn(f"{parsed.database}.queue") if self.is_sqlite else nullcontext()
        """Who changes something stands in a queue first, so that only one of them ever stands beside a webhook before
        the turn: a vendor that waits for its answer waits for one lane at most.
        """

    @contextmanager
    def lane(self, store_id: int) -> Iterator[Session]:
        """A write transaction in which this store's orders may change. Commits at the end, or rolls back and raises."""
        with self._queue, self.turn, Session(self._writing, clock=self.clock, store_id=store_id) as session:
            if not self.is_sqlite:
                # NO KEY UPDATE: excludes other lanes of this store, not the foreign-key checks of arriving webhooks.
                session.connection().execute(_LOCK_LANE, {"id": store_id})
            yield session
            session.commit()

    @contextmanager
    def read(self, store_id: int) -> Iterator[Session]:
        """A look at one store."""
        with Session(self.engine, clock=self.clock, store_id=store_id) as session:
            yield session

    @contextmanager
    def operator(self) -> Iterator[Session]:
        """A look at all stores: for sweeps, for routing a request to its store, for the admin CLI."""
        with Session(self.engine, clock=self.clock, operator=True) as session:
            yield session

    @contextmanager
    def operator_writing(self) -> Iterator[Session]:
        """A write transaction over all stores: install, key rotation, claiming chores."""
        with self._queue, self.turn, Session(self._writing, clock=self.clock, operator=True) as session:
            yield session
            session.commit()

    @contextmanager
    def receiving(self) -> Iterator[Connection]:
        """A bare connection in a write transaction, for storing webhooks only."""
        with self.turn, self._writing.begin() as connection:
            yield connection

    def checkpoint(self) -> None:
        """Fold SQLite's write-ahead log into the file without holding anyone up. Nothing to do on PostgreSQL."""
        if self.is_sqlite:
            with self.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        self.engine.dispose()


_LOCK_LANE = text("SELECT id FROM stores WHERE id = :id FOR NO KEY UPDATE")


# -- engines -------------------------------------------------------------------------------------------------------


def _postgres(url: URL, pool_size: int) -> Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": 5, "options": "-c timezone=utc"},
    )

    @event.listens_for(engine, "connect")
    def _connect(raw: Any, _record: Any) -> None:
        raw.adapters.register_dumper(str, _WithoutNul)

    return engine


class _WithoutNul(StrDumperUnknown):
    """Texts of strangers may hold a NUL, which PostgreSQL refuses in any text: it is left out, or one such letter in a
    name would cost the order.
    """

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", "") if "\0" in obj else obj)


def _sqlite(path: str, pool_size: int) -> Engine:
    """SQLite in WAL mode with synchronous=FULL: what was acknowledged survives a power cut."""
    if path in ("", ":memory:"):
        raise ValueError("an in-memory database cannot be shared by processes; give a file")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        f"sqlite:///{path}",
        pool_size=pool_size,
        max_overflow=pool_size,
        hide_parameters=True,
        connect_args={"timeout": 30, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _connect(raw: Any, _record: Any) -> None:
        raw.isolation_level = None  # we say BEGIN ourselves, below
        for pragma in (
            "page_size=8192",
            "journal_mode=WAL",
            "synchronous=FULL",
            "busy_timeout=30000",
            "foreign_keys=ON",
            "cache_size=-65536",
            "temp_store=MEMORY",
            "secure_delete=FAST",
        ):
            raw.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get("dastak_writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


class _Turn:
    """One writer at a time over all threads and processes that share a SQLite file.

    SQLite's own waiting for the write lock polls and is unfair (seconds at worst with four writers); a file lock
    around each write transaction brings the worst wait down by more than an order of magnitude.
    """

    def __init__(self, path: str) -> None:
        self._threads = threading.Lock()
        self._path = path
        self._pid = 0
        self._descriptor = -1

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            if self._pid != os.getpid():  # a fork must not share its parent's lock
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
                self._pid = os.getpid()
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except BaseException:  # a job's time was up while it waited
            self._threads.release()
            raise

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._threads.release()
