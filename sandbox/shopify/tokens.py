"""Shopify's tokens: ID tokens of the admin, and the Admin API tokens they are exchanged for.

Exactly one refreshable offline token exists per app and store. Every acquisition or refresh retires the pair before
it: the old access token lives out its own hour, the old refresh token dies at once on a new acquisition. A refresh
token that was presented stays usable until its replacement is used, so a lost answer can be asked for again.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from sandbox.settings import Settings
from sandbox.world import Record, World

ID_TOKEN_LIFE = 60
LEEWAY = 10  # App Bridge often issues an nbf slightly in the future
ACCESS_LIFE = 3600
REFRESH_LIFE = 90 * 86400
REUSE_LIFE = 30 * 86400
CODE_LIFE = 60

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:id_token"
OFFLINE = "urn:shopify:params:oauth:token-type:offline-access-token"
ONLINE = "urn:shopify:params:oauth:token-type:online-access-token"


class OAuthError(Exception):
    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status


@dataclass(frozen=True)
class Denied:
    """Why the Admin API does not take a token."""

    message: str


class Tokens:
    def __init__(self, world: World) -> None:
        self._world = world
        self._settings: Settings = world.settings
        self._access = world.shelf("shopify_access_tokens")
        self._refresh = world.shelf("shopify_refresh_tokens")
        self._codes = world.shelf("shopify_codes")

    # ID tokens

    def id_token(self, shop: str, user: str = "1") -> str:
        """A session token as App Bridge hands it out: HS256 with the app's secret, good for 60 s."""
        now = int(self._world.clock.time())
        claims = {
            "iss": f"https://{shop}/admin",
            "dest": f"https://{shop}",
            "aud": self._settings.shopify_api_key,
            "sub": user,
            "exp": now + ID_TOKEN_LIFE,
            "nbf": now,
            "iat": now,
            "jti": str(uuid.uuid4()),
            "sid": uuid.uuid5(uuid.NAMESPACE_DNS, f"{shop}:{user}").hex,
        }
        return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(self._settings.shopify_api_secret))

    def _shop_of_id_token(self, presented: Any) -> str:
        wrong = OAuthError("invalid_subject_token", "The subject token is invalid.")
        if not isinstance(presented, str) or not presented:
            raise wrong
        for secret in self._settings.shopify_api_secrets:
            try:
                claims = jwt.decode(presented, OctKey.import_key(secret), algorithms=["HS256"]).claims
                break
            except (JoseError, ValueError):
                continue
        else:
            raise wrong
        now = self._world.clock.time()
        fresh = all(isinstance(claims.get(name), int | float) for name in ("exp", "nbf"))
        if not fresh or now > claims["exp"] + LEEWAY or now < claims["nbf"] - LEEWAY:
            raise wrong
        if claims.get("aud") != self._settings.shopify_api_key or not isinstance(claims.get("dest"), str):
            raise wrong
        return str(claims["dest"]).removeprefix("https://")

    # The token endpoint

    def grant(self, shop: Record, form: dict[str, Any]) -> Record:
        if form.get("client_id") != self._settings.shopify_api_key:
            raise OAuthError("application_cannot_be_found", "Client credentials could not be verified.")
        if form.get("client_secret") not in self._settings.shopify_api_secrets:
            raise OAuthError("invalid_client", "Client authentication failed.")
        kind = form.get("grant_type")
        with self._world.lock:
            if kind == TOKEN_EXCHANGE:
                return self._exchange(shop, form)
            if kind == "refresh_token":
                return self._refreshed(shop, form.get("refresh_token"))
            if kind in (None, "authorization_code") and "code" in form:
                return self._for_code(shop, form)
        raise OAuthError("unsupported_grant_type", "The grant type is not supported.")

    def _exchange(self, shop: Record, form: dict[str, Any]) -> Record:
        requested = form.get("requested_token_type", OFFLINE)
        if requested not in (OFFLINE, ONLINE):
            raise OAuthError("invalid_request", "The requested token type is not supported.")
        if form.get("subject_token_type") == OFFLINE:
            return self._migrated(shop, form)
        if form.get("subject_token_type") != ID_TOKEN_TYPE:
            raise OAuthError("invalid_request", "The subject token type is not supported.")
        if self._shop_of_id_token(form.get("subject_token")) != shop["domain"] or not shop["installed"]:
            raise OAuthError("invalid_subject_token", "The subject token is invalid.")
        if requested == ONLINE:
            return self._online(shop)
        return self._acquired(shop, expiring=_truthy(form.get("expiring")))

    def _migrated(self, shop: Record, form: dict[str, Any]) -> Record:
        """An old, never-expiring token becomes an expiring one. One way; the old one is revoked."""
        old = self._access.get(str(form.get("subject_token")))
        if old is None or old["shop"] != shop["domain"] or old["expires_at"] is not None or old["revoked"]:
            raise OAuthError("invalid_subject_token", "The subject token is invalid.")
        old["revoked"] = True
        self._access.touch(old["token"])
        return self._acquired(shop, expiring=True)

    def _acquired(self, shop: Record, expiring: bool) -> Record:
        for token, record in self._refresh.items():
            if record["shop"] == shop["domain"]:
                self._refresh.drop(token)
        if not expiring:
            token = self._new_access(shop, None)
            return {"access_token": token, "scope": ",".join(shop["scopes"])}
        return self._pair(shop, parent=None)

    def _pair(self, shop: Record, parent: str | None) -> Record:
        refresh = "shprt_" + secrets.token_hex(16)
        self._refresh.put(
            refresh,
            {
                "token": refresh,
                "shop": shop["domain"],
                "expires_at": self._world.clock.time() + REFRESH_LIFE,
                "first_used_at": None,
                "parent": parent,
            },
        )
        return {
            "access_token": self._new_access(shop, self._world.clock.time() + ACCESS_LIFE),
            "scope": ",".join(shop["scopes"]),
            "expires_in": ACCESS_LIFE,
            "refresh_token": refresh,
            "refresh_token_expires_in": REFRESH_LIFE,
        }

    def _refreshed(self, shop: Record, presented: Any) -> Record:
        now = self._world.clock.time()
        terminal = OAuthError("invalid_request", "The refresh token is invalid or expired.", 401)
        record = self._refresh.get(presented) if isinstance(presented, str) else None
        if record is None or record["shop"] != shop["domain"] or not shop["installed"] or now > record["expires_at"]:
            raise terminal
        if record["first_used_at"] is not None and now > record["first_used_at"] + REUSE_LIFE:
            raise terminal
        if record["parent"] is not None:  # the replacement is used: what it replaced dies
            self._refresh.drop(str(record["parent"]))
            record["parent"] = None
        for token, other in self._refresh.items():
            if other["parent"] == record["token"]:  # an earlier answer to the same token is retired
                self._refresh.drop(token)
        record["first_used_at"] = record["first_used_at"] or now
        self._refresh.touch(record["token"])
        return self._pair(shop, parent=record["token"])

    def _online(self, shop: Record) -> Record:
        return {
            "access_token": self._new_access(shop, self._world.clock.time() + 86400, online=True),
            "scope": ",".join(shop["scopes"]),
            "expires_in": 86400,
            "associated_user_scope": ",".join(shop["scopes"]),
            "associated_user": {
                "id": 1,
                "first_name": "Shop",
                "last_name": "Owner",
                "email": shop["email"],
                "email_verified": True,
                "account_owner": True,
                "locale": "en",
                "collaborator": False,
            },
        }

    # The authorization-code grant

    def new_code(self, shop: str) -> str:
        code = secrets.token_hex(16)
        self._codes.put(code, {"shop": shop, "until": self._world.clock.time() + CODE_LIFE})
        return code

    def _for_code(self, shop: Record, form: dict[str, Any]) -> Record:
        code = form.get("code")
        record = self._codes.get(code) if isinstance(code, str) else None
        if record is None or record["shop"] != shop["domain"] or self._world.clock.time() > record["until"]:
            raise OAuthError("invalid_request", "The authorization code was not found or was already used.")
        self._codes.drop(str(code))
        return self._acquired(shop, expiring=_truthy(form.get("expiring")))

    # The Admin API's question

    def _new_access(self, shop: Record, expires_at: float | None, online: bool = False) -> str:
        token = ("shpua_" if online else "shpat_") + secrets.token_hex(16)
        self._access.put(
            token,
            {
                "token": token,
                "shop": shop["domain"],
                "expires_at": expires_at,
                "revoked": False,
                "scopes": list(shop["scopes"]),
            },
        )
        return token

    def check(self, shop: Record, presented: str) -> Denied | None:
        dead = Denied("[API] Invalid API key or access token (unrecognized login or wrong password)")
        record = self._access.get(presented)
        if record is None or record["shop"] != shop["domain"] or record["revoked"] or not shop["installed"]:
            return dead
        if record["expires_at"] is None:
            return Denied(
                "[API] Non-expiring access tokens are no longer accepted for the Admin API. "
                "Request an expiring offline access token instead."
            )
        if self._world.clock.time() > record["expires_at"]:
            return dead
        return None

    def exist(self, shop: str) -> bool:
        """Whether the app holds a refreshable token for this store."""
        return any(record["shop"] == shop for record in self._refresh.values())

    def forget(self, shop: str) -> None:
        """Uninstalling kills every token of the store."""
        with self._world.lock:
            for shelf in (self._access, self._refresh, self._codes):
                for key, record in shelf.items():
                    if record["shop"] == shop:
                        shelf.drop(key)


def _truthy(value: Any) -> bool:
    return value in (1, True, "1", "true")
