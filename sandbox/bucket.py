"""A leaky bucket on machine time: the rate limit of a number, of a pair of phones, of an app on a shop."""

from __future__ import annotations

import time


class Bucket:
    def __init__(self, capacity: float, per_second: float) -> None:
        self.capacity = capacity
        self.per_second = per_second
        self._level = capacity
        self._at = time.monotonic()

    @property
    def available(self) -> float:
        now = time.monotonic()
        self._level = min(self.capacity, self._level + (now - self._at) * self.per_second)
        self._at = now
        return self._level

    def take(self, amount: float = 1.0) -> bool:
        """Take, if there is enough; an empty bucket gives nothing and loses nothing."""
        if self.available < amount:
            return False
        self._level -= amount
        return True

    def give_back(self, amount: float) -> None:
        self._level = min(self.capacity, self._level + amount)
