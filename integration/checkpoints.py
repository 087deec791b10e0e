"""Labelled points between two commits, where `make chaos` ends the process to see what the next one finds.

Unarmed (always, but for chaos runs) a checkpoint costs one dictionary lookup.
"""

from __future__ import annotations

import os
import random
import signal

LABELS = (
    "receive.before_commit",
    "receive.after_commit",
    "process.before_commit",
    "process.after_commit",
    "advance.after_commit",
    "deliver.after_claim",
    "deliver.after_send",
    "deliver.before_record",
    "deliver.after_record",
    "writeback.after_call",
    "instruct.after_claim",
    "instruct.after_call",
    "instruct.before_record",
    "checkout.after_claim",
    "checkout.after_call",
)

_chances: dict[str, float] = {}


def arm(spec: str) -> None:
    """`label=probability` pairs, comma-separated. Raises ValueError for a label that does not exist."""
    _chances.clear()
    for pair in filter(None, spec.split(",")):
        label, _, chance = pair.partition("=")
        if label not in LABELS:
            raise ValueError(f"no checkpoint is called {label!r}; there are {', '.join(LABELS)}")
        _chances[label] = float(chance)


def reached(label: str) -> None:
    chance = _chances.get(label)
    if chance is not None and random.random() < chance:
        os.kill(os.getpid(), signal.SIGKILL)
