"""Facebook's signup window: the script an app loads, and the page where a business is chosen.

The script answers `FB.init` and `FB.login` as an app without a build step uses them. The window posts the message that
Facebook posts (`WA_EMBEDDED_SIGNUP`, as JSON text) to the page that opened it, and hands the code to the callback.
"""

from __future__ import annotations

from pathlib import Path

import orjson
from flask import Blueprint, Response, render_template, request, send_from_directory

from sandbox.errors import Refusal
from sandbox.whatsapp import WhatsApp

STATIC = Path(__file__).parents[1] / "static"
NEW = "new"
"""What the page sends when the business has no account yet."""


class SignupWindow:
    def __init__(self, whatsapp: WhatsApp) -> None:
        self._accounts = whatsapp.accounts
        self._world = whatsapp.world

    def blueprint(self) -> Blueprint:
        pages = Blueprint("signup", __name__, url_prefix="/facebook")
        pages.add_url_rule("/sdk.js", view_func=self.script)
        pages.add_url_rule("/signup", view_func=self.choose)
        pages.add_url_rule("/signup", endpoint="finish", view_func=self.finish, methods=["POST"])
        return pages

    def script(self) -> Response:
        return send_from_directory(STATIC, "facebook-sdk.js")

    def choose(self) -> str:
        if request.args.get("app_id") != self._world.settings.whatsapp_app_id:
            raise Refusal("Facebook knows no app of that id: see WHATSAPP_APP_ID.")
        if not request.args.get("config_id"):
            raise Refusal("The signup window was opened without a configuration: see WHATSAPP_SIGNUP_CONFIG.")
        return render_template("facebook/signup.html", wabas=list(self._accounts.wabas.values()), new=NEW, told=None)

    def finish(self) -> str:
        """The business is chosen: a code for it, and the message that says which account and number it is."""
        chosen = request.form.get("waba", "")
        if chosen == NEW:
            name = request.form.get("name", "").strip()[:60] or "New business"
            added = self._accounts.add(name, request.form.get("phone", "").strip()[:24] or "+92 300 0000000")
            added["registered"] = False  # a number is registered by whoever connects it
            self._accounts.numbers.touch(added["id"])
            waba, number = added["waba"], added["id"]
        else:
            waba = chosen
            number = next((n["id"] for n in self._accounts.numbers.values() if n["waba"] == waba), None)
        code = self._accounts.issue_code(waba)
        data = {"waba_id": waba, **({"phone_number_id": number} if number else {})}
        said = {"type": "WA_EMBEDDED_SIGNUP", "event": "FINISH", "version": "3", "data": data}
        told = {"said": orjson.dumps(said).decode(), "code": code}
        return render_template("facebook/signup.html", wabas=[], new=NEW, told=told)
