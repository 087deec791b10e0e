"""/install/<platform>: OAuth out and back, or the store's own approval page, for any store adapter that offers it."""

from __future__ import annotations

import secrets
from typing import Any

from flask import Blueprint, Response, abort, redirect, request, session, url_for
from werkzeug.wrappers import Response as AnyResponse

from integration import attempts
from integration.errors import ConfigurationError, InvalidSignature, PermanentError
from integration.ports import Account, Embedded, Grant, InstallsByApproval, InstallsByCode

from .auth import check_form, house, page
from .installing import admit

pages = Blueprint("install", __name__, url_prefix="/install")


def _adapter(name: str) -> Any:
    adapter = house().registry.find("stores", name)
    if not isinstance(adapter, InstallsByCode | InstallsByApproval):
        abort(404, "There is no store platform of that name.")
    return adapter


@pages.get("/<name>")
def start(name: str) -> Any:
    """By code: straight to the platform, which must have named the shop. By approval: ask for the shop's address."""
    adapter = _adapter(name)
    if isinstance(adapter, InstallsByCode):
        account = adapter.account_hint(request.args) if isinstance(adapter, Embedded) else ""
        if not account:
            abort(400, f"Install Dastak from the {adapter.label} app store or admin: the shop must send you here.")
        session["oauth_state"] = secrets.token_hex(16)
        return redirect(adapter.install_url(account, session["oauth_state"]))
    return page("install.html", name=name, label=adapter.label, store_url=request.args.get("store_url", ""))


@pages.post("/<name>")
def begin(name: str) -> Any:
    """The merchant gave an address: find the shop there and go to its approval page."""
    adapter = _adapter(name)
    if not isinstance(adapter, InstallsByApproval):
        abort(405)
    check_form()
    given = request.form.get("store_url", "")[:300]
    try:
        account = adapter.find_store(given)
    except ConfigurationError as fault:
        return page("install.html", 422, name=name, label=adapter.label, store_url=given, fault=str(fault))
    with house().db.operator_writing() as writing:
        begun = attempts.begin(writing, name, account)
    session["attempt"] = begun.browser_token
    base = house().settings.public_url
    callback = f"{base}{url_for('install.keys', name=name, token=begun.callback_token)}"
    return redirect(adapter.approval_url(account, begun.state, callback, f"{base}{url_for('install.back', name=name)}"))


@pages.post("/<name>/callback/<token>")
def keys(name: str, token: str) -> Response:
    """The store hands over keys, server to server, and waits: park them, answer exactly 200, call nobody back."""
    adapter = _adapter(name)
    if not isinstance(adapter, InstallsByApproval):
        abort(404)
    with house().db.operator_writing() as writing:
        attempt = attempts.waiting_for_keys(writing, name, token)
        if attempt is None:
            return Response("This connection attempt is over. Begin again in Dastak.", 404, mimetype="text/plain")
        try:
            grant = adapter.read_keys(request.get_data(cache=False), attempt.state)
        except InvalidSignature as fault:
            return Response(str(fault), 401, mimetype="text/plain")
        attempts.park(attempt, grant, house().vault)
    return Response("ok", 200, mimetype="text/plain")


@pages.get("/<name>/return")
def back(name: str) -> Any:
    """The merchant is back from the approval page: only now, in the browser that began, do parked keys become a
    connection.
    """
    adapter = _adapter(name)
    if not isinstance(adapter, InstallsByApproval):
        abort(404)
    if request.args.get("success") != "1":
        return page(
            "install.html",
            422,
            name=name,
            label=adapter.label,
            store_url="",
            fault="The connection was declined in the store. Nothing was changed.",
        )
    with house().db.operator() as looking:
        attempt = attempts.of_browser(looking, name, request.args.get("user_id", ""), session.get("attempt", ""))
    if attempt is None:
        return page(
            "install.html",
            403,
            name=name,
            label=adapter.label,
            store_url="",
            fault="This connection was begun in another browser, or too long ago. Begin it here.",
        )
    if attempt.sealed is None:
        return page(
            "install.html",
            409,
            name=name,
            label=adapter.label,
            store_url=attempt.account,
            fault="The store has not handed over its keys. Its host may block outgoing requests; "
            "try again, or enter the keys by hand.",
        )
    grant = Grant(house().vault.open(attempt.sealed))
    return _finish(name, adapter, attempt.account, grant, attempt.id)


@pages.post("/<name>/keys")
def by_hand(name: str) -> Any:
    """Keys made by the merchant, for shops whose approval page does not work."""
    adapter = _adapter(name)
    if not isinstance(adapter, InstallsByApproval):
        abort(404)
    check_form()
    given = request.form.get("store_url", "")[:300]
    credentials = {field.name: request.form.get(field.name, "").strip()[:200] for field in adapter.credentials}
    try:
        return _finish(name, adapter, adapter.find_store(given), Grant(credentials), None)
    except (ConfigurationError, PermanentError) as fault:
        return page(
            "install.html", 422, name=name, label=adapter.label, store_url=given, fault=str(fault), by_hand=True
        )


def _finish(name: str, adapter: Any, account: str, grant: Grant, attempt_id: int | None) -> AnyResponse:
    adapter.profile(Account(account, grant.credentials))  # forged keys belong to another shop and fail here
    if attempt_id is not None:
        with house().db.operator_writing() as writing:
            attempt = writing.get_one(attempts.InstallAttempt, attempt_id)
            attempt.used, attempt.sealed = True, None
    store_id = admit(house(), name, account, grant)
    session.clear()
    session.permanent = True
    session["store"] = store_id
    return redirect(url_for("setup.home"))


@pages.get("/<name>/callback")
def finish(name: str) -> AnyResponse:
    """Back from an authorization-code grant."""
    adapter = _adapter(name)
    if not isinstance(adapter, InstallsByCode):
        abort(404)
    state, expected = request.args.get("state", ""), session.pop("oauth_state", "")
    if not expected or not secrets.compare_digest(state.encode("utf-8", "replace"), expected.encode()):
        abort(
            403,
            "This installation was begun in another browser, or too long ago. Start it again from the store's admin.",
        )
    try:
        account, grant = adapter.finish_install(request.args.to_dict())
    except InvalidSignature as fault:
        abort(403, str(fault))
    admit(house(), name, account, grant)
    return redirect(adapter.admin_home(account) if isinstance(adapter, Embedded) else url_for("setup.home"))
