"""/app/payments: what customers say they have paid, decided by hand or by a statement; orders that wait for their
money; and, on a page of its own, the gateways and accounts that it comes to.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from flask import Blueprint, Response, abort, redirect, request
from sqlalchemy import func, select
from sqlalchemy.orm import selectinload, undefer
from werkzeug.wrappers import Response as AnyResponse

from integration import statements
from integration.claims import (
    Claim,
    Picture,
    StatementLine,
    Undecidable,
    ask_for_id,
    claim_of,
    open_claims,
    reject,
    seen_before,
    take_in,
    verify,
)
from integration.collecting import address_of_webhook
from integration.db import Session
from integration.ingest import not_understood
from integration.intents import CHECKOUT, TRANSFER, Means, TransferAccount, accounts_of, current, open_intent, payable
from integration.journeys import Settled, ask_again
from integration.money import AWAITED
from integration.orders import Order, Payment, whole
from integration.outbox import Desk, Touchpoint
from integration.payments import misfits
from integration.ports import Account
from integration.stores import Policy, Store
from integration.story import STATUS_WORDS, said_of_money
from integration.transactions import bare, wallets
from integration.values import Money, clean, masked

from .auth import house, link, merchant, page, signed_in
from .connecting import connect_account, disconnect_account, last_heard, living

pages = Blueprint("payments", __name__, url_prefix="/app/payments")

_CARDS = 20
_LISTED = 50
MOST_UPLOAD = 8 * 1024 * 1024
"""Bytes of a request that brings a statement: the largest that is read, packed into a form."""
_KINDS_KEPT = 40
"""Kinds of statements whose columns are remembered."""

FINDINGS = {
    "exact": ("good", "The statement has it"),
    "likely": ("wait", "Likely"),
    "short": ("bad", "Less than what was asked"),
    "over": ("bad", "More than what was asked"),
    "older": ("bad", "Older than the order"),
    "used": ("bad", "Given before"),
    "none": ("", "Not seen yet"),
}
"""What was found of a claim: (tone, as people read it)."""

DECISIONS = {
    "verified": ("good", "The money is there"),
    "rejected": ("bad", "Not found"),
    "asked": ("wait", "Asked for the id"),
}

COLUMN_WORDS = {
    "transaction": "Transaction id", "at": "Date", "amount": "Amount", "credit": "Money in", "debit": "Money out",
    "kind": "In or out", "status": "Status", "time": "Time of day", "sender": "Sender’s number",
    "name": "Sender’s name", "note": "Description",
}  # fmt: skip
"""The columns of a statement as people call them; the first five are asked for first."""


@dataclass(slots=True)
class Card:
    """One claim with all that is known for and against it."""

    claim: Claim
    means: str
    reference: str
    """The transaction id to begin with: as it was claimed, or as the statement has it."""
    amount: str
    tone: str
    finding: str
    why: str
    line: StatementLine | None = None
    uses: list[Claim] = field(default_factory=list)
    """The other claims of this transaction."""
    pictures: list[tuple[Picture, list[str]]] = field(default_factory=list)
    """What was sent, each with the other orders it was sent for."""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """A statement on its way in. `packed` brings its content back when its columns are to be said."""

    wallet: str
    packed: str
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    columns: Mapping[str, int] = field(default_factory=dict)
    read: statements.Lines | None = None
    """Its lines, once it was taken in."""
    new: int = 0
    proven: int = 0


@pages.url_value_preprocessor
def _allow_statements(endpoint: str | None, _values: Any) -> None:
    """A statement is larger than what pages usually take. This runs before anything reads the body."""
    if endpoint == "payments.statement":
        request.max_content_length = request.max_form_memory_size = MOST_UPLOAD


@pages.get("/")
@signed_in
def show() -> Any:
    return _show()


# -- deciding ------------------------------------------------------------------------------------------------------


@pages.post("/claims/<int:claim_id>/verify")
@signed_in
def verify_claim(claim_id: int) -> Any:
    """The merchant sees the money in their account."""
    typed = {name: clean(request.form.get(name), 80) for name in ("reference", "amount")}
    reference = bare(typed["reference"])
    try:
        if not reference:
            raise ValueError("Give the transaction id as your own statement shows it.")
        amount = positive(typed["amount"])
    except ValueError as fault:
        return _show(422, at=claim_id, fault=str(fault), typed=typed)

    def seen(session: Session, desk: Desk, settled: Settled, claim: Claim) -> None:
        verify(session, desk, settled, claim, amount, by=merchant().account, reference=reference)

    return _decide(claim_id, seen, typed)


@pages.post("/claims/<int:claim_id>/reject")
@signed_in
def reject_claim(claim_id: int) -> Any:
    """The money is not there."""
    note = clean(request.form.get("note"), 300)

    def refused(session: Session, desk: Desk, settled: Settled, claim: Claim) -> None:
        reject(session, desk, settled, claim, by=merchant().account, note=note)

    return _decide(claim_id, refused)


@pages.post("/claims/<int:claim_id>/ask")
@signed_in
def ask_for_claims_id(claim_id: int) -> Any:
    """The customer is to write the id once more."""

    def asked(session: Session, desk: Desk, settled: Settled, claim: Claim) -> None:
        ask_for_id(session, desk, settled, claim, by=merchant().account)

    return _decide(claim_id, asked)


def _decide(
    claim_id: int, decision: Callable[[Session, Desk, Settled, Claim], None], typed: Mapping[str, str] | None = None
) -> Any:
    here, store_id = house(), merchant().store_id
    try:
        with here.db.lane(store_id) as session:
            claim = claim_of(session, claim_id)
            if claim is None:
                abort(404, "There is no such claim in this store.")
            store = session.get_one(Store, store_id)
            decision(session, Desk(session, store, here.registry), Settled(session, store), claim)
            bells = set(session.bells)
    except Undecidable as fault:
        return _show(422, at=claim_id, fault=str(fault), typed=typed)
    here.ring_all(bells, store_id)
    return redirect(link("payments.show", done=claim_id), 303)


def label_of(name: str) -> str:
    adapter = house().registry.find("payments", name)
    return str(adapter.label) if adapter is not None else name


def positive(typed: str) -> Decimal:
    """An amount of money as a merchant writes it. Raises ValueError with a sentence."""
    try:
        amount = statements.amount(typed)
    except ValueError:
        raise ValueError("Give the amount in figures, like 2500 or 2,500.50.") from None
    if not 0 < amount < 10**12:
        raise ValueError("Give an amount of more than nothing.")
    return amount


# -- statements ----------------------------------------------------------------------------------------------------


@pages.post("/statement")
@signed_in
def statement() -> Any:
    """Take a statement in. Where its columns are not clear, or are said to be wrong, they are asked for first."""
    form, uploaded = request.form, request.files.get("file")
    wallet, step = form.get("wallet", ""), form.get("step", "")
    try:
        if wallet not in wallets():
            raise ValueError("Choose the account that the statement is of.")
        if uploaded is None and not form.get("content"):
            raise ValueError("Choose a file.")
        content = uploaded.read(statements.LARGEST + 1) if uploaded is not None else _unpacked(form["content"])
        table = statements.read(content)
    except ValueError as fault:
        return _show(422, at="statement", fault=str(fault))
    kind = statements.fingerprint(table.header)
    with house().db.read(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        known, zone = store.policy.statement_columns.get(kind), store.zone
    columns = known or statements.guess(table.header, table.rows)
    if step == "said":
        columns = _columns_said(len(table.header))
    reading = Reading(wallet, _packed(content), table.header, table.rows[:5], columns)
    named = statements.guess(table.header, ())  # by their names alone: what is only guessed must prove no payment
    if step == "ask" or not (step == "said" or known or _is_clear(named)):
        return _show(reading=reading)
    try:
        if not {"transaction", "note"} & columns.keys():
            raise ValueError("Say which column holds the transaction ids. They may also stand in a description.")
        lines = statements.lines(table, columns, zone)
    except ValueError as fault:
        return _show(422, at="statement", fault=str(fault), reading=reading)
    with house().db.lane(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        if step == "said":
            others = {name: said for name, said in store.policy.statement_columns.items() if name != kind}
            kept = dict(list(others.items())[1 - _KINDS_KEPT :]) | {kind: dict(columns)}
            store.decide(replace(store.policy, statement_columns=kept))
        desk = Desk(session, store, house().registry)
        new, proven = take_in(session, desk, Settled(session, store), wallet, lines.lines)
        bells = set(session.bells)
    house().ring_all(bells, merchant().store_id)
    return _show(reading=replace(reading, read=lines, new=new, proven=proven))


def _is_clear(columns: Mapping[str, int]) -> bool:
    """Are these columns enough to take a statement in without asking?"""
    return bool({"amount", "credit"} & columns.keys()) and {"transaction", "at"} <= columns.keys()


def _columns_said(width: int) -> dict[str, int]:
    said = {name: request.form.get(f"column-{name}", "") for name in statements.COLUMNS}
    return {name: int(raw) for name, raw in said.items() if re.fullmatch("[0-9]{1,4}", raw) and int(raw) < width}


def _packed(content: bytes) -> str:
    """A file as a form carries it: statements are repetitive, so it is a tenth of its size."""
    return base64.urlsafe_b64encode(zlib.compress(content)).decode()


def _unpacked(packed: str) -> bytes:
    """Never more than the largest file and a byte. Raises ValueError with a sentence."""
    try:
        unpacking = zlib.decompressobj()
        content = unpacking.decompress(base64.urlsafe_b64decode(packed), statements.LARGEST + 1)
    except (ValueError, zlib.error):
        raise ValueError("The file was lost on the way. Choose it again.") from None
    if not unpacking.eof:
        raise ValueError("The file was lost on the way, or is larger than 5 MB. Choose it again.")
    return content


# -- orders that wait for their money ------------------------------------------------------------------------------


@pages.post("/orders/<int:order_id>/again")
@signed_in
def instruct_again(order_id: int) -> Any:
    """Tell the customer once more how to pay."""
    here, store_id = house(), merchant().store_id
    with here.db.lane(store_id) as session:
        order = session.get(Order, order_id, options=whole()) if order_id < 2**62 else None
        if order is None:
            abort(404, "There is no such order in this store.")
        fault = ask_to_pay(session, session.get_one(Store, store_id), order)
        bells = set(session.bells)
    here.ring_all(bells, store_id)
    if fault:
        return _show(422, at=f"order-{order_id}", fault=fault)
    return redirect(link("payments.show", told=order_id) + "#waiting", 303)


def ask_to_pay(
    session: Session, store: Store, order: Order, amount: Decimal | None = None, means: Means | None = None
) -> str:
    """Ask an order's customer for what is due, or for a part of it, by the means there are. A part is asked for anew;
    what was asked for and still stands is said again. Says in a sentence why nothing was sent.
    """
    desk, before = Desk(session, store, house().registry), current(order)
    if order.gone or order.removed_at is not None:
        return "The order is cancelled."
    if order.dispatched:
        return "The order was sent already."
    if order.payment not in AWAITED | {"cod_due"}:
        return f"The order is {STATUS_WORDS.get(order.payment, order.payment)}: nothing can be asked for it."
    if amount is not None and amount > order.due.amount:
        return f"Only {order.due.shown('en')} of it is due."
    stands = before is not None and payable(before) and desk.means(order, before.name) is not None
    if before is not None and before.kind == TRANSFER and not before.waits(session.now()):
        stands = False  # what is over can be paid at no account any more
    if amount is not None or not stands:
        means = means or desk.means(order)
        if means is None:
            return "No account or gateway is known for how this order is to be paid. Add one in the set-up."
        open_intent(session, order, means, amount or order.due.amount)
    ask_again(session, desk, order, "you asked for it")
    session.flush()
    told = _told(session, order.id)
    return told.sentence if told is not None and told.state == "skipped" else ""


def _told(session: Session, order_id: int) -> Touchpoint | None:
    """The newest message by which the customer was told again how to pay."""
    again = (Touchpoint.journey == "payment_request", Touchpoint.step == "again")
    newest = select(Touchpoint).where(Touchpoint.order_id == order_id, *again).order_by(Touchpoint.id.desc())
    return session.scalars(newest.limit(1)).first()


# -- pictures ------------------------------------------------------------------------------------------------------


@pages.get("/pictures/<int:picture_id>")
@signed_in
def picture(picture_id: int) -> Response:
    """What a customer sent as proof, of the type its bytes were found to be and of no other."""
    with house().db.read(merchant().store_id) as session:
        kept = _picture(session, picture_id)
    answer = Response(kept.content, content_type=kept.kind)
    answer.headers["Cache-Control"] = "private, max-age=86400"
    answer.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return answer


@pages.get("/pictures/<int:picture_id>/large")
@signed_in
def large(picture_id: int) -> Any:
    with house().db.read(merchant().store_id) as session:
        kept = _picture(session, picture_id)
        claim = claim_of(session, kept.claim_id or 0)
        if claim is None:
            abort(404, "There is no such picture in this store.")
        store = session.get_one(Store, merchant().store_id)
        return page("picture.html", store=store, picture=kept, claim=claim, elsewhere=seen_before(session, kept))


def _picture(session: Session, picture_id: int) -> Picture:
    kept = session.get(Picture, picture_id, options=[undefer(Picture.content)]) if picture_id < 2**62 else None
    if kept is None or not kept.content or not kept.kind:
        abort(404, "There is no such picture in this store.")
    return kept


# -- the page ------------------------------------------------------------------------------------------------------


def _show(
    status: int = 200,
    *,
    at: int | str = "",
    fault: str = "",
    typed: Mapping[str, str] | None = None,
    reading: Reading | None = None,
) -> Any:
    """`at`: the claim, the order or the part of the page where something is wrong."""
    with house().db.read(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        cards = _cards(session)
        for card in cards:
            if card.claim.id == at:
                card.fault, given = fault, typed or {}
                card.reference = given.get("reference", card.reference)
                card.amount = given.get("amount", card.amount)
        waiting = _waiting(session)
        told_id = request.args.get("told", "")
        told = _told(session, int(told_id)) if re.fullmatch("[0-9]{1,18}", told_id) else None
        accounts = accounts_of(store.policy)
        places = {"statement", *(card.claim.id for card in cards), *(f"order-{order.id}" for order, _ in waiting)}
        return page(
            "payments.html",
            status,
            store=store,
            cards=cards,
            more=(session.scalar(select(func.count()).where(Claim.state == "open")) or 0) - len(cards),
            decided=_decided(session),
            done=request.args.get("done", ""),
            waiting=waiting,
            payable=payable,
            current=current,
            told=told,
            misfits=misfits(session, _LISTED),
            strange=[(label_of(row.adapter), row) for row in not_understood(session, "payments", _CARDS)],
            said=said_of_money,
            accounts=[(account, wallets()[account.wallet]) for account in accounts if account.wallet in wallets()],
            connected=bool(accounts or living(session, "payments")),
            reading=reading,
            columns=COLUMN_WORDS,
            at=at,
            fault=fault,
            elsewhere=bool(fault) and at not in places,
            decisions=DECISIONS,
            words=STATUS_WORDS,
            masked=masked,
            money=Money,
        )


def _cards(session: Session) -> list[Card]:
    claims = open_claims(session, _CARDS)
    references = {claim.reference for claim in claims} - {""}
    same = select(Claim).where(Claim.reference.in_(references)).order_by(Claim.id).options(selectinload(Claim.order))
    uses: dict[tuple[str, str], list[Claim]] = {}
    for one in session.scalars(same):
        uses.setdefault((one.wallet, one.reference), []).append(one)
    of = {claim.line_id for claim in claims} - {None}
    lines = {line.id: line for line in session.scalars(select(StatementLine).where(StatementLine.id.in_(of)))}
    read = set(session.scalars(select(StatementLine.wallet).distinct()))
    cards = []
    for claim in claims:
        tone, finding = FINDINGS[claim.finding]
        line = lines.get(claim.line_id or 0)
        why = claim.why
        if claim.finding == "none" and claim.wallet not in read:
            why = "No statement of this account was read yet. Look for the payment there, or choose a statement below."
        cards.append(
            Card(
                claim=claim,
                means=_called(claim),
                reference=claim.reference or (line.reference if line is not None else ""),
                amount=f"{(line.amount if line is not None else claim.amount).normalize():f}",
                tone=tone,
                finding=finding,
                why=why[:1].upper() + why[1:],
                line=line,
                uses=[one for one in uses.get((claim.wallet, claim.reference), ()) if one.id != claim.id],
                pictures=[(sent, seen_before(session, sent)) for sent in claim.pictures],
            )
        )
    return cards


def _called(claim: Claim) -> str:
    """How people call the wallet of a claim."""
    if claim.intent is not None and claim.intent.label:
        return claim.intent.label
    return wallets()[claim.wallet].label if claim.wallet in wallets() else claim.wallet


def _decided(session: Session) -> list[tuple[Claim, str, Money | None]]:
    """The newest decisions: (claim, by which means, what was seen of it)."""
    newest = select(Claim).where(Claim.decided_at.is_not(None)).order_by(Claim.decided_at.desc(), Claim.id.desc())
    claims = session.scalars(newest.limit(_LISTED).options(selectinload(Claim.order), selectinload(Claim.intent))).all()
    orders = {claim.order_id for claim in claims}
    by_hand = (Payment.order_id.in_(orders), Payment.source.in_(("merchant", "statement")), Payment.status == "paid")
    seen = {said.reference: said for said in session.scalars(select(Payment).where(*by_hand))}
    told = []
    for claim in claims:
        said = seen.get(f"{claim.wallet}:{claim.reference}") if claim.state == "verified" else None
        money = Money(said.amount, said.currency) if said is not None and said.amount is not None else None
        told.append((claim, _called(claim), money))
    return told


def _waiting(session: Session) -> list[tuple[Order, Payment | None]]:
    """Orders that wait for their money, the newest first, each with what was said last of it."""
    unpaid = (
        Order.payment.in_(AWAITED),
        Order.confirmation.not_in(("declined", "cancelled")),
        Order.removed_at.is_(None),
    )
    newest = select(Order).where(*unpaid).order_by(Order.placed_at.desc(), Order.id.desc()).limit(_LISTED)
    orders = session.scalars(newest.options(selectinload(Order.intents), selectinload(Order.payments)))
    return [(order, order.payments[-1] if order.payments else None) for order in orders]


# -- setting up ----------------------------------------------------------------------------------------------------


@pages.get("/setup")
@signed_in
def setup() -> Any:
    return _show_setup()


@pages.post("/<name>/connect")
@signed_in
def connect_gateway(name: str) -> Any:
    """Prove the credentials by using them, then offer this gateway to customers."""
    adapter = _adapter(name)

    def prove(account: Account) -> None:
        adapter.inquire(account, "check-1", "")

    if fault := connect_account("payments", adapter, prove, addressed=True):
        return _show_setup(422, at=name, fault=fault)
    return redirect(link("payments.setup", done=name) + f"#{name}", 303)


@pages.post("/<name>/disconnect")
@signed_in
def disconnect(name: str) -> AnyResponse:
    with house().db.lane(merchant().store_id) as session:
        disconnect_account(session, "payments", name)
        _offer_no_more(session, session.get_one(Store, merchant().store_id))
    return redirect(link("payments.setup"), 303)


@pages.post("/setup/accounts")
@signed_in
def add_account() -> Any:
    """One more account that customers send money to by hand."""
    form = request.form
    with house().db.lane(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        try:
            account = _account(form, store.policy)
        except ValueError as fault:
            session.rollback()
            return _show_setup(422, at="accounts", fault=str(fault))
        store.decide(replace(store.policy, transfers=(*store.policy.transfers, account.stored())))
    return redirect(link("payments.setup", done="accounts") + "#accounts", 303)


@pages.post("/setup/accounts/<wallet>/remove")
@signed_in
def remove_account(wallet: str) -> AnyResponse:
    with house().db.lane(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        kept = tuple(stored for stored in store.policy.transfers if stored.get("wallet") != wallet)
        store.decide(replace(store.policy, transfers=kept))
        _offer_no_more(session, store)
    return redirect(link("payments.setup") + "#accounts", 303)


@pages.post("/setup/terms")
@signed_in
def decide_terms() -> Any:
    """How long orders wait for their money, and by what cash orders may be paid in advance."""
    hours, prepaid = request.form.get("payment_hours", "").strip(), request.form.get("prepaid_with", "")
    with house().db.lane(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        fault = ""
        if not re.fullmatch("[0-9]{1,3}", hours) or not 1 <= int(hours) <= 168:
            fault = "The hours until an order is held: give a whole number from 1 to 168."
        elif prepaid and prepaid not in {means.name for means in ways(session, store)}:
            fault = "Choose one of your gateways or accounts, or nothing."
        if fault:
            session.rollback()
            return _show_setup(422, at="terms", fault=fault)
        store.decide(replace(store.policy, payment_hours=int(hours), prepaid_with=prepaid))
    return redirect(link("payments.setup", done="terms") + "#terms", 303)


def ways(session: Session, store: Store, currency: str = "") -> list[Means]:
    """Every means by which customers can pay in a currency, the store's own unless told which; gateways first."""
    found: dict[str, Means] = {}
    for connection in living(session, "payments"):
        adapter = house().registry.find("payments", connection.adapter)
        if adapter is not None and _takes(adapter, currency or store.currency):
            found[adapter.name] = Means(CHECKOUT, adapter.name, adapter.label, connection.id)
    for account in accounts_of(store.policy):
        if account.wallet in wallets() and account.wallet not in found:
            found[account.wallet] = Means(TRANSFER, account.wallet, wallets()[account.wallet].label)
    return list(found.values())


def _takes(adapter: Any, currency: str) -> bool:
    return not adapter.currencies or currency in adapter.currencies


def _offer_no_more(session: Session, store: Store) -> None:
    """Cash orders are not offered to be paid by a means that is gone."""
    session.flush()
    if store.policy.prepaid_with not in {means.name for means in ways(session, store)}:
        store.decide(replace(store.policy, prepaid_with=""))


def _adapter(name: str) -> Any:
    adapter = house().registry.room("payments").get(name)
    if adapter is None:
        abort(404, "There is no payment gateway of that name.")
    return adapter


_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{10,30}")
_NUMBER = re.compile(r"(?=.*[0-9@])[A-Za-z0-9@._+ -]{4,64}")
"""What people send money to: phones, account numbers, UPI and Pix addresses."""


def _account(form: Mapping[str, str], policy: Policy) -> TransferAccount:
    """The form as an account. Raises ValueError with a sentence."""
    wallet, title, number = form.get("wallet", ""), clean(form.get("title"), 80), clean(form.get("number"), 64)
    if wallet not in wallets():
        raise ValueError("Choose what kind of account it is.")
    if any(account.wallet == wallet for account in accounts_of(policy)):
        raise ValueError(f"There is an account for {wallets()[wallet].label} already. Remove it first.")
    if not any(letter.isalnum() for letter in title):
        raise ValueError("Give the name on the account: customers see it before they send.")
    if not _NUMBER.fullmatch(number):
        raise ValueError("Give the number or IBAN that customers send to.")
    plain = number.replace(" ", "").upper()
    if _IBAN.fullmatch(plain):
        if not _adds_up(plain):
            raise ValueError("This IBAN does not add up. Check it, letter by letter.")
        number = plain
    names = tuple(filter(None, (clean(name, 80) for name in form.get("names", "")[:1000].split(","))))
    return TransferAccount(wallet, title, number, clean(form.get("bank"), 60), names[:12])


def _adds_up(iban: str) -> bool:
    """The checksum of ISO 13616, and the length where Pakistan's is known: 24."""
    turned = iban[4:] + iban[:4]
    fits = len(iban) == 24 if iban.startswith("PK") else True
    return fits and int("".join(str(int(letter, 36)) for letter in turned)) % 97 == 1


def _show_setup(status: int = 200, *, at: str = "", fault: str = "") -> Any:
    here = house()
    with here.db.read(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        connections = {connection.adapter: connection for connection in living(session, "payments")}
        gateways = []
        for name, adapter in here.registry.room("payments").items():
            connection = connections.get(name)
            opened = connection.opened(here.vault) if connection is not None else None
            address = address_of_webhook(here, name, opened) if opened is not None and adapter.webhook_help else ""
            gateways.append((adapter, connection, address))
        gateways.sort(
            key=lambda one: (
                one[1] is None,
                not _takes(one[0], store.currency),
                store.country not in one[0].regions,
                one[0].label.casefold(),
            )
        )
        return page(
            "payments_setup.html",
            status,
            store=store,
            policy=store.policy,
            gateways=gateways,
            takes=_takes,
            heard=last_heard(session, list(connections.values())),
            accounts=[
                (account, wallets()[account.wallet])
                for account in accounts_of(store.policy)
                if account.wallet in wallets()
            ],
            wallets=_nearby(store.country),
            ways=ways(session, store),
            typed=request.form,
            at=at,
            fault=fault,
            done=request.args.get("done", ""),
        )


def _nearby(country: str) -> list[tuple[str, str]]:
    """Every wallet, (name, label), those of the store's country first."""
    found = sorted(wallets().values(), key=lambda wallet: wallet.country != country)
    return [(wallet.channel, wallet.label) for wallet in found]
