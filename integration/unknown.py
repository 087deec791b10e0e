"""Words of vendors that no table of ours knows: kept, counted, shown. Nothing acts on them.

A gateway that a shop made up, a courier code that came with last night's release: the fact carries `UNKNOWN` and the
raw text, and this is where somebody sees that a table wants a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import String, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column

from .db import Base, Id, Instant, Session, Tenant
from .events import UNKNOWN, Fact, OrderChanged, PaymentChanged, ShipmentScanned


class UnknownWord(Tenant, Base):
    """One word of one vendor, as one store met it."""

    __tablename__ = "unknown_words"
    __table_args__ = (UniqueConstraint("store_id", "adapter", "kind", "word", name="one_row_per_word"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    adapter: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(16))
    """payment, fulfilment, parcel or scan."""
    word: Mapped[str] = mapped_column(String(120))
    count: Mapped[int] = mapped_column(default=0)
    first_at: Mapped[datetime] = mapped_column(Instant)
    last_at: Mapped[datetime] = mapped_column(Instant)


def count_unknown(session: Session, adapter: str, fact: Fact) -> None:
    """Take down the words of a fact that its adapter did not know."""
    for kind, word in words_of(fact):
        key = (UnknownWord.adapter == adapter, UnknownWord.kind == kind, UnknownWord.word == word[:120])
        row = session.scalar(select(UnknownWord).where(*key))
        if row is None:
            row = UnknownWord(
                store_id=session.store_id,
                adapter=adapter,
                kind=kind,
                word=word[:120],
                count=0,
                first_at=session.now(),
                last_at=session.now(),
            )
            session.add(row)
        row.count, row.last_at = row.count + 1, session.now()
        session.flush()


def words_of(fact: Fact) -> Iterator[tuple[str, str]]:
    """(kind, raw word) of everything in a fact that is unknown."""
    if isinstance(fact, OrderChanged):
        if fact.payment == UNKNOWN:
            yield "payment", fact.raw_payment
        if fact.fulfilment == UNKNOWN:
            yield "fulfilment", fact.raw_fulfilment
        for parcel in fact.parcels:
            if parcel.status == UNKNOWN:
                yield "parcel", parcel.raw_status
    elif isinstance(fact, PaymentChanged) and fact.status == UNKNOWN:
        yield "payment", fact.raw_status
    elif isinstance(fact, ShipmentScanned) and fact.status == UNKNOWN:
        yield "scan", fact.raw_code or fact.raw_text
