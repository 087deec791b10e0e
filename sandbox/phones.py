"""The phones: who the customers are, what each phone shows, and what its owner does with it.

A phone knows nothing of wire formats. It shows messages in the order they came, and when its owner taps, types or
opens the chat it tells whoever listens (the fake WhatsApp), which makes webhooks of it.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Protocol

from sandbox.errors import Refusal

if TYPE_CHECKING:
    from sandbox.world import Record, World

HOME_CODE = "92"  # a number written without country code is a Pakistani one
COUNTRY_CODES = {
    "92": "PK",
    "91": "IN",
    "52": "MX",
    "55": "BR",
    "57": "CO",
    "54": "AR",
    "971": "AE",
    "966": "SA",
    "44": "GB",
    "49": "DE",
    "34": "ES",
    "351": "PT",
    "1": "US",
}


def normalised(written: Any) -> str | None:
    """Any spelling of a number as `+923001234567`; None where it cannot be a phone number."""
    if not isinstance(written, str) or len(written) > 40 or re.search(r"[^\d\s()+./-]", written):
        return None
    digits = "".join(str(int(sign)) for sign in written if sign.isdigit() and sign.isdecimal())  # Urdu digits too
    if written.strip().startswith("+"):
        pass
    elif digits.startswith("00"):
        digits = digits[2:]
    elif digits.startswith("0"):
        digits = HOME_CODE + digits[1:]
    elif len(digits) == 10 and digits.startswith("3"):
        digits = HOME_CODE + digits
    return f"+{digits}" if 8 <= len(digits) <= 15 else None


def country_of(phone: str) -> str:
    for length in (3, 2, 1):
        if country := COUNTRY_CODES.get(phone[1 : 1 + length]):
            return country
    return "US"


class Listener(Protocol):
    """Hears what the owner of a phone does."""

    def customer_tapped(self, phone: Record, message: Record, choice: Record) -> Record: ...

    def customer_sent(self, phone: Record, to: str | None, content: Record) -> Record: ...

    def customer_read(self, phone: Record, number_id: str | None) -> None: ...


class Phones:
    def __init__(self, world: World) -> None:
        self._world = world
        self._phones = world.shelf("phones")
        self._messages = world.shelf("messages")
        self._chats: dict[str, list[Record]] = {}
        self._unread: dict[str, list[Record]] = {}
        self.listener: Listener | None = None
        self.recall()

    def recall(self) -> None:
        """Build the chats from what is stored (at start and after a reset)."""
        with self._world.lock:
            self._chats.clear()
            self._unread.clear()
            for message in self._messages.values():
                self._index(message)

    # Who

    def phone(self, number: str) -> Record:
        """The phone with this normalised number; it exists as soon as someone speaks of it."""
        with self._world.lock:
            return self._phones.get(number) or self._phones.put(
                number,
                {
                    "phone": number,
                    "name": "",
                    "on_whatsapp": True,
                    "hides_number": False,  # a username user: webhooks carry the business-scoped id only
                    "read_receipts": True,
                    "stopped_marketing": False,
                    "generation": 0,  # a new number or account gives new business-scoped ids
                },
            )

    def known(self, number: str) -> bool:
        return number in self._phones

    def named(self, number: str, name: str) -> None:
        with self._world.lock:
            phone = self.phone(number)
            if name and phone["name"] != name:
                phone["name"] = name
                self._phones.touch(number)

    def set(self, number: str, **traits: Any) -> Record:
        with self._world.lock:
            phone = self.phone(number)
            phone.update(traits)
            self._phones.touch(number)
            return phone

    def moved(self, old: str, new: str) -> Record:
        """The owner keeps the account and changes the number."""
        with self._world.lock:
            phone = dict(self.phone(old))
            phone.update(phone=new, generation=phone["generation"] + 1)
            self._phones.put(new, phone)
            self._phones.drop(old)
            return phone

    def scoped_id(self, phone: Record, portfolio: str) -> str:
        """The id one business portfolio knows this user by: `PK.` and digits, opaque, another one per portfolio."""
        seed = f"{portfolio}:{phone['phone']}:{phone['generation']}".encode()
        return f"{country_of(phone['phone'])}.{int.from_bytes(hashlib.sha256(seed).digest()[:8], 'big')}"

    def by_scoped_id(self, scoped_id: str, portfolio: str) -> Record | None:
        with self._world.lock:
            for phone in self._phones.values():
                if self.scoped_id(phone, portfolio) == scoped_id:
                    return phone
        return None

    def all(self) -> list[Record]:
        return self._phones.values()

    # What the phone shows

    def show(self, message: Record) -> Record:
        with self._world.lock:
            self._messages.put(message["id"], message)
            self._index(message)
            return message

    def message(self, id: str) -> Record | None:
        return self._messages.get(id)

    def changed(self, message: Record) -> None:
        self._messages.touch(message["id"])

    def chat(self, number: str) -> list[Record]:
        return list(self._chats.get(number, ()))

    def unread(self, number: str, number_id: str | None = None) -> list[Record]:
        """The business messages this phone has not read, taken: whoever asks marks them read."""
        with self._world.lock:
            waiting = self._unread.pop(number, [])
            taken = [message for message in waiting if number_id in (None, message["number_id"])]
            if left := [message for message in waiting if message not in taken]:
                self._unread[number] = left
            return taken

    def unread_count(self, number: str) -> int:
        return len(self._unread.get(number, ()))

    def _index(self, message: Record) -> None:
        self._chats.setdefault(message["phone"], []).append(message)
        if message["from"] == "business" and message["status"] not in ("read", "failed"):
            self._unread.setdefault(message["phone"], []).append(message)

    # What its owner does

    def tap(self, number: str, message_id: Any, button: Any) -> Record:
        """Tap a button or a list row by title, id or position."""
        message = self._messages.get(message_id) if isinstance(message_id, str) else None
        if message is None or message["phone"] != number:
            shown = [message["id"] for message in self.chat(number) if message["from"] == "business"]
            latest = f" Its newest message is {shown[-1]}." if shown else " It shows no message yet."
            raise Refusal(f"The phone {number} shows no message {message_id!r}.{latest}", 404)
        choices = [*message.get("buttons", ()), *(message.get("list") or {}).get("rows", ())]
        if not choices:
            raise Refusal("That message has no buttons.", 409)
        choice = find_choice(choices, button)
        if choice is None:
            titles = ", ".join(repr(choice["title"]) for choice in choices)
            raise Refusal(f"That message has no button {button!r}. It has: {titles}.", 404)
        if choice.get("url"):
            raise Refusal(f"{choice['title']!r} opens {choice['url']} in a browser; WhatsApp tells nobody.", 409)
        assert self.listener is not None
        return self.listener.customer_tapped(self.phone(number), message, choice)

    def send(self, number: str, content: Record, to: str | None = None) -> Record:
        assert self.listener is not None
        return self.listener.customer_sent(self.phone(number), to, content)

    def read(self, number: str) -> None:
        assert self.listener is not None
        self.listener.customer_read(self.phone(number), None)


def find_choice(choices: list[Record], wanted: Any) -> Record | None:
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        return choices[wanted] if 0 <= wanted < len(choices) else None
    if not isinstance(wanted, str):
        return None
    text = wanted.strip().casefold()
    for choice in choices:
        if wanted == choice["id"] or text == choice["title"].casefold():
            return choice
    return next((choice for choice in choices if text == choice["id"].casefold()), None)


def as_shown(message: Record) -> dict[str, Any]:
    """The message as the control API tells it: only what a person could see on the screen, and its ids."""
    shown = {
        key: message[key]
        for key in ("id", "from", "business", "number", "type", "text", "header", "footer", "status", "at")
    }
    shown["buttons"] = [
        {key: button[key] for key in ("id", "title", "url") if key in button} for button in message.get("buttons", ())
    ]
    for key in ("list", "template", "language", "context", "reaction", "error", "media"):
        if message.get(key):
            shown[key] = message[key]
    return shown
