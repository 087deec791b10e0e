"""The answers every part of the sandbox gives: JSON, and "look there"."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson
from flask import Response


def as_json(value: Any, status: int = 200) -> Response:
    """JSON that nobody may keep: the world moves."""
    response = Response(orjson.dumps(value), status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def see_other(location: str) -> Response:
    """A redirect after a form, as the vendors' pages make it."""
    response = Response("", 302, content_type="text/html; charset=utf-8")
    response.headers["Location"] = location
    return response


def with_query(url: str, /, **parameters: str) -> str:
    """Appended to whatever query is there already."""
    joint = "&" if urlsplit(url).query else "?"
    return f"{url}{joint}{urlencode(parameters)}"
