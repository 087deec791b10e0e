"""What an adapter is: the contract between the house and its vendors.

An adapter speaks one vendor's wire format: wire format in, facts out; intent in, wire format out. It owns no database,
knows no Flask and decides nothing. It lives in one module under adapters/<room>/ that ends with `ADAPTER = TheClass`;
that line is the registration. Optional powers are protocols the core asks for with `isinstance`, never flags.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

from .clock import Clock
from .events import UNKNOWN, Fact
from .settings import Setting
from .values import Address, Money

ROOMS = ("stores", "channels", "couriers", "payments")


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """One request as it arrived: header names in lower case, the raw body, the query. A fixture is just this."""

    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str:
        return self.headers.get(name, "")


@dataclass(frozen=True, slots=True)
class Field:
    """One credential a merchant gives. The UI draws it, the vault encrypts it when `secret`."""

    name: str
    label: str
    help: str = ""
    secret: bool = True
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """A merchant's account at a vendor: its name there (shop domain, site URL, number id) and what opens it."""

    name: str
    credentials: Mapping[str, str] = field(repr=False, default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """What an adapter is built with: the settings it declared, and the clock."""

    settings: Mapping[str, Any]
    clock: Clock
    public_url: str
    trusted_origins: tuple[str, ...] = ()
    send_timeout: float = 30.0
    """Seconds a send may take; less than the lease under which it is made."""


class Adapter(Protocol):
    """What every vendor module provides."""

    name: str
    label: str
    regions: tuple[str, ...]
    website: str
    credentials: tuple[Field, ...]
    settings: tuple[Setting, ...]
    authenticates_by: str
    """signature, secret_url or basic: how a webhook proves where it comes from."""
    handles: frozenset[str]
    """Event types that become facts."""
    ignores: frozenset[str]
    """Event types that are stored and mean nothing to us (yet). Any other type is NotUnderstood."""
    keeps: tuple[str, ...]
    """Headers (lower case) worth keeping with a stored request. Never credentials."""

    def __init__(self, config: AdapterConfig) -> None: ...

    def verify(self, request: WebhookRequest, account: Account | None) -> None:
        """Returns nothing, or raises InvalidSignature. `account` is None at an app-wide endpoint."""

    def delivery_key(self, request: WebhookRequest) -> str:
        """Stable across redeliveries of one request, distinct between requests. At most 128 characters."""

    def parse(self, request: WebhookRequest) -> list[Fact]:
        """Pure: no clock, network, database or log. An ignored type is [], anything unreadable NotUnderstood."""


@runtime_checkable
class AppWide(Protocol):
    """One endpoint for all tenants: the request itself names the account."""

    def split(self, request: WebhookRequest) -> list[tuple[str, bytes]]:
        """(account name, body for that account) pairs. Raises NotUnderstood when the body names nobody readable."""


@runtime_checkable
class Pings(Protocol):
    """Sends unsigned pings that must be answered 200 and mean nothing."""

    def is_ping(self, request: WebhookRequest) -> bool: ...


@runtime_checkable
class Answers(Protocol):
    """Takes only an answer of its own for a yes, where other vendors are content with an empty 200."""

    def taken(self, account: Account) -> tuple[int, str]:
        """Status and body of the answer to a request that is stored."""


@runtime_checkable
class Gets(Protocol):
    """Tells us by GET: what it says is in the address. Its requests have the query string, as it came, for a body."""

    tells_by_get: bool


@runtime_checkable
class Redacts(Protocol):
    """Repeats a secret in what it tells us. It is taken out before a request is kept, after it was verified."""

    def redacted(self, body: bytes) -> bytes: ...


@runtime_checkable
class Challenges(Protocol):
    """Verifies an endpoint by a GET that must be answered with a token."""

    def challenge(self, query: Mapping[str, str]) -> str:
        """The body to answer with. Raises InvalidSignature."""


def offers(adapter: object, power: type) -> bool:
    """Has an adapter an optional power? As `isinstance`, but asked once for each class: a protocol is looked through
    member by member, which costs a webhook more than its signature does.
    """
    key = (type(adapter), power)
    if key not in _OFFERED:
        _OFFERED[key] = isinstance(adapter, power)
    return _OFFERED[key]


_OFFERED: dict[tuple[type, type], bool] = {}


# -- stores --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoreProfile:
    """What a store says of itself at install."""

    name: str
    account: str
    timezone: str
    currency: str
    country: str
    email: str = ""
    language: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoreChange:
    """What Dastak wants a store to know about one order. Executed at least once, so adapters make it idempotent.

    `outcome` is confirmed, declined, no_answer or reason. `cancel` asks for the order itself to be cancelled.
    """

    order_id: str
    outcome: str
    note: str
    tags: tuple[str, ...]
    at: datetime
    cancel: bool = False
    reason: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ParcelTold:
    """What Dastak wants a store to know about one parcel of an order. Executed at least once, so adapters make it
    idempotent: the number says which parcel it is, and a store that has it already is told of its place only.

    `status` is a word of parcels.STATUSES, `cancelled` of a booking that was taken back.
    """

    order_id: str
    number: str
    courier: str
    url: str
    """Where the customer can follow it."""
    status: str
    at: datetime
    options: Mapping[str, Any] = field(default_factory=dict)
    """`completed_means`: what the merchant's "completed" says, in_transit or delivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentTold:
    """What Dastak wants a store to know about money that was proven here. Executed at least once, so adapters make it
    idempotent: `reference` names the payment.
    """

    order_id: str
    reference: str
    means: str
    """How it was paid, as people call it."""
    amount: str
    """A decimal, in `currency`."""
    currency: str
    whole: bool
    """The order is paid with it. If not, a part is: the store is to note it, and to keep the order unpaid."""
    note: str
    at: datetime

    def among(self, noted: object) -> str:
        """What a store is to have noted of the parts that were paid of an order, this one among them once; `noted` is
        what it has so far, if anything.
        """
        parts = noted.split(", ") if isinstance(noted, str) and noted else []
        one = f"{self.amount} {self.currency} ({self.reference})"
        return ", ".join(parts if one in parts else [*parts, one])


class StoreAdapter(Adapter, Protocol):
    """A shop platform."""

    concurrency: int
    """Calls to one store that may be under way at once."""

    def profile(self, account: Account) -> StoreProfile: ...

    def fetch_orders(self, account: Account, since: datetime) -> Iterator[WebhookRequest]:
        """Orders modified since, oldest first, each as a request that `parse` reads: one path for push and pull."""

    def absent_orders(self, account: Account, order_ids: Sequence[str]) -> Iterable[str]:
        """Which of these orders the store no longer has."""

    def write_back(self, account: Account, change: StoreChange) -> str:
        """Tell the store; answers a sentence for the timeline. Looks before it writes what cannot be repeated."""

    def tell_payment(self, account: Account, told: PaymentTold) -> str:
        """Mark the order as paid, or note the part of it that was; answers a sentence for the timeline. An order that
        is paid already is left as it is.
        """

    def tell_parcel(self, account: Account, told: ParcelTold) -> str:
        """Tell the store that a parcel is under way, and where it is; answers a sentence for the timeline. A store
        that has no fulfilment under this number yet gets one, with all that is left to send. The customer is not
        notified by the store: we do that.
        """


@dataclass(frozen=True, slots=True)
class Grant:
    """Credentials a vendor just gave us, with what we must remember about them (expiries, scopes)."""

    credentials: Mapping[str, str] = field(repr=False)
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who opened an embedded page: an account at the platform and a user there."""

    account: str
    user: str


@runtime_checkable
class Embedded(Protocol):
    """Shows our pages inside its own admin and vouches for who is looking."""

    retry_header: str
    """Set on a 401, it tells the platform's script to fetch a new session token and ask again."""
    reload_parameter: str
    """Query parameter naming the address that the platform's script shall open with a fresh session token."""

    def visitor(self, token: str) -> Visitor:
        """Who a session token speaks for. Raises InvalidSignature."""

    def exchange(self, account: str, token: str) -> Grant:
        """Turn a session token into lasting credentials. Raises InvalidSignature or TransientError."""

    def account_hint(self, query: Mapping[str, str]) -> str:
        """The account a page request says it is about; unproven, good for headers only. Empty when malformed."""

    def frame_ancestors(self, account: str) -> str:
        """The CSP sources that may frame a page of that account."""

    def page_head(self) -> Mapping[str, str]:
        """What every page carries: a meta tag (`key_name`, `key`: the app's public id) and the URLs of scripts
        (`app_bridge`, `polaris`).
        """

    def admin_home(self, account: str) -> str:
        """Where the merchant's admin shows this app."""


@runtime_checkable
class InstallsByCode(Adapter, Protocol):
    """OAuth 2 authorization-code grant."""

    def install_url(self, account: str, state: str) -> str: ...

    def finish_install(self, query: Mapping[str, str]) -> tuple[str, Grant]:
        """(account, grant) from a callback's query. Raises InvalidSignature or ConfigurationError."""


@runtime_checkable
class InstallsByApproval(Adapter, Protocol):
    """The merchant approves on the store's own page, and the store posts keys to a callback of ours."""

    def find_store(self, url: str) -> str:
        """The canonical address of the store behind a merchant-given URL. Raises ConfigurationError."""

    def approval_url(self, account: str, state: str, callback_url: str, return_url: str) -> str: ...

    def read_keys(self, body: bytes, state: str) -> Grant:
        """Keys from the store's callback. Raises InvalidSignature when they are not for this attempt."""


@runtime_checkable
class RefreshesAccess(Protocol):
    """Credentials that expire."""

    def refresh(self, account: Account) -> Grant:
        """New credentials. Raises ConfigurationError when the merchant must reconnect, TransientError to retry."""

    def refresh_due(self, account: Account, now: datetime) -> bool: ...


@runtime_checkable
class WatchesWebhooks(Protocol):
    """Webhooks that live at the vendor, per account, and may be disabled or deleted behind our back."""

    def ensure_webhooks(self, account: Account, url: str, secret: str) -> tuple[Mapping[str, Any], str]:
        """(state to remember, sentence about what was repaired or '')."""

    def remove_webhooks(self, account: Account) -> None:
        """Before a disconnect, so that the vendor stops telling us."""


# -- couriers ------------------------------------------------------------------------------------------------------


@runtime_checkable
class Tracks(Protocol):
    """A courier that can be asked where parcels are."""

    known_as: tuple[str, ...]
    """What stores call it, beside its name: compared whole, in small letters."""
    hosts: tuple[str, ...]
    """Where its own tracking pages are."""
    numbers: str
    """What its parcels' numbers look like, as a pattern; empty where they look like everybody's. A hint to whom a
    parcel without a courier belongs, never a reason to refuse one.
    """
    most_at_once: int
    """Parcels that one call may ask for."""

    def track(self, account: Account, numbers: Sequence[str]) -> WebhookRequest | None:
        """What it says of these parcels, as a request that `parse` reads: one path for push and pull. A parcel it does
        not know (yet) is left out; None when it knows none. Raises TransientError, and ConfigurationError when the
        credentials are not accepted.
        """


@runtime_checkable
class Pushes(Protocol):
    """A courier that posts its scans to an address which the merchant gives it."""

    address: str
    """What stands for it in that address; its name, unless it forbids that."""
    forbidden: tuple[str, ...]
    """Letters that it takes nowhere in an address."""
    push_help: str
    """Where the merchant enters the address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One line of what is in a parcel. `price` is of one piece."""

    title: str
    sku: str
    quantity: int
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What a courier is asked to carry, in no courier's words.

    `reference` is ours, unique in the store and never used twice: a booking whose answer was lost is found by it.
    `city` is the destination in the courier's own spelling, `city_code` its code there where the courier has codes.
    """

    reference: str
    name: str
    phone: str
    """In E.164."""
    address: Address
    city: str
    city_code: str = ""
    collect: Money
    """What the rider is to collect at the door; zero when it is paid."""
    value: Money
    weight: Decimal
    """Kilograms."""
    pieces: int = 1
    items: tuple[Piece, ...] = ()
    note: str = ""
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """A parcel that a courier took on. `reference` is the courier's own id of the booking where it wants that back,
    `carrier` who really carries it where the courier only brokers.
    """

    tracking_number: str
    reference: str = ""
    carrier: str = ""
    label_url: str = ""


@dataclass(frozen=True, slots=True)
class City:
    """A city that a courier delivers to. `code` is what a booking names it by, its name where it has no code."""

    name: str
    code: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What a courier holds as proof of a delivery. Empty where it tells nothing."""

    receiver: str = ""
    relation: str = ""
    image_url: str = ""
    said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What a courier shall do with a parcel it could not deliver. `action` is reattempt or return.

    `on`, `address` and `phone` are what the customer asked for; a courier without a field for one gets it in words.
    """

    action: str
    note: str = ""
    on: date | None = None
    address: str = ""
    phone: str = ""

    def in_words(self) -> str:
        """All of it in one line, for couriers with a field for remarks and for the person who calls one."""
        parts = (
            self.note,
            f"deliver on {self.on:%d-%m-%Y}" if self.on else "",
            f"new address: {self.address}" if self.address else "",
            f"phone: {self.phone}" if self.phone else "",
        )
        said = "; ".join(part for part in parts if part)
        return said or ("Please return" if self.action == "return" else "Please deliver again")


@runtime_checkable
class Books(Protocol):
    """A courier whose parcels are booked through its API. Each call raises TransientError when nothing has happened,
    OutcomeUnknown when something may have, ConfigurationError when the account is refused, and PermanentError, with a
    sentence for the merchant, when the courier will not.
    """

    most_labels: int
    """Labels that one call may ask for."""

    def book(self, account: Account, parcel: Parcel) -> Booked: ...

    def cancel(self, account: Account, booked: Booked) -> None:
        """Before pickup. One that is cancelled already, or that the courier does not know, is cancelled."""

    def labels(self, account: Account, booked: Sequence[Booked]) -> bytes:
        """One PDF with the labels of these parcels."""

    def cities(self, account: Account) -> Sequence[City]: ...


@runtime_checkable
class FindsBookings(Protocol):
    """A courier that can be asked for a booking by our reference, so that one whose answer was lost is not made
    twice.
    """

    def find(self, account: Account, reference: str) -> Booked | None: ...


@runtime_checkable
class Advises(Protocol):
    """A courier that takes advice on a failed delivery by its API."""

    def advise(self, account: Account, booked: Booked, advice: Advice) -> None:
        """Raises as `Books` does; PermanentError when it no longer takes advice on this parcel."""


@runtime_checkable
class Proves(Protocol):
    """A courier that shows proof of delivery."""

    def proof(self, account: Account, booked: Booked) -> Proof | None: ...


# -- payments ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentAsked:
    """What a customer is asked to pay, in no gateway's words.

    `reference` is ours, unique in the store and never used twice: letters, digits and one hyphen, 20 at most.
    `return_url` is where the customer's browser comes back to, whatever became of it; it proves nothing.
    """

    reference: str
    amount: Money
    order_name: str
    store_name: str
    name: str = ""
    phone: str = ""
    """In E.164."""
    email: str = ""
    return_url: str
    notify_url: str = ""
    """Where this connection's webhooks go, for gateways that are told so with each checkout."""
    at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """Where a customer pays: a page to open, or with `fields` a form that the customer's browser posts to `url`."""

    url: str
    gateway_id: str = ""
    """The gateway's own id of it, where it has one."""
    fields: Mapping[str, str] = field(repr=False, default_factory=dict)


class PaymentAdapter(Adapter, Protocol):
    """A payment gateway."""

    known_as: tuple[str, ...]
    """How stores call it as a payment method, beside its name and label: compared whole, in small letters."""
    currencies: tuple[str, ...]
    """ISO codes it takes; empty where it takes any."""
    shortest: timedelta
    """A checkout may not expire sooner."""
    longest: timedelta
    """Nor live longer."""
    merchant_field: str
    """The credential that names the merchant in what it tells us, to compare; empty where it names nobody."""
    webhook_help: str
    """Where the merchant enters the address of our webhook, and the secret if it has one; empty where nowhere."""

    def checkout(self, account: Account, asked: PaymentAsked) -> Checkout:
        """Open one. Raises TransientError when nothing has happened, OutcomeUnknown when something may have,
        ConfigurationError when the account is refused, PermanentError with a sentence when the gateway will not.
        """

    def inquire(self, account: Account, reference: str, gateway_id: str) -> WebhookRequest | None:
        """What it says of one checkout now, as a request that `parse` reads: one path for push and pull. None when it
        knows none of that name. Raises TransientError and ConfigurationError.
        """


@runtime_checkable
class FindsCheckouts(Protocol):
    """A gateway that can be asked for a checkout by our reference, so that one whose answer was lost is not made
    twice.
    """

    def find_checkout(self, account: Account, reference: str) -> Checkout | None: ...


@runtime_checkable
class Withdraws(Protocol):
    """A gateway whose checkouts can be closed before somebody pays."""

    def withdraw(self, account: Account, reference: str, gateway_id: str) -> None:
        """One that is closed or paid already is left as it is. Raises as `PaymentAdapter.checkout` does."""


@runtime_checkable
class GoesOn(Protocol):
    """A gateway whose checkout comes back to us half way."""

    def go_on(self, account: Account, query: Mapping[str, str], return_url: str) -> Checkout | None:
        """The next step for a browser that came back with this query (or form); None when there is none left."""


# -- channels ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """A button or a list row. `id` comes back when it is tapped."""

    id: str
    title: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One message to one person, in no vendor's words. `kind`: template, text, buttons or list.

    `reference` returns with every status; it is the only thread between a lost answer and our row.
    """

    kind: str
    phone: str | None
    user_id: str | None
    reference: str
    text: str = ""
    footer: str = ""
    buttons: tuple[Choice, ...] = ()
    list_label: str = ""
    template: str = ""
    language: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    reply_to: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The channel took the message. `held`: it waits for a quality check and may still be refused."""

    vendor_id: str
    channel_id: str = ""
    user_id: str = ""
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateText:
    """A template as we want it. `language` is one of ours; `examples` maps every variable to a sample."""

    name: str
    language: str
    category: str
    body: str
    footer: str = ""
    buttons: tuple[str, ...] = ()
    examples: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSeen:
    """A template as the channel holds it. `language` is the channel's own code."""

    vendor_id: str
    name: str
    language: str
    status: str
    category: str
    quality: str = UNKNOWN
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ChannelProfile:
    """What a sending number says of itself. `rate` is messages per second."""

    number: str
    name: str
    rate: int
    quality: str
    healthy: bool
    sentence: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


class ChannelAdapter(Adapter, Protocol):
    """A messenger."""

    pair_interval: float
    """Seconds between two messages to one person."""

    def account_of(self, credentials: Mapping[str, str]) -> tuple[str, str]:
        """(account name, alias) that these credentials open; see stores.Connection."""

    def profile(self, account: Account) -> ChannelProfile: ...

    def subscribe(self, account: Account) -> None:
        """Have this account's events sent to us."""

    def send(self, account: Account, message: Outgoing) -> Accepted:
        """Raises TransientError, PermanentError, ConfigurationError or OutcomeUnknown; never retries by itself."""

    def language_code(self, language: str) -> str:
        """The channel's code for one of our languages."""

    def chat_url(self, number: str, text: str) -> str:
        """Where a customer opens a chat with a profile's number, a text laid ready; empty where it is no number."""

    def create_template(self, account: Account, template: TemplateText) -> TemplateSeen: ...

    def fetch_templates(self, account: Account) -> Iterable[TemplateSeen]: ...

    def failure(self, code: str) -> Failure: ...


@dataclass(frozen=True, slots=True)
class Failure:
    """What a channel's error code means for us. `action` is a word of outbox.ACTIONS; `sentence` is for people."""

    action: str
    sentence: str
    retry_after: float | None = None


@runtime_checkable
class SignsUpByCode(Protocol):
    """The channel's own signup window hands the browser a short-lived code."""

    def signup_window(self) -> Mapping[str, str]:
        """What the page's script needs to open the window (`script`: its URL, `origins`: whom the page must be allowed
        to talk to, and the vendor's own words); empty when this installation has none.
        """

    def exchange_code(self, code: str, given: Mapping[str, str]) -> Mapping[str, str]:
        """Complete credentials from the code and what the window said beside it. Raises ConfigurationError."""


@runtime_checkable
class FetchesMedia(Protocol):
    """A channel whose customers' files can be fetched."""

    def media(self, account: Account, media_id: str, most: int) -> bytes:
        """A file by the channel's id of it, of at most so many bytes. Raises TransientError, ConfigurationError, and
        PermanentError when it is gone or too large.
        """


class Registry:
    """The adapters of this installation, by room and name."""

    def __init__(self, adapters: Mapping[str, Mapping[str, Any]]) -> None:
        self._rooms = adapters
        self._addressed = {
            (room, adapter.address): adapter
            for room, named in adapters.items()
            for adapter in named.values()
            if offers(adapter, Pushes)
        }

    def get(self, room: str, name: str) -> Any:
        """The adapter, or KeyError."""
        return self._rooms[room][name]

    def find(self, room: str, name: str) -> Any | None:
        return self._rooms.get(room, {}).get(name) or self._addressed.get((room, name))

    def room(self, room: str) -> Mapping[str, Any]:
        return self._rooms.get(room, {})

    def everyone(self) -> Iterator[tuple[str, Any]]:
        for room in ROOMS:
            for adapter in self.room(room).values():
                yield room, adapter
