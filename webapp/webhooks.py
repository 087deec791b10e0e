"""POST /webhooks/<room>/<adapter>[/<token>]: one way in for every vendor, as a small WSGI callable in front of Flask.

It does what a vendor waits for and nothing else: bounded read, `Mailroom.receive`, answer. Measured on this stack,
going around Flask's dispatch more than doubles the requests a process can acknowledge.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

from integration.errors import InvalidSignature
from integration.ingest import Mailroom, Receipt
from integration.ports import Challenges, Gets, Registry, WebhookRequest, offers

_PATH = re.compile(r"/webhooks/([a-z]{1,16})/([a-z0-9_]{1,32})(?:/([A-Za-z0-9_-]{1,128}))?/?")
_REASONS = {200: "200 OK", 202: "202 Accepted", 400: "400 Bad Request", 401: "401 Unauthorized", 404: "404 Not Found",
            405: "405 Method Not Allowed", 413: "413 Content Too Large", 503: "503 Service Unavailable"}  # fmt: skip

StartResponse = Callable[..., Any]

_LONGEST_QUERY = 8192


class Webhooks:
    """The receiving end. `limit` is the largest body taken, in bytes."""

    def __init__(self, mailroom: Mailroom, registry: Registry, limit: int) -> None:
        self._mailroom, self._registry, self._limit = mailroom, registry, limit

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        receipt = self._answer(environ)
        body = receipt.sentence.encode()
        kind = "application/json" if body.startswith((b"[", b"{")) else "text/plain; charset=utf-8"
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        if receipt.status == 503:
            headers.append(("Retry-After", "5"))
        if receipt.status == 405:
            headers.append(("Allow", "GET, POST"))
        start_response(_REASONS[receipt.status], headers)
        return [body]

    def _answer(self, environ: dict[str, Any]) -> Receipt:
        path = _PATH.fullmatch(environ.get("PATH_INFO", ""))
        if path is None:
            return Receipt(404, "There is no webhook here.")
        room, adapter, token = path.groups()
        method = environ["REQUEST_METHOD"]
        if method == "GET":
            if token and offers(self._registry.find(room, adapter), Gets):
                told = environ.get("QUERY_STRING", "").encode("latin-1", "replace")[:_LONGEST_QUERY]
                return self._mailroom.receive(room, adapter, WebhookRequest(_Headers(environ), told), token)
            return self._challenge(room, adapter, environ)
        if method != "POST":
            return Receipt(405, "Webhooks are posted.")
        body = self._read(environ)
        if body is None:
            return Receipt(413, f"The body is larger than {self._limit} bytes.")
        return self._mailroom.receive(room, adapter, WebhookRequest(_Headers(environ), body), token)

    def _read(self, environ: dict[str, Any]) -> bytes | None:
        """The raw body, or None when it is too large; a declared size is believed only when it is too large."""
        declared = environ.get("CONTENT_LENGTH") or ""
        if declared.isdecimal() and int(declared) > self._limit:
            return None
        stream = environ["wsgi.input"]
        want = int(declared) if declared.isdecimal() else self._limit + 1
        body: bytes = stream.read(want)
        return body if len(body) <= self._limit else None

    def _challenge(self, room: str, name: str, environ: dict[str, Any]) -> Receipt:
        adapter = self._registry.find(room, name)
        if not isinstance(adapter, Challenges):
            return Receipt(404, "This address only takes posts.")
        try:
            return Receipt(200, adapter.challenge(dict(parse_qsl(environ.get("QUERY_STRING", "")))))
        except InvalidSignature as fault:
            return Receipt(401, str(fault))


class _Headers(Mapping[str, str]):
    """The headers by their lower-case names. Looked up as asked for: servers put the process's whole environment
    around them, so that going through them all costs more than the signature.
    """

    __slots__ = ("_environ",)

    def __init__(self, environ: dict[str, Any]) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        value: str = self._environ[_cgi(name)]
        return value

    def get(self, name: str, default: Any = None) -> Any:
        return self._environ.get(_cgi(name), default)

    def __iter__(self) -> Iterator[str]:
        return (key[5:].replace("_", "-").lower() for key in self._environ if key.startswith("HTTP_"))

    def __len__(self) -> int:
        return sum(1 for _ in self)


@cache
def _cgi(name: str) -> str:
    """What WSGI calls a header. Only names that adapters ask for come here."""
    return "CONTENT_TYPE" if name == "content-type" else "HTTP_" + name.upper().replace("-", "_")
