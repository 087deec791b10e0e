"""The errors the core branches on. Anything else is a bug and may crash its job: the row stays and is retried or
shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class DastakError(Exception):
    """Base of the house's own errors."""


class InvalidSignature(DastakError):
    """The request does not prove where it comes from. Answered 401 and not stored."""


class NotUnderstood(DastakError):
    """Stored and answered 200, but the adapter cannot read it (yet). Counted, shown, replayable. `facts` are those that
    the rest of it states plainly: they count.
    """

    def __init__(self, message: str, *, facts: Iterable[Any] = ()) -> None:
        super().__init__(message)
        self.facts = tuple(facts)


class ConfigurationError(DastakError):
    """The merchant or operator must act. The sentence is written for them to read and is shown as it is."""


class PermissionMissing(ConfigurationError):
    """The account works, but was not allowed this one thing yet: nothing else is to stop for it."""


class TransientError(DastakError):
    """It did not happen and may work later. `retry_after` is in seconds, None when the vendor gave none."""

    def __init__(self, message: str, *, retry_after: float | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.code = code


class PermanentError(DastakError):
    """It did not happen and never will as it stands. `reason` is a word of ours, `code` the vendor's."""

    def __init__(self, message: str, *, reason: str = "refused", code: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.code = code


class OutcomeUnknown(DastakError):
    """The call may have happened. Never blindly repeated: settled by evidence, or by the class of the message."""


class Unscoped(DastakError):
    """A query or a write that is not bound to one store. Always a bug; refused before it reaches the database."""
