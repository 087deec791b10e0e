"""The fake WhatsApp: what happens between a call to the Graph API and a phone, and back.

Messages are accepted, shown on the phone, and then live on by themselves (sent, delivered, read, failed), each step a
signed webhook. What the owner of a phone does comes back as webhooks too and opens the 24-hour window.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import UTC, datetime
from typing import Any

from sandbox.delivery import Answer, Caller, Outgoing, Unreachable
from sandbox.errors import Refusal
from sandbox.phones import Phones
from sandbox.whatsapp import messages, templates
from sandbox.whatsapp.accounts import Accounts
from sandbox.whatsapp.graph_errors import GraphError, as_status_error
from sandbox.whatsapp.webhooks import PATH, Webhooks
from sandbox.world import Record, World

WINDOW = 24 * 3600  # any message type is allowed this long after the customer last wrote
FREE_ENTRY = 72 * 3600  # messages are free this long after an answer to someone who came by an ad
RANK = {"accepted": 0, "held": 0, "sent": 1, "delivered": 2, "read": 3, "played": 4, "failed": 5}


class WhatsApp:
    def __init__(self, world: World, phones: Phones) -> None:
        self.world = world
        self.phones = phones
        phones.listener = self
        self.accounts = Accounts(world)
        self.templates = world.shelf("templates")
        self.media = world.shelf("media")
        self._windows = world.shelf("windows")
        self.webhooks = Webhooks(world)
        self.verified: str = "not asked yet"  # what the app said to the webhook verification
        self.seed()

    def seed(self) -> None:
        self.accounts.seed()
        for template in self.templates.values():
            if template["status"] == "PENDING":
                self._review_later(template["id"])

    # Sending

    def send(self, number: Record, body: Record) -> Record:
        """One POST to /messages. Returns Meta's answer, raises Meta's refusal."""
        if body.get("messaging_product") != "whatsapp":
            raise GraphError(100, title="The parameter messaging_product is required.")
        phone, written = self._recipient(number, body)
        opaque = body.get("biz_opaque_callback_data")
        if opaque is not None and (not isinstance(opaque, str) or len(opaque) > 512):
            raise GraphError(131009, "biz_opaque_callback_data length invalid. Max length: 512")
        kind = body.get("type", "text")
        if kind == "template":
            shown, template = self._from_template(number, body)
        elif isinstance(kind, str) and kind in messages.TYPES:
            shown, template = messages.TYPES[kind](body), None
        else:
            raise (GraphError(131051) if isinstance(kind, str) else GraphError(100, "Param type must be a string."))
        context = body.get("context")
        context_id = context.get("message_id") if isinstance(context, dict) else None
        if context is not None and not isinstance(context_id, str):
            raise GraphError(131009, "context.message_id must be the id of a message")
        if not number["registered"]:
            raise GraphError(133010)
        self._check_media(number, shown.get("media"))
        self.accounts.check_pace(number, phone["phone"])
        window = self._window(number, phone)
        if template is None and window["open_until"] < self.world.clock.time():
            raise GraphError(131047)
        failure = self._next_failure(phone)
        if failure is not None and failure["when"] == "send":
            raise GraphError(failure["code"], failure.get("details") or "")
        if kind == "reaction":
            self._react(number, phone, shown)

        message = self._accepted(number, phone, kind, shown, template, context_id, opaque)
        held = template is not None and template.get("pacing", False)
        if kind != "reaction":
            self.phones.show(message)
        self._live(number, phone, message, template, failure, held)
        answer_message: Record = {"id": message["id"]}
        if template is not None:
            answer_message["message_status"] = "held_for_quality_assessment" if held else "accepted"
        contact: Record = {"input": written}
        if "to" in body:
            contact["wa_id"] = phone["phone"][1:]
        if "recipient" in body:
            contact["user_id"] = self.phones.scoped_id(phone, self.accounts.portfolio(number))
        return {"messaging_product": "whatsapp", "contacts": [contact], "messages": [answer_message]}

    def _recipient(self, number: Record, body: Record) -> tuple[Record, str]:
        """`to` wins over `recipient`. A number without `+` may get the business's own country code put before it."""
        to, recipient = body.get("to"), body.get("recipient")
        if to is None and recipient is None:
            raise GraphError(100, title="The parameter to is required.")
        if to is not None:
            if not isinstance(to, str) or not any(sign.isdigit() for sign in to) or len(to) > 40:
                raise GraphError(131009, "Param to is not a valid phone number")
            digits = "".join(sign for sign in to if sign.isascii() and sign.isdigit())
            own = "".join(sign for sign in number["display_phone_number"] if sign.isdigit())
            if not to.strip().startswith("+") and len(digits) <= 10:
                digits = own[:2] + digits.lstrip("0")
            if not 8 <= len(digits) <= 15:
                raise GraphError(131009, "Param to is not a valid phone number")
            if digits == own:
                raise GraphError(131021)
            return self.phones.phone(f"+{digits}"), to
        phone = None
        if isinstance(recipient, str):
            phone = self.phones.by_scoped_id(recipient, self.accounts.portfolio(number))
        if phone is None:
            raise GraphError(131009, "Param recipient is not a business-scoped user id of this business portfolio")
        return phone, str(recipient)

    def _from_template(self, number: Record, body: Record) -> tuple[Record, Record]:
        stated = messages.object_in(body, "template", "template")
        name = messages.text_in(stated, "name", 512, "template.name")
        language = stated.get("language")
        code = language.get("code") if isinstance(language, dict) else None
        if not isinstance(code, str) or not code:
            raise GraphError(131008, "Required parameter is missing: template.language.code")
        template = self.template_named(number["waba"], str(name), code)
        if template is None or template["status"] not in ("APPROVED", "PAUSED", "DISABLED"):
            raise GraphError(132001, f"template name ({str(name)[:64]}) does not exist in {code[:12]}")
        if template["status"] == "PAUSED":
            raise GraphError(132015)
        if template["status"] == "DISABLED":
            raise GraphError(132016)
        return templates.filled(template, stated.get("components")), template

    def _check_media(self, number: Record, media: Record | None) -> None:
        if media and media.get("id"):
            stored = self.media.get(media["id"])
            if stored is None or stored["number"] != number["id"]:
                raise GraphError(131009, f"Param {media['kind']}['id'] is not a valid whatsapp business account media")

    def _next_failure(self, phone: Record) -> Record | None:
        """What control ordered for the next message to this phone, or what follows from the phone itself."""
        with self.world.lock:
            if ordered := phone.get("failures"):
                failure: Record = ordered.pop(0)
                self.world.shelf("phones").touch(phone["phone"])
                return failure
        if not phone["on_whatsapp"]:
            return {"code": 131026, "when": "status"}
        return None

    def _accepted(
        self,
        number: Record,
        phone: Record,
        kind: str,
        shown: Record,
        template: Record | None,
        context: str | None,
        opaque: str | None,
    ) -> Record:
        message: Record = {
            "id": new_wamid(phone["phone"]),
            "phone": phone["phone"],
            "from": "business",
            "business": number["verified_name"],
            "number": number["display_phone_number"],
            "number_id": number["id"],
            "type": kind,
            "text": shown.get("text") or "",
            "header": shown.get("header"),
            "footer": shown.get("footer"),
            "buttons": shown.get("buttons") or [],
            "status": "accepted",
            "at": self.world.clock.now().isoformat(timespec="milliseconds"),
        }
        if template is not None:
            message |= {
                "template": template["name"],
                "language": template["language"],
                "category": template["category"],
            }
        for key, value in (("list", shown.get("list")), ("media", shown.get("media")), ("context", context)):
            if value:
                message[key] = value
        if opaque is not None:
            message["opaque"] = opaque
        return message

    def _live(
        self,
        number: Record,
        phone: Record,
        message: Record,
        template: Record | None,
        failure: Record | None,
        held: bool,
    ) -> None:
        """What becomes of an accepted message."""
        settings = self.world.settings
        after = self.world.timers.after
        if failure is not None:
            code, details = failure["code"], failure.get("details") or ""
            after(settings.sent_after, lambda: self.becomes(message, "failed", code=code, details=details))
            return
        if template is not None and template["category"] == "MARKETING" and phone["stopped_marketing"]:
            after(settings.sent_after, lambda: self.becomes(message, "failed", code=131050))
            return
        if held:
            message["status"] = "held"
            return
        after(settings.sent_after, lambda: self.becomes(message, "sent"))
        after(settings.delivered_after, lambda: self.becomes(message, "delivered"))

    def becomes(self, message: Record, status: str, code: int = 131000, details: str = "") -> None:
        """A status happens to a message: the phone shows it, the business hears it (in whatever order it travels)."""
        with self.world.lock:
            if message["status"] == "failed":
                return
            if RANK[status] > RANK[message["status"]]:
                message["status"] = status
                if status == "failed":
                    message["error"] = {"code": code, "title": as_status_error(code, details)["title"]}
                self.phones.changed(message)
            number = self.accounts.numbers.get(message["number_id"])
            if number is None:
                return
            phone = self.phones.phone(message["phone"])
            value = self._status_value(number, phone, message, status, code, details)
            self.webhooks.put(number["waba"], "messages", value, f"status {status} to {message['phone']}")

    def _status_value(
        self, number: Record, phone: Record, message: Record, status: str, code: int, details: str
    ) -> Record:
        scoped = self.phones.scoped_id(phone, self.accounts.portfolio(number))
        line: Record = {"id": message["id"], "status": status, "timestamp": str(int(self.world.clock.time()))}
        if not phone["hides_number"]:
            line["recipient_id"] = phone["phone"][1:]
        line["recipient_user_id"] = scoped
        if "opaque" in message:
            line["biz_opaque_callback_data"] = message["opaque"]
        value: Record = {"messaging_product": "whatsapp", "metadata": metadata(number)}
        if status == "failed":  # Meta leaves `contacts` out of these
            line["errors"] = [as_status_error(code, details)]
        else:
            value["contacts"] = [self._contact(number, phone)]
            priced = status == "sent" or (status == "delivered" and "priced" not in message)
            if priced:
                line |= self._price(number, phone, message, status)
        value["statuses"] = [line]
        return value

    def _price(self, number: Record, phone: Record, message: Record, status: str) -> Record:
        """`pricing` comes with sent and with one of delivered/read; `conversation` only inside a free entry point."""
        if status != "sent":
            message["priced"] = True
        category = message.get("category", "SERVICE").lower()
        window = self._window(number, phone)
        if window.get("free_until", 0) > self.world.clock.time():
            conversation: Record = {
                "id": hashlib.md5(f"{number['id']}{phone['phone']}".encode()).hexdigest(),
                "origin": {"type": "referral_conversion"},
            }
            if status == "sent":
                conversation["expiration_timestamp"] = str(int(window["free_until"]))
            return {
                "conversation": conversation,
                "pricing": {
                    "billable": False,
                    "pricing_model": "PMP",
                    "type": "free_entry_point",
                    "category": "referral_conversion",
                },
            }
        return {
            "pricing": {"billable": True, "pricing_model": "PMP", "type": "regular", "category": category},
        }

    def _contact(self, number: Record, phone: Record) -> Record:
        profile: Record = {"name": phone["name"] or phone["phone"]}
        if phone["hides_number"]:
            profile["username"] = "user" + phone["phone"][-4:]
        contact: Record = {"profile": profile}
        if not phone["hides_number"]:
            contact["wa_id"] = phone["phone"][1:]
        contact["user_id"] = self.phones.scoped_id(phone, self.accounts.portfolio(number))
        return contact

    # The window

    def _window(self, number: Record, phone: Record) -> Record:
        return self._windows.get(f"{number['id']}:{phone['phone']}") or {"open_until": 0.0}

    def _open_window(self, number: Record, phone: Record, by_ad: bool = False) -> None:
        window = dict(self._window(number, phone))
        window["open_until"] = self.world.clock.time() + WINDOW
        if by_ad:
            window["free_until"] = self.world.clock.time() + FREE_ENTRY
        self._windows.put(f"{number['id']}:{phone['phone']}", window)

    def windows_of(self, phone: str) -> dict[str, str]:
        """Until when each business number may write freely to this phone."""
        return {
            key.partition(":")[0]: datetime.fromtimestamp(window["open_until"], UTC).isoformat(timespec="seconds")
            for key, window in self._windows.items()
            if key.endswith(f":{phone}")
        }

    # What the customer does

    def customer_tapped(self, phone: Record, message: Record, choice: Record) -> Record:
        number = self.accounts.numbers[message["number_id"]]
        if message["type"] == "template":
            kind, content = "button", {"payload": choice["id"], "text": choice["title"]}
        elif message.get("list"):
            reply = {"id": choice["id"], "title": choice["title"]}
            if choice.get("description"):
                reply["description"] = choice["description"]
            kind, content = "interactive", {"type": "list_reply", "list_reply": reply}
        else:
            reply = {"id": choice["id"], "title": choice["title"]}
            kind, content = "interactive", {"type": "button_reply", "button_reply": reply}
        context = {"from": digits_of(number["display_phone_number"]), "id": message["id"]}
        return self.customer_writes(number, phone, kind, content, choice["title"], context=context)

    def customer_sent(self, phone: Record, to: str | None, content: Record) -> Record:
        number = self._addressed(phone, to)
        if "text" in content:
            return self.customer_writes(number, phone, "text", {"body": content["text"]}, content["text"])
        return self.customer_writes(
            number,
            phone,
            "image",
            self.stored_media(number, "image/jpeg", content.get("image"), content.get("caption")),
            content.get("caption") or "",
            media={"kind": "image", "link": content.get("image")},
        )

    def _addressed(self, phone: Record, to: str | None) -> Record:
        if to is not None:
            number = self.accounts.number_of(to)
            if number is None:
                known = ", ".join(n["display_phone_number"] for n in self.accounts.numbers.values())
                raise Refusal(f"There is no business number {to!r}. There are: {known}.", 404)
            return number
        chat = self.phones.chat(phone["phone"])
        if not chat:
            raise Refusal('Nobody wrote to this phone yet: say which business with "to".', 409)
        return self.accounts.numbers[chat[-1]["number_id"]]

    def customer_read(self, phone: Record, number_id: str | None) -> None:
        for message in self.phones.unread(phone["phone"], number_id):
            if message["status"] == "failed":
                continue
            if phone["read_receipts"]:
                self.becomes(message, "read")
            else:
                message["status"] = "read"
                self.phones.changed(message)

    def customer_writes(
        self,
        number: Record,
        phone: Record,
        kind: str,
        content: Any,
        text: str,
        *,
        context: Record | None = None,
        referral: Record | None = None,
        media: Record | None = None,
        shown: bool = True,
        extra: Record | None = None,
    ) -> Record:
        """An inbound message: on the phone, in the window, and as a webhook. `extra` overrides parts of the value."""
        with self.world.lock:
            self.customer_read(phone, number["id"])
            self._open_window(number, phone, by_ad=referral is not None)
            now = self.world.clock.now()
            message: Record = {
                "id": new_wamid(phone["phone"]),
                "phone": phone["phone"],
                "from": "customer",
                "business": number["verified_name"],
                "number": number["display_phone_number"],
                "number_id": number["id"],
                "type": kind,
                "text": text,
                "header": None,
                "footer": None,
                "buttons": [],
                "status": "sent",
                "at": now.isoformat(timespec="milliseconds"),
            }
            if context is not None:
                message["context"] = context["id"]
            if media is not None:
                message["media"] = media
            if shown:
                self.phones.show(message)
            told: Record = {}
            if not phone["hides_number"]:
                told["from"] = phone["phone"][1:]
            told["from_user_id"] = self.phones.scoped_id(phone, self.accounts.portfolio(number))
            told |= {"id": message["id"], "timestamp": str(int(now.timestamp())), "type": kind}
            if context is not None:
                told["context"] = context
            if referral is not None:
                told["referral"] = referral
            if content is not None:
                told[kind] = content
            told |= extra or {}
            value = {
                "messaging_product": "whatsapp",
                "metadata": metadata(number),
                "contacts": [self._contact(number, phone)],
                "messages": [told],
            }
            self.webhooks.put(number["waba"], "messages", value, f"{kind} from {phone['phone']}")
            return message

    def _react(self, number: Record, phone: Record, shown: Record) -> None:
        target = self.phones.message(shown["target"])
        if target is None or target["phone"] != phone["phone"]:
            raise GraphError(131009, "reaction.message_id is not a message of this chat")
        target["reaction"] = shown["text"]
        self.phones.changed(target)

    def mark_read(self, number: Record, body: Record) -> Record:
        """The business read a customer's message (and, if it says so, is typing)."""
        message = self.phones.message(body["message_id"]) if isinstance(body.get("message_id"), str) else None
        if message is None or message["from"] != "customer" or message["number_id"] != number["id"]:
            raise GraphError(131009, "message_id is not a message this number received")
        typing = body.get("typing_indicator")
        if typing is not None and (not isinstance(typing, dict) or typing.get("type") != "text"):
            raise GraphError(131009, "typing_indicator.type must be text")
        with self.world.lock:
            for earlier in self.phones.chat(message["phone"]):
                if earlier["from"] == "customer" and earlier["number_id"] == number["id"]:
                    earlier["status"] = "read"
                    self.phones.changed(earlier)
                if earlier is message:
                    break
        return {"success": True}

    # Media

    def store_media(self, number: Record, mime_type: str, content: bytes, name: str = "") -> str:
        id = str(self.world.next_number("media", 700000000000001))
        self.media.put(
            id,
            {
                "id": id,
                "number": number["id"],
                "mime_type": mime_type,
                "sha256": base64.b64encode(hashlib.sha256(content).digest()).decode(),
                "hex": hashlib.sha256(content).hexdigest(),
                "file_size": len(content),
                "content": base64.b64encode(content).decode(),
                "name": name,
            },
        )
        return id

    def stored_media(self, number: Record, mime_type: str, source: Any, caption: Any = None) -> Record:
        """The media object of an inbound message. The picture is a stand-in, another one for each name."""
        id = self.store_media(number, mime_type, picture(str(source or "")), str(source or ""))
        media = {
            "id": id,
            "mime_type": mime_type,
            "sha256": self.media[id]["sha256"],
            "url": self.media_url(id),
        }
        if caption:
            media["caption"] = caption
        return media

    def media_url(self, id: str) -> str:
        """A download address; it dies after five minutes."""
        until = int(self.world.clock.time()) + 300
        return f"{self.world.settings.url}/graph/download/{id}?ext={until}&hash={secrets.token_urlsafe(12)}"

    # Templates

    def template_named(self, waba: str, name: str, language: str) -> Record | None:
        with self.world.lock:
            for template in self.templates.values():
                if (template["waba"], template["name"], template["language"]) == (waba, name, language):
                    return template
        return None

    def create_template(self, waba: str, body: Record) -> Record:
        wanted = templates.checked(body)
        with self.world.lock:
            if self.template_named(waba, wanted["name"], wanted["language"]) is not None:
                raise templates.refuse(
                    2388024,
                    "Content in this language already exists",
                    f"There is already {wanted['language']} content for this template.",
                )
            now = self.world.clock.time()
            gone = self.world.shelf("deleted_templates").get(f"{waba}:{wanted['name']}")
            if gone is not None and gone["until"] > now:
                raise templates.refuse(
                    2388023, "Name is locked", "A deleted template's name can be used again after 30 days."
                )
            own = [template for template in self.templates.values() if template["waba"] == waba]
            if len(own) >= templates.MOST_PER_WABA:
                raise templates.refuse(2388019, "Limit reached", "This account has 250 templates already.")
            if sum(template["created"] > now - 3600 for template in own) >= templates.CREATES_PER_HOUR:
                raise GraphError(80007, "At most 100 templates can be created in an hour.")
            wanted["category"] = templates.judged_category(wanted)
            id = str(self.world.next_number("template", 900000000000001))
            template = self.templates.put(
                id,
                {
                    "id": id,
                    **wanted,
                    "status": "PENDING",
                    "quality_score": {"score": "UNKNOWN", "date": int(now)},
                    "waba": waba,
                    "created": now,
                },
            )
        if self.world.settings.template_review <= 0:
            self._review(id)
        else:
            self._review_later(id)
        return {"id": id, "status": template["status"], "category": template["category"]}

    def edit_template(self, template: Record, body: Record) -> Record:
        if template["status"] not in ("APPROVED", "REJECTED", "PAUSED"):
            raise GraphError(100, "Only approved, rejected or paused templates can be edited.")
        kept = {key: template[key] for key in ("name", "language", "category", "parameter_format")}
        wanted = templates.checked({**kept, "components": body.get("components", template["components"])})
        with self.world.lock:
            template["components"] = wanted["components"]
            template["status"] = "PENDING"
            self.templates.touch(template["id"])
        self._review_later(template["id"])
        return {"success": True}

    def delete_template(self, waba: str, name: str, id: str | None) -> None:
        with self.world.lock:
            doomed = [
                template
                for template in self.templates.values()
                if template["waba"] == waba and template["name"] == name and id in (None, template["id"])
            ]
            if not doomed:
                raise GraphError(100, f"Message template {name[:64]!r} was not found.", subcode=2593002)
            for template in doomed:
                self.templates.drop(template["id"])
            until = self.world.clock.time() + 30 * 86400
            self.world.shelf("deleted_templates").put(f"{waba}:{name}", {"until": until})

    def _review_later(self, id: str) -> None:
        self.world.timers.after(max(self.world.settings.template_review, 0), lambda: self._review(id))

    def _review(self, id: str) -> None:
        with self.world.lock:
            template = self.templates.get(id)
            if template is not None and template["status"] == "PENDING":
                self.template_becomes(template, "APPROVED")

    def template_becomes(self, template: Record, status: str, reason: str = "NONE") -> None:
        """A template changes its status, and the business hears of it."""
        with self.world.lock:
            template["status"] = status
            self.templates.touch(template["id"])
            value: Record = {
                "event": status,
                "message_template_id": int(template["id"]),
                "message_template_name": template["name"],
                "message_template_language": template["language"],
                "reason": reason,
                "message_template_category": template["category"],
            }
            if status == "PAUSED":
                value["other_info"] = {
                    "title": "FIRST_PAUSE",
                    "description": "This template was paused for 3 hours.",
                }
            if status == "REJECTED":
                value["rejection_info"] = {
                    "reason": reason,
                    "recommendation": "Change the template and send it again.",
                }
            what = f"template {template['name']} ({template['language']}) {status}"
            self.webhooks.put(template["waba"], "message_template_status_update", value, what)

    def template_category_becomes(self, template: Record, category: str) -> None:
        with self.world.lock:
            value = {
                "message_template_id": int(template["id"]),
                "message_template_name": template["name"],
                "message_template_language": template["language"],
                "previous_category": template["category"],
                "new_category": category,
            }
            template["category"] = category
            self.templates.touch(template["id"])
            what = f"template {template['name']} ({template['language']}) is now {category}"
            self.webhooks.put(template["waba"], "template_category_update", value, what)

    def template_quality_becomes(self, template: Record, score: str) -> None:
        with self.world.lock:
            value = {
                "previous_quality_score": template["quality_score"]["score"],
                "new_quality_score": score,
                "message_template_id": int(template["id"]),
                "message_template_name": template["name"],
                "message_template_language": template["language"],
            }
            template["quality_score"] = {"score": score, "date": int(self.world.clock.time())}
            self.templates.touch(template["id"])
            what = f"template {template['name']} ({template['language']}) has quality {score}"
            self.webhooks.put(template["waba"], "message_template_quality_update", value, what)

    # The webhook handshake

    def verify_webhook(self, caller: Caller) -> bool:
        """Ask the app for the challenge, as Meta does when the callback is configured."""
        challenge = str(secrets.randbelow(10**10))
        query = f"hub.mode=subscribe&hub.challenge={challenge}&hub.verify_token="
        url = f"{self.world.settings.app_url}{PATH}?{query}{self.world.settings.whatsapp_verify_token}"
        try:
            answer: Answer = caller.send(Outgoing(url, (), b"", "webhook verification", "GET"), 5.0)
        except Unreachable as error:
            self.verified = f"the app does not answer ({error})"
            return False
        right = answer.status == 200 and answer.body.strip() == challenge.encode()
        self.verified = "verified" if right else f"refused: the app answered {answer.status} without the challenge"
        self.world.log.add(
            "whatsapp",
            "webhook",
            "webhook verification",
            self.verified,
            status=answer.status,
            to=PATH,
            method="GET",
        )
        return right


# A white pixel, the picture every inbound image carries.
PIXEL = base64.b64decode(
    "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP//////////////////////////////////////////////////////////////////////////////"
    "////////wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAA//EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AR//Z"
)


def picture(name: str) -> bytes:
    """The pixel with its name in a comment, so that two pictures differ and one sent twice is the same."""
    comment = name.encode()[:1000]
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment if comment else b""
    return PIXEL[:2] + segment + PIXEL[2:]


def digits_of(display: str) -> str:
    return "".join(sign for sign in display if sign.isdigit())


def metadata(number: Record) -> Record:
    return {
        "display_phone_number": digits_of(number["display_phone_number"]),
        "phone_number_id": number["id"],
    }


def new_wamid(phone: str) -> str:
    """A message id as Meta makes them: base64 of a small binary record that holds the customer's number."""
    digits = phone[1:].encode()
    inner = b"\x1c\x18" + bytes([len(digits)]) + digits + b"\x15\x02\x00\x11\x18\x12"
    return "wamid." + base64.b64encode(inner + secrets.token_hex(9).upper().encode() + b"\x00").decode()
