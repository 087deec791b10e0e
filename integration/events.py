"""The facts adapters state: what happened, in our words, with the vendor's own words kept beside them.

Past participle, keyword-only, aware UTC times, Decimal money. A fact decides nothing. A vendor's word that no table
knows becomes `UNKNOWN` with the raw text kept; nothing may act on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .values import Address, Money

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One line of an order, as ordered."""

    external_id: str
    title: str
    quantity: int
    sku: str = ""
    variant: str = ""
    price: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParcelSeen:
    """A parcel as the store knows it: enough to tell that goods left, not a courier's scan."""

    external_id: str
    status: str
    raw_status: str = ""
    courier: str = ""
    tracking_number: str = ""
    tracking_url: str = ""
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderChanged:
    """An order as a store described it at `occurred_at` (the vendor's own modification time).

    `payment` and `fulfilment` are words of orders.PAYMENT / orders.FULFILMENT, `UNKNOWN`, or empty for "nothing
    said"; `fulfilment` may also be `completed`, of which the merchant decides what it says about the goods.
    `gateways` are the store's names of the payment method, from which the core decides whether this is cash on
    delivery. `phones` are raw, best first. `consents` holds (purpose, state, wording) of boxes ticked at the
    checkout.
    """

    external_id: str
    name: str
    occurred_at: datetime
    placed_at: datetime
    total: Money
    outstanding: Money | None = None
    payment: str
    raw_payment: str = ""
    fulfilment: str
    raw_fulfilment: str = ""
    gateways: tuple[str, ...] = ()
    manual_gateway: bool | None = None
    cancelled_at: datetime | None = None
    cancel_reason: str = ""
    draft: bool = False
    test: bool = False
    tags: tuple[str, ...] = ()
    locale: str = ""
    customer_id: str = ""
    customer_name: str = ""
    email: str = ""
    phones: tuple[str, ...] = ()
    address: Address = field(default_factory=Address)
    items: tuple[Item, ...] = ()
    parcels: tuple[ParcelSeen, ...] = ()
    consents: tuple[tuple[str, str, str], ...] = ()
    origin: str = ""
    """The platform's own id of the shop this order belongs to, where the body states it: a signed body replayed under
    another shop's name is recognised by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRemoved:
    """The store threw the order away (trash). It says nothing about the goods, so nobody is told."""

    external_id: str
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentChanged:
    """What a payment gateway said about money that was asked for.

    `order_ref` is what the gateway calls what we asked for: the reference of our intent (`1001-1`). `checkout_ref` is
    the gateway's own id of its checkout or link, `attempt_ref` its id of the one payment; either may be empty, and of
    a gateway that names payments only in some of its messages `attempt_ref` is always what all of them hold. `status`
    is a word of money.SAID or `UNKNOWN`. `amount` is what the status speaks of: what was paid, or all that was paid
    back so far; None where the gateway states none, and then only our intent says how much it was. `merchant` is whom
    it says it was paid to, in the gateway's own terms; empty where it says nothing of that.
    """

    order_ref: str
    attempt_ref: str
    status: str
    raw_status: str = ""
    amount: Money | None = None
    checkout_ref: str = ""
    merchant: str = ""
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentHinted:
    """Somebody says, without proof, that something became of a payment: a reason to ask the gateway, and no more."""

    order_ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipmentScanned:
    """One scan of one parcel by its courier. `status` and `reason` are words of parcels.STATUSES or
    REMARKS and parcels.REASONS."""

    tracking_number: str
    status: str
    reason: str = ""
    raw_code: str = ""
    raw_text: str = ""
    location: str = ""
    occurred_at: datetime
    order_ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who is at the other end of a chat. A username-only customer has no phone; ids are opaque, never split."""

    phone: str | None = None
    user_id: str | None = None
    channel_id: str | None = None
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReceived:
    """A customer wrote, tapped or sent something.

    `kind`: text, button, list, media, reaction, location, order, referral-less unknowns as `unsupported`.
    `payload` is the id we gave the button or row; `context` the vendor's id of the message answered.
    """

    person: Person
    vendor_id: str
    kind: str
    text: str = ""
    payload: str = ""
    context: str = ""
    media: Mapping[str, Any] | None = None
    referral: Mapping[str, Any] | None = None
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEchoed:
    """The merchant wrote to a customer from the phone app. Stored, so that people and journeys know."""

    person: Person
    vendor_id: str
    text: str = ""
    kind: str = "text"
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStatusChanged:
    """What became of a message of ours. `reference` is what we sent along; it is how a lost answer is settled."""

    vendor_id: str
    reference: str = ""
    status: str
    error_code: str = ""
    error_text: str = ""
    person: Person | None = None
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonChanged:
    """A customer's number or id changed: `old` and `new` are the same person."""

    old: Person
    new: Person
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceStated:
    """A customer used the messenger's own switch to stop or resume marketing."""

    person: Person
    purpose: str
    granted: bool
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateChanged:
    """The channel's verdict on a template. Fields that are None were not said."""

    vendor_id: str
    name: str
    language: str
    status: str | None = None
    category: str | None = None
    quality: str | None = None
    reason: str = ""
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelChanged:
    """Something about the sending number or account. `healthy=None` is news without a verdict."""

    healthy: bool | None
    sentence: str
    details: Mapping[str, Any] = field(default_factory=dict)
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUninstalled:
    """The merchant removed the app at `occurred_at`."""

    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAccessBroken:
    """The store itself tells us that our access no longer works."""

    sentence: str
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopesChanged:
    """The merchant granted or took back permissions."""

    scopes: tuple[str, ...]
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyRequested:
    """A privacy law request: `kind` is export, erase_customer or erase_store."""

    kind: str
    customer_id: str = ""
    email: str = ""
    phone: str = ""
    order_ids: tuple[str, ...] = ()
    request_id: str = ""
    occurred_at: datetime


Fact = (
    OrderChanged
    | OrderRemoved
    | PaymentChanged
    | PaymentHinted
    | ShipmentScanned
    | MessageReceived
    | MessageEchoed
    | MessageStatusChanged
    | PersonChanged
    | PreferenceStated
    | TemplateChanged
    | ChannelChanged
    | StoreUninstalled
    | StoreAccessBroken
    | ScopesChanged
    | PrivacyRequested
)
