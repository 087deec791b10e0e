"""The face and the merchant of the demo."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import httpx
import pytest

from sandbox import Running, testing
from sandbox.couriers import ACCOUNTS, KEY, PASSWORD
from sandbox.demo import Merchant, Stuck
from sandbox.gateways import ACCOUNTS as GATEWAYS
from sandbox.settings import Settings
from sandbox.testing import Reply, StandIn, Told, until

sandbox, stand_in = testing.sandbox, testing.stand_in

CHROMIUM = shutil.which("chromium")


def test_the_page_runs_only_its_own_scripts(sandbox: Running):
    page = httpx.get(sandbox.url)
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert not re.search(r"<script(?![^>]*(src=|application/json))", page.text)
    assert " onclick=" not in page.text
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        assert httpx.get(sandbox.url + address).status_code == 200, address


def test_the_state_has_what_the_page_shows(sandbox: Running):
    with httpx.Client(base_url=sandbox.url) as client:
        first = client.get("/face/state").json()
        assert (first["orders"], first["messages"], first["phones"]) == ([], [], [])
        client.post("/control/orders", json={"store": "woocommerce"})
        client.post("/control/phones/03001234567/send", json={"text": "Hi", "to": "+92 21 1111 0001"})
        state = client.get("/face/state", params={"phone": "0300 1234567", "since": first["last"]}).json()
        assert state["phone"] == "+923001234567"
        assert [message["text"] for message in state["messages"]] == ["Hi"]
        assert state["orders"][0]["store"] == "woocommerce"
        assert all("body" not in line for line in state["log"])


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
@pytest.mark.parametrize("width", [1280, 360])
def test_a_person_can_shop_and_tap(sandbox: Running, stand_in: StandIn, width: int):
    """Place an order on the page, see the phone ring, tap: in a real browser, without a word on its console."""
    sync_api = pytest.importorskip("playwright.sync_api")
    business = httpx.Client(base_url=sandbox.url, headers={"Authorization": "Bearer sandbox-token-shopify"})
    business.post("/graph/v26.0/100000000000001/subscribed_apps")
    business.post("/control/phones/+923001234567/send", json={"text": "<b>*Salam*</b>", "to": "+92 21 1111 0001"})
    business.post(
        "/graph/v26.0/100000000000011/messages",
        json={
            "messaging_product": "whatsapp",
            "to": "+923001234567",
            "type": "interactive",
            "interactive": {
                "type": "button",
                "body": {"text": "*Is it* right? <img src=x onerror=alert(1)>"},
                "action": {"buttons": [{"type": "reply", "reply": {"id": "yes", "title": "Yes"}}]},
            },
        },
    )
    complaints: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", lambda answer: complaints.append(answer.url) if answer.status >= 400 else None)
        page.goto(sandbox.url)
        page.get_by_role("button", name="Place order").click()
        page.get_by_text("#1001 is placed").wait_for()
        if width < 700:
            page.get_by_role("button", name="Phones").click()
        assert page.locator(".bubble b", has_text="Is it").count() == 1
        assert page.locator(".bubble img").count() == 0
        page.get_by_role("button", name="Yes").click()
        page.locator(".own .bubble", has_text="Yes").wait_for()
        if width < 700:
            page.get_by_role("button", name="Orders").click()
        page.locator(".order", has_text="#1001").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for address in ("/shopify/admin/store/dastak-demo", "/woo/wp-admin/"):
            page.goto(sandbox.url + address)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, address
        browser.close()
    business.close()
    assert complaints == []


def _leopards(client: httpx.Client, path: str, **said: object) -> dict:
    keys = {"api_key": KEY, "api_password": PASSWORD}
    return client.post(f"/couriers/leopards/{path}/format/json/", json=keys | said).json()


def _booked(client: httpx.Client) -> str:
    """A parcel that Leopards took on for Karachi."""
    booked = _leopards(
        client,
        "bookPacket",
        booked_packet_weight=500,
        booked_packet_no_piece=1,
        booked_packet_collect_amount=2450,
        booked_packet_order_id="#1001",
        origin_city="self",
        destination_city=592,
        shipment_name_eng="self",
        shipment_phone="self",
        shipment_address="self",
        consignment_name_eng="Ali <b>Raza</b>",
        consignment_phone="03007654321",
        consignment_address="7 Tariq Road",
        special_instructions="Call first",
    )
    return booked["track_number"]


def test_the_state_tells_of_parcels(sandbox: Running):
    with httpx.Client(base_url=sandbox.url) as client:
        assert client.get("/face/state").json()["parcels"] == []
        first = _booked(client)
        for number in range(30):
            client.post("/control/scans", json={"courier": "tcs", "tracking_number": f"N{number}", "text": "Booked"})
        client.post("/control/scans", json={"courier": "leopards", "tracking_number": first, "code": "AC"})
        state = client.get("/face/state").json()
        assert (len(state["parcels"]), state["parcels_total"]) == (25, 31)
        assert state["parcels"][-1]["number"] == first  # it moved last, and is the oldest


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
@pytest.mark.parametrize("width", [1280, 360])
def test_a_rider_scans_on_the_page(sandbox: Running, width: int):
    """Pick a booked parcel, scan it by mouse and by keyboard, see the advice that came, take in one by its number."""
    sync_api = pytest.importorskip("playwright.sync_api")
    client = httpx.Client(base_url=sandbox.url)
    number = _booked(client)
    complaints: list[str] = []

    def scans(courier: str, of: str) -> list[str]:
        asked = {"courier": courier, "number": of}
        [parcel] = client.get("/control/couriers", params=asked).json()["parcels"]
        return [f"{scan['code']} {scan['text']} {scan['location']}".strip() for scan in parcel["scans"]]

    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", lambda answer: complaints.append(answer.url) if answer.status >= 400 else None)
        page.goto(sandbox.url)
        if width < 700:
            page.get_by_role("button", name="Parcels").click()
        parcel = page.locator(".parcel", has_text=number)
        parcel.locator("summary").click()
        assert parcel.get_by_text("Ali <b>Raza</b>").count() == 1
        page.get_by_role("group", name="In transit").get_by_role("button").first.click()
        page.get_by_text(f"Leopards scanned {number}: Dispatched.").wait_for()
        page.get_by_role("button", name="Pending Consignee not available").focus()
        page.keyboard.press("Enter")
        parcel.locator(".mark", has_text="Pending: Consignee not available").wait_for()
        assert scans("leopards", number)[1:] == ["DP Dispatched LAHORE", "PN1 Pending KARACHI"]
        focused = page.evaluate("document.activeElement.textContent")
        assert focused == "PendingConsignee not available"  # the keyboard stays where it was

        [row] = _leopards(client, "shipperAdviceList", cn_number=number)["data"]
        advice = {"id": row["id"], "cn_number": number, "shipper_advice_status": "RT", "shipper_remarks": "Bring back"}
        assert _leopards(client, "updateShipperAdvice", data=[advice])["status"] == "1"
        parcel.locator(".mark", has_text="advice: return").wait_for()
        parcel.get_by_text("return · Bring back").wait_for()

        page.get_by_text("Hand a parcel over").click()
        page.get_by_role("combobox", name="Courier").select_option("tcs")
        page.get_by_label("Number on it").fill("779412323079")
        page.keyboard.press("Enter")
        page.locator(".parcel[open]", has_text="779412323079").wait_for()
        assert scans("tcs", "779412323079") == ["Shipment Picked Up LAHORE"]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
    client.close()
    assert complaints == []


# The demo


class App:
    """As much of the app as the merchant of the demo walks through."""

    def __init__(self, sandbox: Running, stand_in: StandIn) -> None:
        self.sandbox, self.stand_in = sandbox, stand_in
        self.connected: list[Told] = []
        self.http = httpx.Client(base_url=sandbox.url, timeout=60)
        stand_in.answers = self.answer

    def answer(self, told: Told) -> Reply | None:
        path = httpx.URL(f"http://app{told.path}")
        form = b'<form method="post"><input type="hidden" name="csrf_token" value="t0k"></form>'
        if told.method == "GET" and path.path in ("/install/woocommerce", "/app/whatsapp"):
            return Reply(body=form)
        if path.path == "/" and "id_token" in path.params:
            self.exchange(path.params["id_token"])
            return Reply(body=b"Dastak")
        if told.method == "POST" and path.path == "/install/woocommerce":
            store = dict(httpx.QueryParams(told.body.decode()))["store_url"]
            query = httpx.QueryParams(
                app_name="Dastak",
                scope="read_write",
                user_id="state",
                return_url=f"{self.stand_in.url}/install/woocommerce/return",
                callback_url=f"{self.stand_in.url}/install/woocommerce/callback/secret",
            )
            return Reply(302, headers={"Location": f"{store}/wc-auth/v1/authorize?{query}"})
        if path.path == "/app/couriers/":
            address = "https://app.example/webhooks/couriers/leopards/t0k"
            return Reply(body=f'<section id="leopards"><input readonly value="{address}"></section>'.encode())
        if path.path == "/app/payments/setup":
            address = "https://app.example/webhooks/payments/jazzcash/t0k"
            shown = {"claims": "1", "jazzcash": address}
            page = "".join(
                f'<section id="{name}"><input readonly value="{value}"></section>' for name, value in shown.items()
            )
            return Reply(body=page.encode())
        if path.path == "/app/whatsapp/connect":
            self.connected.append(told)
            fields = dict(httpx.QueryParams(told.body.decode()))
            headers = {"Authorization": f"Bearer {fields['access_token']}"}
            self.http.post(f"/graph/v26.0/{fields['waba_id']}/subscribed_apps", headers=headers)
        return None

    def exchange(self, id_token: str) -> None:
        form = {
            "client_id": "sandbox-shopify-key",
            "client_secret": "sandbox-shopify-secret",
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": id_token,
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
            "expiring": "1",
        }
        self.http.post("/shopify/dastak-demo.myshopify.com/admin/oauth/access_token", data=form)


@pytest.fixture
def app(sandbox: Running, stand_in: StandIn):
    one = App(sandbox, stand_in)
    yield one
    one.http.close()


def merchant_of(sandbox: Running, stand_in: StandIn) -> Settings:
    return replace(sandbox.world.settings, app_url=stand_in.url)


def test_the_demo_installs_and_connects_both_stores(sandbox: Running, stand_in: StandIn, app: App, capsys):
    Merchant(merchant_of(sandbox, stand_in), ACCOUNTS).play()
    embedded, signed_in = app.connected
    assert (embedded.header("Authorization") or "").startswith("Bearer ey")
    assert embedded.body == (
        b"phone_number_id=100000000000011&waba_id=100000000000001&access_token=sandbox-token-shopify"
    )
    assert b"csrf_token=t0k" in signed_in.body
    assert b"phone_number_id=100000000000022" in signed_in.body
    couriers = [told for told in stand_in.told if re.fullmatch("/app/couriers/[a-z]+/connect", told.path)]
    assert [told.path.split("/")[3] for told in couriers] == [*ACCOUNTS, *ACCOUNTS]
    assert all(b"sandbox-courier" in told.body for told in couriers)
    assert [(told.header("Authorization") is None, b"csrf_token=t0k" in told.body) for told in couriers] == [
        *[(False, False)] * 5, *[(True, True)] * 5,
    ]  # fmt: skip
    pushes = {(account["courier"], account["push_url"]) for account in sandbox.world.couriers.accounts.values()}
    assert pushes == {("leopards", "https://app.example/webhooks/couriers/leopards/t0k")}
    assert len(sandbox.world.couriers.accounts) == 2  # each shop told it of its own
    assert not [told for told in stand_in.told if told.path.startswith("/app/payments/setup")]
    keys = [told for told in stand_in.told if "/callback/" in told.path]
    assert keys[0].json["key_permissions"] == "read_write"
    assert sandbox.world.shopify.shops["dastak-demo.myshopify.com"]["installed"] is True
    assert "installed" in capsys.readouterr().out


def test_the_demo_connects_gateways_and_tells_them_where_to_tell(sandbox: Running, stand_in: StandIn, app: App):
    Merchant(merchant_of(sandbox, stand_in), {}, GATEWAYS).play()
    connected = [told for told in stand_in.told if re.fullmatch("/app/payments/[a-z]+/connect", told.path)]
    assert [told.path.split("/")[3] for told in connected] == [*GATEWAYS, *GATEWAYS]
    assert all(b"sandbox" in told.body.lower() for told in connected)
    accounts = sandbox.world.gateways.accounts.values()
    assert [(one["gateway"], one["push_url"]) for one in accounts] == [
        ("jazzcash", "https://app.example/webhooks/payments/jazzcash/t0k")
    ] * 2


def test_the_demo_leaves_alone_what_is_connected(sandbox: Running, stand_in: StandIn, app: App):
    settings = merchant_of(sandbox, stand_in)
    Merchant(settings, ACCOUNTS).play()
    hook = {"topic": "order.created", "delivery_url": stand_in.url}
    sandbox.world.woocommerce.webhooks.create(hook)
    before = [told.path for told in stand_in.told if told.path.endswith("/connect")]
    Merchant(settings, ACCOUNTS).play()
    assert [told.path for told in stand_in.told if told.path.endswith("/connect")] == before


def test_the_demo_says_where_it_got_stuck(sandbox: Running, stand_in: StandIn, app: App):
    usual = stand_in.answers
    stand_in.answers = lambda told: Reply(500, b"boom") if told.path.endswith("/connect") else usual(told)
    with pytest.raises(Stuck, match=r"connecting the number of dastak-demo.*500: boom"):
        Merchant(merchant_of(sandbox, stand_in), {}).play()
    until(lambda: app.http.get("/control/health").json()["ready"])
