"""An instant courier: Leopards' tracking call, answered for any number, with a ledger of who called when for how many.

python -m bench.courier <port> <ledger file>
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import orjson

_SCANNED = "2026-11-20 10:00:00"


class Answer(asyncio.Protocol):
    """One connection. Requests come one after the other, each with its length."""

    ledger: list[tuple[str, float, int]] = []

    def __init__(self) -> None:
        self._left = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._left += data
        while (end := self._left.find(b"\r\n\r\n")) >= 0:
            head = self._left[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._left) < end + 4 + length:
                return
            body, self._left = self._left[end + 4 : end + 4 + length], self._left[end + 4 + length :]
            said = orjson.dumps(self._said(orjson.loads(body)))
            self._transport.write(  # type: ignore[attr-defined]
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(said) + said
            )

    def _said(self, asked: dict[str, str]) -> dict[str, object]:
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
        return {"status": 1, "error": 0, "packet_list": packets}


async def serve(port: int, ledger: Path) -> None:
    server = await asyncio.get_running_loop().create_server(Answer, "127.0.0.1", port)
    async with server:
        while True:
            await asyncio.sleep(0.5)
            await asyncio.to_thread(ledger.write_bytes, orjson.dumps(Answer.ledger))


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
