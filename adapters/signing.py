"""Proof of origin: HMAC-SHA256 over the raw bytes, compared in constant time, with several live secrets while they
rotate.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable

from integration.errors import InvalidSignature


def hmac_base64(secret: str, message: bytes) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), message, "sha256")).decode()


def hmac_hex(secret: str, message: bytes) -> str:
    return hmac.digest(secret.encode(), message, "sha256").hex()


def require(given: str, expected: Iterable[str]) -> None:
    """Returns nothing when `given` is one of the expected digests. Raises InvalidSignature, also when it is missing."""
    offered = given.encode("utf-8", "replace")
    matches = [hmac.compare_digest(offered, digest.encode()) for digest in expected]
    if not given or not any(matches):
        raise InvalidSignature("The signature is missing or does not fit the body.")


def body_hash(*parts: bytes | str) -> str:
    """A stable key of 32 characters for a request that carries none of its own."""
    digest = hashlib.blake2s(digest_size=16)
    for part in parts:
        raw = part if isinstance(part, bytes) else part.encode("utf-8", "replace")
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()
