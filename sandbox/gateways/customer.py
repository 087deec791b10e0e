"""A customer's browser: from the message on the phone, over the app's page, to the page of a gateway."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urljoin, urlsplit

import httpx

from sandbox.browser import Page
from sandbox.delivery import is_loopback
from sandbox.errors import Refusal
from sandbox.phones import Phones, normalised
from sandbox.stores import Stores
from sandbox.world import World

LINK = re.compile(r"https?://[^\s<>\"]*/pay/[^\s<>\"]+")
REASON = re.compile(r'role="alert">([^<]+)<')
MOST_STEPS = 10


class Customer:
    def __init__(self, world: World, phones: Phones, stores: Stores) -> None:
        self._world = world
        self._phones = phones
        self._stores = stores

    def goes_to_pay(self, order_id: str) -> None:
        """Open the newest link to pay on the phone of an order's customer, press the page's button, and follow
        wherever that leads until a gateway shows its page. Raises Refusal when it never does.
        """
        link = self._link(order_id)
        with httpx.Client(timeout=30.0, trust_env=False) as browser:
            try:
                self._follow(browser, link)
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                raise Refusal(f"The browser got no further: {str(error) or type(error).__name__}", 409) from None

    def _link(self, order_id: str) -> str:
        order = self._stores.told(*self._stores.find(order_id))
        number = normalised(order["phone"] or (order.get("customer") or {}).get("phone") or "")
        for message in reversed(self._phones.chat(number) if number else []):
            shown = [*(choice.get("url") or "" for choice in message.get("buttons", ())), message["text"] or ""]
            found = next((match for text in shown if (match := LINK.search(text))), None)
            if message["from"] == "business" and found:
                return found[0].rstrip(".,;)")
        raise Refusal(f"No message on the phone {number} holds a link to pay, and no checkout is open.", 409)

    def _follow(self, browser: httpx.Client, url: str) -> None:
        gateways = f"{self._world.settings.url}/gateways/"
        method, pressed = "GET", False
        fields: dict[str, str] = {}
        for _ in range(MOST_STEPS):
            self._check(url)
            answer = browser.request(method, url, data=fields or None)
            if answer.status_code >= 400:
                reason = REASON.search(answer.text)
                said = f": {unescape(reason[1])}" if reason else "."
                raise Refusal(f"{url.partition('?')[0]} answered {answer.status_code}{said}", 409)
            if answer.is_redirect:
                method, url, fields = "GET", urljoin(url, answer.headers["Location"]), {}
                continue
            page = Page(answer.text)
            if url.startswith(gateways):
                back = next((form for form in page.forms if not form.action.startswith(gateways)), None)
                if back is None:
                    return
                said = back.fields.get("pp_ResponseMessage", "without a reason")
                raise Refusal(f"The gateway sent the browser back at once: {said}", 409)
            form = next((form for form in page.forms if form.action.startswith(gateways)), None)
            link = next((link for link in page.links if link.startswith(gateways)), None)
            if form is None and link is None and not pressed and page.forms:
                form, pressed = page.forms[0], True
            if form is not None:
                method, url, fields = form.method.upper(), urljoin(url, form.action), form.fields
            elif link is not None:
                method, url, fields = "GET", link, {}
            else:
                raise Refusal(f"{url.partition('?')[0]} leads to no gateway of the sandbox.", 409)
        raise Refusal("The pages lead in a circle and to no gateway.", 409)

    def _check(self, url: str) -> None:
        host = urlsplit(url).hostname or ""
        if not is_loopback(host) and host != urlsplit(self._world.settings.app_url).hostname:
            raise Refusal(f"The sandbox opens only pages of this machine, not of {host or 'nowhere'}.", 409)
