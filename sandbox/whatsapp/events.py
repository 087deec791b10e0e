"""Things that happen on WhatsApp when somebody asks for them: rare messages, account news, ordered failures.

A table of events for the control API. Each takes what was stated and returns what it did.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.errors import Refusal
from sandbox.phones import normalised
from sandbox.whatsapp import RANK, WhatsApp, digits_of, metadata, new_wamid
from sandbox.whatsapp.graph_errors import ERRORS
from sandbox.world import Record

MEDIA_TYPES = {
    "image": "image/jpeg",
    "video": "video/mp4",
    "audio": "audio/ogg; codecs=opus",
    "document": "application/pdf",
    "sticker": "image/webp",
}


def happen(whatsapp: WhatsApp, stated: dict[str, Any]) -> Record:
    event = stated.get("event")
    act = EVENTS.get(event) if isinstance(event, str) else None
    if act is None:
        raise Refusal(f"There is no event {event!r}. Events: {', '.join(EVENTS)}.")
    return act(whatsapp, stated)


def _text(stated: dict[str, Any], name: str, usual: str) -> str:
    value = stated.get(name, usual)
    if not isinstance(value, str) or len(value) > 4096:
        raise Refusal(f"{name} is a text of at most 4096 characters.")
    return value


def _phone(whatsapp: WhatsApp, stated: dict[str, Any], name: str = "phone") -> Record:
    number = normalised(stated.get(name))
    if number is None:
        raise Refusal(f'{name} is a phone number like "+923001234567".')
    return whatsapp.phones.phone(number)


def _number(whatsapp: WhatsApp, stated: dict[str, Any], phone: Record) -> Record:
    to = stated.get("to")
    if to is not None:
        number = whatsapp.accounts.number_of(str(to))
        if number is None:
            raise Refusal(f"There is no business number {to!r}.", 404)
        return number
    chat = whatsapp.phones.chat(phone["phone"])
    if chat:
        return whatsapp.accounts.numbers[chat[-1]["number_id"]]
    return whatsapp.accounts.numbers.values()[0]


def _message(whatsapp: WhatsApp, stated: dict[str, Any]) -> Record:
    message = whatsapp.phones.message(str(stated.get("message_id")))
    if message is None or message["from"] != "business":
        raise Refusal(f"There is no message {stated.get('message_id')!r} from a business.", 404)
    return message


def _code(stated: dict[str, Any]) -> int:
    code = stated.get("code", 131000)
    if not isinstance(code, int) or code not in ERRORS:
        raise Refusal(f"There is no error code {code!r}. There are: {', '.join(map(str, ERRORS))}.")
    return code


def _unsupported(whatsapp: WhatsApp, stated: dict[str, Any]) -> Record:
    phone = _phone(whatsapp, stated)
    error = {
        "code": 131051,
        "title": "Message type unknown",
        "message": "Message type unknown",
        "error_data": {"details": "Message type is currently not supported."},
    }
    extra = {"errors": [error], "unsupported": {"type": _text(stated, "kind", "poll")}}
    number = _number(whatsapp, stated, phone)
    return whatsapp.customer_writes(number, phone, "unsupported", None, "(a poll)", extra=extra)


def _reaction(whatsapp: WhatsApp, stated: dict[str, Any]) -> Record:
    phone = _phone(whatsapp, stated)
    chat = [message for message in whatsapp.phones.chat(phone["phone"]) if message["from"] == "business"]
    target = next((message for message in chat if message["id"] == stated.get("message_id")), None)
    if target is None and not chat:
        raise Refusal("There is no business message on this phone to react to.", 409)
    target = target or chat[-1]
    emoji = _text(stated, "emoji", "\U0001f44d")
    content = {"message_id": target["id"]} | ({"emoji": emoji} if emoji else {})
    target["customer_reaction"] = emoji
    whatsapp.phones.changed(target)
    number = whatsapp.accounts.numbers[target["number_id"]]
    return whatsapp.customer_writes(number, phone, "reaction", content, emoji, shown=False)


def _media(whatsapp: WhatsApp, stated: dict[str, Any]) -> Record:
    phone, kind = _phone(whatsapp, stated), _text(stated, "kind", "image")
    if kind not in MEDIA_TYPES:
        raise Refusal(f"There is no media kind {kind!r}. There are: {', '.join(MEDIA_TYPES)}.")
    number = _number(whatsapp, stated, phone)
    caption = _text(stated, "caption", "")
    content = whatsapp.stored_media(number, MEDIA_TYPES[kind], None, caption if kind != "audio" else None)
    if kind == "document":
        content["filename"] = _text(stated, "filename", "receipt.pdf")
    if kind == "audio":
        content["voice"] = True
    return whatsapp.customer_writes(number, phone, kind, content, caption, media={"kind": kind})


def _location(whatsapp: WhatsApp, stated: dict[str, Any]) -> Record:
    phone = _phone(whatsapp, stated)
    place = {"latitude": 31.5204, "longitude": 74.3587, "name": "Home", "address": "12 Mall Road, Lahore"}
    number = _number(whatsapp, stated, phone)
    return whatsapp.customer_writes(number, phone, "location", place, "Home, 12 Mall Road, Lahore")


def _referral(whatsapp: WhatsApp, stated: dict[str, Any]) -> Record:
    """The customer comes by a click-to-WhatsApp ad: the first message carries the ad, 72 hours are free."""
    phone, text = _phone(whatsapp, stated), _text(stated, "text", "Is this available?")
    referral = {
        "source_url": "https://fb.me/sandbox-ad",
        "source_id": "120200000000000001",
        "source_type": "ad",
        "body": "Eid collection",
        "headline": "Chat with us",
        "media_type": "image",
        "image_url": "https://scontent.example.test/ad.jpg",
        "ctwa_clid": "ARAkLkA8rmlFeiCktEJQ-QTwRiyYHAFDLMNDBH0CD3qpjd0HR4irJ6LEkR7JwLF4XvnO2E4Nx0-eM-GABDLOPaOdRMv",
        "welcome_message": {"text": "Hi! How can we help?"},
    }
    number = _number(whatsapp, stated, phone)
    return whatsapp.customer_writes(number, phone, "text", {"body": text}, text, referral=referral)


def _system(whatsapp: WhatsApp, phone: Record, number: Record, system: Record) -> None:
    message: Record = {} if phone["hides_number"] else {"from": phone["phone"][1:]}
    message |= {
        "id": new_wamid(phone["phone"]),
        "timestamp": str(int(whatsapp.world.clock.time())),
        "type": "system",
        "system": system,
    }
    value = {"messaging_product": "whatsapp", "metadata": metadata(number), "messages": [message]}
    whatsapp.webhooks.put(number["waba"], "messages", value, f"{system['type']} {phone['phone']}")


def _number_changed(whatsapp: WhatsApp, stated: dict[str, Any]) -> Record:
    phone, new = _phone(whatsapp, stated), normalised(stated.get("new_phone"))
    if new is None:
        raise Refusal('new_phone is a phone number like "+923001234567".')
    number = _number(whatsapp, stated, phone)
    portfolio = whatsapp.accounts.portfolio(number)
    before = whatsapp.phones.scoped_id(phone, portfolio)
    old = dict(phone)
    moved = whatsapp.phones.moved(phone["phone"], new)
    system = {
        "body": f"{phone['name'] or 'User'} changed from {old['phone'][1:]} to {new[1:]}",
        "type": "user_changed_number",
        "wa_id": new[1:],
        "user_id": whatsapp.phones.scoped_id(moved, portfolio),
        "previous_user_id": before,
    }
    _system(whatsapp, old, number, system)
    return moved


def _id_changed(whatsapp: WhatsApp, stated: dict[str, Any]) -> Record:
    phone = _phone(whatsapp, stated)
    number = _number(whatsapp, stated, phone)
    portfolio = whatsapp.accounts.portfolio(number)
    before = whatsapp.phones.scoped_id(phone, portfolio)
    whatsapp.phones.set(phone["phone"], generation=phone["generation"] + 1)
    system = {
        "body": "The user's business-scoped id changed",
        "type": "user_changed_user_id",
        "user_id": whatsapp.phones.scoped_id(phone, portfolio),
        "previous_user_id": before,
    }
    _system(whatsapp, phone, number, system)
    return phone


def _preference(whatsapp: WhatsApp, stated: dict[str, Any]) -> Record:
    """The native stop (or resume) of marketing messages, chosen in the chat's own menu."""
    phone, choice = _phone(whatsapp, stated), _text(stated, "value", "stop")
    if choice not in ("stop", "resume"):
        raise Refusal("value is stop or resume.")
    whatsapp.phones.set(phone["phone"], stopped_marketing=choice == "stop")
    number = _number(whatsapp, stated, phone)
    line: Record = {} if phone["hides_number"] else {"wa_id": phone["phone"][1:]}
    line |= {
        "user_id": whatsapp.phones.scoped_id(phone, whatsapp.accounts.portfolio(number)),
        "detail": "User requested to stop marketing messages"
        if choice == "stop"
        else "User requested to resume marketing messages",
        "category": "marketing_messages",
        "value": choice,
        "timestamp": int(whatsapp.world.clock.time()),
    }
    contact: Record = {"profile": {"name": phone["name"] or phone["phone"]}}
    contact |= {key: line[key] for key in ("wa_id", "user_id") if key in line}
    value = {
        "messaging_product": "whatsapp",
        "metadata": metadata(number),
        "contacts": [contact],
        "user_preferences": [line],
    }
    whatsapp.webhooks.put(number["waba"], "user_preferences", value, f"{choice} from {phone['phone']}")
    return phone


def _echo(whatsapp: WhatsApp, stated: dict[str, Any]) -> Record:
    """The merchant answers from the WhatsApp Business app on their own phone (coexistence)."""
    phone, text = (
        _phone(whatsapp, stated),
        _text(stated, "text", "Assalam o alaikum, your parcel leaves today."),
    )
    number = _number(whatsapp, stated, phone)
    message: Record = {
        "id": new_wamid(phone["phone"]),
        "phone": phone["phone"],
        "from": "business",
        "business": number["verified_name"],
        "number": number["display_phone_number"],
        "number_id": number["id"],
        "type": "text",
        "text": text,
        "header": None,
        "footer": None,
        "buttons": [],
        "status": "delivered",
        "at": whatsapp.world.clock.now().isoformat(timespec="milliseconds"),
    }
    whatsapp.phones.show(message)
    told = {
        "from": digits_of(number["display_phone_number"]),
        "to": phone["phone"][1:],
        "to_user_id": whatsapp.phones.scoped_id(phone, whatsapp.accounts.portfolio(number)),
        "id": message["id"],
        "timestamp": str(int(whatsapp.world.clock.time())),
        "type": "text",
        "text": {"body": text},
    }
    value = {"messaging_product": "whatsapp", "metadata": metadata(number), "message_echoes": [told]}
    whatsapp.webhooks.put(number["waba"], "smb_message_echoes", value, f"echo to {phone['phone']}")
    return message


def _fail_next(whatsapp: WhatsApp, stated: dict[str, Any]) -> Record:
    phone, code = _phone(whatsapp, stated), _code(stated)
    when, count = stated.get("when", "status"), stated.get("count", 1)
    if when not in ("send", "status") or not isinstance(count, int) or not 1 <= count <= 100:
        raise Refusal('when is "send" (the call is refused) or "status" (it fails later); count is 1 to 100.')
    ordered = [*phone.get("failures", []), *({"code": code, "when": when} for _ in range(count))]
    return whatsapp.phones.set(phone["phone"], failures=ordered)


def _fail(whatsapp: WhatsApp, stated: dict[str, Any]) -> Record:
    message = _message(whatsapp, stated)
    whatsapp.becomes(message, "failed", code=_code(stated), details=_text(stated, "details", ""))
    return message


def _status(whatsapp: WhatsApp, stated: dict[str, Any]) -> Record:
    """Say a status again, or out of order: webhooks are at least once and unordered."""
    message, status = _message(whatsapp, stated), stated.get("status")
    if not isinstance(status, str) or status not in RANK or status in ("accepted", "held", "failed"):
        raise Refusal("status is sent, delivered, read or played.")
    whatsapp.becomes(message, status)
    return message


def _account(whatsapp: WhatsApp, stated: dict[str, Any]) -> Record:
    waba = whatsapp.accounts.wabas.get(str(stated.get("waba")))
    if waba is None:
        raise Refusal(f"There is no account {stated.get('waba')!r}. There are: {', '.join(whatsapp.accounts.wabas)}.")
    value = {"event": _text(stated, "account_event", "ACCOUNT_RESTRICTION")}
    details = stated.get("details")
    if isinstance(details, dict):
        value |= details
    whatsapp.webhooks.put(waba["id"], "account_update", value, f"account {value['event']}")
    return waba


def _token(valid: bool) -> Callable[[WhatsApp, dict[str, Any]], Record]:
    def change(whatsapp: WhatsApp, stated: dict[str, Any]) -> Record:
        token = _text(stated, "token", "")
        (whatsapp.accounts.renew if valid else whatsapp.accounts.revoke)(token)
        return {"valid": valid}

    return change


EVENTS: dict[str, Callable[[WhatsApp, dict[str, Any]], Record]] = {
    "unsupported": _unsupported,
    "reaction": _reaction,
    "media": _media,
    "location": _location,
    "referral": _referral,
    "number_changed": _number_changed,
    "id_changed": _id_changed,
    "preference": _preference,
    "echo": _echo,
    "fail_next": _fail_next,
    "fail": _fail,
    "status": _status,
    "account": _account,
    "revoke_token": _token(False),
    "renew_token": _token(True),
}
