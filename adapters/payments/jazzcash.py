"""JazzCash, Pakistan: a form that the customer's browser posts, an IPN that is signed field by field, a signed inquiry.

Nothing it tells us names an amount, so only our intent says how much a payment was. Times are Pakistan's and say no
zone. The IPN repeats the merchant's password; it is blanked before anything is kept. There are several generations of
hosts and paths (hosted form 1.1 and 2.0, REST, the orchestrator of 2026), so every address is a setting; the SOAP IPN
is not taken. An inquiry's answer names neither the payment nor a time: we put both around it.

The SecureHash covers the values in the order of their names, but not the names. The customer's browser sees the form
we signed, and whoever gives those values other names has a signed message. So none of them may look like a response
code, which are the three digits that make an IPN mean something: references begin with a letter, amounts have four
digits at least, and no text of ours holds the `&` that joins them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson

from integration.errors import ConfigurationError, InvalidSignature, NotUnderstood, PermanentError, TransientError
from integration.events import UNKNOWN, Fact, PaymentChanged
from integration.ports import Account, AdapterConfig, Checkout, Field, PaymentAsked, WebhookRequest
from integration.settings import Setting, url
from integration.values import Money

from .. import gateways, http, signing
from ..gateways import said
from ..scans import PAKISTAN

_STAMP = "%Y%m%d%H%M%S"
_HASH = "pp_SecureHash"
_LEAST, _MOST = Decimal(10), Decimal(10) ** 10
"""Rupees. The least is ours, see above; the most keeps the paisa within the field's digits."""

_VERSIONS = {"": "1.1", "MWALLET": "1.1", "OTC": "1.1", "MPAY": "2.0"}
"""The form's version by pp_TxnType. Without a type the customer chooses between wallet and voucher."""

_CARD = {
    "pp_IsRegisteredCustomer": "No",
    "pp_TokenizedCardNumber": "",
    "pp_CustomerID": "",
    "pp_CustomerEmail": "",
    "pp_CustomerMobile": "",
}
"""What version 2.0 has besides. That a customer who is not registered there may be left empty is an assumption."""

_SECRETS = frozenset({"pp_password", "pp_tokenizedcardnumber", "pp_cnic"})
"""Fields, in small letters, whose values open something."""


class JazzCash:
    """See integration.ports.PaymentAdapter, Redacts and Answers."""

    name = "jazzcash"
    label = "JazzCash"
    regions = ("PK",)
    website = "https://www.jazzcash.com.pk"
    credentials = (
        Field("merchant_id", "Merchant ID", "JazzCash portal, integration credentials", secret=False),
        Field("password", "Password", "JazzCash portal, integration credentials"),
        Field(
            "integrity_salt",
            "Integrity salt",
            "JazzCash portal, integration credentials. While you change it: the new one, a comma, the old one",
        ),
        Field("sub_merchant_id", "Sub merchant ID", "If JazzCash gave you one", secret=False, optional=True),
        Field("product_id", "Product ID", "If JazzCash gave you one, such as RETL", secret=False, optional=True),
        Field("bank_id", "Bank ID", "If JazzCash gave you one, such as TBANK", secret=False, optional=True),
        Field(
            "transaction_type",
            "Kind of payment",
            "MWALLET wallet only, OTC voucher only, MPAY cards; the customer chooses if left empty",
            secret=False,
            optional=True,
        ),
    )
    settings = (
        Setting("JAZZCASH_URL", "JazzCash's host", "https://payments.jazzcash.com.pk", url),
        Setting("JAZZCASH_INQUIRY_PATH", "its inquiry", "/ApplicationAPI/API/PaymentInquiry/Inquire"),
        Setting("JAZZCASH_FORM_PATH", "its hosted form", "/CustomerPortal/transactionmanagement/merchantform/"),
    )
    authenticates_by = "signature"
    handles = frozenset({"ipn", "inquiry"})
    ignores: frozenset[str] = frozenset()
    keeps = ()
    known_as = ("jazz cash", "jazzcash wallet", "jazzcash mobile account", "jazzcash mobile wallet")
    currencies = ("PKR",)
    shortest = timedelta(minutes=15)
    longest = timedelta(hours=24)
    """The guides disagree (three months, one day after); a day is within both."""
    merchant_field = "merchant_id"
    webhook_help = "JazzCash portal, integration settings: enter it as the address of REST IPNs (not of SOAP ones)."

    statuses: dict[str, str] = {
        "000": "paid", "121": "paid", "200": "paid",
        "124": "pending", "157": "pending", "210": "pending",
        "112": "cancelled", "116": "expired",
        "129": "failed", "134": "failed", "058": "failed", "403": "failed",
        "002": "failed", "003": "failed", "004": "failed", "024": "failed", "060": "failed", "405": "failed",
        "453": "failed", "105": "failed", "106": "failed", "107": "failed",
        "101": "failed", "109": "failed", "110": "failed", "111": "failed", "115": "failed", "117": "failed",
        "199": "failed", "999": "failed", "401": "failed", "406": "failed", "407": "failed", "055": "failed",
        "062": "failed",
        "122": "refunded", "131": "refunded", "126": "disputed", "128": "disputed",
    }  # fmt: skip
    """Response codes as an IPN means them. 122 and 131 name no amount; that they are of all of it is an assumption.
    119, 132, 451, 452, 454 and 455 speak of refunds that are not done (awaited or refused). They leave the money where
    it is, so they stay unknown and nothing follows from them.
    """
    unclear = frozenset({"199", "999", "401", "406", "407", "055", "062"})
    """Final in an IPN; in an answer of the inquiry they can be an outage as well, so there they end nothing."""
    phrases: dict[str, str] = {
        "Pending": "pending", "Completed": "paid",
        "Dropped": "failed", "Failed": "failed", "Validation Failed": "failed",
    }  # fmt: skip
    """pp_Status of an inquiry, said beside the code."""

    def __init__(self, config: AdapterConfig) -> None:
        self._form: str = config.settings["JAZZCASH_URL"] + config.settings["JAZZCASH_FORM_PATH"]
        self._inquiry: str = config.settings["JAZZCASH_URL"] + config.settings["JAZZCASH_INQUIRY_PATH"]
        self._clock = config.clock

    # -- asking for money ----------------------------------------------------------------------------------------------

    def checkout(self, account: Account, asked: PaymentAsked) -> Checkout:
        """Without a call: all JazzCash wants is in the form. The password is one of its fields, by their design."""
        given, kind = account.credentials, account.credentials.get("transaction_type", "").strip().upper()
        if kind not in _VERSIONS:
            raise ConfigurationError("JazzCash's kind of payment is MWALLET, OTC or MPAY, or empty. Please correct it.")
        named = _named(asked.reference)
        expires_at = min(asked.expires_at, asked.at + self.longest)
        fields = {
            "pp_Version": _VERSIONS[kind],
            "pp_TxnType": kind,
            "pp_Language": "EN",
            "pp_MerchantID": given["merchant_id"],
            "pp_SubMerchantID": given.get("sub_merchant_id", ""),
            "pp_Password": given["password"],
            "pp_BankID": given.get("bank_id", ""),
            "pp_ProductID": given.get("product_id", ""),
            "pp_TxnRefNo": named,
            "pp_Amount": _paisa(asked.amount),
            "pp_TxnCurrency": "PKR",
            "pp_TxnDateTime": asked.at.astimezone(PAKISTAN).strftime(_STAMP),
            "pp_BillReference": named,
            "pp_Description": _plain(f"Order {asked.order_name} {asked.store_name}"),
            "pp_TxnExpiryDateTime": expires_at.astimezone(PAKISTAN).strftime(_STAMP),
            "pp_ReturnURL": asked.return_url,
            **(_CARD if kind == "MPAY" else {}),
        }
        return Checkout(url=self._form, fields=_signed(fields, account))

    def inquire(self, account: Account, reference: str, gateway_id: str) -> WebhookRequest | None:
        """The answer without its secrets, in an envelope with what it lacks: whose it is, and when it was given."""
        given = account.credentials
        asked = {
            "pp_TxnRefNo": _named(reference),
            "pp_MerchantID": given["merchant_id"],
            "pp_Password": given["password"],
        }
        response = http.read("POST", self._inquiry, json=_signed(asked, account))
        if b"Request Rejected" in response.content[:4096]:
            raise ConfigurationError(
                "JazzCash's firewall turned us away. Please ask JazzCash to put this server's IP on its allow-list."
            )
        answer = http.object_of(response, self.label)
        code = said(answer.get("pp_ResponseCode"))
        if code == "109":
            return None
        if code in _REFUSALS:
            raise ConfigurationError(_REFUSALS[code])
        if code != "000":
            raise TransientError(f"JazzCash could not look a payment up (code {code[:8] or 'missing'})", code=code[:8])
        return gateways.enclosed(self.redacted(response.content), reference, self._clock.now())

    # -- hearing of it -------------------------------------------------------------------------------------------------

    def verify(self, request: WebhookRequest, account: Account | None) -> None:
        try:
            body = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            body = None
        if not isinstance(body, dict) or account is None:
            raise InvalidSignature("This is not signed as JazzCash signs.")
        text = _signed_text(body)
        given = body.get(_HASH)
        signing.require(
            given.lower() if isinstance(given, str) else "",
            [signing.hmac_hex(salt, f"{salt}&{text}".encode()) for salt in _salts(account)],
        )

    def taken(self, account: Account) -> tuple[int, str]:
        """A signed yes. Without one within 60 seconds JazzCash sends the IPN twice more."""
        yes = {"pp_ResponseCode": "000", "pp_ResponseMessage": "IPN received successfully"}
        return 200, json.dumps(_signed(yes, account))

    def redacted(self, body: bytes) -> bytes:
        """The body with its secret fields empty, wherever they are in it; all else and the order of it is kept."""
        try:
            without = json.loads(body, object_hook=_without_secrets)
            return json.dumps(without, ensure_ascii=False).encode("utf-8", "replace")
        except (ValueError, RecursionError):
            return b""  # what cannot be read cannot be verified either, and nobody knows what it holds

    def delivery_key(self, request: WebhookRequest) -> str:
        """Not of the whole body: a repeated IPN may be worded otherwise, and is the same one."""
        try:
            body = gateways.body_of(request)
        except NotUnderstood:
            return signing.body_hash(request.body)
        kind, named, fields = ("ipn", body.get("pp_TxnRefNo"), body)
        if not _is_ipn(body):
            kind, named, fields = ("inquiry", body.get("reference"), gateways.part(body, "inquiry"))
        told = ("pp_ResponseCode", "pp_PaymentResponseCode", "pp_Status")
        return signing.body_hash(kind, said(named), *(said(fields.get(name)) for name in told), _retrieval(fields))

    def parse(self, request: WebhookRequest) -> list[Fact]:
        body = gateways.body_of(request)
        if _is_ipn(body):  # asked first: what was verified is one, whatever unsigned fields stand beside it
            return [self._told(body)]
        return [self._answered(gateways.disclosed(body))]

    def _told(self, body: dict[str, Any]) -> PaymentChanged:
        code = said(body.get("pp_ResponseCode"))
        if not code:
            raise NotUnderstood("an IPN without a response code")
        named = said(body.get("pp_TxnRefNo"))
        return PaymentChanged(
            order_ref=_reference(named),
            attempt_ref=named,
            status=gateways.meaning(self.statuses, code),
            raw_status=code[:64],
            merchant=said(body.get("pp_MerchantID")),
            occurred_at=_moment(said(body.get("pp_TxnDateTime"))),
        )

    def _answered(self, answer: gateways.Answer) -> PaymentChanged:
        """pp_ResponseCode tells of the inquiry, pp_PaymentResponseCode of the payment."""
        fields = answer.said
        if said(fields.get("pp_ResponseCode")) != "000":
            raise NotUnderstood("an inquiry that was not answered")
        try:
            named = _named(answer.reference)
        except PermanentError:
            raise NotUnderstood("an answer about no payment of ours") from None
        if said(fields.get("pp_TxnRefNo")) not in ("", named):
            raise NotUnderstood("an answer about another payment than was asked about")
        code, word = said(fields.get("pp_PaymentResponseCode")), said(fields.get("pp_Status"))
        return PaymentChanged(
            order_ref=answer.reference,
            attempt_ref=named,
            status=self._meaning(code, word),
            raw_status=(code or word)[:64],
            merchant=said(fields.get("pp_MerchantID")),
            occurred_at=answer.at,
        )

    def _meaning(self, code: str, word: str) -> str:
        """What code and pp_Status of an inquiry come to; where they contradict each other, nothing."""
        spoken = gateways.meaning(self.phrases, word)
        if code in self.unclear:
            return "pending" if spoken == "pending" else UNKNOWN
        if not code:
            return spoken if spoken in ("pending", "failed") else UNKNOWN  # paid needs a code to say so
        status = gateways.meaning(self.statuses, code)
        if status in ("refunded", "disputed", UNKNOWN):
            return status
        if not word:
            return status if status != "paid" or code == "121" else UNKNOWN
        ended = "failed" if status in ("expired", "cancelled") else status
        return status if spoken == ended else UNKNOWN


_REFUSALS = {
    "101": "JazzCash does not accept these credentials. Please check them and enter them again.",
    "110": "JazzCash takes something of these credentials for invalid. Please check them and enter them again.",
    "111": "JazzCash does not allow this account to ask about payments. Please ask JazzCash to switch inquiries on.",
    "115": "JazzCash does not accept our signature. Please check the integrity salt and enter it again.",
    "117": "JazzCash does not allow this sub merchant. Please check its ID and enter it again.",
}
"""What the merchant can do about an inquiry that JazzCash refuses, by its code."""


# -- the hash --------------------------------------------------------------------------------------------------------


def _signed_text(fields: Mapping[str, Any]) -> str:
    """What is signed: the values of all fields whose names begin with `pp`, by name, without the empty ones. Raises
    InvalidSignature for a value that has no text of its own. That an IPN's hash leaves nulls out is an assumption.
    """
    values = []
    for name in sorted(name for name in fields if name.startswith("pp") and name != _HASH):
        value = fields[name]
        if value is None or value == "":
            continue
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise InvalidSignature("A signed field is no text.")
        values.append(str(value))
    return "&".join(values)


def _signed(fields: Mapping[str, str], account: Account) -> dict[str, str]:
    salt = next(iter(_salts(account)), "")
    if not salt:
        raise ConfigurationError("JazzCash needs its integrity salt. Please enter it.")
    digest = signing.hmac_hex(salt, f"{salt}&{_signed_text(fields)}".encode())
    return {**fields, _HASH: digest.upper()}  # in the official samples it is upper case


def _salts(account: Account) -> list[str]:
    """The newest first: that one signs."""
    return [salt for part in account.credentials.get("integrity_salt", "").split(",") if (salt := part.strip())]


def _is_ipn(body: Mapping[str, Any]) -> bool:
    return any(name.startswith("pp") for name in body)


def _without_secrets(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: "" if name.casefold() in _SECRETS else value for name, value in fields.items()}


# -- fields ----------------------------------------------------------------------------------------------------------

_OURS = re.compile(r"(?=.{3,20}\Z)([A-Za-z0-9]+)-([A-Za-z0-9]+)")


def _named(reference: str) -> str:
    """Our reference as pp_TxnRefNo, which takes letters and digits only and 20 of them: instead of its hyphen a letter
    before it says how many characters stood after that. `1001-1` is `A10011`, `1001-12` is `B100112`. Raises
    PermanentError.
    """
    found = _OURS.fullmatch(reference)
    if found is None:
        raise PermanentError("JazzCash takes references of at most 20 letters and digits.")
    return chr(ord("A") + len(found[2]) - 1) + found[1] + found[2]


def _reference(named: str) -> str:
    """Our reference behind a pp_TxnRefNo. Raises NotUnderstood for one that we cannot have given."""
    behind = ord(named[0]) - ord("A") + 1 if named and "A" <= named[0] <= "Z" else 0
    reference = f"{named[1:-behind]}-{named[-behind:]}" if behind else ""
    if not _OURS.fullmatch(reference) or _named(reference) != named:
        raise NotUnderstood("a payment that was not asked for here")
    return reference


def _paisa(money: Money) -> str:
    """Raises PermanentError."""
    if money.currency != "PKR":
        raise PermanentError(f"JazzCash takes PKR only, and this order is in {money.currency}.")
    if not _LEAST <= money.amount < _MOST:
        raise PermanentError(f"JazzCash is asked for Rs {_LEAST} at least, and not for more than it can take.")
    return str(gateways.minor_units(money, JazzCash.label))


def _plain(text: str) -> str:
    """Text that JazzCash leaves as it is: it makes spaces of many signs, and then the hash no longer fits."""
    return " ".join(re.sub(r"[^A-Za-z0-9 .,-]", " ", text).split())[:100].strip()


def _retrieval(fields: Mapping[str, Any]) -> str:
    """The retrieval number, which some messages spell wrong."""
    return said(fields.get("pp_RetreivalReferenceNo")) or said(fields.get("pp_RetrievalReferenceNo"))


def _moment(stamp: str) -> datetime:
    try:
        if not (len(stamp) == 14 and stamp.isascii() and stamp.isdecimal()):
            raise ValueError
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=PAKISTAN).astimezone(UTC)
    except (ValueError, OverflowError):
        raise NotUnderstood("an IPN whose time cannot be read") from None


ADAPTER = JazzCash
