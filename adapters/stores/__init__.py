"""Shop platforms."""

from typing import Any

from integration.ports import PaymentTold


def advances(noted: Any, told: PaymentTold) -> str:
    """What a store is to have noted of the parts that were paid of an order, this one among them once. `noted` is what
    it has noted so far, if anything.
    """
    parts = noted.split(", ") if isinstance(noted, str) and noted else []
    one = f"{told.amount} {told.currency} ({told.reference})"
    return ", ".join(parts if one in parts else [*parts, one])
