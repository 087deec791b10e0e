"""Who calls the REST API. Over http WooCommerce takes no Basic auth, only one-legged OAuth 1.0a, in query or header.

The signed address must be the store's own: home URL with port and sub-path, whatever name the caller used to get here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from sandbox.world import Record, World

PARAMETERS = (
    "oauth_consumer_key",
    "oauth_timestamp",
    "oauth_nonce",
    "oauth_signature",
    "oauth_signature_method",
)
WINDOW = 15 * 60
METHODS = {"HMAC-SHA1": hashlib.sha1, "HMAC-SHA256": hashlib.sha256}


class AuthenticationError(Exception):
    def __init__(self, message: str, code: str = "woocommerce_rest_authentication_error") -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def encode(text: str) -> str:
    return quote(text, safe="~")


def parameters_of(query: str) -> dict[str, str]:
    """The query as PHP reads it: the last of equal names wins, `name[]` counts up."""
    parameters: dict[str, str] = {}
    counts: dict[str, int] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name.endswith("[]"):
            counts[name] = counts.get(name, -1) + 1
            name = f"{name[:-2]}[{counts[name]}]"
        parameters[name] = value
    return parameters


def header_parameters(header: str) -> dict[str, str]:
    if not header.lower().startswith("oauth "):
        return {}
    return {name: unquote(value) for name, value in re.findall(r'(oauth_[a-z_-]+)="([^"]*)"', header)}


def signature(method: str, address: str, parameters: dict[str, str], secret: str) -> str:
    digest = METHODS[parameters["oauth_signature_method"]]
    pairs = "&".join(f"{encode(name)}={encode(value)}" for name, value in sorted(parameters.items()))
    message = f"{method}&{encode(address)}&{encode(pairs)}"
    return base64.b64encode(hmac.new(f"{secret}&".encode(), message.encode(), digest).digest()).decode()


class Keys:
    """The store's API keys, and the check of a request against them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.keys = world.shelf("woo_keys")
        self._nonces: dict[str, dict[str, float]] = {}

    def of_request(self, method: str, address: str, query: str, authorization: str) -> Record | None:
        """The key that signed this request; None when it carries no OAuth at all."""
        parameters = parameters_of(query) | header_parameters(authorization)
        missing = [name for name in PARAMETERS if not parameters.get(name)]
        if len(missing) == len(PARAMETERS):
            return None
        if missing:
            plural = "s" if len(missing) > 1 else ""
            raise AuthenticationError(
                f"Missing OAuth parameter{plural} {', '.join(missing)}",
                "woocommerce_rest_authentication_missing_parameter",
            )
        key = self.keys.get(parameters["oauth_consumer_key"])
        if key is None:
            raise AuthenticationError("Consumer key is invalid.")
        given = parameters.pop("oauth_signature").replace(" ", "+")
        if parameters["oauth_signature_method"] not in METHODS:
            raise AuthenticationError("Invalid signature - signature method is invalid.")
        expected = signature(method, address, parameters, key["consumer_secret"])
        if not hmac.compare_digest(expected.encode(), given.encode()):
            raise AuthenticationError("Invalid signature - provided signature does not match.")
        self._check_nonce(key, parameters)
        return key

    def _check_nonce(self, key: Record, parameters: dict[str, Any]) -> None:
        """Machine time: this is about the wire, not about the story."""
        now = time.time()
        stamp = parameters["oauth_timestamp"]
        if not stamp.isascii() or not stamp.isdigit() or len(stamp) > 12 or abs(int(stamp) - now) > WINDOW:
            raise AuthenticationError("Invalid timestamp.")
        with self._world.lock:
            used = self._nonces.setdefault(key["consumer_key"], {})
            if parameters["oauth_nonce"] in used:
                raise AuthenticationError("Invalid nonce - nonce has already been used.")
            used[parameters["oauth_nonce"]] = now
            while used and next(iter(used.values())) < now - 2 * WINDOW:
                del used[next(iter(used))]
