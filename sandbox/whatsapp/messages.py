"""Free-form messages of the Cloud API: which are well-formed, and what the phone will show of them.

Every limit is the one of the Cloud API; a value out of bounds is 131009, a missing one 131008.
"""

from __future__ import annotations

from collections.abc import Callable

from sandbox.whatsapp.graph_errors import GraphError
from sandbox.world import Record

MEDIA = ("image", "video", "document", "audio", "sticker")
CAPTIONED = ("image", "video", "document")


def text_in(container: Record, name: str, longest: int, where: str) -> str:
    text = optional_text_in(container, name, longest, where)
    if text is None:
        raise GraphError(131008, f"Required parameter is missing: {where}")
    return text


def optional_text_in(container: Record, name: str, longest: int, where: str) -> str | None:
    value = container.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise GraphError(100, f"Param {where} must be a string.")
    if len(value) > longest:
        raise GraphError(131009, f"{where} length invalid. Min length: 1, Max length: {longest}")
    return value


def object_in(container: Record, name: str, where: str) -> Record:
    value = container.get(name)
    if value is None:
        raise GraphError(131008, f"Required parameter is missing: {where}")
    if not isinstance(value, dict):
        raise GraphError(100, f"Param {where} must be a JSON object.")
    return value


def list_in(container: Record, name: str, where: str, most: int) -> list[Record]:
    value = container.get(name)
    if not isinstance(value, list) or not value:
        raise GraphError(131008, f"Required parameter is missing: {where}")
    if len(value) > most:
        raise GraphError(131009, f"{where} has {len(value)} entries. Allowed: 1 to {most}")
    if not all(isinstance(entry, dict) for entry in value):
        raise GraphError(100, f"Param {where} must be an array of objects.")
    return value


def _unique(values: list[str], where: str) -> None:
    if len(set(values)) != len(values):
        raise GraphError(131009, f"Duplicated {where}")


def _text(body: Record) -> Record:
    return {"text": text_in(object_in(body, "text", "text"), "body", 4096, "text.body")}


def _media(kind: str) -> Callable[[Record], Record]:
    def check(body: Record) -> Record:
        media = object_in(body, kind, kind)
        id, link = media.get("id"), media.get("link")
        if not (isinstance(id, str) and id) and not (isinstance(link, str) and link):
            raise GraphError(131008, f"Required parameter is missing: {kind}.id or {kind}.link")
        if not id and not str(link).startswith(("http://", "https://")):
            raise GraphError(131009, f"{kind}.link is not a valid URL")
        caption = optional_text_in(media, "caption", 1024, f"{kind}.caption")
        if caption and kind not in CAPTIONED:
            raise GraphError(100, f"Unexpected key 'caption' on param {kind!r}.")
        shown = {"kind": kind, **{key: media[key] for key in ("id", "link", "filename") if media.get(key)}}
        return {"text": caption or "", "media": shown}

    return check


def _location(body: Record) -> Record:
    place = object_in(body, "location", "location")
    for name, most in (("latitude", 90), ("longitude", 180)):
        try:
            if not abs(float(place[name])) <= most:
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise GraphError(131009, f"location.{name} is missing or out of range") from None
    return {"text": " ".join(str(place[key]) for key in ("name", "address") if place.get(key))}


def _reaction(body: Record) -> Record:
    reaction = object_in(body, "reaction", "reaction")
    target = text_in(reaction, "message_id", 512, "reaction.message_id")
    emoji = reaction.get("emoji", "")
    if not isinstance(emoji, str) or len(emoji) > 16:
        raise GraphError(131009, "reaction.emoji is not a single emoji")
    return {"text": emoji, "target": target}


def _interactive(body: Record) -> Record:
    interactive = object_in(body, "interactive", "interactive")
    kind = interactive.get("type")
    check = INTERACTIVE.get(kind) if isinstance(kind, str) else None
    if check is None:
        raise GraphError(131009, f"interactive.type must be one of {', '.join(INTERACTIVE)}")
    longest_body = 4096 if kind == "list" else 1024
    shown: Record = {"header": None, "media": None, "interactive": kind}
    words = object_in(interactive, "body", "interactive.body")
    shown["text"] = text_in(words, "text", longest_body, "interactive.body.text")
    if interactive.get("footer") is not None:
        footer = object_in(interactive, "footer", "interactive.footer")
        shown["footer"] = text_in(footer, "text", 60, "interactive.footer.text")
    if interactive.get("header") is not None:
        shown.update(_header(object_in(interactive, "header", "interactive.header"), only_text=kind == "list"))
    shown.update(check(object_in(interactive, "action", "interactive.action")))
    return shown


def _header(header: Record, only_text: bool) -> Record:
    kind = header.get("type")
    if kind == "text":
        return {"header": text_in(header, "text", 60, "interactive.header.text")}
    if kind in ("image", "video", "document") and not only_text:
        return {"media": _media(kind)(header)["media"]}
    raise GraphError(131009, "interactive.header.type is not allowed for this message")


def _reply_buttons(action: Record) -> Record:
    shown = []
    for button in list_in(action, "buttons", "interactive.action.buttons", 3):
        if button.get("type") != "reply":
            raise GraphError(131009, "interactive.action.buttons.type must be reply")
        reply = object_in(button, "reply", "interactive.action.buttons.reply")
        id = text_in(reply, "id", 256, "Button id")
        shown.append({"id": id, "title": text_in(reply, "title", 20, "Button title"), "kind": "reply"})
    _unique([button["id"] for button in shown], "button id")
    _unique([button["title"] for button in shown], "button title")
    return {"buttons": shown}


def _list(action: Record) -> Record:
    button = text_in(action, "button", 20, "interactive.action.button")
    sections = list_in(action, "sections", "interactive.action.sections", 10)
    rows: list[Record] = []
    for section in sections:
        title = (text_in if len(sections) > 1 else optional_text_in)(section, "title", 24, "Section title")
        for row in list_in(section, "rows", "interactive.action.sections.rows", 10):
            shown = {
                "id": text_in(row, "id", 200, "Row id"),
                "title": text_in(row, "title", 24, "Row title"),
                "description": optional_text_in(row, "description", 72, "Row description"),
            }
            if title:
                shown["section"] = title
            rows.append(shown)
    if len(rows) > 10:
        raise GraphError(131009, f"Total row count exceed max allowed count: 10 (got {len(rows)})")
    _unique([row["id"] for row in rows], "row id")
    return {"list": {"button": button, "rows": rows}}


def _cta_url(action: Record) -> Record:
    if action.get("name") != "cta_url":
        raise GraphError(131009, "interactive.action.name must be cta_url")
    parameters = object_in(action, "parameters", "interactive.action.parameters")
    title = text_in(parameters, "display_text", 20, "display_text")
    url = text_in(parameters, "url", 2000, "url")
    if not str(url).startswith(("http://", "https://")):
        raise GraphError(131009, "interactive.action.parameters.url is not a valid URL")
    return {"buttons": [{"id": title, "title": title, "kind": "url", "url": url}]}


def _named_action(name: str, title: str) -> Callable[[Record], Record]:
    def check(action: Record) -> Record:
        if action.get("name") != name:
            raise GraphError(131009, f"interactive.action.name must be {name}")
        return {"buttons": [{"id": name, "title": title, "kind": name}]}

    return check


INTERACTIVE: dict[str, Callable[[Record], Record]] = {
    "button": _reply_buttons,
    "list": _list,
    "cta_url": _cta_url,
    "location_request_message": _named_action("send_location", "Send location"),
    "request_contact_info": _named_action("request_contact_info", "Share phone number"),
}

TYPES: dict[str, Callable[[Record], Record]] = {
    "text": _text,
    "location": _location,
    "reaction": _reaction,
    "interactive": _interactive,
    **{kind: _media(kind) for kind in MEDIA},
}
