"""Faults: how the world misbehaves when asked to, and the gate in front of each vendor's API that applies them.

A fault has a target (a vendor, or one side of it), a mode, a rate and perhaps a count. API faults are played by the
gate; webhook faults by the delivery queues. The gate also writes every API call into the log.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, g, request

from sandbox.errors import Refusal

if TYPE_CHECKING:
    from sandbox.world import World

VENDORS = (
    "shopify", "woocommerce", "whatsapp", "tcs", "leopards", "shiprocket", "postex", "trax",
    "razorpay", "jazzcash", "easypaisa", "safepay", "cashfree",
)  # fmt: skip
API, WEBHOOKS = "api", "webhooks"

# mode: the sides it can strike (the first one when the target names none) and what then happens
MODES: dict[str, tuple[tuple[str, ...], str]] = {
    "error_500": ((API,), "the vendor answers with a server error and does nothing"),
    "throttle_429": ((API,), "the vendor answers that it is called too often and does nothing"),
    "timeout_after_accept": ((API,), "the vendor does what was asked and never answers"),
    "garbage": ((API,), "200 with an unreadable body; in half of the cases the vendor did what was asked"),
    "drop": ((WEBHOOKS, API), "a webhook is lost for ever; with .api the call dies before it was accepted"),
    "duplicate": ((WEBHOOKS,), "a webhook arrives twice"),
    "reorder": ((WEBHOOKS,), "a webhook is overtaken by later ones"),
    "delay": ((WEBHOOKS,), "a webhook comes 2 to 5 seconds late"),
}


def what_exists() -> dict[str, Any]:
    sides = {mode: [f"<vendor>.{side}" for side in where] for mode, (where, _) in MODES.items()}
    return {
        "targets": [*VENDORS, *(f"{vendor}.{side}" for vendor in VENDORS for side in (API, WEBHOOKS))],
        "modes": {mode: {"strikes": sides[mode], "means": means} for mode, (_, means) in MODES.items()},
    }


@dataclass
class Fault:
    id: int
    target: str
    mode: str
    rate: float
    count: int | None  # how often it may still strike; None = always
    vendor: str = field(repr=False)
    side: str = field(repr=False)
    struck: int = 0

    def as_json(self) -> dict[str, Any]:
        shown = asdict(self)
        del shown["vendor"], shown["side"]
        return shown


class Faults:
    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._last = 0

    def add(self, target: Any, mode: Any, rate: Any = 1.0, count: Any = None) -> Fault:
        vendor, _, side = target.partition(".") if isinstance(target, str) else ("", "", "")
        if vendor not in VENDORS or side not in ("", API, WEBHOOKS):
            raise Refusal(f"There is no target {target!r}. Targets: {', '.join(what_exists()['targets'])}.")
        if not isinstance(mode, str) or mode not in MODES:
            raise Refusal(f"There is no mode {mode!r}. Modes: {', '.join(MODES)}.")
        sides = MODES[mode][0]
        if side and side not in sides:
            raise Refusal(f"{mode} strikes {' or '.join(sides)}, not {side}.")
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
            raise Refusal("rate is a number from 0 to 1.")
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise Refusal("count is a whole number from 1, or left out.")
        with self._lock:
            self._last += 1
            fault = Fault(self._last, target, mode, float(rate), count, vendor, side or sides[0])
            self._faults.append(fault)
        return fault

    def draw(self, vendor: str, side: str) -> Fault | None:
        """The fault that strikes this call or webhook, if one does."""
        if not self._faults:  # the usual case, and this is asked for every message
            return None
        with self._lock:
            for fault in self._faults:
                if (fault.vendor, fault.side) == (vendor, side) and self._dice.random() < fault.rate:
                    fault.struck += 1
                    if fault.count is not None:
                        fault.count -= 1
                        if fault.count == 0:
                            self._faults.remove(fault)
                    return fault
        return None

    def active(self) -> list[dict[str, Any]]:
        with self._lock:
            return [fault.as_json() for fault in self._faults]

    def remove(self, id: int | None = None) -> int:
        with self._lock:
            before = len(self._faults)
            self._faults = [] if id is None else [fault for fault in self._faults if fault.id != id]
            return before - len(self._faults)


@dataclass(frozen=True)
class VendorWords:
    """How one vendor's infrastructure says no; the dice choose among its several ways."""

    error: Callable[[random.Random], Response]
    throttled: Callable[[random.Random], Response]


PROXY_PAGE = "<!DOCTYPE html><html><head><title>Please wait</title></head><body>Checking your browser</body></html>"


class Gate:
    """In front of one vendor's API: plays the faults, logs the call with its answer.

    `g.what` may be set by a handler to say in a few words what the call was about.
    """

    AT_MOST_WITHHELD = 200  # a withheld answer occupies a thread; beyond this many the line is cut instead

    def __init__(self, world: World, vendor: str, words: VendorWords) -> None:
        self._world = world
        self._vendor = vendor
        self._words = words
        self._withheld = threading.BoundedSemaphore(self.AT_MOST_WITHHELD)

    def guard(self, blueprint: Blueprint) -> None:
        blueprint.before_request(self._before)
        blueprint.after_request(self._after)

    def _before(self) -> Response | None:
        g.started = time.perf_counter()
        g.what = None
        g.fault = fault = self._world.faults.draw(self._vendor, API)
        if fault is None:
            return None
        if fault.mode == "error_500":
            return self._words.error(self._world.dice)
        if fault.mode == "throttle_429":
            return self._words.throttled(self._world.dice)
        if fault.mode == "drop":
            g.outcome = "fault: line cut before the call was accepted"
            return line_cut()
        if fault.mode == "garbage" and self._world.dice.random() < 0.5:
            g.outcome = "fault: garbage, nothing done"
            return Response(PROXY_PAGE, 200, content_type="text/html; charset=UTF-8")
        g.accepted = True
        return None

    def _after(self, response: Response) -> Response:
        fault = g.get("fault")
        if fault is not None and g.pop("accepted", False):
            if fault.mode == "garbage":
                g.outcome = "fault: done, answered with garbage"
                body = response.get_data()
                response.set_data(body[: len(body) // 2])
                response.status_code = 200
            elif fault.mode == "timeout_after_accept":
                g.outcome = f"fault: done ({response.status_code}), answer withheld"
                self._log(response)
                return self._withhold()
        elif fault is not None and "outcome" not in g:
            g.outcome = f"fault: {fault.mode}"
        self._log(response)
        return response

    def _log(self, response: Response) -> None:
        self._world.log.add(
            self._vendor,
            API,
            g.get("what") or f"{request.method} {request.path}",
            g.get("outcome") or ("ok" if response.status_code < 400 else "refused"),
            method=request.method,
            path=request.path,
            query=request.query_string.decode("ascii", "replace"),
            status=response.status_code,
            ms=round((time.perf_counter() - g.started) * 1000, 1),
            body=request.get_data(cache=True) if request.is_json or request.form else b"",
            content_type=request.content_type or "",
        )

    def _withhold(self) -> Response:
        if self._withheld.acquire(blocking=False):
            try:
                wait_for_hang_up(self._world.settings.answer_withheld)
            finally:
                self._withheld.release()
        return line_cut()


def wait_for_hang_up(seconds: float) -> None:
    """Keep the caller waiting until it hangs up (seen only where the server shows us its socket) or time is over."""
    connection: socket.socket | None = request.environ.get("werkzeug.socket")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(min(0.1, seconds))
        if connection is None:
            continue
        try:
            if connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
                return
        except BlockingIOError:
            continue
        except OSError:
            return


def line_cut() -> Response:
    """An answer that dies on the line: a body is announced and never comes, so the server closes the connection."""
    connection: socket.socket | None = request.environ.get("werkzeug.socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
    response = Response(iter(()), 200, content_type="application/json")
    response.headers["Content-Length"] = "512"
    return response
