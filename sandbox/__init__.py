"""The sandbox: a simulated world for Dastak in one process on this machine.

A fake Shopify, a fake WooCommerce store, a fake WhatsApp with phones on screen, five fake couriers, five fake payment
gateways, a clock that moves, faults on demand, a control API (`/control/…`) and a face (`/`). It speaks the vendors'
true wire formats with their refusals and oddities, so that nothing has to be mocked. It imports nothing of the app: a
shared misunderstanding would pass.

    python -m sandbox                    the world, on SANDBOX_PORT
    python -m sandbox.demo               plays the merchant: installs and connects both demo stores
    sandbox.serve(Settings(…))           a world of one's own inside a test process

Reading order: settings, world (shelves, lock, timers), delivery (webhooks out), faults (the gate in front of each
API), then one package per vendor, then phones, control and face.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import threading
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import WSGIRequestHandler, make_server

from sandbox.answers import as_json
from sandbox.control import Control
from sandbox.couriers import Couriers
from sandbox.delivery import Caller, DeliveryQueue, is_loopback
from sandbox.errors import Refusal
from sandbox.face import Face
from sandbox.gateways import Gateways
from sandbox.gateways.customer import Customer
from sandbox.phones import Phones
from sandbox.settings import Settings
from sandbox.shopify import Shopify
from sandbox.shopify.pages import Pages as ShopifyPages
from sandbox.stores import Stores
from sandbox.whatsapp import WhatsApp
from sandbox.whatsapp.graph import Graph
from sandbox.whatsapp.signup import SignupWindow
from sandbox.woocommerce import WooCommerce
from sandbox.woocommerce.pages import Pages as WooPages
from sandbox.woocommerce.rest import Rest
from sandbox.world import World

# What a reset that keeps the connections leaves alone.
CONNECTIONS = frozenset(
    {
        "shopify_shops",
        "shopify_access_tokens",
        "shopify_refresh_tokens",
        "woo_store",
        "woo_products",
        "woo_keys",
        "woo_webhooks",
        "woo_sessions",
        "wabas",
        "numbers",
        "whatsapp_tokens",
        "templates",
        "courier_accounts",
        "gateway_accounts",
        "counters",
    }
)


class Sandbox:
    """Everything of one simulated world, wired together."""

    def __init__(self, settings: Settings) -> None:
        self.world = World(settings)
        self.phones = Phones(self.world)
        self.whatsapp = WhatsApp(self.world, self.phones)
        self.shopify = Shopify(self.world, self.phones)
        self.woocommerce = WooCommerce(self.world, self.phones)
        self.stores = Stores(self.shopify, self.woocommerce)
        self.couriers = Couriers(self.world)
        self.gateways = Gateways(self.world)
        self.customer = Customer(self.world, self.phones, self.stores)
        self._graph = Graph(self.whatsapp)
        self._signup = SignupWindow(self.whatsapp)
        self._shopify_pages = ShopifyPages(self.shopify)
        self.app = self._flask()
        self._closed = threading.Event()

    @property
    def settings(self) -> Settings:
        return self.world.settings

    def _flask(self) -> Flask:
        app = Flask("sandbox")
        app.extensions["sandbox"] = self
        app.config["MAX_CONTENT_LENGTH"] = 110 * 1024 * 1024  # WhatsApp takes documents of 100 MB
        app.jinja_env.tests["match"] = lambda text, pattern: re.match(pattern, text) is not None
        app.before_request(self._only_this_machine)
        app.register_error_handler(Refusal, lambda error: as_json({"error": error.sentence}, error.status))
        app.register_error_handler(HTTPException, _plainly)
        app.register_blueprint(self._graph.blueprint())
        app.register_blueprint(self._signup.blueprint())
        for part in (self._shopify_pages, self.couriers, self.gateways):
            for blueprint in part.blueprints():
                app.register_blueprint(blueprint)
        app.register_blueprint(Rest(self.woocommerce).blueprint())
        app.register_blueprint(WooPages(self.woocommerce).blueprint())
        app.register_blueprint(Control(self).blueprint())
        app.register_blueprint(Face(self).blueprint())
        return app

    def _only_this_machine(self) -> None:
        """Loopback peers only, no foreign Host (DNS rebinding), no other site's page behind the merchant's hand."""
        peer = request.remote_addr or ""
        try:
            local = ipaddress.ip_address(peer).is_loopback
        except ValueError:
            local = False
        if not local:
            raise Refusal("The sandbox answers only this machine.", 403)
        if not is_loopback(urlsplit(f"//{request.host}").hostname or ""):
            raise Refusal("The sandbox answers only under a loopback name.", 403)
        origin = request.headers.get("Origin")
        acting = request.method not in ("GET", "HEAD", "OPTIONS")
        if acting and origin and not request.path.startswith(("/graph/", "/woo/wp-json/", "/gateways/")):
            here = urlsplit(origin)
            if not is_loopback(here.hostname or "") or here.netloc != request.host:
                raise Refusal("Only the sandbox's own pages may do this.", 403)

    def reset(self, keep_connections: bool) -> None:
        world = self.world
        with world.lock:
            for queue in self.queues().values():
                queue.clear()
            world.timers.clear()
            world.faults.remove()
            world.log.clear()
            names = [name for name in world.names() if not (keep_connections and name in CONNECTIONS)]
            world.clear(names)
            if not keep_connections:
                world.clock.reset()
            self.whatsapp.accounts.forget_pace()
            self._shopify_pages.forget_pace()
            for vendor in (self.whatsapp, self.shopify, self.woocommerce):
                vendor.seed()
            self.phones.recall()

    def greet_app(self) -> None:
        """In the background: ask the app for the webhook challenge, as Meta does, until it has answered once."""

        def ask() -> None:
            caller = Caller(self.settings.app_url)
            while not self._closed.wait(1.0):
                if self.whatsapp.verify_webhook(caller):
                    break
            caller.close()

        threading.Thread(target=ask, name="sandbox-greeting", daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        for queue in self.queues().values():
            queue.stop()
        self.world.close()

    def queues(self) -> dict[str, DeliveryQueue]:
        """Everything that is on its way to the app, by vendor."""
        return {
            "shopify": self.shopify.webhooks.queue,
            "woocommerce": self.woocommerce.webhooks.queue,
            "whatsapp": self.whatsapp.webhooks.queue,
            **self.couriers.queues,
            **self.gateways.queues,
        }

    @property
    def idle(self) -> bool:
        """Is nothing on its way to the app, and nothing about to happen?"""
        return not any(queue.waiting() for queue in self.queues().values()) and not self.world.timers.waiting()


def _plainly(error: HTTPException) -> Response | HTTPException:
    """Unknown addresses and wrong methods, in the form the caller reads."""
    if request.path.startswith("/control/"):
        return as_json({"error": error.description or error.name}, error.code or 500)
    return error


def create_app(settings: Settings | None = None) -> Flask:
    return Sandbox(settings or Settings.from_env()).app


@dataclass
class Running:
    """A world that is being served. `stop()` ends it."""

    url: str
    world: Sandbox
    _stop: threading.Event
    _thread: threading.Thread

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        self.world.close()


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:
        pass


def serve(settings: Settings | None = None) -> Running:
    """Serve a world from a thread of this process, on a free port unless the settings name one other than 0."""
    settings = settings or Settings(port=0)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    held: list[Sandbox] = []

    def wsgi(environ: dict[str, Any], start_response: object) -> object:  # the port is known only after binding
        return held[0].app.wsgi_app(environ, start_response)  # type: ignore[arg-type]

    server = make_server("127.0.0.1", settings.port, wsgi, threaded=True, request_handler=_Quiet)  # type: ignore[arg-type]
    server.daemon_threads = True  # type: ignore[attr-defined]
    sandbox = Sandbox(replace(settings, port=server.server_port))
    held.append(sandbox)
    stop = threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()

    def end() -> None:
        stop.wait()
        server.shutdown()
        server.server_close()

    ender = threading.Thread(target=end, daemon=True)
    ender.start()
    return Running(sandbox.settings.url, sandbox, stop, ender)
