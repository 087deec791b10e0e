"""The one error of the sandbox's own surface (control API, face). The fake vendors refuse in their vendors' words."""

from __future__ import annotations


class Refusal(Exception):
    """The caller asked for something the world cannot do. The sentence says what it can do instead."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status
