"""Who exists at Meta: WhatsApp Business Accounts, their numbers, and the tokens that may use them."""

from __future__ import annotations

import secrets
from typing import Any

from sandbox.bucket import Bucket
from sandbox.errors import Refusal
from sandbox.whatsapp.graph_errors import GraphError, no_such_object
from sandbox.world import Record, World

SCOPES = ["whatsapp_business_management", "whatsapp_business_messaging"]
CODE_LIFE = 30  # seconds an embedded-signup code can be exchanged

# The two demo accounts. Fixed ids, so that a demo, a test and a newcomer can paste them.
DEMO = (
    {
        "waba": "100000000000001",
        "name": "Lahore Lawn",
        "number": "100000000000011",
        "display": "+92 21 1111 0001",
        "token": "sandbox-token-shopify",
    },
    {
        "waba": "100000000000002",
        "name": "Karachi Khussa",
        "number": "100000000000022",
        "display": "+92 42 1111 0002",
        "token": "sandbox-token-woocommerce",
    },
)


class Accounts:
    def __init__(self, world: World) -> None:
        self._world = world
        self.wabas = world.shelf("wabas")
        self.numbers = world.shelf("numbers")
        self._tokens = world.shelf("whatsapp_tokens")
        self._codes = world.shelf("signup_codes")
        self._throughput: dict[str, Bucket] = {}
        self._pairs: dict[tuple[str, str], Bucket] = {}

    def seed(self) -> None:
        for demo in DEMO:
            if demo["waba"] not in self.wabas:
                self.add(demo["name"], demo["display"], demo["waba"], demo["number"], demo["token"])

    def add(
        self,
        name: str,
        display: str,
        waba: str | None = None,
        number: str | None = None,
        token: str | None = None,
        throughput: int = 80,
    ) -> Record:
        """A number, with its account and a token for it; only the account if it exists already."""
        with self._world.lock:
            waba = waba or str(self._world.next_number("waba", 100000000000101))
            number = number or str(self._world.next_number("number", 100000000001001))
            if number in self.numbers:
                raise Refusal(f"There is a number with id {number} already.")
            if waba not in self.wabas:
                self.wabas.put(
                    waba,
                    {
                        "id": waba,
                        "name": name,
                        "portfolio": f"2{waba[1:]}",
                        "subscribed": False,
                        "status": "ACTIVE",
                    },
                )
            token = token or f"sandbox-token-{number}"
            held = self._tokens.get(token) or {"token": token, "wabas": [], "valid": True, "scopes": SCOPES}
            if waba not in held["wabas"]:
                held["wabas"] = [*held["wabas"], waba]
            self._tokens.put(token, held)
            return self.numbers.put(
                number,
                {
                    "id": number,
                    "waba": waba,
                    "display_phone_number": display,
                    "verified_name": name,
                    "quality_rating": "GREEN",
                    "throughput": throughput,
                    "registered": True,
                    "pin": None,
                    "can_send": "AVAILABLE",
                    "messaging_limit": "TIER_2K",
                    "token": token,
                },
            )

    def number_of(self, written: str) -> Record | None:
        """A business number by its id or by any spelling of its phone number."""
        if written in self.numbers:
            return self.numbers[written]
        digits = "".join(sign for sign in written if sign.isdigit())
        for number in self.numbers.values():
            if digits and digits == "".join(sign for sign in number["display_phone_number"] if sign.isdigit()):
                return number
        return None

    def portfolio(self, number: Record) -> str:
        return str(self.wabas[number["waba"]]["portfolio"])

    # What a token may see

    def token(self, presented: str | None) -> Record:
        if not presented:
            raise GraphError(104, status=400, title="An access token is required to request this resource.")
        record = self._tokens.get(presented)
        if record is None:
            raise GraphError(190)
        if not record["valid"]:
            raise GraphError(
                190,
                subcode=460,
                title="Error validating access token: The session has been invalidated because the user changed "
                "their password or Facebook has changed the session for security reasons.",
            )
        return record

    def visible_number(self, token: Record, id: str, verb: str) -> Record:
        number = self.numbers.get(id)
        if number is None or number["waba"] not in token["wabas"]:
            raise no_such_object(id, verb)
        return number

    def visible_waba(self, token: Record, id: str, verb: str) -> Record:
        if id not in self.wabas or id not in token["wabas"]:
            raise no_such_object(id, verb)
        return self.wabas[id]

    def revoke(self, token: str) -> None:
        with self._world.lock:
            record = self._tokens.get(token)
            if record is None:
                raise Refusal(f"There is no WhatsApp token {token[:12]!r}….", 404)
            record["valid"] = False
            self._tokens.touch(token)

    def renew(self, token: str) -> None:
        with self._world.lock:
            if (record := self._tokens.get(token)) is not None:
                record["valid"] = True
                self._tokens.touch(token)

    # Embedded signup

    def issue_code(self, waba: str) -> str:
        if waba not in self.wabas:
            raise Refusal(f"There is no WABA {waba!r}. There are: {', '.join(self.wabas)}.", 404)
        code = "sandbox-code-" + secrets.token_urlsafe(24)
        self._codes.put(code, {"waba": waba, "until": self._world.clock.time() + CODE_LIFE, "used": False})
        return code

    def exchange_code(self, code: Any) -> str:
        """A business token for the account the code was issued for. Once, within 30 s."""
        with self._world.lock:
            record = self._codes.get(code) if isinstance(code, str) else None
            if record is None:
                raise GraphError(100, subcode=36008, title="Invalid verification code format.")
            if record["used"]:
                raise GraphError(100, subcode=36009, title="This authorization code has been used.")
            if self._world.clock.time() > record["until"]:
                raise GraphError(100, subcode=36007, title="This authorization code has expired.")
            record["used"] = True
            self._codes.touch(code)
            token = "sandbox-business-token-" + secrets.token_urlsafe(24)
            self._tokens.put(token, {"token": token, "wabas": [record["waba"]], "valid": True, "scopes": SCOPES})
            return token

    # How fast a number may send

    def check_pace(self, number: Record, recipient: str) -> None:
        """Throughput is per number and second; a pair has a burst of 45 and then one message in 6 s."""
        with self._world.lock:
            per_second = float(number["throughput"])
            bucket = self._throughput.get(number["id"])
            if bucket is None or bucket.capacity != per_second:
                bucket = self._throughput[number["id"]] = Bucket(per_second, per_second)
            if not bucket.take():
                raise GraphError(130429)
            pair = self._pairs.setdefault((number["id"], recipient), Bucket(45, 1 / 6))
            if not pair.take():
                raise GraphError(131056)

    def forget_pace(self) -> None:
        with self._world.lock:
            self._throughput.clear()
            self._pairs.clear()


def shown_number(number: Record, waba: Record) -> dict[str, Any]:
    """Every field of a phone-number node; the caller picks."""
    return {
        "id": number["id"],
        "verified_name": number["verified_name"],
        "code_verification_status": "VERIFIED",
        "display_phone_number": number["display_phone_number"],
        "quality_rating": number["quality_rating"],
        "platform_type": "CLOUD_API" if number["registered"] else "NOT_APPLICABLE",
        "throughput": {"level": "HIGH" if number["throughput"] >= 1000 else "STANDARD"},
        "health_status": {
            "can_send_message": number["can_send"],
            "entities": [
                {"entity_type": "PHONE_NUMBER", "id": number["id"], "can_send_message": number["can_send"]},
                {"entity_type": "WABA", "id": waba["id"], "can_send_message": "AVAILABLE"},
                {"entity_type": "BUSINESS", "id": waba["portfolio"], "can_send_message": "AVAILABLE"},
                {"entity_type": "APP", "id": "0", "can_send_message": "AVAILABLE"},
            ],
        },
        "whatsapp_business_manager_messaging_limit": number["messaging_limit"],
        "name_status": "APPROVED",
        "status": "CONNECTED" if number["registered"] else "DISCONNECTED",
        "account_mode": "LIVE",
        "is_official_business_account": False,
        "is_on_biz_app": False,
        "is_pin_enabled": number["pin"] is not None,
    }
