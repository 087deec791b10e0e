"""An instant channel: a Graph API that takes every message at once and says so, for measuring the sending side alone.

python -m bench.graph <port>
"""

from __future__ import annotations

import asyncio
import itertools
import sys

_ids = itertools.count(1)


class Answer(asyncio.Protocol):
    """One connection to an instant vendor. Requests come one after the other, each with its length."""

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
            said = self.said(body)
            self._transport.write(  # type: ignore[attr-defined]
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(said) + said
            )

    def said(self, body: bytes) -> bytes:
        """The JSON that answers one request."""
        return (
            b'{"messaging_product":"whatsapp","contacts":[{"input":"1","wa_id":"1"}],'
            b'"messages":[{"id":"wamid.%d","message_status":"accepted"}]}' % next(_ids)
        )


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Answer, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
