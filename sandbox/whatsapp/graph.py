"""The Graph API over HTTP: addresses, tokens, answers. What the calls mean is in the rest of the package."""

from __future__ import annotations

import base64
import binascii
import hmac
import random
import re
import secrets
from collections.abc import Callable
from typing import Any

import orjson
from flask import Blueprint, Response, g, request

from sandbox.faults import Gate, VendorWords
from sandbox.whatsapp import WhatsApp
from sandbox.whatsapp.accounts import shown_number
from sandbox.whatsapp.graph_errors import GraphError, no_such_object
from sandbox.world import Record

# kind -> (mime types, largest size in bytes)
MEDIA_LIMITS = {
    "image": (("image/jpeg", "image/png"), 5 * 1024**2),
    "video": (("video/mp4", "video/3gpp"), 16 * 1024**2),
    "audio": (("audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"), 16 * 1024**2),
    "sticker": (("image/webp",), 500 * 1024),
    "document": (
        (
            "application/pdf",
            "text/plain",
            "application/msword",
            "application/vnd.ms-excel",
            "application/vnd.ms-powerpoint",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        ),
        100 * 1024**2,
    ),
}
NUMBER_FIELDS = "verified_name,code_verification_status,display_phone_number,quality_rating,platform_type,throughput,id"
TEMPLATE_FIELDS = (
    "name",
    "parameter_format",
    "components",
    "language",
    "status",
    "category",
    "correct_category",
    "quality_score",
    "library_template_name",
    "rejected_reason",
    "id",
)
Handler = Callable[..., Record]


def html_error(status: int) -> Response:
    page = f"<!DOCTYPE html><html><body><h1>Sorry, something went wrong.</h1><p>{status}</p></body></html>"
    return Response(page, status, content_type="text/html; charset=utf-8")


def answer(value: Record, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, content_type="application/json; charset=UTF-8")


def refused(error: GraphError) -> Response:
    return answer(error.as_answer(), error.status)


def server_error(dice: random.Random) -> Response:
    """Half of Meta's server errors are Graph errors, the other half come from the edge and are pages."""
    if dice.random() < 0.5:
        return html_error(500)
    return refused(GraphError(131000) if dice.random() < 0.5 else GraphError(2, status=500))


def throttled(dice: random.Random) -> Response:
    code = dice.choice((130429, 80007, 4))
    return refused(GraphError(code, status=429))


WORDS = VendorWords(error=server_error, throttled=throttled)


class Graph:
    def __init__(self, whatsapp: WhatsApp) -> None:
        self._whatsapp = whatsapp
        self._accounts = whatsapp.accounts
        self._world = whatsapp.world
        id = r"(?P<id>[^/]+)"
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = [
            (method, re.compile(path), handler)
            for method, path, handler in (
                ("POST", rf"{id}/messages", self.post_message),
                ("GET", rf"{id}/message_templates", self.list_templates),
                ("POST", rf"{id}/message_templates", self.create_template),
                ("DELETE", rf"{id}/message_templates", self.delete_template),
                ("GET", rf"{id}/subscribed_apps", self.subscribed_apps),
                ("POST", rf"{id}/subscribed_apps", self.subscribe),
                ("DELETE", rf"{id}/subscribed_apps", self.unsubscribe),
                ("GET", rf"{id}/phone_numbers", self.phone_numbers),
                ("POST", rf"{id}/register", self.register),
                ("POST", rf"{id}/deregister", self.deregister),
                ("POST", rf"{id}/media", self.upload_media),
                ("POST", rf"{id}/uploads", self.start_upload),
                ("GET", r"oauth/access_token", self.exchange_code),
                ("POST", r"oauth/access_token", self.exchange_code),
                ("GET", r"debug_token", self.debug_token),
                ("POST", r"upload:(?P<id>[^/]+)", self.finish_upload),
                ("GET", id, self.get_node),
                ("POST", id, self.post_node),
                ("DELETE", id, self.delete_node),
            )
        ]

    def blueprint(self) -> Blueprint:
        graph = Blueprint("graph", __name__, url_prefix="/graph")
        Gate(self._world, "whatsapp", WORDS).guard(graph)
        graph.add_url_rule("/download/<id>", view_func=self.download)
        graph.add_url_rule("/<path:rest>", view_func=self.dispatch, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
        return graph

    def dispatch(self, rest: str) -> Response:
        version, _, tail = rest.partition("/")
        path = (tail if re.fullmatch(r"v\d{1,3}\.\d", version) else rest).rstrip("/")
        g.what = f"{request.method} {path[:80]}"
        try:
            for method, pattern, handler in self._routes:
                if method == request.method and (match := pattern.fullmatch(path)):
                    return answer(handler(**match.groupdict()))
            raise GraphError(
                2500, title="Unknown path components: /" + path.partition("/")[2][:64], status=400, details=""
            )
        except GraphError as error:
            return refused(error)

    # Helpers of the handlers

    def _token(self) -> Record:
        scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() not in ("bearer", "oauth"):
            presented = request.args.get("access_token", "")
        return self._accounts.token(presented.strip())

    @staticmethod
    def _body() -> Record:
        if request.mimetype in ("application/x-www-form-urlencoded", "multipart/form-data"):
            return dict(request.form)
        raw = request.get_data(cache=True)
        if not raw:
            return {}
        try:
            body = orjson.loads(raw)
        except ValueError:
            raise GraphError(100, title="Invalid JSON for postcard") from None
        if not isinstance(body, dict):
            raise GraphError(100, title="The request body must be a JSON object")
        return body

    def _picked(self, shown: Record, usual: str, node: str) -> Record:
        """The fields asked for. Sub-selections like `throughput{level}` select the whole field."""
        asked = re.sub(r"\{[^{}]*\}", "", request.args.get("fields") or usual)
        picked = {}
        for name in asked.split(","):
            name = name.strip()
            if not name:
                continue
            if name not in shown:
                raise GraphError(100, title=f"Tried accessing nonexisting field ({name[:64]}) on node type ({node})")
            picked[name] = shown[name]
        return picked | {"id": shown["id"]}

    # Messages

    def post_message(self, id: str) -> Record:
        number = self._accounts.visible_number(self._token(), id, "post")
        body = self._body()
        if body.get("status") == "read":
            g.what = "mark as read"
            return self._whatsapp.mark_read(number, body)
        kind = body.get("type", "text")
        template = body.get("template")
        name = template.get("name") if isinstance(template, dict) else None
        g.what = f"send {str(kind)[:20]}{f' {str(name)[:64]}' if name else ''} to {str(body.get('to', ''))[:24]}"
        return self._whatsapp.send(number, body)

    # Templates

    def create_template(self, id: str) -> Record:
        waba = self._accounts.visible_waba(self._token(), id, "post")
        body = self._body()
        g.what = f"create template {str(body.get('name'))[:64]} ({str(body.get('language'))[:8]})"
        return self._whatsapp.create_template(waba["id"], body)

    def list_templates(self, id: str) -> Record:
        waba = self._accounts.visible_waba(self._token(), id, "get")
        found = [
            template
            for template in self._whatsapp.templates.values()
            if template["waba"] == waba["id"] and self._matches(template)
        ]
        fields = [name.strip() for name in request.args.get("fields", "").split(",") if name.strip()]
        limit = self._limit(25, 1000)
        start = self._cursor()
        page = found[start : start + limit]
        shown = [self._shown_template(template, fields) for template in page]
        paging: Record = {}
        if page:
            paging["cursors"] = {"before": cursor(start), "after": cursor(start + len(page))}
            if start + limit < len(found):
                query = f"limit={limit}&after={cursor(start + len(page))}"
                paging["next"] = f"{self._world.settings.url}{request.path}?{query}"
        return {"data": shown, "paging": paging} if paging else {"data": shown}

    def _matches(self, template: Record) -> bool:
        for name in ("name", "language", "status", "category"):
            wanted = request.args.get(name)
            if wanted and wanted.casefold() != str(template[name]).casefold():
                return False
        return True

    def _shown_template(self, template: Record, fields: list[str]) -> Record:
        for name in fields:
            if name not in TEMPLATE_FIELDS:
                raise GraphError(
                    100,
                    title=f"Tried accessing nonexisting field ({name[:64]}) on node type (MessageTemplate)",
                )
        usual = ("name", "parameter_format", "components", "language", "status", "category")
        return {key: template[key] for key in fields or usual if key in template} | {"id": template["id"]}

    @staticmethod
    def _limit(usual: int, most: int) -> int:
        try:
            limit = int(request.args.get("limit", usual))
        except ValueError:
            raise GraphError(100, title="Param limit must be an integer") from None
        if limit < 1:
            raise GraphError(100, title="Param limit must be a positive integer")
        return min(limit, most)

    @staticmethod
    def _cursor() -> int:
        after = request.args.get("after")
        if not after:
            return 0
        try:
            return int(base64.urlsafe_b64decode(after.encode()).decode().removeprefix("t:"))
        except (ValueError, binascii.Error, UnicodeError):
            raise GraphError(131059) from None

    def delete_template(self, id: str) -> Record:
        waba = self._accounts.visible_waba(self._token(), id, "delete")
        name = request.args.get("name") or self._body().get("name")
        if not isinstance(name, str) or not name:
            raise GraphError(100, title="The parameter name is required.")
        g.what = f"delete template {name[:64]}"
        self._whatsapp.delete_template(waba["id"], name, request.args.get("hsm_id"))
        return {"success": True}

    # Accounts and numbers

    def phone_numbers(self, id: str) -> Record:
        waba = self._accounts.visible_waba(self._token(), id, "get")
        numbers = [number for number in self._accounts.numbers.values() if number["waba"] == waba["id"]]
        node = "WhatsAppBusinessPhoneNumber"
        data = [self._picked(shown_number(number, waba), NUMBER_FIELDS, node) for number in numbers]
        return {"data": data, "paging": {"cursors": {"before": cursor(0), "after": cursor(len(data))}}}

    def subscribed_apps(self, id: str) -> Record:
        waba = self._accounts.visible_waba(self._token(), id, "get")
        if not waba["subscribed"]:
            return {"data": []}
        app = {
            "id": self._world.settings.whatsapp_app_id,
            "name": "Dastak",
            "link": "https://www.facebook.com/games/",
        }
        return {"data": [{"whatsapp_business_api_data": app}]}

    def subscribe(self, id: str) -> Record:
        waba = self._accounts.visible_waba(self._token(), id, "post")
        callback = self._body().get("override_callback_uri")
        if callback is not None and not (isinstance(callback, str) and callback.startswith(("http://", "https://"))):
            raise GraphError(100, title="Param override_callback_uri must be a valid URI")
        with self._world.lock:
            waba["subscribed"] = True
            waba["callback"] = callback
            self._accounts.wabas.touch(id)
        return {"success": True}

    def unsubscribe(self, id: str) -> Record:
        waba = self._accounts.visible_waba(self._token(), id, "delete")
        with self._world.lock:
            waba["subscribed"] = False
            self._accounts.wabas.touch(id)
        return {"success": True}

    def register(self, id: str) -> Record:
        number = self._accounts.visible_number(self._token(), id, "post")
        body = self._body()
        pin = body.get("pin")
        if body.get("messaging_product") != "whatsapp":
            raise GraphError(100, title="The parameter messaging_product is required.")
        if not isinstance(pin, str) or not re.fullmatch(r"\d{6}", pin):
            raise GraphError(100, "Param pin must be 6 digits long.")
        if number["pin"] is not None and number["pin"] != pin:
            raise GraphError(133005)
        with self._world.lock:
            number["registered"], number["pin"] = True, pin
            self._accounts.numbers.touch(id)
        return {"success": True}

    def deregister(self, id: str) -> Record:
        number = self._accounts.visible_number(self._token(), id, "post")
        with self._world.lock:
            number["registered"] = False
            self._accounts.numbers.touch(id)
        return {"success": True}

    # Tokens

    def exchange_code(self) -> Record:
        given = {**request.args, **(self._body() if request.method == "POST" else {})}
        settings = self._world.settings
        if given.get("client_id") != settings.whatsapp_app_id:
            raise GraphError(101, title="Error validating application. Cannot get application info.", status=400)
        if not _same(given.get("client_secret"), settings.whatsapp_app_secret):
            raise GraphError(1, title="Error validating client secret.", details="")
        return {"access_token": self._accounts.exchange_code(given.get("code")), "token_type": "bearer"}

    def debug_token(self) -> Record:
        settings = self._world.settings
        presented = request.args.get("access_token") or request.headers.get("Authorization", "").partition(" ")[2]
        if not _same(presented, f"{settings.whatsapp_app_id}|{settings.whatsapp_app_secret}"):
            self._accounts.token(presented)
        base = {"app_id": settings.whatsapp_app_id, "type": "SYSTEM_USER", "application": "Dastak"}
        try:
            token = self._accounts.token(request.args.get("input_token"))
        except GraphError as error:
            reason = {"code": error.code, "message": error.title}
            return {"data": {**base, "is_valid": False, "error": reason, "scopes": []}}
        return {
            "data": {
                **base,
                "data_access_expires_at": 0,
                "expires_at": 0,
                "is_valid": True,
                "scopes": token["scopes"],
                "granular_scopes": [{"scope": scope, "target_ids": token["wabas"]} for scope in token["scopes"]],
            }
        }

    # Media

    def upload_media(self, id: str) -> Record:
        number = self._accounts.visible_number(self._token(), id, "post")
        file = request.files.get("file")
        if request.form.get("messaging_product") != "whatsapp":
            raise GraphError(100, title="The parameter messaging_product is required.")
        if file is None:
            raise GraphError(100, title="The parameter file is required.")
        mime_type = (request.form.get("type") or file.mimetype or "").partition(";")[0].strip().lower()
        limits = [(mimes, most) for mimes, most in MEDIA_LIMITS.values() if mime_type in mimes]
        content = file.read()
        if not limits:
            raise GraphError(131053, f"Param file must be a supported type. Received file of type {mime_type[:64]!r}.")
        if len(content) > limits[0][1]:
            raise GraphError(131053, f"File is too big: {len(content)} bytes, allowed {limits[0][1]}.")
        return {"id": self._whatsapp.store_media(number, mime_type, content, file.filename or "")}

    def _visible_media(self, id: str, verb: str) -> Record:
        token = self._token()
        media = self._whatsapp.media.get(id)
        if media is None:
            raise no_such_object(id, verb)
        self._accounts.visible_number(token, media["number"], verb)
        wanted = request.args.get("phone_number_id")
        if wanted and wanted != media["number"]:
            raise no_such_object(id, verb)
        return media

    def download(self, id: str) -> Response:
        try:
            media = self._visible_media(id, "get")
            if int(request.args.get("ext", "0")) < self._world.clock.time():
                return html_error(404)
        except GraphError as error:
            return refused(error)
        except ValueError:
            return html_error(404)
        return Response(base64.b64decode(media["content"]), content_type=media["mime_type"])

    def start_upload(self, id: str) -> Record:
        self._token()
        given = {**request.args, **self._body()}
        if id != self._world.settings.whatsapp_app_id:
            raise no_such_object(id, "post")
        if not given.get("file_type") or not str(given.get("file_length", "")).isdigit():
            raise GraphError(100, title="The parameters file_length and file_type are required.")
        upload = secrets.token_urlsafe(24)
        self._world.shelf("uploads").put(upload, {"length": int(given["file_length"]), "type": given["file_type"]})
        return {"id": f"upload:{upload}"}

    def finish_upload(self, id: str) -> Record:
        self._token()
        upload = self._world.shelf("uploads").get(id)
        if upload is None:
            raise no_such_object(f"upload:{id}", "post")
        content = request.get_data(cache=True)
        if len(content) != upload["length"]:
            raise GraphError(100, title="The file is not complete.")
        handle = base64.b64encode(f"{upload['type']}:{id}".encode()).decode()
        return {"h": f"4::{handle}"}

    # Nodes: an id alone may be a number, an account, a template or a media object

    def get_node(self, id: str) -> Record:
        token = self._token()
        if id in self._accounts.numbers:
            number = self._accounts.visible_number(token, id, "get")
            shown = shown_number(number, self._accounts.wabas[number["waba"]])
            return self._picked(shown, NUMBER_FIELDS, "WhatsAppBusinessPhoneNumber")
        if id in self._accounts.wabas:
            waba = self._accounts.visible_waba(token, id, "get")
            shown = {
                "id": waba["id"],
                "name": waba["name"],
                "timezone_id": "82",
                "currency": "USD",
                "account_review_status": "APPROVED",
                "business_verification_status": "verified",
                "message_template_namespace": "sandbox",
                "status": waba["status"],
                "owner_business_info": {"name": waba["name"], "id": waba["portfolio"]},
                "health_status": {"can_send_message": "AVAILABLE", "entities": []},
            }
            return self._picked(shown, "id,name,timezone_id,message_template_namespace", "WhatsAppBusinessAccount")
        if (template := self._whatsapp.templates.get(id)) is not None:
            self._accounts.visible_waba(token, template["waba"], "get")
            fields = [name.strip() for name in request.args.get("fields", "").split(",") if name.strip()]
            return self._shown_template(template, fields)
        media = self._visible_media(id, "get")
        return {
            "url": self._whatsapp.media_url(id),
            "mime_type": media["mime_type"],
            "sha256": media["hex"],
            "file_size": media["file_size"],
            "id": id,
            "messaging_product": "whatsapp",
        }

    def post_node(self, id: str) -> Record:
        token = self._token()
        if (template := self._whatsapp.templates.get(id)) is not None:
            self._accounts.visible_waba(token, template["waba"], "post")
            return self._whatsapp.edit_template(template, self._body())
        number = self._accounts.visible_number(token, id, "post")
        pin = self._body().get("pin")
        if not isinstance(pin, str) or not re.fullmatch(r"\d{6}", pin):
            raise GraphError(100, "Param pin must be 6 digits long.")
        with self._world.lock:
            number["pin"] = pin
            self._accounts.numbers.touch(id)
        return {"success": True}

    def delete_node(self, id: str) -> Record:
        self._visible_media(id, "delete")
        self._whatsapp.media.drop(id)
        return {"success": True}


def cursor(position: int) -> str:
    return base64.urlsafe_b64encode(f"t:{position}".encode()).decode()


def _same(given: Any, expected: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode(), expected.encode())
