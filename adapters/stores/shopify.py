"""Shopify: an app embedded in the store's admin, GraphQL Admin API, app-wide webhooks declared in shopify.app.toml.

Order webhooks are REST-shaped; what reconciliation reads by GraphQL is brought into that same shape, so that there is
one way to read an order. ShopifyAPI serves for scopes and for the signature of the code grant; its session is global
state and its GraphQL call has neither timeout nor throttling, so calls are made by a thin client here.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import orjson
import requests
import shopify
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from integration.errors import (
    ConfigurationError,
    InvalidSignature,
    NotUnderstood,
    OutcomeUnknown,
    PermanentError,
    PermissionMissing,
    TransientError,
)
from integration.events import (
    UNKNOWN,
    Fact,
    Item,
    OrderChanged,
    OrderRemoved,
    ParcelSeen,
    PrivacyRequested,
    ScopesChanged,
    StoreUninstalled,
)
from integration.ports import (
    Account,
    AdapterConfig,
    Field,
    Grant,
    ParcelTold,
    PaymentTold,
    StoreChange,
    StoreProfile,
    Visitor,
    WebhookRequest,
)
from integration.settings import Setting, some_words, url
from integration.values import Address, Money, clean

from .. import http, signing

SHOP = re.compile(r"[a-z0-9][a-z0-9\-]{0,60}\.myshopify\.com")

PAYMENT = {
    "pending": "pending", "authorized": "pending", "partially_paid": "pending", "paid": "paid", "expired": "failed",
    "partially_refunded": "partially_refunded", "refunded": "refunded", "voided": "",
}  # fmt: skip
"""`financial_status`. `voided` says that an authorisation was dropped, nothing about money."""

FULFILMENT = {"": "unfulfilled", "restocked": "unfulfilled", "partial": "booked", "fulfilled": "booked"}
"""`fulfillment_status` where no fulfilment says more."""

PARCEL = {
    "": "booked", "label_printed": "booked", "label_purchased": "booked", "confirmed": "booked",
    "carrier_picked_up": "picked_up", "in_transit": "in_transit", "delayed": "in_transit",
    "out_for_delivery": "out_for_delivery", "attempted_delivery": "attempted", "ready_for_pickup": "ready_for_pickup",
    "delivered": "delivered", "failure": UNKNOWN,
}  # fmt: skip
"""`shipment_status` of a fulfilment; empty when no carrier told Shopify anything."""

DISPLAY_FULFILMENT = {"FULFILLED": "fulfilled", "PARTIALLY_FULFILLED": "partial", "RESTOCKED": "restocked"}

DISPLAY_PARCEL = {
    "LABEL_PRINTED": "label_printed", "LABEL_PURCHASED": "label_purchased", "CONFIRMED": "confirmed",
    "CARRIER_PICKED_UP": "carrier_picked_up", "IN_TRANSIT": "in_transit", "DELAYED": "delayed",
    "OUT_FOR_DELIVERY": "out_for_delivery", "ATTEMPTED_DELIVERY": "attempted_delivery",
    "READY_FOR_PICKUP": "ready_for_pickup", "DELIVERED": "delivered", "NOT_DELIVERED": "failure", "FAILURE": "failure",
}  # fmt: skip

EVENT = {
    "booked": "CONFIRMED", "pickup_scheduled": "CONFIRMED", "picked_up": "CARRIER_PICKED_UP",
    "in_transit": "IN_TRANSIT", "at_destination": "IN_TRANSIT", "out_for_delivery": "OUT_FOR_DELIVERY",
    "attempted": "ATTEMPTED_DELIVERY", "ready_for_pickup": "READY_FOR_PICKUP", "delivered": "DELIVERED",
    "returning": "FAILURE", "lost": "FAILURE", "damaged": "FAILURE",
}  # fmt: skip
"""FulfillmentEventStatus of a parcel's place. Of a return Shopify has no word but that the delivery failed."""

PRIVACY = {"customers/data_request": "export", "customers/redact": "erase_customer", "shop/redact": "erase_store"}

_ORDER_TOPICS = frozenset({
    "orders/create", "orders/updated", "orders/paid", "orders/cancelled", "orders/fulfilled",
    "orders/partially_fulfilled",
})  # fmt: skip

OUR_TAGS = ("dastak-confirmed", "dastak-cancelled", "dastak-no-answer")
"""Tags of which an order carries one at a time."""

PAID_TAG, PART_TAG = "dastak-paid", "dastak-part-paid"
"""Tags of an order that was paid, or of which a part was, through Dastak."""

_CANCEL_IS_DONE = re.compile(r"already.*cancel", re.IGNORECASE)
_HAS_BEEN_PAID = frozenset({"PAID", "PARTIALLY_REFUNDED", "REFUNDED"})
_FULFILLED_MEANWHILE = re.compile(r"unfulfillable status", re.IGNORECASE)

_PATIENCE = 15.0
"""Seconds one call may wait for the rate limit to refill before it gives up for now."""


class Shopify:
    """See integration.ports.StoreAdapter, Embedded, InstallsByCode and RefreshesAccess."""

    name = "shopify"
    label = "Shopify"
    regions = ("worldwide",)
    website = "https://www.shopify.com"
    credentials: tuple[Field, ...] = ()
    settings = (
        Setting("SHOPIFY_API_KEY", "client id of the Shopify app"),
        Setting("SHOPIFY_API_SECRET", "client secret; two while rotating", None, some_words, secret=True),
        Setting("SHOPIFY_API_VERSION", "version of the Admin API, as in shopify.app.toml", "2026-07"),
        Setting("SHOPIFY_SCOPES", "scopes asked for, as in shopify.app.toml",
                "write_orders,read_customers,write_fulfillments,write_merchant_managed_fulfillment_orders,"
                "read_products"),
        Setting("SHOPIFY_ADMIN_URL", "where a shop's admin API lives; {shop} is its domain", "https://{shop}"),
        Setting("SHOPIFY_ADMIN_ORIGIN", "who may frame the app, beside the shop", "https://admin.shopify.com", url),
        Setting("SHOPIFY_APP_BRIDGE_URL", "the App Bridge script",
                "https://cdn.shopify.com/shopifycloud/app-bridge.js", url),
        Setting("SHOPIFY_POLARIS_URL", "the Polaris web components; empty leaves them out",
                "https://cdn.shopify.com/shopifycloud/polaris-1.js"),
        Setting("SHOPIFY_APP_HANDLE", "the app's handle in the admin's address", "dastak"),
    )  # fmt: skip
    authenticates_by = "signature"
    handles = _ORDER_TOPICS | {"orders/delete", "app/uninstalled", "app/scopes_update", *PRIVACY}
    ignores = frozenset({
        "refunds/create", "fulfillments/create", "fulfillments/update", "fulfillment_events/create",
        "checkouts/create", "checkouts/update", "checkouts/delete", "orders/edited", "shop/update",
    })  # fmt: skip
    keeps = (
        "x-shopify-topic", "x-shopify-shop-domain", "x-shopify-api-version", "x-shopify-webhook-id",
        "x-shopify-event-id", "x-shopify-triggered-at",
    )  # fmt: skip
    concurrency = 4
    retry_header = "X-Shopify-Retry-Invalid-Session-Request"
    reload_parameter = "shopify-reload"

    def __init__(self, config: AdapterConfig) -> None:
        self._clock = config.clock
        self._public_url = config.public_url
        self._key: str = config.settings["SHOPIFY_API_KEY"]
        self._secrets: tuple[str, ...] = config.settings["SHOPIFY_API_SECRET"]
        self._version: str = config.settings["SHOPIFY_API_VERSION"]
        self._scopes: str = config.settings["SHOPIFY_SCOPES"]
        self._admin: str = config.settings["SHOPIFY_ADMIN_URL"]
        self._origin: str = config.settings["SHOPIFY_ADMIN_ORIGIN"]
        self._app_bridge: str = config.settings["SHOPIFY_APP_BRIDGE_URL"]
        self._polaris: str = config.settings["SHOPIFY_POLARIS_URL"]
        self._handle: str = config.settings["SHOPIFY_APP_HANDLE"]
        self._timeout = config.send_timeout

    # -- webhooks --------------------------------------------------------------------------------------------------

    def verify(self, request: WebhookRequest, account: Account | None) -> None:
        """Base64 HMAC-SHA256 of the raw body with the client secret. While secrets rotate, any live one signs."""
        signing.require(
            request.header("x-shopify-hmac-sha256"),
            (signing.hmac_base64(secret, request.body) for secret in self._secrets),
        )

    def split(self, request: WebhookRequest) -> list[tuple[str, bytes]]:
        return [(request.header("x-shopify-shop-domain").lower()[:255], request.body)]

    def delivery_key(self, request: WebhookRequest) -> str:
        """The vendor's id, constant over its retries; a hash where there is none (what reconciliation found)."""
        given = request.header("x-shopify-webhook-id")
        return given[:120] if given else signing.body_hash(request.header("x-shopify-topic"), request.body)

    def parse(self, request: WebhookRequest) -> list[Fact]:
        topic = request.header("x-shopify-topic")
        if topic in self.ignores:
            return []
        if topic not in self.handles:
            raise NotUnderstood(f"the topic {topic[:60]!r} is not one we know")
        body = _object(request.body)
        try:
            return _facts(topic, body, request)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as fault:
            raise NotUnderstood(
                f"{topic} lacks or garbles a field ({type(fault).__name__}: {str(fault)[:80]})"
            ) from None

    # -- embedded pages --------------------------------------------------------------------------------------------

    def visitor(self, token: str) -> Visitor:
        """A session token: HS256 with the client secret, for this app, iss and dest the same shop, 10 s of leeway."""
        now = self._clock.now().timestamp()
        for secret in self._secrets:
            try:
                claims = jwt.decode(token, OctKey.import_key(secret), algorithms=["HS256"]).claims
            except (JoseError, ValueError, TypeError):
                continue
            return _visitor(claims, self._key, now)
        raise InvalidSignature("The session token was not issued for this app.")

    def account_hint(self, query: Mapping[str, str]) -> str:
        shop = query.get("shop", "").lower()
        if SHOP.fullmatch(shop):
            return shop
        host = query.get("host", "")
        try:
            decoded = base64.b64decode(host + "=" * (-len(host) % 4), validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return ""
        handle = re.fullmatch(r"admin\.shopify\.com/store/([a-z0-9][a-z0-9\-]{0,60})", decoded)
        return f"{handle[1]}.myshopify.com" if handle else ""

    def frame_ancestors(self, account: str) -> str:
        return f"https://{account} {self._origin}" if SHOP.fullmatch(account) else "'none'"

    def page_head(self) -> Mapping[str, str]:
        return {
            "key_name": "shopify-api-key",
            "key": self._key,
            "app_bridge": self._app_bridge,
            "polaris": self._polaris,
        }

    def admin_home(self, account: str) -> str:
        return f"{self._origin}/store/{account.removesuffix('.myshopify.com')}/apps/{self._handle}"

    # -- install and access ----------------------------------------------------------------------------------------

    def exchange(self, account: str, token: str) -> Grant:
        """Token exchange for an expiring offline token."""
        return self._token_request(
            account,
            {
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                "subject_token": token,
                "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
                "requested_token_type": "urn:shopify:params:oauth:token-type:offline-access-token",
                "expiring": "1",
            },
        )

    def refresh(self, account: Account) -> Grant:
        return self._token_request(
            account.name, {"grant_type": "refresh_token", "refresh_token": account.credentials.get("refresh_token", "")}
        )

    def refresh_due(self, account: Account, now: datetime) -> bool:
        """Five minutes before the hour is over. A token without an expiry is of the kind that no longer works: renew
        it.
        """
        expires = account.state.get("expires_at")
        return not expires or datetime.fromisoformat(expires) <= now + timedelta(minutes=5)

    def install_url(self, account: str, state: str) -> str:
        if not SHOP.fullmatch(account):
            raise ConfigurationError("That is no Shopify store address. It looks like my-shop.myshopify.com.")
        with self._oauth() as oauth:
            address, _ = oauth.create_authorization_url(self._url(account, "/admin/oauth/authorize"), state=state)
        return str(address)

    def finish_install(self, query: Mapping[str, str]) -> tuple[str, Grant]:
        """Check the callback's signature and freshness, then trade the code for an expiring offline token."""
        shop = query.get("shop", "").lower()
        fresh = abs(self._clock.now().timestamp() - _number(query.get("timestamp"))) <= 90
        if not SHOP.fullmatch(shop) or not fresh or not any(_signed(query, secret) for secret in self._secrets):
            raise InvalidSignature(
                "The answer did not come from Shopify, or came too late. Start the installation again."
            )
        try:
            with self._oauth() as oauth:
                answer = oauth.fetch_token(
                    self._url(shop, "/admin/oauth/access_token"), code=query.get("code", ""), expiring="1"
                )
        except (OAuthError, requests.RequestException):
            raise ConfigurationError(
                "Shopify did not accept the installation. Start it again from the Shopify admin."
            ) from None
        grant = self._grant(answer)
        if not shopify.ApiAccess(answer.get("scope", "")).covers(shopify.ApiAccess(self._scopes)):
            raise ConfigurationError("Some permissions were left out. Dastak needs all of them to look after orders.")
        return shop, grant

    def _oauth(self) -> OAuth2Session:
        return OAuth2Session(
            client_id=self._key,
            client_secret=self._secrets[0],
            scope=self._scopes,
            redirect_uri=f"{self._public_url}/install/{self.name}/callback",
            token_endpoint_auth_method="client_secret_post",
            default_timeout=15,
        )

    def _token_request(self, shop: str, grant: Mapping[str, str]) -> Grant:
        response = http.read(
            "POST",
            self._url(shop, "/admin/oauth/access_token"),
            timeout=15,
            form={"client_id": self._key, "client_secret": self._secrets[0], **grant},
        )
        answer = http.body_of(response)
        if response.status_code == 200 and isinstance(answer, dict) and answer.get("access_token"):
            return self._grant(answer)
        if response.status_code == 429 or response.status_code >= 500:
            raise TransientError("Shopify is not giving out access just now", retry_after=http.retry_after(response))
        error = answer.get("error") if isinstance(answer, dict) else None
        if error == "invalid_subject_token":
            raise InvalidSignature("Shopify no longer accepts this session token.")
        raise ConfigurationError(
            "Shopify has ended our access to this store. Open Dastak from the Shopify admin to renew it."
        )

    def _grant(self, answer: Mapping[str, Any]) -> Grant:
        now = self._clock.now()

        def until(seconds: Any) -> str | None:
            return (now + timedelta(seconds=float(seconds))).isoformat() if seconds else None

        credentials = {"access_token": answer["access_token"], "refresh_token": answer.get("refresh_token") or ""}
        return Grant(
            credentials,
            {
                "scopes": sorted(filter(None, str(answer.get("scope", "")).split(","))),
                "expires_at": until(answer.get("expires_in")),
                "refresh_expires_at": until(answer.get("refresh_token_expires_in")),
            },
        )

    # -- the Admin API ---------------------------------------------------------------------------------------------

    def profile(self, account: Account) -> StoreProfile:
        data = self._ask(account, _SHOP_QUERY, {})
        shop = data["shop"]
        return StoreProfile(
            name=clean(shop["name"], 200),
            account=account.name,
            timezone=shop.get("ianaTimezone") or "UTC",
            currency=shop.get("currencyCode") or "",
            country=(shop.get("billingAddress") or {}).get("countryCodeV2") or "",
            email=clean(shop.get("email"), 254),
            facts={"origin": _plain_id(shop["id"])},
        )

    def fetch_orders(self, account: Account, since: datetime) -> Iterator[WebhookRequest]:
        """Pages of orders by modification time, waiting for the rate limit between them when it runs low."""
        after = None
        while True:
            data = self._ask(
                account,
                _ORDERS_QUERY,
                {
                    "after": after,
                    "query": f"updated_at:>='{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'",
                },
            )["orders"]
            for node in data["nodes"]:
                node["lineItems"]["nodes"] += self._further_lines(account, node)
                yield WebhookRequest(
                    {"x-shopify-topic": "orders/updated", "x-shopify-shop-domain": account.name},
                    orjson.dumps(_rest_shape(node)),
                )
            if not data["pageInfo"]["hasNextPage"]:
                return
            after = data["pageInfo"]["endCursor"]

    def _further_lines(self, account: Account, node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The lines that a page of orders has no room for: asking for more in every order would cost too much."""
        lines = node["lineItems"]
        while lines["pageInfo"]["hasNextPage"]:
            page = {"id": _gid(node["legacyResourceId"]), "after": lines["pageInfo"]["endCursor"]}
            order = self._ask(account, _LINES_QUERY, page)["order"]
            if order is None:  # deleted meanwhile
                return
            lines = order["lineItems"]
            yield from lines["nodes"]

    def absent_orders(self, account: Account, order_ids: Sequence[str]) -> Iterable[str]:
        for start in range(0, len(order_ids), 100):
            ids = order_ids[start : start + 100]
            nodes = self._ask(account, _NODES_QUERY, {"ids": [_gid(i) for i in ids]})["nodes"]
            yield from (i for i, node in zip(ids, nodes, strict=True) if node is None)

    def write_back(self, account: Account, change: StoreChange) -> str:
        """Tags and a metafield, which may be written any number of times; a cancellation only after a look."""
        said = [self._tag(account, change)]
        if change.cancel:
            said.append(self._cancel(account, change))
        return ", ".join(said)

    def _tag(self, account: Account, change: StoreChange) -> str:
        gid = _gid(change.order_id)
        data = self._ask(
            account,
            _TAG_MUTATION,
            {
                "id": gid,
                "tags": list(change.tags),
                "gone": [tag for tag in OUR_TAGS if tag not in change.tags] if change.outcome != "reason" else [],
                "metafields": [
                    {
                        "ownerId": gid,
                        "namespace": "$app:dastak",
                        "key": "cancel_reason" if change.reason else "confirmation",
                        "type": "single_line_text_field",
                        "value": change.reason or change.outcome,
                    }
                ],
            },
        )
        _refusals(data, "tagsAdd", "tagsRemove", "metafieldsSet")
        return f"tagged {', '.join(change.tags)}"

    def _cancel(self, account: Account, change: StoreChange) -> str:
        """orderCancel has no idempotency key and cannot be undone: look first, and take "already cancelled" for
        done.
        """
        gid = _gid(change.order_id)
        order = self._ask(account, _LOOK_QUERY, {"id": gid})["order"]
        if order is None:
            return "the order is no longer in the store"
        if order["cancelledAt"]:
            return "already cancelled in the store"
        paid = order["displayFinancialStatus"] in ("PAID", "PARTIALLY_PAID", "PARTIALLY_REFUNDED")
        if paid:
            raise PermanentError("The order has been paid meanwhile; refund and cancel it in the store.", reason="paid")
        data = self._ask(account, _CANCEL_MUTATION, {"id": gid, "note": change.note[:255]})
        errors = data["orderCancel"]["orderCancelUserErrors"]
        if errors and not all(_CANCEL_IS_DONE.search(error["message"]) for error in errors):
            raise PermanentError(f"Shopify would not cancel it: {errors[0]['message'][:200]}", reason="refused")
        return "cancelled in the store"

    def tell_payment(self, account: Account, told: PaymentTold) -> str:
        """A tag and a metafield, which may be written any number of times; the mark only after a look, and only for
        the whole: orderMarkAsPaid records all that is outstanding, whatever was paid
        (shopify.dev/docs/api/admin-graphql/latest/mutations/orderMarkAsPaid).
        """
        gid = _gid(told.order_id)
        order = self._ask(account, _MONEY_QUERY, {"id": gid})["order"]
        if order is None:
            return "the order is no longer in the store"
        if told.whole:
            tag, key, value = PAID_TAG, "payment", told.reference
            said = self._mark(account, order)
        else:
            tag, key, value = PART_TAG, "advance", told.among((order["advance"] or {}).get("value"))
            said = "left unpaid: a part was paid"
        data = self._ask(
            account,
            _TAG_MUTATION,
            {
                "id": gid,
                "tags": [tag],
                "gone": [PART_TAG] if told.whole else [],
                "metafields": [
                    {
                        "ownerId": gid,
                        "namespace": "$app:dastak",
                        "key": key,
                        "type": "single_line_text_field",
                        "value": value,
                    }
                ],
            },
        )
        _refusals(data, "tagsAdd", "tagsRemove", "metafieldsSet")
        return f"tagged {tag}, {said}"

    def _mark(self, account: Account, order: Mapping[str, Any]) -> str:
        """Mark an order as paid that was just looked at. Where a card is authorised the mark would capture it, and the
        customer would have paid twice.
        """
        status = order["displayFinancialStatus"]
        if status in _HAS_BEEN_PAID:
            return "already paid in the store"
        if order["cancelledAt"]:
            return "not marked as paid: the order is cancelled in the store"
        if status == "AUTHORIZED":
            return "not marked as paid: that would also charge the card which the store has authorised"
        if not order["canMarkAsPaid"]:
            return "not marked as paid: the store does not allow it"
        data = self._ask(account, _MARK_MUTATION, {"id": order["id"]})
        if data["orderMarkAsPaid"]["userErrors"]:  # somebody else may have been quicker
            now = self._ask(account, _MONEY_QUERY, {"id": order["id"]})["order"]
            if now is None or now["displayFinancialStatus"] not in _HAS_BEEN_PAID:
                _refusals(data, "orderMarkAsPaid")
        return "marked as paid in the store"

    def tell_parcel(self, account: Account, told: ParcelTold) -> str:
        """A fulfilment under the parcel's number, and an event that says where it is. None of these mutations has an
        idempotency key, so each is made only after a look.
        """
        order = self._ask(account, _PARCELS_QUERY, {"id": _gid(told.order_id)})["order"]
        if order is None:
            return "the order is no longer in the store"
        under_it = [parcel for parcel in order["fulfillments"] if _carries(parcel, told.number)]
        living = [parcel for parcel in under_it if parcel["status"] not in ("CANCELLED", "ERROR", "FAILURE")]
        if told.status == "cancelled":
            return self._cancel_parcels(account, living)
        if under_it and not living:
            return "its fulfilment was cancelled in the store, so nothing was written"
        if living:
            return self._tell_place(account, told, living)
        made, said = self._fulfil(account, told)
        return f"{said}, {self._tell_place(account, told, made)}" if made else said

    def _fulfil(self, account: Account, told: ParcelTold) -> tuple[list[dict[str, Any]], str]:
        """The fulfilment that was made, none when nothing is open, and what to say of it. A fulfilment leaves from one
        location, and so does a parcel: what lies elsewhere stays open.
        """
        order = self._ask(account, _WORK_QUERY, {"id": _gid(told.order_id)})["order"]
        works = order["fulfillmentOrders"]["nodes"] if order else []
        works = [work for work in works if work["status"] in ("OPEN", "IN_PROGRESS")]
        if not works:
            return [], "nothing is left to fulfil in the store"
        place = works[0]["assignedLocation"]["name"]
        here = [work for work in works if work["assignedLocation"]["name"] == place]
        fulfilment = {
            "lineItemsByFulfillmentOrder": [{"fulfillmentOrderId": work["id"]} for work in here],
            "trackingInfo": _filled(number=told.number, url=told.url, company=told.courier),
            "notifyCustomer": False,
        }
        data = self._ask(account, _FULFIL_MUTATION, {"fulfilment": fulfilment})
        if any(_FULFILLED_MEANWHILE.search(e["message"]) for e in data["fulfillmentCreate"]["userErrors"]):
            raise TransientError("the order is being fulfilled in the store at this very moment")
        _refusals(data, "fulfillmentCreate")
        left = f" from {clean(place, 80)}; what lies elsewhere is left open" if len(here) < len(works) else ""
        return [data["fulfillmentCreate"]["fulfillment"]], f"fulfilled in the store{left}"

    def _tell_place(self, account: Account, told: ParcelTold, parcels: Sequence[dict[str, Any]]) -> str:
        """An event of each parcel, unless the store has it, says the same, or knows of something later: an event that
        comes late would take the order's status page back.
        """
        status, at = EVENT.get(told.status), told.at.astimezone(UTC).replace(microsecond=0)
        if status is None:
            return "the store has no word for where it is"
        said = ""
        for parcel in parcels:
            events = [(_need_time(event["happenedAt"]), event["status"]) for event in parcel["events"]["nodes"]]
            if (at, status) in events or status in (parcel["displayStatus"], *(word for _, word in events[:1])):
                said = said or "the store says so already"
            elif events and at < events[0][0]:
                said = said or "the store has later news of it"
            else:
                event = {"fulfillmentId": parcel["id"], "status": status, "happenedAt": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
                _refusals(self._ask(account, _EVENT_MUTATION, {"event": event}), "fulfillmentEventCreate")
                said = f"shown as {status.lower().replace('_', ' ')} in the store"
        return said

    def _cancel_parcels(self, account: Account, parcels: Sequence[dict[str, Any]]) -> str:
        for parcel in parcels:
            data = self._ask(account, _CANCEL_PARCEL_MUTATION, {"id": parcel["id"]})
            if not all(_CANCEL_IS_DONE.search(e["message"]) for e in data["fulfillmentCancel"]["userErrors"]):
                _refusals(data, "fulfillmentCancel")
        return "its fulfilment was cancelled in the store" if parcels else "the store has no fulfilment of it"

    def _ask(self, account: Account, query: str, variables: Mapping[str, Any]) -> Any:
        """One GraphQL call, waiting for the bucket to refill when it is told to."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            answer = self._post(account, query, variables)
            errors = answer.get("errors") or []
            codes = {(e.get("extensions") or {}).get("code") for e in errors if isinstance(e, dict)}
            if "THROTTLED" in codes:
                wait = _refill(answer)
                if time.monotonic() + wait > deadline:
                    raise TransientError(
                        "Shopify's rate limit for this store is used up", retry_after=wait, code="THROTTLED"
                    )
                time.sleep(wait)
                continue
            if "ACCESS_DENIED" in codes:
                raise _denied(errors)
            if answer.get("data") is None or (errors and not _only_redacted(errors)):
                message = errors[0].get("message", "") if errors and isinstance(errors[0], dict) else str(errors)
                raise PermanentError(f"Shopify did not accept the call: {message[:200]}", reason="refused")
            return answer["data"]

    def _post(self, account: Account, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        response = http.call(
            "POST",
            self._url(account.name, f"/admin/api/{self._version}/graphql.json"),
            json={"query": query, "variables": variables},
            timeout=self._timeout,
            headers={"X-Shopify-Access-Token": account.credentials.get("access_token", "")},
        )
        status, answer = response.status_code, http.body_of(response)
        if status == 200 and isinstance(answer, dict):
            return answer
        if status in (401, 403):
            raise ConfigurationError(
                "Shopify no longer accepts our access. Open Dastak from the Shopify admin to renew it."
            )
        if status in (402, 423):
            raise ConfigurationError("The store is frozen or locked by Shopify.")
        if status == 429:
            raise TransientError("Shopify asks us to slow down", retry_after=http.retry_after(response) or 2.0)
        if status == 200:
            raise OutcomeUnknown("Shopify's answer could not be read")
        if status >= 500:
            raise OutcomeUnknown(f"Shopify answered {status}")
        raise PermanentError(f"Shopify answered {status}", reason="refused")

    def _url(self, shop: str, path: str) -> str:
        if not SHOP.fullmatch(shop):
            raise ConfigurationError("That is no Shopify store address.")
        return self._admin.replace("{shop}", shop) + path


# -- reading -------------------------------------------------------------------------------------------------------


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise NotUnderstood("the body is no JSON") from None
    if not isinstance(value, dict):
        raise NotUnderstood("the body is no JSON object")
    return value


def _facts(topic: str, body: dict[str, Any], request: WebhookRequest) -> list[Fact]:
    shop = request.header("x-shopify-shop-domain").lower()
    if topic in _ORDER_TOPICS:
        return [_order(body)]
    if topic == "orders/delete":
        return [OrderRemoved(external_id=str(int(body["id"])))]
    at = _time(request.header("x-shopify-triggered-at")) or datetime(1970, 1, 1, tzinfo=UTC)
    if topic == "app/uninstalled":
        _same_shop(body["myshopify_domain"], shop)
        return [StoreUninstalled(occurred_at=at)]
    if topic == "app/scopes_update":
        return [ScopesChanged(scopes=tuple(str(scope) for scope in body["current"]), occurred_at=at)]
    _same_shop(body["shop_domain"], shop)
    customer = body.get("customer") or {}
    orders = body.get("orders_requested") or body.get("orders_to_redact") or []
    return [
        PrivacyRequested(
            kind=PRIVACY[topic],
            customer_id=str(customer.get("id") or ""),
            email=clean(customer.get("email"), 254),
            phone=clean(customer.get("phone"), 40),
            order_ids=tuple(str(int(i)) for i in orders),
            request_id=str((body.get("data_request") or {}).get("id") or request.header("x-shopify-webhook-id")),
            occurred_at=at,
        )
    ]


def _same_shop(named: str, shop: str) -> None:
    """The shop header is not covered by the signature; the body is."""
    if str(named).lower() != shop:
        raise NotUnderstood("the body names another shop than the header: it was replayed under a false name")


def _order(body: dict[str, Any]) -> OrderChanged:
    cancelled_at = _time(body.get("cancelled_at"))
    total = _total(body, ("total_price",) if cancelled_at else ("current_total_price", "total_price"))
    raw_payment = str(body.get("financial_status") or "")
    raw_fulfilment = str(body.get("fulfillment_status") or "")
    outstanding = body.get("total_outstanding")
    updated = _need_time(body["updated_at"])
    customer = body.get("customer") or {}
    return OrderChanged(
        external_id=str(int(body["id"])),
        name=clean(body["name"], 64) or str(body["id"]),
        occurred_at=updated,
        placed_at=_time(body.get("processed_at")) or _need_time(body["created_at"]),
        total=total,
        outstanding=Money.parse(outstanding, body["currency"]) if outstanding not in (None, "") else None,
        payment=PAYMENT.get(raw_payment, UNKNOWN) if raw_payment else "",
        raw_payment=raw_payment[:64],
        fulfilment=FULFILMENT.get(raw_fulfilment, UNKNOWN),
        raw_fulfilment=raw_fulfilment[:64],
        gateways=tuple(clean(name, 80) for name in body.get("payment_gateway_names") or ()),
        cancelled_at=cancelled_at,
        cancel_reason=clean(body.get("cancel_reason"), 40),
        test=body.get("test") is True,
        tags=tuple(sorted(filter(None, (clean(tag, 60) for tag in _tags(body.get("tags")))))),
        locale=clean(body.get("customer_locale"), 16),
        customer_id=str(customer.get("id") or ""),
        customer_name=_name(body, customer),
        email=clean(body.get("email") or body.get("contact_email") or customer.get("email"), 254),
        phones=_phones(body, customer),
        address=_address(body.get("shipping_address") or body.get("billing_address") or {}),
        items=tuple(_items(body, now="quantity" if cancelled_at else "current_quantity")),
        parcels=tuple(_parcel(parcel, updated) for parcel in body.get("fulfillments") or ()),
        origin=_origin(body.get("order_status_url")),
    )


def _total(body: dict[str, Any], names: Sequence[str]) -> Money:
    """The first of these totals, as the buyer sees it (presentment money).

    The current total follows edits and refunds; of a cancelled order it is zero, so there the original one counts.
    """
    for name in names:
        shown = (body.get(f"{name}_set") or {}).get("presentment_money")
        if shown:
            return Money.parse(shown["amount"], shown["currency_code"])
        if body.get(name) not in (None, ""):
            return Money.parse(body[name], body["currency"])
    raise KeyError(names[0])


def _name(body: dict[str, Any], customer: dict[str, Any]) -> str:
    for part in (body.get("shipping_address"), customer, body.get("billing_address")):
        if part and (name := clean(f"{part.get('first_name') or ''} {part.get('last_name') or ''}", 200)):
            return name
    return ""


def _phones(body: dict[str, Any], customer: dict[str, Any]) -> tuple[str, ...]:
    places = (
        body.get("shipping_address"),
        body,
        customer,
        body.get("billing_address"),
        customer.get("default_address"),
    )
    return tuple(dict.fromkeys(clean(p["phone"], 40) for p in places if p and p.get("phone")))


def _address(raw: dict[str, Any]) -> Address:
    return Address(
        name=clean(f"{raw.get('first_name') or ''} {raw.get('last_name') or ''}", 120),
        line1=clean(raw.get("address1"), 200),
        line2=clean(raw.get("address2"), 200),
        city=clean(raw.get("city"), 80),
        region=clean(raw.get("province"), 80),
        postcode=clean(raw.get("zip"), 20),
        country=clean(raw.get("country_code"), 2).upper(),
    )


def _items(body: dict[str, Any], now: str) -> Iterator[Item]:
    """The lines that still count; `now` names the quantity that says so."""
    for line in body.get("line_items") or ():
        quantity = int(line["quantity"] if line.get(now) is None else line[now])
        if quantity > 0:
            yield _item(line, quantity, body["currency"])


def _item(line: dict[str, Any], quantity: int, currency: str) -> Item:
    price = line.get("price")
    return Item(
        external_id=str(line.get("id") or ""),
        title=clean(line.get("name") or line.get("title"), 300),
        variant=clean(line.get("variant_title"), 200),
        sku=clean(line.get("sku"), 100),
        quantity=quantity,
        price=Money.parse(price, currency) if price not in (None, "") else None,
    )


def _parcel(raw: dict[str, Any], updated: datetime) -> ParcelSeen:
    word = str(raw.get("shipment_status") or "")
    off = raw.get("status") in ("cancelled", "error", "failure")
    return ParcelSeen(
        external_id=str(raw["id"]),
        status="cancelled" if off else PARCEL.get(word, UNKNOWN),
        raw_status=(str(raw.get("status") or "") if off else word)[:64],
        courier=clean(raw.get("tracking_company"), 100),
        tracking_number=clean(raw.get("tracking_number"), 64),
        tracking_url=clean(raw.get("tracking_url"), 500),
        occurred_at=_time(raw.get("updated_at")) or updated,
    )


def _tags(raw: Any) -> list[str]:
    return raw if isinstance(raw, list) else str(raw or "").split(",")


def _origin(status_url: Any) -> str:
    """The shop's id stands in every order's status address: https://<domain>/<shop id>/orders/<token>/..."""
    found = re.match(r"/(\d+)/orders/", urlsplit(str(status_url or "")).path)
    return found[1] if found else ""


def _time(raw: Any) -> datetime | None:
    if not raw:
        return None
    value = datetime.fromisoformat(str(raw))
    if value.tzinfo is None:
        raise ValueError("a time without a zone")
    return value.astimezone(UTC)


def _need_time(raw: Any) -> datetime:
    value = _time(raw)
    if value is None:
        raise ValueError("a time is missing")
    return value


def _number(raw: Any) -> float:
    try:
        return float(raw)
    except (TypeError, ValueError):
        return 0.0


def _visitor(claims: Mapping[str, Any], key: str, now: float) -> Visitor:
    dest, issuer = (urlsplit(str(claims.get(name, ""))).hostname or "" for name in ("dest", "iss"))
    expires, begins = _number(claims.get("exp")), _number(claims.get("nbf"))
    if claims.get("aud") != key or dest != issuer or not SHOP.fullmatch(dest):
        raise InvalidSignature("The session token speaks for another app or shop.")
    if not begins - 10 <= now <= expires + 10:
        raise InvalidSignature("The session token has expired.")
    return Visitor(dest, str(claims.get("sub", "")))


def _signed(query: Mapping[str, str], secret: str) -> bool:
    """ShopifyAPI knows how a callback is signed; a class of our own keeps its secret out of global state."""
    signer: Any = type("Signer", (shopify.Session,), {"secret": secret})
    return bool(signer.validate_hmac({k: v for k, v in query.items() if k != "signature"}))


def _refusals(data: Mapping[str, Any], *mutations: str) -> None:
    for mutation in mutations:
        errors = (data.get(mutation) or {}).get("userErrors") or []
        if errors:
            raise PermanentError(f"Shopify refused {mutation}: {errors[0]['message'][:200]}", reason="refused")


def _denied(errors: Sequence[Any]) -> ConfigurationError:
    """Who installed Dastak before it wrote fulfilments has yet to approve that; all else goes on."""
    said = "Shopify refused a permission. Open Dastak from the Shopify admin and approve it."
    ours = [e for e in errors if isinstance(e, dict) and (e.get("extensions") or {}).get("code") == "ACCESS_DENIED"]
    of_fulfilments = all("fulfillment" in str(e.get("message")) for e in ours)
    return PermissionMissing(said) if of_fulfilments else ConfigurationError(said)


def _carries(parcel: dict[str, Any], number: str) -> bool:
    """People type a number with blanks and in small letters; ours has neither."""
    typed = (str(info["number"] or "") for info in parcel["trackingInfo"])
    return any("".join(one.split()).upper() == number for one in typed)


def _filled(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _refill(answer: Mapping[str, Any]) -> float:
    """Seconds until the bucket holds what the call costs, by the numbers of the answer itself."""
    cost = (answer.get("extensions") or {}).get("cost") or {}
    bucket = cost.get("throttleStatus") or {}
    short = float(cost.get("requestedQueryCost") or 100) - float(bucket.get("currentlyAvailable") or 0)
    return min(max(short / float(bucket.get("restoreRate") or 50), 0.2), 30.0)


def _only_redacted(errors: Sequence[Any]) -> bool:
    """Fields that the app was not approved for come back as null with an error beside good data."""
    return all(isinstance(e, dict) and "path" in e and "not approved" in str(e.get("message", "")) for e in errors)


def _gid(order_id: str) -> str:
    return f"gid://shopify/Order/{quote(order_id, safe='')}"


def _plain_id(gid: str) -> str:
    return gid.rsplit("/", 1)[-1]


# -- GraphQL -------------------------------------------------------------------------------------------------------


def _rest_shape(node: dict[str, Any]) -> dict[str, Any]:
    """An order as GraphQL tells it, in the shape of the webhooks."""
    customer = node.get("customer") or {}
    return {
        "id": int(node["legacyResourceId"]),
        "name": node["name"],
        "created_at": node["createdAt"],
        "updated_at": node["updatedAt"],
        "processed_at": node["processedAt"],
        "cancelled_at": node["cancelledAt"],
        "cancel_reason": (node["cancelReason"] or "").lower() or None,
        "test": node["test"],
        "currency": node["currencyCode"],
        "total_price_set": {"presentment_money": _rest_money(node["totalPriceSet"]["presentmentMoney"])},
        "current_total_price_set": {"presentment_money": _rest_money(node["currentTotalPriceSet"]["presentmentMoney"])},
        "total_outstanding": (node.get("totalOutstandingSet") or {}).get("shopMoney", {}).get("amount"),
        "financial_status": (node["displayFinancialStatus"] or "").lower(),
        "fulfillment_status": DISPLAY_FULFILMENT.get(node["displayFulfillmentStatus"]),
        "payment_gateway_names": node["paymentGatewayNames"],
        "email": node["email"],
        "phone": node["phone"],
        "customer_locale": node["customerLocale"],
        "tags": node["tags"],
        "order_status_url": node["statusPageUrl"],
        "customer": customer
        and {
            "id": _plain_id(customer["id"]),
            "first_name": customer["firstName"],
            "last_name": customer["lastName"],
            "email": (customer.get("defaultEmailAddress") or {}).get("emailAddress"),
            "phone": (customer.get("defaultPhoneNumber") or {}).get("phoneNumber"),
        },
        "shipping_address": _rest_address(node["shippingAddress"]),
        "billing_address": _rest_address(node["billingAddress"]),
        "line_items": [
            {
                "id": _plain_id(line["id"]),
                "name": line["name"],
                "title": line["title"],
                "variant_title": line["variantTitle"],
                "sku": line["sku"],
                "quantity": line["quantity"],
                "current_quantity": line["currentQuantity"],
                "price": line["originalUnitPriceSet"]["shopMoney"]["amount"],
            }
            for line in node["lineItems"]["nodes"]
        ],
        "fulfillments": [
            {
                "id": _plain_id(parcel["id"]),
                "status": parcel["status"].lower(),
                "shipment_status": DISPLAY_PARCEL.get(parcel["displayStatus"]),
                "updated_at": parcel["updatedAt"],
                **_rest_tracking(parcel["trackingInfo"]),
            }
            for parcel in node["fulfillments"]
        ],
    }


def _rest_money(money: dict[str, Any]) -> dict[str, Any]:
    return {"amount": money["amount"], "currency_code": money["currencyCode"]}


def _rest_address(raw: dict[str, Any] | None) -> dict[str, Any] | None:
    if raw is None:
        return None
    return {
        "first_name": raw["firstName"],
        "last_name": raw["lastName"],
        "phone": raw["phone"],
        "address1": raw["address1"],
        "address2": raw["address2"],
        "city": raw["city"],
        "province": raw["province"],
        "zip": raw["zip"],
        "country_code": raw["countryCodeV2"],
    }


def _rest_tracking(info: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = info[0] if info else {}
    return {
        "tracking_company": first.get("company"),
        "tracking_number": first.get("number"),
        "tracking_url": first.get("url"),
    }


_SHOP_QUERY = """
query { shop { id name email myshopifyDomain ianaTimezone currencyCode billingAddress { countryCodeV2 } } }
"""

_ADDRESS = "{ firstName lastName phone address1 address2 city province zip countryCodeV2 }"

_LINES = """{
  pageInfo { hasNextPage endCursor }
  nodes {
    id title name variantTitle sku quantity currentQuantity originalUnitPriceSet { shopMoney { amount currencyCode } }
  }
}"""

_ORDERS_QUERY = f"""
query Changed($after: String, $query: String!) {{
  orders(first: 50, after: $after, sortKey: UPDATED_AT, query: $query) {{
    pageInfo {{ hasNextPage endCursor }}
    nodes {{
      legacyResourceId name createdAt updatedAt processedAt cancelledAt cancelReason test currencyCode
      totalPriceSet {{ presentmentMoney {{ amount currencyCode }} }}
      currentTotalPriceSet {{ presentmentMoney {{ amount currencyCode }} }}
      totalOutstandingSet {{ shopMoney {{ amount currencyCode }} }}
      displayFinancialStatus displayFulfillmentStatus paymentGatewayNames email phone customerLocale tags statusPageUrl
      customer {{
        id firstName lastName defaultPhoneNumber {{ phoneNumber }} defaultEmailAddress {{ emailAddress }}
      }}
      shippingAddress {_ADDRESS}
      billingAddress {_ADDRESS}
      lineItems(first: 30) {_LINES}
      fulfillments(first: 10) {{ id status displayStatus updatedAt trackingInfo {{ company number url }} }}
    }}
  }}
}}
"""

_LINES_QUERY = f"""
query Lines($id: ID!, $after: String) {{ order(id: $id) {{ lineItems(first: 250, after: $after) {_LINES} }} }}
"""

_NODES_QUERY = "query Present($ids: [ID!]!) { nodes(ids: $ids) { id } }"

_LOOK_QUERY = "query Look($id: ID!) { order(id: $id) { id cancelledAt displayFinancialStatus } }"

_MONEY_QUERY = """
query Money($id: ID!) {
  order(id: $id) {
    id cancelledAt displayFinancialStatus canMarkAsPaid
    advance: metafield(namespace: "$app:dastak", key: "advance") { value }
  }
}
"""

_MARK_MUTATION = """
mutation Mark($id: ID!) { orderMarkAsPaid(input: { id: $id }) { order { id } userErrors { field message } } }
"""

_PARCEL = """{
  id status displayStatus trackingInfo { number }
  events(first: 10, sortKey: HAPPENED_AT, reverse: true) { nodes { status happenedAt } }
}"""

_PARCELS_QUERY = f"query Parcels($id: ID!) {{ order(id: $id) {{ id fulfillments(first: 50) {_PARCEL} }} }}"

_WORK_QUERY = """
query Work($id: ID!) {
  order(id: $id) { id fulfillmentOrders(first: 50) { nodes { id status assignedLocation { name } } } }
}
"""

_FULFIL_MUTATION = f"""
mutation Fulfil($fulfilment: FulfillmentInput!) {{
  fulfillmentCreate(fulfillment: $fulfilment) {{ fulfillment {_PARCEL} userErrors {{ field message }} }}
}}
"""

_EVENT_MUTATION = """
mutation Event($event: FulfillmentEventInput!) {
  fulfillmentEventCreate(fulfillmentEvent: $event) { fulfillmentEvent { id } userErrors { field message } }
}
"""

_CANCEL_PARCEL_MUTATION = """
mutation CancelParcel($id: ID!) { fulfillmentCancel(id: $id) { fulfillment { id } userErrors { field message } } }
"""

_TAG_MUTATION = """
mutation Tell($id: ID!, $tags: [String!]!, $gone: [String!]!, $metafields: [MetafieldsSetInput!]!) {
  tagsRemove(id: $id, tags: $gone) { userErrors { field message } }
  tagsAdd(id: $id, tags: $tags) { userErrors { field message } }
  metafieldsSet(metafields: $metafields) { userErrors { field message } }
}
"""

_CANCEL_MUTATION = """
mutation Cancel($id: ID!, $note: String) {
  orderCancel(orderId: $id, reason: CUSTOMER, refund: false, restock: true, notifyCustomer: false, staffNote: $note) {
    job { id done }
    orderCancelUserErrors { code field message }
  }
}
"""

ADAPTER = Shopify
