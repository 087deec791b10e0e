"""Logs: one JSON object a line, with ids and counts. Phones, names, tokens and message texts never enter one.

The house's own calls pass ids only; what a library might let slip is masked on the way out.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

_PHONE = re.compile(r"(?<![\w.:-])\+?\d{9,15}(?![\w.:-])")
_SECRET = re.compile(r"(shp[a-z]{2}_|ck_|cs_|EAA)[A-Za-z0-9]{8,}")


def mask(text: str) -> str:
    """Text with anything that looks like a phone or a token taken out."""
    return _SECRET.sub(r"\1…", _PHONE.sub("(number)", text))


def _mask_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return {
        key: mask(value) if isinstance(value, str) and key != "timestamp" else value for key, value in event.items()
    }


def _frames(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Where a fault happened, without its message: that may quote a customer's data."""
    fault = event.pop("exc_info", None)
    if isinstance(fault, BaseException):
        event["where"] = [
            f"{f.filename.rsplit('/', 2)[-1]}:{f.lineno} {f.name}"
            for f in traceback.extract_tb(fault.__traceback__)[-6:]
        ]
    return event


def set_up_logs(level: str) -> None:
    """Once per process."""
    number = logging.getLevelName(level.upper())
    logging.basicConfig(
        stream=sys.stderr,
        level=number if isinstance(number, int) else logging.INFO,
        format="%(levelname)s %(name)s %(message)s",
    )
    for noisy in ("httpx", "httpcore", "rq.worker", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            _frames,
            _mask_event,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number if isinstance(number, int) else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
