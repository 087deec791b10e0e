"""JazzCash: a signed form that the customer's browser posts, a signed form back, a signed notification without any
amount, and an inquiry that tells how it stands.

Times are Pakistan's, amounts digits of paisa. A field set wrongly sorted, an empty field signed, a UTC time: each is
refused with a code. A transaction is one attempt: one that failed stays so, unless the money comes late.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
from flask import Response, g, request

from sandbox.answers import as_json
from sandbox.delivery import Outgoing, Policy
from sandbox.gateways.gateway import (
    DIGITS,
    DISPUTED,
    EXPIRED,
    FAILED,
    LATE,
    OPEN,
    PAID,
    PKT,
    REFUNDED,
    Gateway,
    Rule,
    hexed,
    json_body,
    posted,
    proves,
    stamp,
    text_of,
)
from sandbox.world import Record

LONGEST_REFERENCE = 20
FORM = "%Y%m%d%H%M%S"
AHEAD = timedelta(days=1)  # how long a transaction may live by the guide of 2026
ASTRAY = timedelta(hours=1)  # assumed: how far pp_TxnDateTime may be from JazzCash's own clock
BECOME_SPACES = re.compile(r"""[<>*=%/:'|"{}]""")
REQUIRED = (
    "pp_Version", "pp_Language", "pp_TxnRefNo", "pp_Amount", "pp_TxnCurrency", "pp_TxnDateTime", "pp_BillReference",
    "pp_Description", "pp_TxnExpiryDateTime", "pp_ReturnURL",
)  # fmt: skip
TYPES = {"1.1": ("", "MWALLET", "OTC"), "2.0": ("", "MPAY", "MWALLET")}  # assumed: that 2.0 takes wallets too

# state -> the code and words that say so by notification or inquiry, and the inquiry's pp_Status
TOLD = {
    OPEN: ("157", "Transaction is pending.", "Pending"),
    PAID: ("121", "Transaction has been marked confirmed by Merchant.", "Completed"),
    FAILED: ("405", "Your account does not have sufficient balance.", "Failed"),  # assumed: which of the codes it is
    EXPIRED: ("116", "Transaction has expired.", "Dropped"),
    REFUNDED: ("131", "Transaction is refunded.", "Completed"),
    DISPUTED: ("126", "Transaction is in dispute.", "Completed"),
}
DONE = "Thank you for Using JazzCash, your operation successfully completed."
FAULTS = {
    "101": "Invalid merchant credentials.",
    "109": "The requested transaction does not exist.",
    "115": "Please provide a valid value for pp_SecureHash.",
}


def secure_hash(fields: Mapping[str, Any], salt: str) -> str:
    """Of all fields whose names begin with pp: the values that are not empty, sorted by name, after the salt."""
    names = sorted(name for name in fields if name.startswith("pp") and name != "pp_SecureHash")
    text = "&".join([salt, *(str(fields[name]) for name in names if fields[name] not in (None, ""))])
    return hexed(salt.encode(), text.encode()).upper()


class JazzCash(Gateway):
    name = "jazzcash"
    title = "JazzCash"
    account = {
        "merchant_id": "MC00001",
        "password": "sandbox-jazz-pass",
        "integrity_salt": "sandboxsalt",
    }
    secret = "integrity_salt"
    currencies = ("PKR",)
    outcomes = (PAID, FAILED, EXPIRED, LATE, REFUNDED, DISPUTED)  # of a part it has no code
    states = frozenset({"reference"})
    says = {PAID: ("IPN",), FAILED: ("IPN",)}  # all else is only seen by inquiry
    tries_again = False

    def policy(self) -> Policy:
        # real: 60 s to answer, then twice more
        return Policy(self.name, 1, 60.0, range(200, 201), 2, self.world.settings.gateway_first_retry, 60.0)

    def api(self) -> Sequence[Rule]:
        return [("POST", "/ApplicationAPI/API/PaymentInquiry/Inquire", self.inquire)]

    def pages(self) -> Sequence[Rule]:
        path = "/CustomerPortal/transactionmanagement/merchantform"
        return [("POST", f"{path}/", self.form), ("POST", path, self.form)]

    @property
    def _salt(self) -> str:
        return self.account["integrity_salt"]

    # The form

    def form(self) -> Response:
        fields = dict(request.form)
        if (fields.get("pp_MerchantID"), fields.get("pp_Password")) != (
            self.account["merchant_id"],
            self.account["password"],
        ):
            return self.trouble("101", FAULTS["101"])
        said = fields | {"pp_Description": BECOME_SPACES.sub(" ", fields.get("pp_Description", ""))}
        if not proves(fields.get("pp_SecureHash"), secure_hash(said, self._salt)):
            return self.trouble("115", FAULTS["115"])
        self.pass_time()
        wrong = self._wrong(said)
        if wrong:
            # assumed: with a right hash the browser is sent back, as with any other result
            sentence = f"Please provide a valid value for {wrong}."
            if not fields.get("pp_ReturnURL", "").startswith(("http://", "https://")):
                return self.trouble("110", sentence)
            return self._back(said, "110", sentence, "", "")
        checkout = self.open(
            said["pp_TxnRefNo"],
            said["pp_TxnRefNo"],
            Decimal(said["pp_Amount"]) / 100,
            said["pp_TxnCurrency"],
            description=said["pp_Description"],
            return_url=said["pp_ReturnURL"],
            expires=int(_time(said["pp_TxnExpiryDateTime"]).timestamp()),  # type: ignore[union-attr]
            fields={name: value for name, value in said.items() if name.startswith("pp")},
        )
        return self.shown(checkout)

    def _wrong(self, said: Record) -> str:
        """The field that is not as it should be; empty when all are."""
        for name in REQUIRED:
            if not said.get(name):
                return name
        if said["pp_Version"] not in TYPES:
            return "pp_Version"
        if said.get("pp_TxnType", "") not in TYPES[said["pp_Version"]]:
            return "pp_TxnType"
        if not re.fullmatch(r"[1-9]\d{0,11}", said["pp_Amount"], re.ASCII):
            return "pp_Amount"
        if said["pp_TxnCurrency"] != "PKR":
            return "pp_TxnCurrency"
        if not re.fullmatch(r"[A-Za-z0-9]+", said["pp_BillReference"]):
            return "pp_BillReference"
        # assumed: letters and digits only, as in every public sample; and that a used one is answered like a wrong one
        reference = said["pp_TxnRefNo"]
        if not re.fullmatch(rf"[A-Za-z0-9]{{1,{LONGEST_REFERENCE}}}", reference) or self.by_reference(reference):
            return "pp_TxnRefNo"
        begun, expires, now = _time(said["pp_TxnDateTime"]), _time(said["pp_TxnExpiryDateTime"]), self.world.clock.now()
        if begun is None or abs(begun - now) > ASTRAY:
            return "pp_TxnDateTime"
        if expires is None or not begun < expires <= begun + AHEAD:
            return "pp_TxnExpiryDateTime"
        return ""

    def returned(self, checkout: Record, outcome: str) -> Response:
        payment = self.payment(checkout) or self.new_payment()
        code, words = ("000", DONE) if outcome == PAID else TOLD[outcome][:2]
        return self._back(checkout["fields"], code, words, payment["auth"], payment["id"])

    def _back(self, fields: Record, code: str, words: str, auth: str, retrieval: str) -> Response:
        sent = {
            **{f"ppmpf_{n}": fields.get(f"ppmpf_{n}", "") for n in range(1, 6)},
            "pp_Version": fields.get("pp_Version", ""),
            "pp_TxnType": fields.get("pp_TxnType") or "MWALLET",
            "pp_Language": fields.get("pp_Language", ""),
            "pp_MerchantID": self.account["merchant_id"],
            "pp_SubMerchantId": fields.get("pp_SubMerchantID", ""),
            "pp_TxnRefNo": fields.get("pp_TxnRefNo", ""),
            "pp_Amount": fields.get("pp_Amount", ""),
            "pp_TxnCurrency": fields.get("pp_TxnCurrency", ""),
            "pp_TxnDateTime": fields.get("pp_TxnDateTime", ""),
            "pp_BillReference": fields.get("pp_BillReference", ""),
            "pp_BankID": fields.get("pp_BankID", ""),
            "pp_ResponseCode": code,
            "pp_ResponseMessage": words,
            "pp_AuthCode": auth,
            "pp_RetreivalReferenceNo": retrieval,  # spelt so here and in the notification, and right in the inquiry
            "pp_SettlementExpiry": "",
        }
        return posted(fields["pp_ReturnURL"], sent | {"pp_SecureHash": secure_hash(sent, self._salt)}, self.title)

    def new_payment(self) -> Record:
        day = stamp(self.now(), "%y%m%d", PKT)
        return {"id": self.code(day, 6, DIGITS), "auth": self.code("0", 11, DIGITS)}

    # The notification

    def pushed(self, checkout: Record, event: str, address: str, forged: bool) -> Outgoing:
        payment, fields = self.payment(checkout), checkout["fields"]
        assert payment is not None
        code, words, _ = TOLD[payment["state"]]
        said: Record = {
            "pp_Version": fields["pp_Version"],
            "pp_TxnType": fields.get("pp_TxnType") or "MWALLET",
            "pp_BankID": fields.get("pp_BankID") or None,
            "pp_ProductID": fields.get("pp_ProductID") or None,
            "pp_Password": self.account["password"],
            "pp_TxnRefNo": checkout["reference"],
            "pp_TxnDateTime": fields["pp_TxnDateTime"],
            "pp_ResponseCode": code,
            "pp_ResponseMessage": words,
            "pp_AuthCode": payment["auth"],
            "pp_SettlementExpiry": None,
            "pp_RetreivalReferenceNo": payment["id"],
        }
        said["pp_SecureHash"] = secure_hash(said, self.key(forged).decode())
        headers = [("Content-Type", "application/json")]
        return Outgoing(address, headers, orjson.dumps(said), f"IPN {code} of {checkout['reference']}")

    def taken(self, body: bytes) -> bool:
        """It wants JSON with code 000, signed by the merchant."""
        try:
            said = orjson.loads(body)
        except ValueError:
            return False
        if not isinstance(said, dict) or said.get("pp_ResponseCode") != "000":
            return False
        return proves(said.get("pp_SecureHash"), secure_hash(said, self._salt))

    # The inquiry

    def inquire(self) -> Response:
        asked = json_body() or {}
        g.what = f"inquiry after {text_of(asked.get('pp_TxnRefNo'))[:40]}"
        if (asked.get("pp_MerchantID"), asked.get("pp_Password")) != (
            self.account["merchant_id"],
            self.account["password"],
        ):
            return self._answer("101", FAULTS["101"])
        if not proves(asked.get("pp_SecureHash"), secure_hash(asked, self._salt)):
            return self._answer("115", FAULTS["115"])
        self.pass_time()
        checkout = self.by_reference(asked.get("pp_TxnRefNo"))
        if checkout is None:
            return self._answer("109", FAULTS["109"])
        return self._answer("000", DONE, checkout)

    def _answer(self, code: str, words: str, checkout: Record | None = None) -> Response:
        """000 says that the inquiry worked, and nothing of the payment. No amount, and not whose it is."""
        state = checkout["state"] if checkout else ""
        told, sentence, status = TOLD.get(state, ("", "", ""))
        payment = self.payment(checkout) if checkout else None
        said = {
            "pp_BankID": "",
            "pp_Status": status,
            "pp_AuthCode": payment["auth"] if payment else "",
            "pp_ProductID": "",
            "pp_ResponseCode": code,
            "pp_SettlementDate": stamp(payment["at"], FORM, PKT) if payment and payment["state"] == PAID else "",
            "pp_ResponseMessage": words,
            "pp_SettlementExpiry": "",
            "pp_PaymentResponseCode": told,
            "pp_RetrievalReferenceNo": payment["id"] if payment else "",
            "pp_PaymentResponseMessage": sentence,
        }
        return as_json(said | {"pp_SecureHash": secure_hash(said, self._salt) if checkout else ""})


def _time(text: str) -> datetime | None:
    """A time as JazzCash writes them: Pakistan's, without saying so."""
    try:
        return datetime.strptime(text, FORM).replace(tzinfo=PKT) if len(text) == 14 else None
    except ValueError:
        return None
