"""The store hears of money that was proven here: of the whole, of a part, and each of it once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest

from adapters import discover
from integration.clock import Clock
from integration.errors import PermanentError
from integration.events import OrderChanged
from integration.ports import Account, AdapterConfig, PaymentTold
from integration.settings import Settings
from sandbox import Running, testing
from sandbox.testing import Reply, StandIn, Told

sandbox, stand_in = testing.sandbox, testing.stand_in

SHOP = "dastak-demo.myshopify.com"
KEY = {
    "key_id": 1,
    "consumer_key": f"ck_{'0' * 40}",
    "consumer_secret": f"cs_{'0' * 40}",
    "permissions": "read_write",
    "description": "Dastak",
}
WHOLE = PaymentTold(
    order_id="",
    reference="1001-1",
    means="JazzCash",
    amount="1500.00",
    currency="PKR",
    whole=True,
    note="Rs 1,500 received by JazzCash (1001-1).",
    at=datetime(2026, 11, 27, 9, 0, tzinfo=UTC),
)
PART = replace(WHOLE, whole=False, amount="500.00", note="Rs 500 of it received by JazzCash (1001-1).")


def adapter_at(name: str, admin_url: str, trusted: str = "") -> Any:
    adapter = discover()["stores"][name]
    env = {
        "SECRET_KEY": "payments-secret-key",
        "ENCRYPTION_KEYS": "A" * 43 + "=",
        "SHOPIFY_API_KEY": "sandbox-shopify-key",
        "SHOPIFY_API_SECRET": "sandbox-shopify-secret",
        "SHOPIFY_ADMIN_URL": admin_url,
    }
    settings = Settings.from_env(adapter.settings, env)
    return adapter(AdapterConfig(settings.vendor, Clock(), "https://dastak.example.test", (trusted,)))


@dataclass
class Shop:
    """One store of the sandbox, and the adapter that speaks to it."""

    name: str
    running: Running
    http: httpx.Client
    adapter: Any
    account: Account

    def order(self, payment: str) -> str:
        placed = self.http.post("/control/orders", json={"store": self.name, "payment": payment}).json()
        return str(placed["order_id"])

    def act(self, order_id: str, action: str, **more: str) -> None:
        self.http.post(f"/control/orders/{order_id}", json={"action": action, **more}).raise_for_status()

    def tell(self, order_id: str, told: PaymentTold) -> str:
        said: str = self.adapter.tell_payment(self.account, replace(told, order_id=order_id))
        return said

    def seen(self, order_id: str) -> Any:
        return self.http.get(f"/control/orders/{order_id}").json()

    def noted(self, order_id: str, key: str) -> Any:
        kept = self.seen(order_id)["meta"]
        return next((value for name, value in kept.items() if name.replace(".", "_").endswith(f"dastak_{key}")), None)

    def understood(self, order_id: str) -> OrderChanged:
        """The order as the adapter reads it back."""
        since = self.running.world.world.clock.now() - timedelta(days=1)
        facts = [
            fact
            for request in self.adapter.fetch_orders(self.account, since)
            for fact in self.adapter.parse(request)
            if fact.external_id == order_id
        ]
        assert len(facts) == 1
        return facts[0]


@pytest.fixture
def shopify(sandbox: Running):
    with httpx.Client(base_url=sandbox.url, timeout=60) as http:
        http.post("/control/stores", json={"store": "shopify", "action": "install"})
        adapter = adapter_at("shopify", f"{sandbox.url}/shopify/{{shop}}")
        id_token = http.get("/shopify/admin/store/dastak-demo/id-token").json()["id_token"]
        account = Account(SHOP, adapter.exchange(SHOP, id_token).credentials)
        yield Shop("shopify", sandbox, http, adapter, account)


@pytest.fixture
def woocommerce(sandbox: Running):
    sandbox.world.woocommerce.keys.keys.put(KEY["consumer_key"], dict(KEY))
    with httpx.Client(base_url=sandbox.url, timeout=60) as http:
        adapter = adapter_at("woocommerce", "https://{shop}", sandbox.url)
        yield Shop("woocommerce", sandbox, http, adapter, Account(f"{sandbox.url}/woo", KEY))


@pytest.fixture(params=["shopify", "woocommerce"])
def shop(request: pytest.FixtureRequest) -> Shop:
    return request.getfixturevalue(request.param)


# -- both stores ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payment", ["jazzcash", "bank"])
def test_an_order_that_was_paid_is_marked_and_read_back_as_paid(shop: Shop, payment: str) -> None:
    id = shop.order(payment)
    assert shop.understood(id).payment == "pending"
    assert "marked as paid" in shop.tell(id, WHOLE)
    assert shop.seen(id)["payment_status"] == "paid"
    assert shop.noted(id, "payment") == "1001-1"
    assert shop.understood(id).payment == "paid"


@pytest.mark.parametrize("payment", ["jazzcash", "bank", "cod"])
@pytest.mark.parametrize("told", [WHOLE, PART], ids=["whole", "part"])
def test_told_twice_is_told_once(shop: Shop, payment: str, told: PaymentTold) -> None:
    id = shop.order(payment)
    shop.tell(id, told)
    once = shop.seen(id)
    shop.tell(id, told)
    assert shop.seen(id) | {"updated_at": once["updated_at"]} == once


def test_a_part_leaves_an_order_unpaid_and_each_is_noted(shop: Shop) -> None:
    id = shop.order("jazzcash")
    second = replace(PART, reference="1001-2", amount="300.00", note="Rs 300 of it received by JazzCash (1001-2).")
    for told in (PART, second, PART):
        assert "left unpaid" in shop.tell(id, told)
    assert shop.noted(id, "advance") == "500.00 PKR (1001-1), 300.00 PKR (1001-2)"
    assert shop.seen(id)["payment_status"] == "pending"
    assert shop.understood(id).payment == "pending"
    shop.tell(id, replace(WHOLE, reference="1001-3"))
    assert shop.seen(id)["payment_status"] == "paid"
    assert shop.noted(id, "payment") == "1001-3"


def test_a_cancelled_order_is_not_revived(shop: Shop) -> None:
    id = shop.order("jazzcash")
    shop.act(id, "cancel")
    testing.until(lambda: shop.seen(id)["status"] == "cancelled")
    assert "cancelled in the store" in shop.tell(id, WHOLE)
    seen = shop.seen(id)
    assert seen["status"] == "cancelled"
    assert seen["payment_status"] != "paid"
    assert shop.noted(id, "payment") == "1001-1"


def test_an_order_that_the_store_has_as_paid_is_left_as_it_is(shop: Shop) -> None:
    id = shop.order("jazzcash")
    shop.act(id, "pay")
    before = shop.understood(id)
    assert "paid in the store" in shop.tell(id, WHOLE)
    after = shop.understood(id)
    assert (after.payment, after.raw_payment, after.raw_fulfilment) == (
        "paid",
        before.raw_payment,
        before.raw_fulfilment,
    )
    assert shop.noted(id, "payment") == "1001-1"


def test_an_order_that_is_gone_is_said_to_be_gone(shop: Shop) -> None:
    for told in (WHOLE, PART):
        assert shop.tell("999999", told) == "the order is no longer in the store"


# -- Shopify's own ways --------------------------------------------------------------------------------------------


def test_cash_on_delivery_that_was_paid_before_is_paid_in_shopify(shopify: Shop) -> None:
    id = shopify.order("cod")
    shopify.tell(id, PART)
    assert shopify.seen(id)["tags"] == ["dastak-part-paid"]
    assert shopify.tell(id, WHOLE) == "tagged dastak-paid, marked as paid in the store"
    assert shopify.seen(id)["tags"] == ["dastak-paid"]
    money = shopify.understood(id)
    assert (money.payment, money.outstanding and money.outstanding.amount) == ("paid", 0)
    assert money.gateways == ("Cash on Delivery (COD)",)


def test_a_card_that_is_only_authorised_is_not_charged_as_well(shopify: Shop) -> None:
    id = shopify.order("cod")
    order = shopify.running.world.shopify.order(id)
    order["body"]["financial_status"] = "authorized"
    order["transactions"][0] |= {"kind": "AUTHORIZATION", "status": "SUCCESS", "manual": False}
    assert "also charge the card" in shopify.tell(id, WHOLE)
    assert len(order["transactions"]) == 1
    assert shopify.seen(id)["payment_status"] == "authorized"


@pytest.mark.parametrize("after", ["PAID", "PENDING"])
def test_a_mark_that_is_refused_is_done_only_if_somebody_else_was_quicker(stand_in: StandIn, after: str) -> None:
    """A store that changes between our look and our mark."""
    asked: list[str] = []

    def answers(told: Told) -> Reply:
        query = told.json["query"]
        asked.append("mark" if "orderMarkAsPaid" in query else "look" if "query Money" in query else "tag")
        status = after if "mark" in asked else "PENDING"
        order = {"id": "gid://shopify/Order/1", "cancelledAt": None, "displayFinancialStatus": status}
        refused = {"userErrors": [{"field": ["id"], "message": "Order cannot be marked as paid."}]}
        data = {
            "look": {"order": order | {"canMarkAsPaid": True, "advance": None}},
            "mark": {"orderMarkAsPaid": {"order": None} | refused},
            "tag": {name: {"userErrors": []} for name in ("tagsAdd", "tagsRemove", "metafieldsSet")},
        }[asked[-1]]
        return Reply(body=orjson.dumps({"data": data}))

    stand_in.answers = answers
    adapter, told = adapter_at("shopify", f"{stand_in.url}/{{shop}}"), replace(WHOLE, order_id="1")
    if after == "PAID":
        assert adapter.tell_payment(Account(SHOP), told) == "tagged dastak-paid, marked as paid in the store"
        assert asked == ["look", "mark", "look", "tag"]
    else:
        with pytest.raises(PermanentError, match="cannot be marked as paid"):
            adapter.tell_payment(Account(SHOP), told)
        assert asked == ["look", "mark", "look"]


# -- WooCommerce's own ways ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("payment", "action"), [("jazzcash", ""), ("jazzcash", "fail"), ("bank", "")])
def test_the_payment_is_named_in_woocommerce(woocommerce: Shop, payment: str, action: str) -> None:
    id = woocommerce.order(payment)
    if action:
        woocommerce.act(id, action)
    before = woocommerce.seen(id)["status"]
    assert woocommerce.tell(id, WHOLE) == f"noted, and marked as paid: moved from {before} to processing"
    order = woocommerce.running.world.woocommerce.order(id)
    assert order["transaction_id"] == "1001-1"
    notes = [note for note in woocommerce.seen(id)["notes"] if note["note"] == WHOLE.note]
    assert [note["customer_note"] for note in notes] == [False]


@pytest.mark.parametrize("status", ["processing", "on-hold", "completed"])
def test_a_gateways_own_payment_keeps_its_name_wherever_the_merchant_put_the_order(
    woocommerce: Shop, status: str
) -> None:
    id = woocommerce.order("jazzcash")
    woocommerce.act(id, "pay")
    if status != "processing":
        woocommerce.act(id, "status", status=status)
    order = woocommerce.running.world.woocommerce.order(id)
    theirs = order["transaction_id"]
    assert woocommerce.tell(id, WHOLE) == "noted: it is paid in the store already"
    assert (order["status"], order["transaction_id"]) == (status, theirs)


@pytest.mark.parametrize("status", ["processing", "on-hold", "pending", "failed"])
def test_cash_on_delivery_that_was_paid_before_keeps_its_status(woocommerce: Shop, status: str) -> None:
    """WooCommerce would complete it, which to many shops says that it was sent."""
    id = woocommerce.order("cod")
    if status != "processing":
        woocommerce.act(id, "status", status=status)
    assert f"noted only: the order stays {status} in the store" in woocommerce.tell(id, WHOLE)
    seen = woocommerce.seen(id)
    assert (seen["status"], seen["payment_status"]) == (status, "pending")
    assert woocommerce.noted(id, "payment") == "1001-1"
    assert sum(note["note"] == WHOLE.note for note in seen["notes"]) == 1


def test_an_order_that_was_thrown_away_is_gone(woocommerce: Shop) -> None:
    id = woocommerce.order("jazzcash")
    woocommerce.act(id, "trash")
    assert woocommerce.tell(id, WHOLE) == "the order is no longer in the store"
