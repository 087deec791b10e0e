"""Flask: install, webhooks, the merchant's pages, the customer's. `application` is what a WSGI server starts.

`/webhooks/*` is answered by a small callable in front of Flask (see webhooks.py); everything else is ordinary Flask,
one blueprint a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import structlog
from flask import Flask, render_template, request
from sqlalchemy.exc import DataError
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response as WerkzeugResponse

import worker
from adapters import build_house
from integration.errors import ConfigurationError, PermanentError, TransientError
from integration.house import House
from integration.ingest import Mailroom
from integration.logs import set_up_logs
from integration.settings import dotenv_path

from . import (
    auth,
    channels,
    commands,
    couriers,
    dispatch,
    following,
    health,
    install,
    journeys,
    look,
    orders,
    paying,
    payments,
    setup,
)
from .webhooks import Webhooks

log = structlog.get_logger(__name__)

WSGI = Callable[[dict[str, Any], Any], Iterable[bytes]]


def build_app(house: House, mailroom: Mailroom | None = None) -> Flask:
    """The Flask app over a house: the only wiring."""
    app = Flask(__name__)
    settings = house.settings
    app.secret_key = settings.secret_key
    app.config.update(
        SESSION_COOKIE_NAME="dastak",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.secure,
        MAX_CONTENT_LENGTH=1024 * 1024,
        PERMANENT_SESSION_LIFETIME=30 * 86_400,
    )
    app.extensions["house"] = house
    app.extensions["mailroom"] = mailroom
    # couriers and payments before channels: /app/<channel> takes any name
    parts = (health, install, setup, couriers, payments, dispatch, look, channels, orders, journeys, following, paying)
    for part in parts:
        app.register_blueprint(part.pages)
    app.before_request(_read_body)
    auth.guard(app)
    commands.register(app)
    _errors(app)
    if settings.secure:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_proto=1, x_host=1)  # type: ignore[method-assign]
    return app


def assemble(house: House, mailroom: Mailroom | None = None) -> WSGI:
    """Webhooks in front, Flask behind."""
    mailroom = mailroom or Mailroom(house)
    app = build_app(house, mailroom)
    webhooks = Webhooks(mailroom, house.registry, house.settings.max_body_bytes)

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "").startswith("/webhooks/"):
            return webhooks(environ, start_response)
        return app(environ, start_response)

    return application


def application() -> WSGI:
    """For a WSGI server that takes a factory: `granian --interface wsgi --factory webapp:application`."""
    house = build_house(pool_size=16)
    set_up_logs(house.settings.log_level)
    house.ring = worker.bell(house.settings.redis_url).ring
    served = assemble(house)
    worker.spare_the_collector()
    return served


def create_app() -> Flask:
    """For `flask --app webapp <command>`. On a machine where `make run` was used, the commands speak to what it ran."""
    house = build_house(dotenv=dotenv_path())
    house.ring = worker.bell(house.settings.redis_url).ring
    return build_app(house)


def _read_body() -> None:
    """Read what is sent to its end before a page opens a transaction: a slow client must hold nobody's lane."""
    request.get_data(parse_form_data=True)


def _errors(app: Flask) -> None:
    @app.errorhandler(HTTPException)
    def _http(fault: HTTPException) -> tuple[str, int] | WerkzeugResponse:
        if fault.code is not None and fault.code < 400:
            return fault.get_response()
        return _page(fault.code or 500, fault.description or "")

    @app.errorhandler(ConfigurationError)
    def _configuration(fault: ConfigurationError) -> tuple[str, int]:
        return _page(409, str(fault))

    @app.errorhandler(PermanentError)
    def _refused(fault: PermanentError) -> tuple[str, int]:
        return _page(422, str(fault))

    @app.errorhandler(DataError)
    def _unfit(fault: DataError) -> tuple[str, int]:
        log.warning("page.unfit", path=request.path, fault=type(fault.orig).__name__)
        return _page(400, "Something in this address or form cannot be looked up. Check what you typed.")

    @app.errorhandler(TransientError)
    def _transient(fault: TransientError) -> tuple[str, int]:
        return _page(503, f"{fault}. Nothing was lost; please try again in a moment.")

    @app.errorhandler(Exception)
    def _bug(fault: Exception) -> tuple[str, int]:
        log.error("page.bug", path=request.path, fault=type(fault).__name__, exc_info=fault)
        return _page(500, "Something broke on our side. It has been noted; please try again.")


def _page(status: int, sentence: str) -> tuple[str, int]:
    return render_template("error.html", status=status, sentence=sentence), status
