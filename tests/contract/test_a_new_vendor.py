"""Adding a courier or a gateway touches one module and one folder of fixtures: shown by adding both to a copy."""

from __future__ import annotations

import hmac
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

COURIER = '''
"""A courier of the test: JSON scans, signed with a shared secret."""

import json
from datetime import datetime
from typing import Any

from integration.errors import NotUnderstood
from integration.events import UNKNOWN, Fact, ShipmentScanned
from integration.ports import Account, AdapterConfig, Field, WebhookRequest

from .. import signing


class Dummy:
    name, label, regions, website = "dummy", "Dummy Courier", ("nowhere",), "https://dummy.example"
    credentials = (Field("secret", "Shared secret"),)
    settings = ()
    authenticates_by = "signature"
    handles, ignores = frozenset({"scan"}), frozenset()
    keeps = ()
    statuses = {"OFD": "out_for_delivery", "DLV": "delivered"}

    def __init__(self, config: AdapterConfig) -> None:
        pass

    def verify(self, request: WebhookRequest, account: Account | None) -> None:
        secret = account.credentials["secret"] if account else ""
        signing.require(request.header("x-dummy-signature"), [signing.hmac_hex(secret, request.body)])

    def delivery_key(self, request: WebhookRequest) -> str:
        return signing.body_hash(request.body)

    def parse(self, request: WebhookRequest) -> list[Fact]:
        try:
            scan: Any = json.loads(request.body)
            return [ShipmentScanned(
                tracking_number=str(scan["cn"]), status=self.statuses.get(scan["code"], UNKNOWN),
                raw_code=str(scan["code"]), occurred_at=datetime.fromisoformat(scan["at"]).astimezone(),
            )]
        except (ValueError, KeyError, TypeError) as fault:
            raise NotUnderstood(f"no scan: {type(fault).__name__}") from None


ADAPTER = Dummy
'''

GATEWAY = (
    COURIER.replace('"""A courier of the test: JSON scans,', '"""A gateway of the test: JSON payments,')
    .replace("Dummy Courier", "Dummy Pay")
    .replace('handles, ignores = frozenset({"scan"})', 'handles, ignores = frozenset({"paid"})')
    .replace("    keeps = ()\n", "    keeps = known_as = currencies = ()\n    merchant_field = webhook_help = ''\n")
    .replace('{"OFD": "out_for_delivery", "DLV": "delivered"}', '{"OK": "paid"}')
    .replace("ShipmentScanned", "PaymentChanged")
    .replace(
        'tracking_number=str(scan["cn"]), ',
        'order_ref=str(scan["cn"]), attempt_ref="a1", amount=Money.parse(scan["amount"], "PKR"), ',
    )
    .replace("raw_code=", "raw_status=")
    .replace("integration.ports import", "integration.values import Money\nfrom integration.ports import")
)

STORY = '''
"""The two new vendors in a house: a scan delivers a parcel, a payment pays an order, by the route of all vendors."""

import hmac
import json
from datetime import timedelta
from decimal import Decimal

from integration import ingest
from integration.events import Item, OrderChanged, ParcelSeen
from integration.ingest import Mailroom
from integration.intents import CHECKOUT, Means, open_intent
from integration.orders import Book, apply_order, find_order
from integration.ports import StoreProfile
from integration.stores import Store, connect, install
from integration.values import Money
from integration.vault import token_hash
from webapp.webhooks import Webhooks


def test_they_work(lite_house):
    house, now = lite_house, lite_house.clock.now()
    with house.db.operator_writing() as session:
        profile = StoreProfile(name="S", account="s.myshopify.com", timezone="UTC", currency="PKR", country="PK")
        store = install(session, adapter="shopify", profile=profile, credentials={}, state={}, vault=house.vault)
        store_id = store.id
        for room in ("couriers", "payments"):
            made = connect(session, store_id=store_id, room=room, adapter="dummy", account=f"acc-{room}",
                           credentials={"secret": "s3cret"}, state={}, vault=house.vault)
            made.token_hash = token_hash(f"token-{room}")
    with house.db.lane(store_id) as session:
        book = Book(session, session.get_one(Store, store_id))
        apply_order(book, OrderChanged(
            external_id="1", name="#1", occurred_at=now, placed_at=now, total=Money.parse("100", "PKR"),
            payment="pending", fulfilment="unfulfilled", gateways=("dummy pay",),
            items=(Item(external_id="1", title="x", quantity=1),),
            parcels=(ParcelSeen(external_id="p", status="booked", tracking_number="CN1", occurred_at=now),),
        ))
        means = Means(CHECKOUT, "dummy", "Dummy Pay")
        asked = open_intent(session, book.order("1"), means, Decimal(100), timedelta(days=1)).reference
    app = Webhooks(Mailroom(house), house.registry, 10_000)

    def post(room, body, secret="s3cret", token=None):
        raw, seen = json.dumps(body).encode(), []
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": f"/webhooks/{room}/dummy/{token or 'token-' + room}",
                   "CONTENT_LENGTH": str(len(raw)), "wsgi.input": __import__("io").BytesIO(raw),
                   "HTTP_X_DUMMY_SIGNATURE": hmac.digest(secret.encode(), raw, "sha256").hex()}
        list(app(environ, lambda status, headers: seen.append(status)))
        return seen[0][:3]

    scan = {"cn": "CN1", "code": "DLV", "at": now.isoformat()}
    paid = {"cn": asked, "code": "OK", "amount": "100", "at": now.isoformat()}
    assert post("couriers", scan, secret="wrong") == "401"
    assert post("couriers", scan, token="nobody") == "404"
    assert post("couriers", scan) == post("couriers", scan) == post("payments", paid) == "200"
    ingest.process(house, store_id)
    with house.db.read(store_id) as session:
        order = find_order(session, "#1")
        assert (order.fulfilment, order.payment) == ("delivered", "paid")
'''


def _recording(body: str) -> str:
    signature = hmac.digest(b"s3cret", body.encode(), "sha256").hex()
    return json.dumps({"path": "/wh", "headers": [["X-Dummy-Signature", signature]], "body_raw": body})


def test_a_courier_and_a_gateway_are_one_module_and_one_folder_each(tmp_path: Path) -> None:
    """In a copy of the house: two modules, two folders, nothing else; then the contract suite and a story pass."""
    copy = tmp_path / "house"
    copy.mkdir()
    for part in ("integration", "adapters", "webapp", "sandbox", "tests"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__", "stories"))
    for part in ("worker.py", "run.py", "servers.py", "pyproject.toml"):
        shutil.copy(ROOT / part, copy / part)
    git = ["git", "-C", str(copy), "-c", "user.name=t", "-c", "user.email=t@example.test"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "before"]):
        subprocess.run([*git, *command], check=True, capture_output=True)

    at = "2026-05-01T10:00:00+05:00"
    scans = [f'{{"cn": "CN1", "code": "{code}", "at": "{at}"}}' for code in ("OFD", "DLV", "ZZ")]
    payments = [f'{{"cn": "#1", "code": "OK", "amount": "100", "at": "{at}"}}']
    for room, module, event, bodies in (
        ("couriers", COURIER, "scan", scans),
        ("payments", GATEWAY, "paid", payments),
    ):
        (copy / "adapters" / room / "dummy.py").write_text(module)
        folder = copy / "tests" / "fixtures" / room / "dummy"
        folder.mkdir(parents=True)
        (folder / "credentials.json").write_text(
            '{"settings": {}, "account": {"name": "a", "credentials": {"secret": "s3cret"}}}'
        )
        for number, body in enumerate(bodies):
            (folder / f"{event}__{number}.json").write_text(_recording(body))

    assert "no fixture" not in _run(copy, "-m", "tests.contract.recorded").stdout
    changed = subprocess.run(
        [*git, "status", "--porcelain", "-uall"], check=True, capture_output=True, text=True
    ).stdout
    places = {line[3:].rsplit("/", 1)[0] if "fixtures" in line else line[3:] for line in changed.splitlines()}
    assert places == {
        "adapters/couriers/dummy.py", "adapters/payments/dummy.py", "tests/fixtures/couriers/dummy",
        "tests/fixtures/payments/dummy",
    }  # fmt: skip

    (copy / "tests" / "test_dummies.py").write_text(STORY)
    passed = _run(
        copy,
        "-m",
        "pytest",
        "tests/contract/test_every_adapter.py",
        "tests/test_dummies.py",
        "-k",
        "dummy or they_work",
    )
    assert passed.returncode == 0, passed.stdout[-3000:] + passed.stderr[-1000:]
    assert "Dummy Courier" in _run(copy, "-m", "adapters").stdout

    (copy / "adapters" / "couriers" / "dummy.py").write_text(
        COURIER.replace('"DLV": "delivered"', '"DLV": "delivered", "RTN": "returned"')
    )
    failed = _run(copy, "-m", "pytest", "tests/contract/test_every_adapter.py", "-k", "dummy and every_status")
    assert failed.returncode == 1, "a declared code without a fixture must fail the suite"


def _run(where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=where, capture_output=True, text=True, check=False, timeout=300
    )
