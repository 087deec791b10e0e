"""Outgoing HTTP: one pooled client per process, and failures in the core's words.

What matters after a failure is whether the vendor may have acted. A connection that never stood did nothing; a request
that was on its way when the answer failed to come may have been carried out.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from integration.errors import ConfigurationError, OutcomeUnknown, PermanentError, TransientError
from integration.ports import WebhookRequest

USER_AGENT = "Dastak/1.0 (+https://dastak.example)"

_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.ProxyError)


@cache
def client() -> httpx.Client:
    """The process's client. Follows no redirect: a signed or authorised request goes where it was meant to go."""
    return httpx.Client(
        headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
        timeout=httpx.Timeout(20.0, connect=5.0, pool=30.0),
        limits=httpx.Limits(max_connections=64, max_keepalive_connections=32, keepalive_expiry=30.0),
        follow_redirects=False,
        trust_env=False,
    )


def call(
    method: str,
    url: str,
    *,
    json: Any = None,
    form: Mapping[str, str] | None = None,
    query: Mapping[str, str | Sequence[str]] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    content: bytes | None = None,
) -> httpx.Response:
    """One request. Raises TransientError when it never left, OutcomeUnknown when it may have arrived."""
    sent = dict(headers or {})
    if json is not None:
        content = orjson.dumps(json)
        sent["Content-Type"] = "application/json"
    limit = (
        httpx.USE_CLIENT_DEFAULT if timeout is None else httpx.Timeout(timeout, connect=min(timeout, 5.0), pool=timeout)
    )
    try:
        return client().request(method, url, content=content, data=form, params=query, headers=sent, timeout=limit)
    except _NEVER_LEFT as fault:
        raise TransientError(f"{_host(url)} could not be reached ({type(fault).__name__})") from None
    except (httpx.TransportError, httpx.StreamError, httpx.DecodingError) as fault:
        raise OutcomeUnknown(f"{_host(url)} did not answer in time or broke off ({type(fault).__name__})") from None
    except (httpx.InvalidURL, httpx.TooManyRedirects, UnicodeError):
        raise ConfigurationError(f"{url!r} is not an address that can be called") from None


def read(method: str, url: str, **kwargs: Any) -> httpx.Response:
    """A request that changes nothing, so that an unknown outcome is simply a reason to ask again."""
    try:
        return call(method, url, **kwargs)
    except OutcomeUnknown as fault:
        raise TransientError(str(fault)) from None


def download(url: str, most: int, *, headers: Mapping[str, str], timeout: float) -> tuple[int, bytes]:
    """Status and content of a file, as it lies there; of anything but a 200 the content is left unread. Raises
    PermanentError as soon as more than `most` bytes came, and TransientError, also when `timeout` seconds are over.
    """
    ends = time.monotonic() + timeout
    limit = httpx.Timeout(timeout, connect=min(timeout, 5.0), pool=timeout)
    sent = {**headers, "Accept": "*/*", "Accept-Encoding": "identity"}  # packed, a few bytes could become many
    content = bytearray()
    try:
        with client().stream("GET", url, headers=sent, timeout=limit) as response:
            for piece in response.iter_raw() if response.status_code == 200 else ():
                content += piece
                if len(content) > most:
                    raise PermanentError(f"the file is larger than {most:,} bytes", reason="too_large")
                if time.monotonic() > ends:
                    raise TransientError(f"{_host(url)} hands the file out too slowly")
    except (httpx.TransportError, httpx.StreamError) as fault:
        raise TransientError(f"{_host(url)} could not be read from ({type(fault).__name__})") from None
    return response.status_code, bytes(content)


def body_of(response: httpx.Response) -> Any:
    """The JSON of an answer, or None when it is no JSON (a proxy's or firewall's page)."""
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return None


TRACKING_TIMEOUT = 10.0
"""Seconds for a question about parcels; a run of them must end before its lease."""


def told(
    response: httpx.Response, vendor: str, refused: Callable[[dict[str, Any]], bool] = lambda said: False
) -> WebhookRequest | None:
    """An answer that was asked for, as a request for `parse`; None when there is nothing of that kind. `refused` tells
    a no to our credentials that comes as HTTP 200. Raises ConfigurationError and TransientError.
    """
    said = body_of(response)
    if response.status_code in (401, 403) or (isinstance(said, dict) and refused(said)):
        raise unwelcome(vendor)
    if response.status_code == 429:
        raise TransientError(f"{vendor} asks to be called less often", retry_after=retry_after(response))
    if response.status_code in (400, 404, 422):
        return None
    if response.status_code >= 400 or said is None:
        raise TransientError(f"{vendor} answered with HTTP {response.status_code} and nothing that can be read")
    return WebhookRequest({}, response.content)


def object_of(response: httpx.Response, vendor: str) -> dict[str, Any]:
    """The JSON object with which a question was answered. Raises ConfigurationError and TransientError."""
    said = body_of(response)
    if response.status_code in (401, 403):
        raise unwelcome(vendor)
    if response.status_code == 429:
        raise TransientError(f"{vendor} asks to be called less often", retry_after=retry_after(response))
    if response.status_code >= 300 or not isinstance(said, dict):
        raise TransientError(f"{vendor} answered with HTTP {response.status_code} and nothing that can be read")
    return said


def unwelcome(vendor: str) -> ConfigurationError:
    return ConfigurationError(f"{vendor} does not accept these credentials. Please check them and enter them again.")


def retry_after(response: httpx.Response) -> float | None:
    try:
        return min(max(float(response.headers.get("retry-after", "")), 0.0), 3600.0)
    except ValueError:
        return None


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the vendor"


# -- addresses that merchants give ---------------------------------------------------------------------------------


def guard(url: str, trusted_origins: tuple[str, ...] = ()) -> str:
    """The URL, if we may call it: https, a public host, no credentials inside. Called again before every use.

    Raises ConfigurationError with a sentence for the merchant. An origin the operator trusts (the sandbox's) may be
    anything.
    """
    parts = urlsplit(url)
    if f"{parts.scheme}://{parts.netloc}" in trusted_origins:
        return url
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.password:
        raise ConfigurationError("The address must begin with https:// and name a public website.")
    try:
        port = parts.port or 443
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError, UnicodeError):
        raise ConfigurationError(f"No website answers under {parts.hostname[:100]}. Is it spelled right?") from None
    for *_, address in found:
        if not ipaddress.ip_address(str(address[0]).split("%")[0]).is_global:
            raise ConfigurationError("The address leads into a private network, so it cannot be a public shop.")
    return url
