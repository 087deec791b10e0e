"""Every setting of the sandbox, read from the environment in this one place.

All have defaults, all secrets are obviously fake: the sandbox guards nothing and must run with no set-up.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_SCOPES = (
    "read_orders",
    "write_orders",
    "read_customers",
    "write_customers",
    "read_products",
    "read_fulfillments",
    "write_fulfillments",
    "read_merchant_managed_fulfillment_orders",
    "write_merchant_managed_fulfillment_orders",
)


@dataclass(frozen=True)
class Settings:
    """What the simulated world needs to know. Times are machine seconds unless said otherwise."""

    port: int = 8100
    app_url: str = "http://127.0.0.1:8000"  # where Dastak listens
    shopify_api_key: str = "sandbox-shopify-key"
    shopify_api_secrets: tuple[str, ...] = ("sandbox-shopify-secret",)  # the first one signs
    shopify_scopes: tuple[str, ...] = DEFAULT_SCOPES  # what app.toml asks for, granted at install
    whatsapp_app_id: str = "sandbox-app"
    whatsapp_app_secret: str = "sandbox-whatsapp-secret"
    whatsapp_verify_token: str = "sandbox-verify-token"
    clock_file: Path | None = None  # the clock shared with the app; None keeps it in memory
    data: Path | None = None  # folder where the world survives a restart; None = memory only
    seed: int | None = None  # makes the dice of the faults repeatable

    # The pace of the world. Tests make it faster, nobody needs it slower.
    shopify_first_retry: float = 1.0  # real: 8 retries over 4 hours; here each waits twice as long as the last
    whatsapp_first_retry: float = 1.0  # real: growing for days; here doubling, at most 30 s
    gateway_first_retry: float = 1.0  # real: minutes, each gateway in its own steps; here doubling
    template_review: float = 0.3  # how long Meta looks at a template; 0 approves within the request
    sent_after: float = 0.02  # accepted -> sent
    delivered_after: float = 0.1  # accepted -> delivered
    payment_after: float = 1.0  # WooCommerce: how long the gateway's page takes the customer
    cancel_job: float = 0.2  # Shopify: orderCancel is a job, this is how long it runs
    answer_withheld: float = 65.0  # how long timeout_after_accept keeps a caller waiting

    # Real WooCommerce wants an https callback_url. A loopback one is let through so that a laptop needs no certificate.
    woocommerce_loopback_http_callback: bool = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def shopify_api_secret(self) -> str:
        return self.shopify_api_secrets[0]

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        env = os.environ if env is None else env
        secrets = tuple(part.strip() for part in env.get("SHOPIFY_API_SECRET", "").split(",") if part.strip())
        scopes = tuple(part.strip() for part in env.get("SHOPIFY_SCOPES", "").split(",") if part.strip())
        try:
            port = int(env.get("SANDBOX_PORT") or cls.port)
            seed = int(env["SANDBOX_SEED"]) if env.get("SANDBOX_SEED") else None
            first_retry = float(env.get("SANDBOX_FIRST_RETRY") or 1.0)
        except ValueError as error:
            raise SystemExit(f"SANDBOX_PORT, SANDBOX_SEED and SANDBOX_FIRST_RETRY must be numbers: {error}") from None
        return cls(
            port=port,
            app_url=(env.get("APP_URL") or cls.app_url).rstrip("/"),
            shopify_api_key=env.get("SHOPIFY_API_KEY") or cls.shopify_api_key,
            shopify_api_secrets=secrets or cls.shopify_api_secrets,
            shopify_scopes=scopes or cls.shopify_scopes,
            whatsapp_app_id=env.get("WHATSAPP_APP_ID") or cls.whatsapp_app_id,
            whatsapp_app_secret=env.get("WHATSAPP_APP_SECRET") or cls.whatsapp_app_secret,
            whatsapp_verify_token=env.get("WHATSAPP_VERIFY_TOKEN") or cls.whatsapp_verify_token,
            clock_file=Path(env["CLOCK_FILE"]) if env.get("CLOCK_FILE") else None,
            data=Path(env["SANDBOX_DATA"]) if env.get("SANDBOX_DATA") else None,
            seed=seed,
            shopify_first_retry=first_retry,
            whatsapp_first_retry=first_retry,
            gateway_first_retry=first_retry,
        )
