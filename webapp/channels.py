"""/app/<channel>: connect the sending number, send yourself a test, see what the channel approved."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, redirect, request
from sqlalchemy import select
from werkzeug.wrappers import Response as AnyResponse

from integration.access import live_connection
from integration.catalogue import TEMPLATES, Template
from integration.customers import GRANTED, UTILITY, contact_for_phone, new_contact, record_consent, standing
from integration.errors import ConfigurationError, PermanentError, TransientError
from integration.journeys import send_now
from integration.outbox import Desk, Touchpoint
from integration.ports import Account, SignsUpByCode
from integration.rendering import preview
from integration.stores import Store, connect, hurry
from integration.values import LANGUAGES, RIGHT_TO_LEFT, phone

from .auth import channel_name, house, link, merchant, page, signed_in

pages = Blueprint("channels", __name__, url_prefix="/app")

LANGUAGE_NAMES = {
    "en": "English", "ur-Latn": "Roman Urdu", "ur": "اردو", "hi": "हिन्दी", "es": "Español", "pt": "Português",
}  # fmt: skip


def _adapter(name: str) -> Any:
    adapter = house().registry.find("channels", name)
    if adapter is None:
        abort(404, "There is no channel of that name.")
    return adapter


@pages.get("/<name>")
@signed_in
def show(name: str) -> Any:
    _adapter(name)
    return _show()


@pages.post("/<name>/connect")
@signed_in
def connect_number(name: str) -> Any:
    """By pasted credentials, or by the code of the channel's own signup window."""
    adapter = _adapter(name)
    given = {field.name: request.form.get(field.name, "").strip()[:1000] for field in adapter.credentials}
    try:
        if request.form.get("code") and isinstance(adapter, SignsUpByCode):
            given |= adapter.exchange_code(request.form["code"][:1000], given)
        missing = [field.label for field in adapter.credentials if not given.get(field.name) and not field.optional]
        if missing:
            raise ConfigurationError(f"Please fill in: {', '.join(missing)}.")
        _connect(name, adapter, given)
    except (ConfigurationError, PermanentError, TransientError) as fault:
        return _show(422, fault=str(fault), given=_public(adapter, given))
    return redirect(link("channels.show", name=name, done="connected"), 303)


def _public(adapter: Any, given: dict[str, str]) -> dict[str, str]:
    """What may be shown again in the form: nothing secret."""
    return {field.name: given.get(field.name, "") for field in adapter.credentials if not field.secret}


def _connect(name: str, adapter: Any, credentials: dict[str, str]) -> None:
    """Prove the credentials by using them, have events sent to us, then remember the number."""
    here = house()
    number, alias = adapter.account_of(credentials)
    account = Account(number, credentials)
    seen = adapter.profile(account)
    adapter.subscribe(account)
    with here.db.operator_writing() as session:
        connection = connect(
            session,
            store_id=merchant().store_id,
            room="channels",
            adapter=name,
            account=account.name,
            alias=alias,
            credentials=credentials,
            vault=here.vault,
            state={"number": seen.number, "name": seen.name, "rate": seen.rate, "quality": seen.quality, **seen.facts},
        )
        if not seen.healthy:
            connection.broke(seen.sentence)
    here.ring("chores", merchant().store_id)


@pages.post("/<name>/disconnect")
@signed_in
def disconnect(name: str) -> AnyResponse:
    with house().db.lane(merchant().store_id) as session:
        connection = live_connection(session, "channels")
        if connection is not None:
            connection.removed_at, connection.sealed = session.now(), None
    return redirect(link("channels.show", name=name, done="disconnected"), 303)


@pages.post("/<name>/test")
@signed_in
def test_message(name: str) -> Any:
    """A message to the merchant's own phone, through the same guards and the same door as every other."""
    with house().db.lane(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        number = phone(request.form.get("phone"), store.country)
        if number is None:
            fault = "That is no phone number we could reach. Write it with its country code, such as +92 300 1234567."
            return _show(422, fault=fault, at="test")
        contact = contact_for_phone(session, number) or new_contact(
            session, phone=number, name="", country=store.country
        )
        if standing(contact.consents).opted_out_at is not None:
            return _show(422, fault="This person wrote STOP; only their START lifts it.", at="test")
        session.flush()
        record_consent(
            session,
            contact,
            UTILITY,
            GRANTED,
            source="merchant",
            evidence="test message asked for in the app",
            at=session.now(),
        )
        stamp = f"{session.now().timestamp():.3f}"
        touch = Touchpoint(
            store_id=store.id,
            key=f"test/{stamp}",
            journey="test",
            step="connection test",
            template="connection_test",
            message_class=UTILITY,
            critical=False,
            prompt=True,
            because="you asked for a test message",
            due_at=session.now(),
            made_at=session.now(),
        )
        touch.contact = contact
        session.add(touch)
        send_now(session, Desk(session, store, house().registry), touch)
        session.flush()
        test_id = touch.id
    house().ring("deliver", merchant().store_id)
    return redirect(link("channels.show", name=name, test=test_id) + "#test", 303)


@pages.post("/<name>/refresh")
@signed_in
def refresh(name: str) -> AnyResponse:
    with house().db.lane(merchant().store_id) as session:
        connection = live_connection(session, "channels")
        if connection is not None:
            hurry(session, connection.id, "templates")
            hurry(session, connection.id, "profile")
    house().ring("chores", merchant().store_id)
    return redirect(link("channels.show", name=name, done="refreshing") + "#templates", 303)


def _show(status: int = 200, **values: Any) -> Any:
    name = channel_name()
    adapter = _adapter(name)
    with house().db.read(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        connection = live_connection(session, "channels")
        held = (
            session.scalars(select(Template).where(Template.connection_id == connection.id)).all() if connection else []
        )
        test, wanted = None, request.args.get("test", "")
        if wanted.isdecimal() and len(wanted) < 19:
            test = session.get(Touchpoint, int(wanted))
        table = [
            (
                key,
                preview(key, "en", store)[0],
                [
                    (language, next((t for t in held if t.key == key and t.language == language), None))
                    for language in LANGUAGES
                ],
            )
            for key in TEMPLATES
        ]
        signup = adapter.signup_window() if isinstance(adapter, SignsUpByCode) else {}
        return page(
            "channel.html",
            status,
            name=name,
            label=adapter.label,
            fields=adapter.credentials,
            connection=connection,
            store=store,
            table=table,
            languages=LANGUAGE_NAMES,
            rtl=RIGHT_TO_LEFT,
            test=test,
            signup=signup,
            done=request.args.get("done", ""),
            **{"fault": "", "given": {}, "at": "", **values},
        )
