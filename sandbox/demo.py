"""The merchant of the demo: installs Dastak on both demo stores and connects each store's WhatsApp number and its
accounts at the couriers and the payment gateways.

    python -m sandbox.demo [--bare]        without couriers and gateways

Plays it over HTTP as a browser would, once the app is ready, and leaves alone what is connected already. Prints one
line per step; a step that fails ends it with a sentence and status 1.
"""

from __future__ import annotations

import html
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urljoin

import httpx

from sandbox.browser import Page
from sandbox.couriers import ACCOUNTS as COURIERS
from sandbox.gateways import ACCOUNTS as GATEWAYS
from sandbox.settings import Settings
from sandbox.shopify import DEMO as SHOP
from sandbox.whatsapp.accounts import DEMO as ACCOUNTS

BANK = {
    "wallet": "bank",
    "title": "Sandbox Traders",
    "number": "PK36SCBL0000001123456702",
    "bank": "Sandbox Bank",
}
"""Where customers of the demo send money by hand; the IBAN is the example of the register of IBANs."""

PATIENCE = 120.0  # seconds the app may take to get ready
HANDLE = SHOP.removesuffix(".myshopify.com")
SHOPIFY_ACCOUNT, WOO_ACCOUNT = ACCOUNTS


Go = Callable[[str, str, str, Mapping[str, str]], str]
"""A step on a page of the app as the signed-in merchant: method, path, what it is, fields. Returns what came back."""


class Stuck(Exception):
    """A step did not go as it should; the sentence says which and what was seen."""


class Merchant:
    def __init__(
        self,
        settings: Settings,
        couriers: Mapping[str, Mapping[str, str]],
        gateways: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """`couriers` and `gateways`: the accounts each store has, by courier and by gateway."""
        self._couriers = couriers
        self._gateways = gateways or {}
        self._app = settings.app_url
        self._sandbox = settings.url
        self._browser = httpx.Client(timeout=30.0, follow_redirects=True)

    def play(self) -> None:
        with self._browser:
            self._play()

    def _play(self) -> None:
        self.wait_for_app()
        stores = self._asked("GET", f"{self._sandbox}/control/stores", "the sandbox's stores").json()
        numbers = self._asked("GET", f"{self._sandbox}/control/numbers", "the sandbox's numbers").json()["numbers"]
        subscribed = {number["waba_id"] for number in numbers if number["subscribed"]}

        demo = next(shop for shop in stores["shopify"] if shop["domain"] == SHOP)
        if demo["connected"] and SHOPIFY_ACCOUNT["waba"] in subscribed:
            say(f"{SHOP}: installed and connected already")
        else:
            self.install_on_shopify()
            self.connect_embedded()

        woo = stores["woocommerce"]
        if woo["connected"] and WOO_ACCOUNT["waba"] in subscribed:
            say(f"{woo['url']}: connected already")
        else:
            self.install_on_woocommerce(woo["url"])
            self.connect_signed_in()

    def wait_for_app(self) -> None:
        deadline = time.monotonic() + PATIENCE
        seen = "no answer"
        while time.monotonic() < deadline:
            try:
                answer = self._browser.get(f"{self._app}/health/ready", timeout=5.0)
                if answer.status_code == 200:
                    say(f"the app at {self._app} is ready")
                    return
                seen = f"{answer.status_code} {answer.text[:200]}"
            except httpx.HTTPError as error:
                seen = str(error) or type(error).__name__
            time.sleep(0.5)
        raise Stuck(f"{self._app}/health/ready was not ready within {PATIENCE:.0f} s: {seen}")

    # Shopify

    def install_on_shopify(self) -> None:
        """Press Install in the admin, then open the app as the admin's frame does."""
        url = f"{self._sandbox}/shopify/admin/store/{HANDLE}/install"
        admin = Page(self._asked("POST", url, "the install button", data={"action": "install"}).text)
        if not admin.frames:
            raise Stuck("the admin page shows no frame with the app")
        opened = self._asked("GET", admin.frames[0], "opening the app in the admin")
        say(f"{SHOP}: installed, the app opened with {opened.status_code}")

    def connect_embedded(self) -> None:
        """The page inside the admin is authenticated by a fresh ID token, not by a cookie."""
        url = f"{self._sandbox}/shopify/admin/store/{HANDLE}/id-token"

        def go(method: str, path: str, what: str, fields: Mapping[str, str]) -> str:
            token = self._asked("GET", url, "an ID token").json()["id_token"]
            headers = {"Authorization": f"Bearer {token}"}
            return self._asked(method, f"{self._app}{path}", what, headers=headers, data=fields).text

        self._connect(go, SHOP, SHOPIFY_ACCOUNT)

    # WooCommerce

    def install_on_woocommerce(self, store_url: str) -> None:
        install = f"{self._app}/install/woocommerce"
        form = Page(self._asked("GET", install, "the page to connect a WooCommerce store").text)
        fields = {"store_url": store_url}
        if (csrf := form.field("csrf_token")) is not None:
            fields["csrf_token"] = csrf
        answer = self._asked("POST", install, "stating the store's address", data=fields)
        for what in ("logging in to the store", "approving the app"):
            page = Page(answer.text)
            if not page.forms or "/woo/wc-auth/" not in str(answer.url):
                break
            form_on_page = page.forms[0]
            target = urljoin(str(answer.url), html.unescape(form_on_page.action))
            answer = self._asked(form_on_page.method.upper(), target, what, data=form_on_page.fields)
        if not str(answer.url).startswith(self._app):
            raise Stuck(f"the store did not send the merchant back to the app but to {str(answer.url)[:200]}")
        say(f"{store_url}: keys approved, back in the app with {answer.status_code}")

    def connect_signed_in(self) -> None:
        """Outside the admin the merchant is signed in by a cookie, so each form carries a CSRF token."""
        page = Page(self._asked("GET", f"{self._app}/app/whatsapp", "the WhatsApp page").text)
        csrf = page.field("csrf_token")

        def go(method: str, path: str, what: str, fields: Mapping[str, str]) -> str:
            proven = {"csrf_token": csrf} if csrf is not None else {}
            return self._asked(method, f"{self._app}{path}", what, data={**fields, **proven}).text

        self._connect(go, "WooCommerce", WOO_ACCOUNT)

    def _connect(self, go: Go, whose: str, number: dict[str, str]) -> None:
        go("POST", "/app/whatsapp/connect", f"connecting the number of {whose}", number_fields(number))
        say(f"{whose}: WhatsApp number {number['display']} connected")
        for courier, account in self._couriers.items():
            go("POST", f"/app/couriers/{courier}/connect", f"connecting {courier} to {whose}", account)
        if self._couriers:
            self._tell("courier", Page(go("GET", "/app/couriers/", "the couriers' page", {})).addresses, whose)
            say(f"{whose}: {', '.join(self._couriers)} connected")
        for gateway, account in self._gateways.items():
            go("POST", f"/app/payments/{gateway}/connect", f"connecting {gateway} to {whose}", account)
        if self._gateways:
            go("POST", "/app/payments/setup/accounts", f"the bank account of {whose}", BANK)
            addresses = Page(go("GET", "/app/payments/setup", "the payments' page", {})).addresses
            self._tell("gateway", {name: at for name, at in addresses.items() if name in self._gateways}, whose)
            say(f"{whose}: {', '.join(self._gateways)} connected")

    def _tell(self, kind: str, addresses: Mapping[str, str], whose: str) -> None:
        """On the portal of each courier or gateway that tells of what happened, where to."""
        for name, address in addresses.items():
            told = {kind: name, "push_url": address, "shop": whose}
            self._asked("POST", f"{self._sandbox}/control/{kind}s", f"telling {name} where to push", json=told)

    def _asked(self, method: str, url: str, what: str, **given: Any) -> httpx.Response:
        if method == "GET":
            given.pop("data", None)
        try:
            answer = self._browser.request(method, url, **given)
        except httpx.HTTPError as error:
            raise Stuck(f"{what}: {method} {url.partition('?')[0]} failed: {error}") from None
        if answer.status_code >= 400:
            shown = " ".join(answer.text.split())[:300]
            where = str(answer.url).partition("?")[0]
            raise Stuck(f"{what}: {where} answered {answer.status_code}: {shown}")
        return answer


def number_fields(account: dict[str, str]) -> dict[str, str]:
    return {
        "phone_number_id": account["number"],
        "waba_id": account["waba"],
        "access_token": account["token"],
    }


def say(line: str) -> None:
    print(f"demo: {line}", flush=True)


def main() -> int:
    try:
        bare = "--bare" in sys.argv[1:]
        Merchant(Settings.from_env(os.environ), {} if bare else COURIERS, {} if bare else GATEWAYS).play()
    except Stuck as stuck:
        print(f"demo: {stuck}", file=sys.stderr, flush=True)
        return 1
    say("both demo stores are ready")
    return 0


if __name__ == "__main__":
    sys.exit(main())
