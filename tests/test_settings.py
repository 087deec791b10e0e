"""Settings: read once, all faults in one message, nobody's secret in it. And the two kinds of time."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from adapters import declared_settings
from integration import checkpoints
from integration.clock import Clock, move
from integration.errors import ConfigurationError
from integration.logs import mask
from integration.settings import BadSettings, Settings
from integration.vault import Vault, new_token, token_hash

GOOD = {
    "SECRET_KEY": "x" * 20, "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "SHOPIFY_API_KEY": "k", "SHOPIFY_API_SECRET": "s", "WHATSAPP_APP_SECRET": "w", "WHATSAPP_VERIFY_TOKEN": "v",
}  # fmt: skip


def test_good_settings_are_read_with_their_defaults() -> None:
    settings = Settings.from_env(declared_settings(), GOOD)
    assert settings.port == 8000
    assert settings.vendor["SHOPIFY_API_VERSION"] == "2026-07"
    assert settings.vendor["SHOPIFY_API_SECRET"] == ("s",)
    assert Settings.from_env(declared_settings(), {**GOOD, "SHOPIFY_API_SECRET": "new, old"}).vendor[
        "SHOPIFY_API_SECRET"
    ] == ("new", "old")


def test_every_fault_is_in_one_message_and_no_secret_is() -> None:
    with pytest.raises(BadSettings) as stopped:
        Settings.from_env(declared_settings(), {
            "SECRET_KEY": "short-secret", "ENCRYPTION_KEYS": "not-a-key", "PORT": "eighty", "PUBLIC_URL": "http://example.test",
            "SHOPIFY_API_KEY": "  ",
        })  # fmt: skip
    message = str(stopped.value)
    for name in ("SECRET_KEY", "ENCRYPTION_KEYS", "PORT", "PUBLIC_URL", "SHOPIFY_API_KEY", "SHOPIFY_API_SECRET",
                 "WHATSAPP_APP_SECRET", "WHATSAPP_VERIFY_TOKEN"):  # fmt: skip
        assert name in message
    assert "must be https" in message
    assert "short-secret" not in message
    assert "not-a-key" not in message


def test_a_dotenv_fills_what_the_environment_lacks(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=9000\nSECRET_KEY=from-the-file-of-dotenv\n")
    settings = Settings.from_env(declared_settings(), {**GOOD, "PORT": "9100"}, tmp_path / ".env")
    assert settings.port == 9100
    assert settings.secret_key == GOOD["SECRET_KEY"]


def test_an_optional_text_may_be_empty_but_a_number_then_has_its_default() -> None:
    settings = Settings.from_env(declared_settings(), {**GOOD, "SHOPIFY_POLARIS_URL": "", "PORT": ""})
    assert settings.vendor["SHOPIFY_POLARIS_URL"] == ""
    assert settings.port == 8000


def test_printing_settings_shows_no_secret() -> None:
    shown = repr(Settings.from_env(declared_settings(), GOOD))
    assert GOOD["SECRET_KEY"] not in shown
    assert GOOD["ENCRYPTION_KEYS"] not in shown


# -- time ----------------------------------------------------------------------------------------------------------


def test_domain_time_moves_and_machine_time_does_not(tmp_path: Path) -> None:
    """All who map the file see the move; leases live on machine time and see nothing."""
    clock, other = Clock(tmp_path / "clock"), Clock(tmp_path / "clock")
    assert abs(clock.now() - clock.machine()) < timedelta(seconds=1)
    move(tmp_path / "clock", timedelta(hours=24))
    for seen in (clock, other):
        assert timedelta(hours=23, minutes=59) < seen.now() - seen.machine() < timedelta(hours=24, minutes=1)


def test_without_a_file_there_is_one_time() -> None:
    assert abs(Clock().now() - Clock().machine()) < timedelta(seconds=1)


# -- secrets -------------------------------------------------------------------------------------------------------


def test_secrets_survive_a_rotation_and_the_old_key_may_then_go() -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    sealed = Vault([old]).seal({"access_token": "shpat_x"})
    assert b"shpat_x" not in sealed
    rotated = Vault([new, old]).rotate(sealed)
    assert Vault([new]).open(rotated) == {"access_token": "shpat_x"}
    with pytest.raises(ConfigurationError, match="ENCRYPTION_KEYS"):
        Vault([new]).open(sealed)
    assert Vault([new]).open(None) == {}


def test_tokens_are_long_and_only_their_hash_is_stored() -> None:
    token = new_token()
    assert len(token) >= 43
    assert token not in token_hash(token)
    assert new_token() != token


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("call +923001234567 now", "call (number) now"),
        ("shpat_abcdef123456", "shpat_…"), ("ck_0123456789abcdef", "ck_…"),
        ("store 12, 2026-11-21", "store 12, 2026-11-21"), ("EAAGm0PX4ZCpsBAK", "EAA…"),
    ],
)  # fmt: skip
def test_logs_lose_numbers_and_tokens(said: str, kept: str) -> None:
    assert mask(said) == kept


# -- checkpoints ---------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_armed_by_its_label_only() -> None:
    with pytest.raises(ValueError, match="no checkpoint"):
        checkpoints.arm("deliver.nowhere=1")
    checkpoints.arm("deliver.after_send=0")
    checkpoints.reached("deliver.after_send")
    checkpoints.arm("")
