"""Labels: the sheets that couriers print, as one PDF."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import httpx
from pypdf import PdfWriter
from pypdf.errors import PyPdfError

from integration.errors import ConfigurationError, PermanentError, TransientError
from integration.ports import Account

from . import bookings, http

ACCEPT = {"Accept": "application/pdf, application/json"}


def sheet(response: httpx.Response, courier: bookings.Courier, account: Account, verdict: bookings.Verdict) -> bytes:
    """The PDF of an answer that is a PDF, or says in JSON why it is none. Raises as bookings.answer does."""
    if response.status_code == 200 and response.content.startswith(b"%PDF"):
        return response.content
    bookings.answer(response, courier, account, "print the label", verdict, unsure=TransientError)
    raise PermanentError(f"{courier.label} gave no label. Please print it in {courier.label}'s own portal.")


def fetched(url: str, courier: bookings.Courier, trusted_origins: tuple[str, ...]) -> bytes:
    """The PDF behind an address that a courier gave: called without credentials, and only where the public may look."""
    elsewhere = f"Please print it in {courier.label}'s own portal."
    if not url:
        raise PermanentError(f"{courier.label} gave no label for this parcel. {elsewhere}")
    try:
        response = http.read("GET", http.guard(url, trusted_origins), headers=ACCEPT)
    except ConfigurationError:
        raise PermanentError(f"{courier.label}'s label lies where it cannot be fetched. {elsewhere}") from None
    if response.status_code in (408, 429) or response.status_code >= 500:
        raise TransientError(
            f"{courier.label}'s label could not be fetched (HTTP {response.status_code})",
            retry_after=http.retry_after(response),
        )
    if response.status_code != 200 or not response.content.startswith(b"%PDF"):
        raise PermanentError(f"{courier.label}'s label is no PDF. {elsewhere}")
    return response.content


def merged(sheets: Sequence[bytes], whose: str) -> bytes:
    """Several PDFs as one. Raises PermanentError, with `whose` they are, when one is damaged."""
    if len(sheets) == 1:
        return sheets[0]
    whole, paper = PdfWriter(), BytesIO()
    try:
        for one in sheets:
            whole.append(BytesIO(one))
        whole.write(paper)
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError):
        raise PermanentError(f"A label of {whose} is damaged. Please print them one by one.") from None
    return paper.getvalue()
