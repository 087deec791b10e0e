"""WooCommerce: a WordPress shop with a REST API, keys handed over by wc-auth, webhooks that live in the shop.

What its webhooks are like decides how they are read. Their delivery id is not unique (a hash of webhook and second),
so a hash of the body is the key. They are sent once, never again, so reconciliation is a necessity. The body is built
when it is delivered, so states in between are never seen. And `order.updated` may come before `order.created`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import orjson
import requests
import urllib3
from woocommerce import API

from integration.errors import (
    ConfigurationError,
    InvalidSignature,
    NotUnderstood,
    OutcomeUnknown,
    PermanentError,
    TransientError,
)
from integration.events import UNKNOWN, Fact, Item, OrderChanged, OrderRemoved, ParcelSeen, StoreAccessBroken
from integration.ports import (
    Account,
    AdapterConfig,
    Field,
    Grant,
    ParcelTold,
    PaymentTold,
    StoreChange,
    StoreProfile,
    WebhookRequest,
)
from integration.settings import Setting
from integration.values import Address, Money, clean

from .. import http, signing

DRAFTS = frozenset({"checkout-draft", "auto-draft", "draft", "new"})
"""States that are no order yet; they leak into webhooks."""

PAYMENT = {
    "pending": "pending", "on-hold": "pending", "failed": "failed", "refunded": "refunded", "cancelled": "",
    "processing": "pending", "completed": "pending", "shipped": "pending", "partial-shipped": "pending",
    "updated-tracking": "pending", "delivered": "pending",
}  # fmt: skip
"""What a status says about money where no payment date does. Cash on delivery is `processing` without a date until it
is completed. Local gateways have statuses of their own (`mwSuccess`): what those say of money nobody here knows."""

PAID_IN = frozenset({
    "processing", "on-hold", "completed", "shipped", "partial-shipped", "updated-tracking", "delivered", "mwSuccess",
})  # fmt: skip
"""Where a payment date says that an order is paid; the last is a local gateway's own. The date survives what becomes of
an order later, and what other plugins' statuses say of money (a deposit, a dispute) nobody here knows."""

FULFILMENT = {
    "pending": "unfulfilled", "on-hold": "unfulfilled", "processing": "unfulfilled", "failed": "", "cancelled": "",
    "refunded": "", "completed": "completed", "shipped": "in_transit", "partial-shipped": "in_transit",
    "updated-tracking": "in_transit", "delivered": "delivered",
}  # fmt: skip
"""What a status says about the goods; the last four come from tracking plugins."""

OPEN = frozenset({"pending", "on-hold", "processing"})
"""States in which an order may still be confirmed or cancelled by us."""

MARK: dict[str, dict[str, Any]] = {
    "pending": {"set_paid": True}, "failed": {"set_paid": True}, "on-hold": {"status": "processing"},
}  # fmt: skip
"""What marks an order as paid, by its status. WooCommerce heeds `set_paid` of an order only while that needs payment,
which one on hold does not (WC_Order::needs_payment); moving that one on dates its payment (maybe_set_date_paid). One
that is cancelled would come back to life, of any other nothing would change."""

TRACKING = "_wc_shipment_tracking_items"
"""Where the usual plugins keep tracking numbers (seen in public clients). A shop without one shows them nowhere, so
they are noted as well."""

HANDED_OVER = frozenset({
    "picked_up", "in_transit", "at_destination", "out_for_delivery", "attempted", "ready_for_pickup", "delivered",
})  # fmt: skip
"""Places of a parcel that is on its way to the customer, or there."""

PLACES = {
    "booked": "booked", "pickup_scheduled": "pickup scheduled", "picked_up": "picked up", "in_transit": "on its way",
    "at_destination": "in the city of delivery", "out_for_delivery": "out for delivery",
    "attempted": "delivery attempted", "ready_for_pickup": "waits at the courier", "delivered": "delivered",
    "returning": "coming back", "return_in_transit": "coming back", "returned": "returned", "damaged": "damaged",
    "lost": "lost", "cancelled": "booking cancelled",
}  # fmt: skip
"""What the note to an order says of its parcel."""

TOPICS = ("order.created", "order.updated", "order.deleted", "order.restored")

_OPT_IN = re.compile(r"(^|[/_-])(wa|whatsapp)[_-]?opt[_-]?in$", re.IGNORECASE)
_MARKETING_OPT_IN = re.compile(r"(wa|whatsapp)[_-]?marketing", re.IGNORECASE)
_KEY = re.compile(r"ck_[0-9a-f]{40}")
_SECRET = re.compile(r"cs_[0-9a-f]{40}")


class WooCommerce:
    """See integration.ports.StoreAdapter, InstallsByApproval, WatchesWebhooks and Pings."""

    name = "woocommerce"
    label = "WooCommerce"
    regions = ("worldwide",)
    website = "https://woocommerce.com"
    credentials = (
        Field("consumer_key", "Consumer key", "WooCommerce > Settings > Advanced > REST API, read/write"),
        Field("consumer_secret", "Consumer secret"),
    )
    settings: tuple[Setting, ...] = ()
    authenticates_by = "signature"
    handles = frozenset(TOPICS)
    ignores = frozenset({"product", "coupon", "customer", "action"})
    """Whole resources: none of their topics mean anything to us yet."""
    keeps = (
        "x-wc-webhook-topic", "x-wc-webhook-source", "x-wc-webhook-resource", "x-wc-webhook-event", "x-wc-webhook-id",
        "x-wc-webhook-delivery-id",
    )  # fmt: skip
    concurrency = 2

    def __init__(self, config: AdapterConfig) -> None:
        self._trusted = config.trusted_origins
        self._public_url = config.public_url
        self._timeout = min(config.send_timeout, 25.0)

    # -- webhooks --------------------------------------------------------------------------------------------------

    def verify(self, request: WebhookRequest, account: Account | None) -> None:
        """Base64 HMAC-SHA256 of the raw body with the webhook's own secret (not the consumer secret)."""
        secret = account.credentials.get("webhook_secret", "") if account is not None else ""
        if not secret:
            raise InvalidSignature("This store's webhooks have no secret with us yet.")
        signing.require(request.header("x-wc-webhook-signature"), [signing.hmac_base64(secret, request.body)])

    def is_ping(self, request: WebhookRequest) -> bool:
        """While a webhook is being created the shop posts `webhook_id=N`, unsigned, and waits for our 200."""
        return not request.header("x-wc-webhook-signature") and bool(
            re.fullmatch(rb"webhook_id=\d{1,12}", request.body)
        )

    def delivery_key(self, request: WebhookRequest) -> str:
        """The body; with the delivery id where the body tells no moment of its own and so may be said twice: an order
        thrown away (`{"id":17}`, each time), a refusal.
        """
        told: list[bytes | str] = [request.header("x-wc-webhook-topic"), request.body]
        if b'"date_modified_gmt"' not in request.body:
            told.append(request.header("x-wc-webhook-delivery-id"))
        return signing.body_hash(*told)

    def parse(self, request: WebhookRequest) -> list[Fact]:
        topic = request.header("x-wc-webhook-topic")
        if topic.split(".")[0] in self.ignores:
            return []
        if topic not in self.handles:
            raise NotUnderstood(f"the topic {topic[:60]!r} is not one we know")
        try:
            body = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            raise NotUnderstood("the body is no JSON") from None
        if not isinstance(body, dict):
            raise NotUnderstood("the body is no JSON object")
        try:
            return _facts(topic, body)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as fault:
            raise NotUnderstood(
                f"{topic} lacks or garbles a field ({type(fault).__name__}: {str(fault)[:80]})"
            ) from None

    # -- connecting ------------------------------------------------------------------------------------------------

    def find_store(self, url: str) -> str:
        """The shop's canonical address, by asking its public index; redirects are followed by hand, each hop
        guarded.
        """
        try:
            return self._find_store(url.strip())
        except ValueError:
            raise ConfigurationError("This is no web address. Write it like https://my-shop.com.") from None

    def _find_store(self, url: str) -> str:
        """Raises ValueError where an address, the merchant's or a redirect's, is none."""
        if "://" not in url:
            url = f"https://{url}"
        parts = urlsplit(url)
        here = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/wp-json/"
        for _ in range(5):
            http.guard(here, self._trusted)
            try:
                response = http.read("GET", here, timeout=15)
            except TransientError as fault:
                raise ConfigurationError(f"{fault}. Is the address right, and is the shop online?") from None
            if response.status_code in (301, 302, 303, 307, 308):
                here = urljoin(here, response.headers.get("location", ""))
                continue
            index = http.body_of(response)
            namespaces = index.get("namespaces") if isinstance(index, dict) else None
            if response.status_code != 200 or not isinstance(namespaces, list):
                raise ConfigurationError(
                    "This website does not show a WordPress REST API. Check the address; if it is right, set the "
                    "permalinks to anything but Plain and allow /wp-json in your security plugin."
                )
            if "wc/v3" not in namespaces:
                raise ConfigurationError("This is a WordPress site, but WooCommerce is not active on it.")
            return _one_spelling(here.split("/wp-json")[0])
        raise ConfigurationError("This address redirects in circles.")

    def approval_url(self, account: str, state: str, callback_url: str, return_url: str) -> str:
        query = {
            "app_name": "Dastak",
            "scope": "read_write",
            "user_id": state,
            "return_url": return_url,
            "callback_url": callback_url,
        }
        return f"{account}/wc-auth/v1/authorize?{urlencode(query)}"

    def read_keys(self, body: bytes, state: str) -> Grant:
        """The keys the shop posts after Approve. They must name this attempt and hold the rights we asked for."""
        try:
            given = orjson.loads(body)
            key, secret = given["consumer_key"], given["consumer_secret"]
            user, rights = str(given["user_id"]), given["key_permissions"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise InvalidSignature("These are no keys.") from None
        if not hmac.compare_digest(user.encode("utf-8", "replace"), state.encode()) or rights != "read_write":
            raise InvalidSignature("These keys are not for this connection.")
        if not _are_keys(key, secret):
            raise InvalidSignature("These are no WooCommerce keys.")
        return Grant({"consumer_key": key, "consumer_secret": secret})

    def profile(self, account: Account) -> StoreProfile:
        """Also the proof that the keys belong to this very shop."""
        if not _are_keys(account.credentials.get("consumer_key"), account.credentials.get("consumer_secret")):
            raise ConfigurationError("These are no WooCommerce keys: they begin with ck_ and cs_.")
        settings = self._get(account, "settings/general", {"_fields": "id,value"})
        values = {row["id"]: row.get("value") for row in settings if isinstance(row, dict) and "id" in row}
        index = http.body_of(
            http.read("GET", http.guard(f"{account.name}/wp-json/", self._trusted), timeout=self._timeout)
        )
        index = index if isinstance(index, dict) else {}
        return StoreProfile(
            name=clean(index.get("name"), 200) or urlsplit(account.name).netloc,
            account=account.name,
            timezone=_timezone(index),
            currency=str(values.get("woocommerce_currency") or "")[:3],
            country=str(values.get("woocommerce_default_country") or "").split(":")[0][:2].upper(),
        )

    def ensure_webhooks(self, account: Account, url: str, secret: str) -> tuple[Mapping[str, Any], str]:
        """Create what is missing, replace what is off.

        A webhook that failed seven times in a row is disabled without a word, and switching it on again leaves a hidden
        counter that disables it at the next failure: deleting and creating anew is the repair.
        """
        have = self._get(account, "webhooks", {"per_page": "100", "_fields": "id,topic,status,delivery_url"})
        ours = [hook for hook in have if str(hook.get("delivery_url", "")).startswith(self._prefix)]
        good = {h["topic"]: h["id"] for h in ours if h["delivery_url"] == url and h["status"] == "active"}
        gone = [h for h in ours if good.get(h["topic"]) != h["id"] or h["topic"] not in TOPICS]
        for hook in gone:
            self._write(account, "delete", f"webhooks/{int(hook['id'])}", params={"force": "true"})
        missing = [topic for topic in TOPICS if topic not in good]
        for topic in missing:
            made = self._write(
                account,
                "post",
                "webhooks",
                {
                    "name": f"Dastak {topic}",
                    "topic": topic,
                    "delivery_url": url,
                    "secret": secret,
                    "status": "active",
                },
            )
            good[topic] = made["id"]
        repaired = [str(h["topic"]) for h in gone if h["topic"] in missing]
        sentence = f"Repaired webhooks that the store had switched off: {', '.join(repaired)}." if repaired else ""
        return {"webhooks": good}, sentence

    def remove_webhooks(self, account: Account) -> None:
        """Before a disconnect: webhooks belong to the shop's user and outlive the keys."""
        for hook in self._get(account, "webhooks", {"per_page": "100", "_fields": "id,delivery_url"}):
            if str(hook.get("delivery_url", "")).startswith(self._prefix):
                self._write(account, "delete", f"webhooks/{int(hook['id'])}", params={"force": "true"})

    @property
    def _prefix(self) -> str:
        return f"{self._public_url}/webhooks/stores/{self.name}/"

    # -- orders ----------------------------------------------------------------------------------------------------

    def fetch_orders(self, account: Account, since: datetime) -> Iterator[WebhookRequest]:
        """Orders modified since, oldest first.

        `modified_after` is strictly greater and to the second, and rows move between pages while one pages, so the
        cursor advances instead of the page, one second short of the newest seen.
        """
        page, seen = 1, set()
        while True:
            rows = self._get(
                account,
                "orders",
                {
                    "modified_after": f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%S}",
                    "dates_are_gmt": "true",
                    "orderby": "modified",
                    "order": "asc",
                    "per_page": "100",
                    "page": str(page),
                },
            )
            for row in rows:
                key = (row.get("id"), row.get("date_modified_gmt"))
                if key not in seen:
                    seen.add(key)
                    yield WebhookRequest({"x-wc-webhook-topic": "order.updated"}, orjson.dumps(row))
            if len(rows) < 100:
                return
            newest = _need_time(rows[-1]["date_modified_gmt"]) - timedelta(seconds=1)
            since, page = (newest, 1) if newest > since else (since, page + 1)

    def absent_orders(self, account: Account, order_ids: Sequence[str]) -> Iterable[str]:
        """The list leaves out the trash, so what is asked for by id and not listed was thrown away."""
        for start in range(0, len(order_ids), 100):
            ids = order_ids[start : start + 100]
            rows = self._get(account, "orders", {"include": ",".join(ids), "per_page": "100", "_fields": "id"})
            present = {str(row["id"]) for row in rows}
            yield from (i for i in ids if i not in present)

    def write_back(self, account: Account, change: StoreChange) -> str:
        """Meta, status and a private note. Looks first: an order that has moved on only gets the note."""
        order = self._get(account, f"orders/{int(change.order_id)}", absent_ok=True)
        if order is None or order.get("status") == "trash":
            return "the order is no longer in the store"
        status, target = order["status"], _target_status(change)
        move = bool(target) and status in OPEN and status != target
        key = "_dastak_cancel_reason" if change.reason else "_dastak_confirmation"
        update: dict[str, Any] = {"meta_data": [{"key": key, "value": change.reason or change.outcome}]}
        if move:
            update["status"] = target
        self._write(account, "put", f"orders/{int(change.order_id)}", update)
        self._note(account, f"orders/{int(change.order_id)}", change.note)
        if move:
            return f"noted, and moved from {status} to {target}"
        return "noted" if not target or status == target else f"noted only: the order is {status} by now"

    def tell_parcel(self, account: Account, told: ParcelTold) -> str:
        """The tracking number where plugins look for it, the status where the merchant's "completed" says so, and one
        private note per place. Looks first; whatever is there already is left alone.
        """
        path = f"orders/{int(told.order_id)}"
        order = self._get(account, path, absent_ok=True)
        if order is None or order.get("status") == "trash":
            return "the order is no longer in the store"
        update, said = _tracking_change(order, told)
        wants = told.status in HANDED_OVER and told.options.get("completed_means") in ("in_transit", told.status)
        if wants and order["status"] in OPEN:
            # The store dates the payment of whatever it completes; before the delivery that would tell who owes the
            # rider money that there is nothing to pay.
            if order.get("date_paid_gmt") or told.status == "delivered":
                update["status"] = "completed"
                said.append(f"moved from {order['status']} to completed")
            else:
                said.append("not completed yet, which would mark it as paid")
        if update:
            self._write(account, "put", path, update)
        note = f"{told.courier or 'Parcel'} {told.number}: {PLACES.get(told.status, told.status.replace('_', ' '))}"
        self._note(account, path, note, told.at)
        return ", ".join(["noted", *said])

    def tell_payment(self, account: Account, told: PaymentTold) -> str:
        """Meta and a private note, and the mark where WooCommerce takes it. Looks first; what is there already is left
        alone.

        An order of cash on delivery keeps its status: WooCommerce takes a payment for the end of one, and a completed
        order for a paid one (WC_Gateway_COD::change_payment_complete_order_status).
        """
        path = f"orders/{int(told.order_id)}"
        order = self._get(account, path, absent_ok=True)
        if order is None or order.get("status") == "trash":
            return "the order is no longer in the store"
        key = "_dastak_payment" if told.whole else "_dastak_advance"
        noted = next((meta.get("value") for meta in _metas(order) if meta.get("key") == key), None)
        value = told.reference if told.whole else told.among(noted)
        update: dict[str, Any] = {"meta_data": [{"key": key, "value": value}]} if noted != value else {}
        status, cod = str(order.get("status")), order.get("payment_method") == "cod"
        paid = bool(order.get("date_paid_gmt")) and status in PAID_IN
        if told.whole and status in MARK and not (paid or cod):
            update |= MARK[status] | {"transaction_id": told.reference}
        after = _object(self._write(account, "put", path, update)) if update else order
        self._note(account, path, told.note)
        if not told.whole:
            return "noted, and left unpaid: a part was paid"
        if paid:
            return "noted: it is paid in the store already"
        if after.get("status") != status and after.get("date_paid_gmt"):
            return f"noted, and marked as paid: moved from {status} to {after.get('status')}"
        why = ", as cash on delivery does until it is completed" if cod and status in OPEN else ""
        return f"noted only: the order stays {after.get('status')} in the store{why}"

    def _note(self, account: Account, path: str, note: str, at: datetime | None = None) -> None:
        """A private note, unless the order has it: one of this very event, where `at` says when that was."""
        notes = self._get(account, f"{path}/notes", {"type": "internal"})
        if not any(one.get("note") == note and (at is None or _written_since(one, at)) for one in notes):
            self._write(account, "post", f"{path}/notes", {"note": note})

    # -- calling ---------------------------------------------------------------------------------------------------

    def _get(
        self, account: Account, path: str, params: Mapping[str, str] | None = None, *, absent_ok: bool = False
    ) -> Any:
        try:
            response = self._call(account, "get", path, None, params)
        except OutcomeUnknown as fault:
            raise TransientError(str(fault)) from None
        if absent_ok and response.status_code == 404:
            return None
        return _answer(response, wrote=False)

    def _write(
        self,
        account: Account,
        method: str,
        path: str,
        data: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, str] | None = None,
    ) -> Any:
        return _answer(self._call(account, method, path, data, params), wrote=True)

    def _call(
        self, account: Account, method: str, path: str, data: Mapping[str, Any] | None, params: Mapping[str, str] | None
    ) -> requests.Response:
        http.guard(account.name, self._trusted)
        api = API(
            account.name,
            account.credentials.get("consumer_key", ""),
            account.credentials.get("consumer_secret", ""),
            version="wc/v3",
            timeout=self._timeout,
            user_agent=http.USER_AGENT,
        )
        arguments: dict[str, Any] = {"params": dict(params or {}), "allow_redirects": False}
        if method in ("post", "put"):
            arguments["data"] = data
        try:
            answered: requests.Response = getattr(api, method)(path, **arguments)
        except requests.RequestException as fault:
            if _never_left(fault):
                raise TransientError(f"the store could not be reached ({type(fault).__name__})") from None
            raise OutcomeUnknown(f"the store did not answer in time or broke off ({type(fault).__name__})") from None
        return answered


def _one_spelling(url: str) -> str:
    """The address as every merchant of this shop gets it: the host in lower case, no port that goes without saying."""
    parts = urlsplit(url)
    host = parts.netloc.lower().removesuffix(":443" if parts.scheme == "https" else ":80").removesuffix(":")
    return parts._replace(netloc=host).geturl()


def _are_keys(key: Any, secret: Any) -> bool:
    return isinstance(key, str) and isinstance(secret, str) and bool(_KEY.fullmatch(key) and _SECRET.fullmatch(secret))


def _never_left(fault: requests.RequestException) -> bool:
    if isinstance(fault, requests.ConnectTimeout):
        return True
    cause = fault.args[0] if fault.args else None
    reason = getattr(cause, "reason", None)
    return isinstance(reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.NameResolutionError)


def _answer(response: requests.Response, *, wrote: bool) -> Any:
    """The JSON of a good answer. Errors in the core's words; an HTML page is somebody standing in front of the shop."""
    status = response.status_code
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        body = None
    if status in (200, 201) and body is not None:
        return body
    said = clean(body.get("message"), 200) if isinstance(body, dict) else ""
    if status == 429 or status in (502, 503, 504) or (status >= 500 and not wrote):
        raise TransientError(f"the store is busy (HTTP {status})", retry_after=_retry_after(response))
    if status == 200 or status >= 500:
        raise OutcomeUnknown(f"the store's answer could not be read (HTTP {status})")
    if body is None and status in (401, 403, 405, 406, 455):
        raise ConfigurationError(
            f"A firewall or the host in front of the store refused us (HTTP {status}). "
            "Allow Dastak's requests to /wp-json."
        )
    if status == 401 or status == 403:
        raise ConfigurationError(f"The store no longer accepts our keys: {said or 'access denied'}. Connect it again.")
    if 300 <= status < 400:
        raise ConfigurationError("The store has moved to another address. Connect it again under the new one.")
    raise PermanentError(f"the store refused: {said or f'HTTP {status}'}", reason="refused", code=str(status))


def _retry_after(response: requests.Response) -> float | None:
    raw = response.headers.get("retry-after", "")
    return min(float(raw), 3600.0) if raw.isdecimal() else None


def _target_status(change: StoreChange) -> str:
    if change.cancel:
        return "cancelled"
    return str(change.options.get("confirmed_status") or "") if change.outcome == "confirmed" else ""


def _tracking_change(order: dict[str, Any], told: ParcelTold) -> tuple[dict[str, Any], list[str]]:
    """What to write so that the order has this tracking number, or no longer has it, and what to say of that."""
    entries = list(_tracking(order))
    holding = [entry for entry in entries if told.number in map(_number_of, entry[1])]
    wanted = told.status != "cancelled"
    if bool(holding) == wanted:
        return {}, []
    meta, kept = (holding or entries or [({}, [])])[0]
    others = [item for item in kept if _number_of(item) != told.number]
    items = [*others, _tracking_item(told)] if wanted else others
    # null deletes an entry that is named by its id
    change = {"key": TRACKING, "value": items or None} | ({"id": meta["id"]} if "id" in meta else {})
    return {"meta_data": [change]}, ["tracking number added" if wanted else "tracking number removed"]


def _tracking_item(told: ParcelTold) -> dict[str, str]:
    """As the tracking plugins write one for a courier that they do not know."""
    return {
        "tracking_provider": "",
        "custom_tracking_provider": told.courier,
        "custom_tracking_link": told.url,
        "tracking_number": told.number,
        "date_shipped": str(int(told.at.timestamp())),
        "tracking_id": hashlib.blake2s(told.number.encode(), digest_size=16).hexdigest(),
    }


def _number_of(item: Any) -> str:
    """People type a number with blanks and in small letters; ours has neither."""
    return "".join(str(item.get("tracking_number") or "").split()).upper() if isinstance(item, dict) else ""


def _written_since(note: dict[str, Any], at: datetime) -> bool:
    """Is a note that reads alike of this very event? Riders come again on another day."""
    written = _time(note.get("date_created_gmt"))
    return written is None or written >= at.replace(microsecond=0)


# -- reading -------------------------------------------------------------------------------------------------------


def _facts(topic: str, body: dict[str, Any]) -> list[Fact]:
    if "code" in body and "message" in body and not isinstance(body.get("id"), int):
        # A validly signed body that is an error: the user whom the webhook belongs to has lost the right to see orders.
        said = clean(body["message"], 200).rstrip(".")
        return [StoreAccessBroken(sentence=f"The store answers our webhooks with: {said}. Connect it again.")]
    if topic == "order.deleted":
        return [OrderRemoved(external_id=str(int(body["id"])))]
    if body["status"] == "trash":
        return [OrderRemoved(external_id=str(int(body["id"])), occurred_at=_time(body.get("date_modified_gmt")))]
    return [_order(body)]


def _order(body: dict[str, Any]) -> OrderChanged:
    status, currency = str(body["status"]), body["currency"]
    modified = _need_time(body["date_modified_gmt"])
    billing, shipping = _object(body.get("billing")), _object(body.get("shipping"))
    paid_at, cod = _time(body.get("date_paid_gmt")), body.get("payment_method") == "cod"
    phones = (clean(billing.get("phone"), 40), clean(shipping.get("phone"), 40))
    return OrderChanged(
        external_id=str(int(body["id"])),
        name="#" + (clean(body.get("number"), 60) or str(body["id"])),
        occurred_at=modified,
        placed_at=_need_time(body["date_created_gmt"]),
        total=Money.parse(body["total"], currency),
        payment=_payment(status, paid_at, body),
        raw_payment=f"{status}{', paid' if paid_at else ''}"[:64],
        fulfilment=FULFILMENT.get(status, UNKNOWN),
        raw_fulfilment=status[:64],
        gateways=tuple(
            filter(
                None,
                (
                    "cash on delivery" if cod else clean(body.get("payment_method"), 80),
                    clean(body.get("payment_method_title"), 80),
                ),
            )
        ),
        cancelled_at=modified if status == "cancelled" else None,
        draft=status in DRAFTS,
        customer_id="" if str(body.get("customer_id")) in ("0", "None") else clean(body["customer_id"], 64),
        customer_name=clean(f"{billing.get('first_name') or ''} {billing.get('last_name') or ''}", 200),
        email=clean(billing.get("email"), 254),
        phones=tuple(dict.fromkeys(filter(None, phones))),
        address=_address(shipping if shipping.get("address_1") else billing, shipping, billing),
        items=tuple(_item(line, currency) for line in _list(body.get("line_items"))),
        parcels=tuple(_parcels(body, modified)),
        consents=tuple(_consents(body)),
    )


def _payment(status: str, paid_at: datetime | None, body: dict[str, Any]) -> str:
    if paid_at is not None and status in PAID_IN:
        return "partially_refunded" if _list(body.get("refunds")) else "paid"
    return PAYMENT.get(status, UNKNOWN)


def _address(raw: dict[str, Any], shipping: dict[str, Any], billing: dict[str, Any]) -> Address:
    return Address(
        name=clean(f"{raw.get('first_name') or ''} {raw.get('last_name') or ''}", 120),
        line1=clean(raw.get("address_1"), 200),
        line2=clean(raw.get("address_2"), 200),
        city=clean(raw.get("city"), 80),
        region=clean(raw.get("state"), 80),
        postcode=clean(raw.get("postcode"), 20),
        country=clean(billing.get("country") or shipping.get("country"), 2).upper(),
    )


def _item(line: dict[str, Any], currency: str) -> Item:
    quantity = int(line.get("quantity") or 0)
    each = (Money.parse(line["subtotal"], currency).amount / quantity) if quantity and line.get("subtotal") else None
    return Item(
        external_id=str(line.get("id") or ""),
        title=clean(line.get("name"), 300),
        sku=clean(line.get("sku"), 100),
        quantity=quantity,
        price=Money(each, currency) if each is not None else None,
    )


def _parcels(body: dict[str, Any], modified: datetime) -> Iterator[ParcelSeen]:
    """Tracking numbers as the usual plugins keep them."""
    for raw in (item for _, items in _tracking(body) for item in items):
        number = clean(raw.get("tracking_number"), 64)
        if number:
            yield ParcelSeen(
                external_id=clean(raw.get("tracking_id"), 64) or number,
                status="booked",
                tracking_number=number,
                courier=clean(raw.get("tracking_provider") or raw.get("custom_tracking_provider"), 100),
                tracking_url=clean(raw.get("custom_tracking_link"), 500),
                occurred_at=_shipped_at(raw) or modified,
            )


def _tracking(body: dict[str, Any]) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """Entries that hold tracking numbers, and these. PHP writes a list from which one was taken as an object."""
    for meta in _metas(body):
        if meta.get("key") == TRACKING:
            value = meta.get("value")
            yield meta, list(value.values()) if isinstance(value, dict) else _list(value)


def _metas(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (meta for meta in _list(body.get("meta_data")) if isinstance(meta, dict))


def _shipped_at(raw: dict[str, Any]) -> datetime | None:
    seconds = str(raw.get("date_shipped") or "")
    return datetime.fromtimestamp(int(seconds), UTC) if seconds.isdecimal() and len(seconds) <= 10 else None


def _consents(body: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Boxes of the checkout: "1" is ticked; "0" was shown and left empty, which takes nothing back."""
    for meta in _metas(body):
        key = str(meta.get("key", ""))
        if key and str(meta.get("value")) == "1":
            if _MARKETING_OPT_IN.search(key):
                yield "marketing", "granted", f"checkout box {key[:80]}"
            elif _OPT_IN.search(key):
                yield "utility", "granted", f"checkout box {key[:80]}"


def _object(raw: Any) -> dict[str, Any]:
    """PHP writes an empty object as []."""
    return raw if isinstance(raw, dict) else {}


def _list(raw: Any) -> list[Any]:
    return raw if isinstance(raw, list) else []


def _time(raw: Any) -> datetime | None:
    """`_gmt` times carry no zone and are UTC."""
    return datetime.fromisoformat(str(raw)).replace(tzinfo=UTC) if raw else None


def _need_time(raw: Any) -> datetime:
    value = _time(raw)
    if value is None:
        raise ValueError("a time is missing")
    return value


def _timezone(index: Mapping[str, Any]) -> str:
    """WordPress names a zone, or only an offset in hours; zone names of the Etc area count the other way round."""
    if index.get("timezone_string"):
        return str(index["timezone_string"])
    try:
        hours = round(float(index.get("gmt_offset") or 0))
    except (TypeError, ValueError):
        hours = 0
    return "UTC" if hours == 0 or abs(hours) > 14 else f"Etc/GMT{-hours:+d}"


ADAPTER = WooCommerce
