"""What customers send is fetched from WhatsApp: whole, within bounds, and the token goes to nobody else."""

from __future__ import annotations

import base64
import hashlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import orjson
import pytest

from adapters import discover
from integration.claims import look_at
from integration.clock import Clock
from integration.errors import ConfigurationError, PermanentError, TransientError
from integration.ports import Account, AdapterConfig, FetchesMedia
from integration.settings import Settings
from sandbox import Running, testing
from sandbox.testing import Reply, StandIn, Told

sandbox, stand_in = testing.sandbox, testing.stand_in

NUMBER, WABA, TOKEN = "100000000000011", "100000000000001", "sandbox-token-shopify"
ACCOUNT = Account(NUMBER, {"phone_number_id": NUMBER, "waba_id": WABA, "access_token": TOKEN})
PICTURE = b"\xff\xd8\xff" + b"0" * 997
MOST = 5_000_000


def adapter_at(graph: str) -> Any:
    adapter = discover()["channels"]["whatsapp"]
    env = {
        "SECRET_KEY": "media-secret-key",
        "ENCRYPTION_KEYS": "A" * 43 + "=",
        "WHATSAPP_APP_SECRET": "sandbox-whatsapp-secret",
        "WHATSAPP_VERIFY_TOKEN": "sandbox-verify-token",
        "WHATSAPP_GRAPH_URL": graph,
    }
    settings = Settings.from_env(adapter.settings, env)
    return adapter(AdapterConfig(settings.vendor, Clock(), "https://dastak.example.test"))


@pytest.fixture
def elsewhere() -> Iterator[StandIn]:
    """A server that is none of WhatsApp's."""
    server = StandIn()
    yield server
    server.stop()


class Graph:
    """A Graph API that hands out one file in whatever way it is told to."""

    def __init__(self, server: StandIn) -> None:
        self.server = server
        self.adapter = adapter_at(f"{server.url}/graph")
        self.about: dict[str, Any] = {
            "url": f"{server.url}/file",
            "mime_type": "image/jpeg",
            "sha256": hashlib.sha256(PICTURE).hexdigest(),
            "file_size": len(PICTURE),
            "id": "77",
        }
        self.file: Callable[[int], Reply] = lambda asked: Reply(body=PICTURE)
        server.answers = self._answer

    def _answer(self, told: Told) -> Reply:
        if told.path.startswith("/file"):
            return self.file(self.downloads)
        return Reply(body=orjson.dumps(self.about))

    @property
    def downloads(self) -> int:
        return sum(told.path.startswith("/file") for told in self.server.told)

    @property
    def asked(self) -> int:
        return len(self.server.told) - self.downloads

    def media(self, most: int = MOST) -> bytes:
        content: bytes = self.adapter.media(ACCOUNT, "77", most)
        return content


@pytest.fixture
def graph(stand_in: StandIn) -> Graph:
    return Graph(stand_in)


# -- the sandbox's WhatsApp ----------------------------------------------------------------------------------------


@pytest.fixture
def sent(sandbox: Running, stand_in: StandIn) -> dict[str, Any]:
    """An image that a customer sent, as the webhook tells of it."""
    with httpx.Client(base_url=sandbox.url, timeout=60) as http:
        http.post(f"/graph/v26.0/{WABA}/subscribed_apps", headers={"Authorization": f"Bearer {TOKEN}"})
        number = http.get(f"/graph/v26.0/{NUMBER}", headers={"Authorization": f"Bearer {TOKEN}"}).json()
        body = {"image": "receipt.jpg", "caption": "Paid", "to": number["display_phone_number"]}
        assert http.post("/control/phones/+923007654321/send", json=body).status_code == 200
    image: dict[str, Any] = stand_in.inbound("image")["image"]
    return image


def test_an_image_that_a_customer_sent_is_fetched(sandbox: Running, sent: dict[str, Any]) -> None:
    adapter = adapter_at(f"{sandbox.url}/graph")
    assert isinstance(adapter, FetchesMedia)
    content = adapter.media(ACCOUNT, sent["id"], MOST)
    assert base64.b64encode(hashlib.sha256(content).digest()).decode() == sent["sha256"]


def test_a_file_that_is_not_there_or_not_ours_is_gone(sandbox: Running, sent: dict[str, Any]) -> None:
    adapter = adapter_at(f"{sandbox.url}/graph")
    with pytest.raises(PermanentError, match="no longer has the file"):
        adapter.media(ACCOUNT, "1", MOST)
    other = Account("100000000000012", dict(ACCOUNT.credentials))
    with pytest.raises(PermanentError, match="no longer has the file"):
        adapter.media(other, sent["id"], MOST)


def test_a_token_that_no_longer_works_is_the_merchants_to_renew(sandbox: Running, sent: dict[str, Any]) -> None:
    stale = Account(NUMBER, {"access_token": "an-old-token"})
    with pytest.raises(ConfigurationError, match="Connect the number again"):
        adapter_at(f"{sandbox.url}/graph").media(stale, sent["id"], MOST)


# -- bounds --------------------------------------------------------------------------------------------------------


def test_a_file_is_asked_for_under_our_number_with_our_token(graph: Graph) -> None:
    assert graph.media() == PICTURE
    about, file = graph.server.told
    assert about.path == f"/graph/v26.0/77?phone_number_id={NUMBER}"
    assert file.header("Authorization") == f"Bearer {TOKEN}"


def test_a_file_that_says_it_is_too_large_is_not_fetched(graph: Graph) -> None:
    with pytest.raises(PermanentError, match="larger than 999 bytes"):
        graph.media(most=999)
    assert graph.downloads == 0
    assert graph.media(most=1000) == PICTURE


@pytest.mark.parametrize("told", [10, "10", None, "many", -1, [1]])
def test_a_file_that_is_larger_than_it_says_is_not_taken(graph: Graph, told: Any) -> None:
    graph.about["file_size"] = told
    with pytest.raises(PermanentError, match="larger than 999 bytes"):
        graph.media(most=999)


def test_a_file_is_its_own_by_either_spelling_of_its_digest(graph: Graph) -> None:
    digest = hashlib.sha256(PICTURE).digest()
    for told in (digest.hex(), digest.hex().upper(), base64.b64encode(digest).decode(), None):
        graph.about["sha256"] = told
        assert graph.media() == PICTURE
    graph.about["sha256"] = hashlib.sha256(PICTURE + b"0").hexdigest()
    with pytest.raises(TransientError, match="did not arrive whole"):
        graph.media()


def test_a_dead_address_is_asked_for_anew_once(graph: Graph) -> None:
    graph.file = lambda asked: Reply(404) if asked == 1 else Reply(body=PICTURE)
    assert graph.media() == PICTURE
    assert (graph.asked, graph.downloads) == (2, 2)
    graph.file = lambda asked: Reply(404)
    with pytest.raises(PermanentError, match="no longer has the file"):
        graph.media()
    assert (graph.asked, graph.downloads) == (4, 4)


@pytest.mark.parametrize("status", [302, 401, 403, 429, 500, 503])
def test_a_file_that_is_not_handed_out_is_tried_again_later(graph: Graph, elsewhere: StandIn, status: int) -> None:
    graph.file = lambda asked: Reply(status, PICTURE, {"Location": f"{elsewhere.url}/file"})
    with pytest.raises(TransientError, match=f"HTTP {status}"):
        graph.media()
    assert elsewhere.told == []


def test_a_packed_file_is_not_unpacked(graph: Graph) -> None:
    """Nobody asked for it, and a few packed bytes may be many."""
    graph.file = lambda asked: Reply(body=PICTURE, headers={"Content-Encoding": "gzip"})
    assert graph.media() == PICTURE


# -- whom the token is shown ---------------------------------------------------------------------------------------


def test_the_token_goes_to_no_server_that_an_answer_names(graph: Graph, elsewhere: StandIn) -> None:
    graph.about["url"] = f"{elsewhere.url}/file"
    with pytest.raises(PermanentError, match="not one of WhatsApp's"):
        graph.media()
    assert elsewhere.told == []


@pytest.mark.parametrize(
    "address",
    [
        "http://lookaside.fbsbx.com/file",
        "https://lookaside.fbsbx.com.attacker.test/file",
        "https://attackerlookaside.fbsbx.com/file",
        "https://lookaside.fbsbx.com@attacker.test/file",
        "https://user:secret@lookaside.fbsbx.com/file",
        "https://lookaside.fbsbx.com:8443/file",
        "https://lookaside.fbsbx.com\\@attacker.test/file",
        "https://attacker.test\\.lookaside.fbsbx.com/file",
        "https://attacker.test/#lookaside.fbsbx.com",
        "https://attacker.test/?lookaside.fbsbx.com",
        "//lookaside.fbsbx.com/file",
        "/file",
        "file:///etc/hosts",
        "",
    ],
)
def test_an_address_that_only_looks_like_metas_is_refused(graph: Graph, address: str) -> None:
    graph.about["url"] = address
    with pytest.raises(PermanentError, match="not one of WhatsApp's"):
        graph.media()


@pytest.mark.parametrize("address", [None, 5, ["https://lookaside.fbsbx.com"], "https://[::1", "https://a\x00b"])
def test_what_is_no_address_is_none(graph: Graph, address: Any) -> None:
    graph.about["url"] = address
    with pytest.raises(TransientError, match="names no address"):
        graph.media()


@pytest.mark.parametrize("host", ["lookaside.fbsbx.com", "a.b-1.lookaside.fbsbx.com", "LOOKASIDE.fbsbx.com:443"])
def test_metas_own_servers_are_called(graph: Graph, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    looked_up: list[str] = []
    really = socket.getaddrinfo

    def look_up(host: Any, *rest: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name.endswith("fbsbx.com"):
            looked_up.append(name)
            raise socket.gaierror("there is no network in a test")
        return really(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    graph.about["url"] = f"https://{host}/whatsapp_business/attachments/?mid=1"
    with pytest.raises(TransientError, match="could not be read from"):
        graph.media()
    assert looked_up == [host.lower().removesuffix(":443")]


@pytest.mark.parametrize(
    "content",
    [
        b"DDS " + bytes([0x7C]) + bytes(7) + b"\x08\0\0\0\x08" + bytes(59) + b" " + bytes(4) + b"@" + bytes(47),
        b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\xff" * 60, b"RIFF\xff\xff\xff\xffWEBP", b"II*\0" + b"\xff" * 40, b"",
        b"%PDF-1.7",
    ],
)  # fmt: skip
def test_whatever_a_file_is_made_of_it_is_a_picture_or_none(content: bytes) -> None:
    """One that its reader trips over must not keep the next from being fetched."""
    assert look_at(content) == ("", "")


@pytest.mark.parametrize("media_id", ["", ".", "..", "../100000000000011", "1/2", "1?a=b", "7" * 161, "۷"])
def test_an_id_that_is_none_is_asked_of_nobody(graph: Graph, media_id: str) -> None:
    with pytest.raises(PermanentError, match="no such file"):
        graph.adapter.media(ACCOUNT, media_id, MOST)
    assert graph.server.told == []
