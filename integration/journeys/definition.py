"""What a journey is made of. Data a merchant could read aloud; the engine beside it does the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from ..orders import Order, Transition


@dataclass(frozen=True, slots=True)
class Step:
    """One contact, `after` the journey began.

    `relevance` lists, per status of the order, the values in which the step still makes sense; it is asked again at the
    moment of sending. After `fresh_for` beyond its time it is never sent. `prompt`: answers what the customer just did,
    so quiet hours do not hold it.
    """

    name: str
    label: str
    after: timedelta = timedelta(0)
    template: str = ""
    action: str = "message"
    relevance: Mapping[str, list[str]] = field(default_factory=dict)
    prompt: bool = False
    fresh_for: timedelta = timedelta(hours=20)
    only: Callable[[Transition], bool] | None = None

    def applies(self, transition: Transition) -> bool:
        """Is this step for an order that came in by this transition?"""
        return self.only is None or self.only(transition)


@dataclass(frozen=True, slots=True)
class Journey:
    """One journey: when it begins, when it ends, what happens in between."""

    name: str
    version: int
    label: str
    says: str
    """What it does, as one sentence for the merchant."""
    because: str
    """Why a customer hears from it, completing "sent because ..."."""
    message_class: str
    begins: Callable[[Transition, Order], bool]
    ends: Callable[[Order], str]
    """A sentence when the order is past this journey, else empty."""
    steps: tuple[Step, ...]
    critical: bool = True
    when_off: tuple[str, str] | None = None
    """(axis, value) an order takes when this journey would have begun but is switched off."""
