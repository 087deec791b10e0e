"""An instant courier: Leopards' tracking call, answered for any number, with a ledger of who called when for how many.

python -m bench.courier <port> <ledger file>
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import orjson

from . import graph

_SCANNED = "2026-11-20 10:00:00"


class Answer(graph.Answer):
    """One connection to the courier."""

    ledger: list[tuple[str, float, int]] = []

    def said(self, body: bytes) -> bytes:
        asked = orjson.loads(body)
        numbers = asked["track_numbers"].split(",")
        self.ledger.append((asked["api_key"], time.time(), len(numbers)))
        packets = [
            {
                "track_number": number,
                "booked_packet_status": "Dispatched",
                "Tracking Detail": [{"Status": "Dispatched", "Activity_datetime": _SCANNED, "Reason": "N/A"}],
            }
            for number in numbers
        ]
        return orjson.dumps({"status": 1, "error": 0, "packet_list": packets})


async def serve(port: int, ledger: Path) -> None:
    server = await asyncio.get_running_loop().create_server(Answer, "127.0.0.1", port)
    async with server:
        while True:
            await asyncio.sleep(0.5)
            await asyncio.to_thread(ledger.write_bytes, orjson.dumps(Answer.ledger))


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
