"""Secrets at rest: encrypted with the newest key, readable with any, re-encrypted when keys rotate.

`python -m integration.vault` prints a fresh key.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from .errors import ConfigurationError


class Vault:
    """Seals small dictionaries of secrets. `keys` newest first."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def seal(self, values: Mapping[str, str]) -> bytes:
        return self._fernet.encrypt(orjson.dumps(dict(values)))

    def open(self, sealed: bytes | None) -> dict[str, str]:
        """Raises ConfigurationError when no key fits: the operator dropped a key too early."""
        if not sealed:
            return {}
        try:
            opened: dict[str, str] = orjson.loads(self._fernet.decrypt(sealed))
        except InvalidToken:
            raise ConfigurationError(
                "Stored credentials cannot be decrypted. Put the key they were sealed with back into ENCRYPTION_KEYS."
            ) from None
        return opened

    def rotate(self, sealed: bytes) -> bytes:
        """The same secrets under the newest key."""
        try:
            return self._fernet.rotate(sealed)
        except InvalidToken:
            raise ConfigurationError("Stored credentials cannot be decrypted, so they cannot be rotated.") from None


def new_token(without: Sequence[str] = ()) -> str:
    """An unguessable URL-safe token of 43 characters, in which these letters stand nowhere."""
    while True:
        token = secrets.token_urlsafe(32)
        if not any(letters in token.casefold() for letters in without):
            return token


def token_hash(token: str) -> str:
    """What is stored in place of a token that opens a URL."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


if __name__ == "__main__":
    print(Fernet.generate_key().decode())
