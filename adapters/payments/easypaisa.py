"""Easypaisa (Easypay), Pakistan: a form in two steps, an IPN that proves nothing, an inquiry that tells the truth.

The form's hash is an encryption of its fields, not a signature, and nothing that comes back is signed. The IPN is a GET
with an address in it that we are meant to fetch. We never do: whoever knows our webhook could have us fetch anything.
The order's id is taken out of it, and Easypaisa is asked about that order by the inquiry. It comes only when money was
paid, so failure, expiry and reversal are seen by asking alone.

The inquiry's `responseCode` tells of the inquiry, `transactionStatus` of the payment. Its answers name a transaction in
some cases only, so a payment is known by our order id in all of them. Times are Pakistan's and say no zone.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from integration.errors import ConfigurationError, InvalidSignature, NotUnderstood, PermanentError, TransientError
from integration.events import Fact, PaymentChanged, PaymentHinted
from integration.ports import Account, AdapterConfig, Checkout, Field, PaymentAsked, WebhookRequest
from integration.settings import Setting, url
from integration.values import Money

from .. import gateways, http, signing
from ..gateways import said
from ..scans import PAKISTAN


class Easypaisa:
    """See integration.ports.PaymentAdapter, Gets and GoesOn."""

    name = "easypaisa"
    label = "Easypaisa"
    regions = ("PK",)
    website = "https://easypaisa.com.pk"
    credentials = (
        Field("store_id", "Store ID", "Easypay portal, store settings", secret=False),
        Field("hash_key", "Hash key", "Easypay portal, store settings: 16, 24 or 32 characters"),
        Field("username", "API user name", "Of the REST API; Easypaisa gives it on request"),
        Field("password", "API password", "Of the REST API"),
        Field("account_number", "Account number", "The number of your merchant account there", secret=False),
    )
    settings = (Setting("EASYPAISA_URL", "Easypaisa's host", "https://easypay.easypaisa.com.pk", url),)
    authenticates_by = "secret_url"
    handles = frozenset({"ipn", "inquiry"})
    ignores: frozenset[str] = frozenset()
    keeps = ()
    tells_by_get = True
    known_as = ("easypay", "easy paisa", "easypaisa wallet", "easypaisa mobile account", "telenor easypay")
    currencies = ("PKR",)
    shortest = timedelta(minutes=15)
    longest = timedelta(days=7)
    """No guide names a longest life of a checkout; a week is an assumption."""
    merchant_field = "store_id"
    webhook_help = "Easypay portal, account settings, IPN: switch it on and enter this as the address of its handler."

    statuses: dict[str, str] = {
        "PAID": "paid", "PENDING": "pending", "FAILED": "failed", "BLOCKED": "failed", "EXPIRED": "expired",
        "REVERSED": "refunded",
    }  # fmt: skip
    """No API refunds. That a refund made in the portal is seen as REVERSED, and is of all of it, is an assumption."""

    def __init__(self, config: AdapterConfig) -> None:
        self._url: str = config.settings["EASYPAISA_URL"]
        self._clock = config.clock
        where = re.escape(f"{self._url}/easypay-service/rest/v1/order-status/")
        self._order_status = re.compile(rf"{where}[A-Za-z0-9]{{1,64}}/({_REFERENCE})")

    # -- asking for money ----------------------------------------------------------------------------------------------

    def checkout(self, account: Account, asked: PaymentAsked) -> Checkout:
        """Without a call. That orderRefNum may hold a hyphen is an assumption."""
        fields = {
            "storeId": account.credentials["store_id"],
            "amount": _rupees(asked.amount),
            "postBackURL": asked.return_url,
            "orderRefNum": asked.reference,
            "expiryDate": asked.expires_at.astimezone(PAKISTAN).strftime("%Y%m%d %H%M%S"),
            "autoRedirect": "1",
        }
        fields["merchantHashedReq"] = hashed(fields, account.credentials["hash_key"])
        return Checkout(url=f"{self._url}/easypay/Index.jsf", fields=fields)

    def go_on(self, account: Account, query: Mapping[str, str], return_url: str) -> Checkout | None:
        """The first form comes back with a token that the second confirms. What comes back from that one (status, desc,
        orderRefNumber) is unsigned and proves nothing.
        """
        token = query.get("auth_token", "")
        if "status" in query or not re.fullmatch(r"[!-~]{1,512}", token):
            return None
        fields = {"auth_token": token, "postBackURL2": return_url}
        return Checkout(url=f"{self._url}/easypay/Confirm.jsf", fields=fields)

    def inquire(self, account: Account, reference: str, gateway_id: str) -> WebhookRequest | None:
        """The answer as it came, in an envelope that says what was asked about, and when."""
        given = account.credentials
        key = base64.b64encode(f"{given['username']}:{given['password']}".encode()).decode()
        response = http.read(
            "POST",
            f"{self._url}/easypay-service/rest/v4/inquire-transaction",
            json={"orderId": reference, "storeId": given["store_id"], "accountNum": given["account_number"]},
            headers={"Credentials": key},
        )
        code = said(http.object_of(response, self.label).get("responseCode"))
        if code == "0003":
            return None
        if code in _REFUSALS:
            raise ConfigurationError(_REFUSALS[code])
        if code != "0000":
            raise TransientError(f"Easypaisa could not look a payment up (code {code[:8] or 'missing'})", code=code[:8])
        return gateways.enclosed(response.content, reference, self._clock.now())

    # -- hearing of it -------------------------------------------------------------------------------------------------

    def verify(self, request: WebhookRequest, account: Account | None) -> None:
        """The address is the secret, and all it admits to is a hint. What looks like an answer of the inquiry does not
        come this way: those we fetch ourselves.
        """
        if _is_answer(request.body):
            raise InvalidSignature("Easypaisa tells us nothing but an address.")

    def delivery_key(self, request: WebhookRequest) -> str:
        try:
            envelope = gateways.body_of(request)
        except NotUnderstood:
            return signing.body_hash(request.body)
        told = ("responseCode", "transactionStatus", "transactionId", "transactionAmount")
        fields = gateways.part(envelope, "inquiry")
        return signing.body_hash(said(envelope.get("reference")), *(said(fields.get(name)) for name in told))

    def parse(self, request: WebhookRequest) -> list[Fact]:
        if _is_answer(request.body):
            return [self._answered(gateways.disclosed(gateways.body_of(request)))]
        return [PaymentHinted(order_ref=self._order_of(request.body))]

    def _order_of(self, query: bytes) -> str:
        """Our order id in the one address that Easypaisa may name. It is compared as text with the address that we know
        and never taken apart: what no parser reads, no parser can read otherwise.
        """
        try:
            named = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=20, errors="strict")
        except ValueError:
            raise NotUnderstood("an IPN that cannot be read") from None
        addresses = [value for name, value in named if name == "url"]
        found = self._order_status.fullmatch(addresses[0]) if len(addresses) == 1 else None
        if found is None:
            raise NotUnderstood("an IPN without the address of a payment at Easypaisa that was asked for here")
        return found[1]

    def _answered(self, answer: gateways.Answer) -> PaymentChanged:
        fields, reference = answer.said, answer.reference
        if said(fields.get("responseCode")) != "0000":
            raise NotUnderstood("an inquiry that was not answered")
        if not re.fullmatch(_REFERENCE, reference):
            raise NotUnderstood("an answer about no payment of ours")
        if said(fields.get("orderId")) not in ("", reference):
            raise NotUnderstood("an answer about another payment than was asked about")
        word = said(fields.get("transactionStatus"))
        if not word:
            raise NotUnderstood("an answer without a status")
        status = gateways.meaning(self.statuses, word)
        moves = status in ("paid", "refunded")
        return PaymentChanged(
            order_ref=reference,
            attempt_ref=reference,
            status=status,
            raw_status=word[:64],
            amount=_amount(fields.get("transactionAmount")) if moves else None,
            merchant=said(fields.get("storeId")),
            occurred_at=_paid_at(fields.get("transactionDateTime"), answer.at) if status == "paid" else answer.at,
        )


_REFERENCE = r"(?=[A-Za-z0-9-]{3,20}(?![A-Za-z0-9-]))[A-Za-z0-9]+-[A-Za-z0-9]+"
"""An order id that is a reference of ours, as a pattern."""

_REFUSALS = {
    "0004": "Easypaisa does not know this merchant account. Please check the account number and enter it again.",
    "0005": "Easypaisa says that this merchant account is not active. Please ask Easypaisa about it.",
    "0006": "Easypaisa does not know this store. Please check the store ID and enter it again.",
    "0007": "Easypaisa says that this store is not active. Please ask Easypaisa about it.",
    "0010": "Easypaisa does not accept these credentials. Please check them and enter them again.",
    "0023": "Easypaisa wants signed calls from this account. Please ask for one with a user name and a password.",
    "0024": "Easypaisa wants signed calls from this account. Please ask for one with a user name and a password.",
    "0025": "Easypaisa wants signed calls from this account. Please ask for one with a user name and a password.",
}
"""What the merchant can do about an inquiry that Easypaisa refuses, by its code. Which of 0004 and 0005, 0006 and 0007
means "not active" is an assumption.
"""


def hashed(fields: Mapping[str, str], hash_key: str) -> str:
    """merchantHashedReq: the fields that are not empty, by name, encrypted. Raises ConfigurationError."""
    key = hash_key.encode()
    if len(key) not in (16, 24, 32):
        raise ConfigurationError("Easypaisa's hash key has 16, 24 or 32 characters. Please enter it again.")
    text = "&".join(f"{name}={fields[name]}" for name in sorted(fields) if fields[name])
    pad = PKCS7(128).padder()
    padded = pad.update(text.encode()) + pad.finalize()
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - Easypaisa's choice
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()


def _rupees(money: Money) -> str:
    """`1500.0`, `1500.5`, `1500.55`: with one decimal at least, and no more than it needs. Raises PermanentError."""
    if money.currency != "PKR":
        raise PermanentError(f"Easypaisa takes PKR only, and this order is in {money.currency}.")
    if not 0 < money.amount < 10**10 or money.amount != round(money.amount, 2):
        raise PermanentError("Easypaisa takes amounts above nothing, in whole paisa.")
    whole, _, part = f"{money.amount:.2f}".partition(".")
    return f"{whole}.{part.rstrip('0') or '0'}"


def _is_answer(body: bytes) -> bool:
    """An answer of the inquiry is JSON, in our envelope; the query string of an IPN never begins so."""
    return body.startswith(b"{")


def _amount(value: Any) -> Money:
    """In rupees, a number or text. Raises NotUnderstood: a payment of an unknown amount would count in full."""
    money = gateways.money(value, "PKR")
    if money.amount != round(money.amount, 2):
        raise NotUnderstood("a payment with a part of a paisa")
    return money


def _paid_at(stamp: Any, told_at: datetime) -> datetime:
    """When it was paid, as far as that can be read; never after we were told."""
    try:
        at = datetime.strptime(said(stamp), "%d/%m/%Y %I:%M %p").replace(tzinfo=PAKISTAN).astimezone(UTC)
    except (ValueError, OverflowError):
        return told_at
    return min(at, told_at)


ADAPTER = Easypaisa
