"""What couriers hand out besides JSON: a label as a PDF, a signature as a picture. Both are made here, by hand."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence

from flask import Response

from sandbox.world import Record


def pdf(pages: Sequence[Sequence[str]]) -> bytes:
    """A PDF with these pages of lines, in A6 as labels are. Letters that Helvetica has not become question marks."""
    kids = [4 + 2 * number for number in range(len(pages))]
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(kids), b" ".join(b"%d 0 R" % kid for kid in kids)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for kid, lines in zip(kids, pages, strict=True):
        drawn = b" ".join(b"(%s) Tj T*" % _escaped(line) for line in lines)
        content = b"BT /F1 11 Tf 16 TL 24 390 Td %s ET" % drawn
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 298 420] "
            b"/Resources << /Font << /F1 3 0 R >> >> /Contents %d 0 R >>" % (kid + 1)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    starts = []
    for number, body in enumerate(objects, 1):
        starts.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % start for start in starts)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(out)


def _escaped(line: str) -> bytes:
    plain = line.encode("cp1252", "replace")
    return plain.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def labels(parcels: Sequence[Record], courier: str) -> Response:
    """One page for each of these parcels."""
    pages = []
    for parcel in parcels:
        booking = parcel.get("booking") or {}
        address = str(booking.get("address", ""))
        pages.append(
            [
                courier,
                f"CN {parcel['number']}",
                f"Order {parcel['order']}",
                f"COD {booking.get('cod', 0)}",
                f"{parcel['origin']} - {parcel['destination']}",
                "",
                str(booking.get("name", "")),
                *(address[at : at + 44] for at in range(0, len(address), 44)),
                str(booking.get("phone", "")),
            ]
        )
    return Response(pdf(pages), content_type="application/pdf")


def signature() -> Response:
    """A scribble under a delivery, as a PNG in shades of grey."""
    width, height = 160, 48
    rows = [bytearray(b"\xff" * width) for _ in range(height)]
    for x in range(12, width - 12):
        for thick in (0, 1):
            rows[int(24 + 14 * math.sin(x / 7) * math.cos(x / 31)) + thick][x] = 40
    raw = b"".join(b"\0" + bytes(row) for row in rows)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(raw)),
        (b"IEND", b""),
    )
    out = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return Response(out, content_type="image/png")
