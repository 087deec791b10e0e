"""The page on which a customer follows a parcel: it tells where the parcel is, and its holder nothing of the person."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from playwright.sync_api import expect
from sqlalchemy import func, select, text

from integration import privacy
from integration.branding import DARK, LIGHT, MOST_BYTES, Picture, colour, contrast, palette, picture
from integration.catalogue import wording
from integration.db import Session
from integration.following import STOPS, Followed, city, follow
from integration.house import House
from integration.orders import LineItem, Order, Shipment, ShipmentEvent
from integration.parcels import REMARKS, STATUSES
from integration.stores import Logo, Policy, Store, change_logo, uninstall
from integration.values import LANGUAGES
from webapp import build_app

from . import factories
from .test_pages import CHROMIUM, WIDTHS, Watched, _fits, _sign_in, chromium  # noqa: F401
from .world import World

in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here, see test_pages.py")

NAME, PHONE, STREET = "Zubaida Marvi", "+923215557788", "44-B Sunehri Gali"
ADDRESS = {"name": NAME, "line1": STREET, "line2": "near the blue gate", "city": "Karachi", "country": "PK"}
NUMBER = "779412345678"

WAY = (
    ("booked", "", 50), ("picked_up", "LAHORE", 44), ("in_transit", "LAHORE", 40), ("in_transit", "Multan Hub", 30),
    ("in_transit", "SUKKUR", 22), ("at_destination", "KARACHI", 8), ("out_for_delivery", "KARACHI", 2),
)  # fmt: skip
"""(what is scanned, where, how many hours ago)."""


def parcel(
    session: Session, scans: Any = WAY, *, order: Order | None = None, wanted: dict[str, Any] | None = None, **of: Any
) -> Shipment:
    """A parcel of a person with a name, a phone and a street. `wanted` is said of the order."""
    now = session.now()
    if order is None:
        contact = factories.contact(session, PHONE if not session.scalars(select(Order)).first() else None)
        said = {
            "placed_at": now - timedelta(hours=54), "confirmation": "confirmed", "customer_name": NAME,
            "address": dict(ADDRESS), "contact_point_id": contact.id, "customer_id": contact.customer.id,
            **(wanted or {}),
        }  # fmt: skip
        order = factories.order(session, **said)
        for title, quantity in (("Khussa, hand-stitched", 2), ("Chikankari Kurta", 1)):
            session.add(LineItem(store_id=order.store_id, order_id=order.id, title=title, quantity=quantity))
    known = {"courier": "TCS", "adapter": "tcs", "tracking_number": NUMBER, **of}
    made = Shipment(store_id=order.store_id, order_id=order.id, **known)
    session.add(made)
    session.flush()
    for scan in scans:
        status, location, ago, *more = scan
        words = {"raw_code": "x", "raw_text": f"Handed to {NAME}, {STREET}, {PHONE}", **(more[0] if more else {})}
        row = ShipmentEvent(store_id=order.store_id, shipment_id=made.id, status=status, location=location, **words)
        row.occurred_at, row.seen_at = now - timedelta(hours=ago), now
        session.add(row)
    session.flush()
    return made


def made(house: House, store_id: int, *args: Any, **of: Any) -> str:
    """A parcel's token."""
    with house.db.lane(store_id) as session:
        return parcel(session, *args, **of).token


def shown(house: House, store_id: int, *args: Any, language: str = "en", **of: Any) -> Followed:
    """What the page of a new parcel is given."""
    token = made(house, store_id, *args, **of)
    with house.db.read(store_id) as session:
        found = session.scalars(select(Shipment).where(Shipment.token == token)).one()
        return follow(found, session.get_one(Store, store_id), language, session.now())


def ask(house: House, path: str, **how: Any) -> Any:
    return build_app(house).test_client().get(path, **how)


# -- what it tells, and to whom ------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_tells_everything_of_the_parcel_and_nothing_of_the_person(house: House, language: str) -> None:
    ours = factories.store(house)
    token = made(house, ours)
    answer = ask(house, f"/t/{token}?lang={language}")
    assert answer.status_code == 200
    words = wording(language).page
    for said in (
        NUMBER, "TCS", "Khussa, hand-stitched", "Chikankari Kurta", "Karachi", "Multan Hub", "Sukkur", "Store ",
        words["is_out_for_delivery"], words["is_picked_up"], words["due"], "7", words["placed"],
    ):  # fmt: skip
        assert said in answer.text, said
    for part in (*NAME.split(), PHONE, PHONE[3:], "0321", "Sunehri", "blue gate", "Handed"):
        assert part.casefold() not in answer.text.casefold(), part
    assert not re.search(r"\bNone\b|\bundefined\b|built-in", answer.text)


def test_the_page_lets_nothing_in_and_leaves_nothing_behind(lite_house: House) -> None:
    """No cookie, no script, no other place; its style is the one of the hash; nobody lists it."""
    ours = factories.store(lite_house)
    answer = ask(lite_house, f"/t/{made(lite_house, ours)}")
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["Cache-Control"] == "private, max-age=60"
    assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script|\bon\w+=|style=|@import|url\(|<iframe|<form|<link rel=\"(?!icon)", answer.text)
    assert not re.search(r'src="(?!/t/)', answer.text)


@pytest.mark.parametrize(
    "path",
    [
        "/t/", "/t/x", "/t/" + "A" * 22, "/t/" + "A" * 5000, "/t/a/b/c", "/t/%00", "/t/%ff%fe", "/t/..%2f..%2fapp",
        "/t/' OR 1=1 --", "/t/ٹوکن", "/t/" + "A" * 22 + "/logo", "/t/x/logo",
    ],
)  # fmt: skip
def test_an_address_of_no_parcel_is_a_friendly_404(house: House, path: str) -> None:
    ours = factories.store(house)
    made(house, ours)
    answer = ask(house, path)
    assert answer.status_code == 404
    assert wording("en").page["missing_title"] in answer.text
    assert "Store " not in answer.text
    assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert "Set-Cookie" not in answer.headers
    assert answer.text == ask(house, "/t/x").text


def test_the_404_is_in_the_readers_own_language(lite_house: House) -> None:
    urdu = ask(lite_house, "/t/x", headers={"Accept-Language": "ur-PK,ur;q=0.9,en;q=0.5"})
    assert 'lang="ur" dir="rtl"' in urdu.text
    assert wording("hi").page["missing_text"] in ask(lite_house, "/t/x?lang=hi").text
    assert wording("en").page["missing_text"] in ask(lite_house, "/t/x", headers={"Accept-Language": "zz;q=x"}).text


def test_a_token_opens_its_own_parcel_and_no_other(house: House) -> None:
    ours, theirs = factories.store(house), factories.store(house)
    one, two = made(house, ours, tracking_number="AAA111"), made(house, theirs, tracking_number="BBB222")
    assert one != two
    assert len(one) == 22
    first, second = ask(house, f"/t/{one}").text, ask(house, f"/t/{two}").text
    assert "AAA111" in first
    assert "BBB222" not in first
    assert "BBB222" in second
    assert "AAA111" not in second


def test_a_token_is_found_by_its_index(lite_house: House) -> None:
    query = "SELECT shipments.store_id FROM shipments JOIN stores ON stores.id = shipments.store_id WHERE token = 'x'"
    with lite_house.db.receiving() as connection:
        plan = " ".join(str(row) for row in connection.execute(text(f"EXPLAIN QUERY PLAN {query}")))
    assert "shipments_by_token" in plan


@pytest.mark.parametrize("leaves", ["uninstalls", "has its data erased", "forgets the customer"])
def test_who_left_is_not_shown_any_more(house: House, leaves: str) -> None:
    ours = factories.store(house)
    with house.db.lane(ours) as session:
        change_logo(session, PNG)
        token = parcel(session).token
    assert ask(house, f"/t/{token}").status_code == 200
    assert ask(house, f"/t/{token}/logo").status_code == 200
    with house.db.lane(ours) as session:
        store = session.get_one(Store, ours)
        if leaves == "uninstalls":
            assert uninstall(store, session.now() + timedelta(minutes=1))
        elif leaves == "has its data erased":
            privacy.erase_store(session, store)
        else:
            customers, orders = privacy.find_people(session, {"phone": PHONE}, store)
            privacy.erase(session, customers, orders, {"phone": PHONE})
    answer = ask(house, f"/t/{token}")
    assert answer.status_code == 404
    assert answer.text == ask(house, "/t/x").text
    if leaves == "has its data erased":
        with house.db.operator() as session:
            assert session.scalar(select(func.count()).select_from(Logo)) == 0


def test_hostile_words_are_words(lite_house: House) -> None:
    """Of couriers, shops and customers; and nothing in them turns the page round."""
    ours, bad = factories.store(lite_house), '"><img src=x onerror=alert(1)>\u202e{{7*7}}'
    with lite_house.db.lane(ours) as session:
        session.get_one(Store, ours).name = bad
        mine = parcel(
            session,
            [("in_transit", bad, 3, {"raw_text": bad, "raw_code": bad[:60]}), ("unknown", bad, 2), (bad[:20], "", 1)],
            courier=bad, tracking_number=bad, tracking_url="https://x.test/" + bad,
            wanted={"name": bad, "locale": bad[:9]},
        )  # fmt: skip
        session.add(LineItem(store_id=ours, order_id=mine.order_id, title=bad, quantity=1))
    for language in ("en", "ur"):
        page = ask(lite_house, f"/t/{mine.token}?lang={language}")
        assert page.status_code == 200
        assert "<img" not in page.text
        assert "\u202e" not in page.text
        assert "{{7*7}}" in page.text
        assert "49" not in re.sub(r"\d{4}-\d\d-\d\dT\S+|<style>.*</style>", "", page.text, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("url", "linked"),
    [
        ("https://courier.test/track?cn=1", True), ("http://courier.test/1", True), ("javascript:alert(1)", False),
        ("data:text/html,x", False), ("https://x.test/\u202e", False), ('https://x.test/"><b>', False),
        ("//courier.test/1", False), ("http://[", False), ("", False),
        ("{ours}/t/abc", False),
    ],
)  # fmt: skip
def test_the_couriers_own_page_is_linked_where_it_is_one(lite_house: House, url: str, linked: bool) -> None:
    ours = factories.store(lite_house)
    url = url.replace("{ours}", lite_house.settings.public_url)
    page = html.unescape(ask(lite_house, f"/t/{made(lite_house, ours, tracking_url=url)}").text)
    assert (wording("en").page["courier_page"] in page) == linked
    assert (f'href="{url}"' in page) == linked


def test_whoever_finds_something_wrong_writes_to_the_shops_own_number(lite_house: House) -> None:
    ours = factories.store(lite_house)
    token = made(lite_house, ours, wanted={"name": "#10&7"})
    assert "wa.me" not in ask(lite_house, f"/t/{token}").text  # no number is known yet
    with lite_house.db.lane(ours) as session:
        channel = session.get_one(Store, ours).connection("channels")
        assert channel is not None
        channel.remember(number="+92 42 1111-0001")
    link = re.search(r'href="(https://wa\.me/[^"]+)"', ask(lite_house, f"/t/{token}").text)
    assert link is not None
    assert urlsplit(link[1]).path == "/924211110001"
    assert parse_qs(urlsplit(link[1]).query)["text"] == ["Hello, I have a question about my order #10&7."]
    with lite_house.db.lane(ours) as session:
        channel = session.get_one(Store, ours).connection("channels")
        assert channel is not None
        channel.removed_at = session.now()
    assert "wa.me" not in ask(lite_house, f"/t/{token}").text


# -- where it is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "headline", "tone", "stages"),
    [
        ((), "Being prepared", "going", "ordered! courier? city? out? delivered?"),
        (("booked",), "Packed for the courier", "going", "ordered! courier? city? out? delivered?"),
        (("booked", "in_transit"), "On its way", "going", "ordered courier! city? out? delivered?"),
        (("picked_up", "at_destination"), "In your city", "going", "ordered courier city! out? delivered?"),
        (("picked_up", "out_for_delivery"), "Out for delivery", "going", "ordered courier city out! delivered?"),
        (("picked_up", "attempted"), "Could not be delivered", "wait", "ordered courier city attempted! delivered?"),
        (("picked_up", "ready_for_pickup"), "Ready to collect", "wait", "ordered courier city ready! delivered?"),
        (("out_for_delivery", "delivered"), "Delivered", "good", "ordered courier city out delivered!"),
        (("attempted", "returning"), "Going back to the shop", "wait", "ordered courier city returning! returned?"),
        (("in_transit", "returning"), "Going back to the shop", "wait", "ordered courier returning! returned?"),
        (("attempted", "returning", "returned"), "Back at the shop", "wait", "ordered courier city returned!"),
        (("delivered", "returning"), "Going back to the shop", "wait", "ordered delivered returning! returned?"),
        (("in_transit", "lost"), "Reported as lost", "bad", "ordered courier problem!"),
        (("booked", "cancelled"), "Cancelled", "bad", "ordered cancelled!"),
        (("picked_up", "unknown"), "With the courier", "going", "ordered courier! city? out? delivered?"),
    ],
)  # fmt: skip
def test_how_far_it_is_is_seen_at_a_glance(
    lite_house: House, words: tuple[str, ...], headline: str, tone: str, stages: str
) -> None:
    """`!` marks where it is, `?` what is still to come."""
    scans = [(word, "", len(words) - hours) for hours, word in enumerate(words)]
    seen = shown(lite_house, factories.store(lite_house), scans)
    marks = {"done": "", "now": "!", "todo": "?"}
    names = {said: key.removeprefix("stage_") for key, said in seen.words.items() if key.startswith("stage_")}
    assert seen.headline == headline
    assert seen.tone == tone
    assert " ".join(names[stage.label] + marks[stage.state] for stage in seen.stages) == stages


def test_a_failed_attempt_says_why(lite_house: House) -> None:
    why = {"reason": "consignee_unavailable"}
    seen = shown(lite_house, factories.store(lite_house), [*WAY, ("attempted", "KARACHI", 1, why)])
    assert seen.sentence == "TCS could not deliver it: nobody was there to take it."
    assert seen.seen[0].why == "Nobody was there to take it"


def test_a_scan_that_was_not_believed_is_owned_up_to(lite_house: House) -> None:
    seen = shown(lite_house, factories.store(lite_house), [("delivered", "", 3), ("in_transit", "", 1)])
    assert seen.headline == "Delivered"
    assert seen.doubted


def test_every_scan_is_told_newest_first_and_what_two_say_once(lite_house: House) -> None:
    twice = [("in_transit", "", 22, {"raw_code": "y"}), ("in_transit", "SUKKUR", 22)]
    seen = shown(lite_house, factories.store(lite_house), [*WAY[:4], *twice, *WAY[5:], ("on_hold", "", 1)])
    assert [(line.what, line.where) for line in seen.seen] == [
        ("On hold at the courier", ""), ("Out for delivery", "Karachi"), ("In your city", "Karachi"),
        ("On its way", "Sukkur"), ("On its way", "Multan Hub"), ("On its way", "Lahore"),
        ("With the courier", "Lahore"), ("Packed for the courier", ""), ("Order placed", ""),
    ]  # fmt: skip
    times = [line.at for line in seen.seen]
    assert times == sorted(times, reverse=True)


def test_times_are_those_of_the_shops_clock(lite_house: House) -> None:
    ours = factories.store(lite_house)
    seen = shown(lite_house, ours, [("picked_up", "", 0)])
    assert seen.city == "Karachi"
    with lite_house.db.read(ours) as session:
        local = seen.seen[0].at.astimezone(session.get_one(Store, ours).zone)
    assert f"{local.hour % 12 or 12}:{local.minute:02d}" in seen.seen[0].when


@pytest.mark.parametrize(
    ("words", "payment", "due", "paid"),
    [
        (("picked_up",), "cod_due", "Rs 7,248", False), (("picked_up",), "paid", "", True),
        (("picked_up",), "pending", "", False), (("out_for_delivery", "delivered"), "cod_due", "", False),
        (("attempted", "returning"), "cod_due", "", False), (("picked_up", "lost"), "paid", "", False),
        (("booked", "cancelled"), "cod_due", "", False), ((), "cod_due", "Rs 7,248", False),
    ],
)  # fmt: skip
def test_what_is_to_pay_is_told_while_it_comes(
    lite_house: House, words: tuple[str, ...], payment: str, due: str, paid: bool
) -> None:
    scans = [(word, "", len(words) - hours) for hours, word in enumerate(words)]
    seen = shown(lite_house, factories.store(lite_house), scans, wanted={"payment": payment})
    assert (seen.due, seen.paid) == (due, paid)


def test_a_date_is_told_only_where_the_merchant_promises_one(lite_house: House) -> None:
    ours = factories.store(lite_house)
    assert shown(lite_house, ours, WAY[:3]).expected == ""
    with lite_house.db.lane(ours) as session:
        session.get_one(Store, ours).decide(Policy(delivery_days=(3, 5)))
    assert shown(lite_house, ours, WAY[:3]).expected.startswith("Expected between ")
    assert shown(lite_house, ours, WAY).expected == ""  # it is at the door: no longer a matter of days
    long_ago = {"placed_at": lite_house.clock.now() - timedelta(days=30)}
    assert shown(lite_house, ours, WAY[:3], wanted=long_ago).expected == ""
    assert shown(lite_house, ours, WAY[:3], wanted={"confirmation": "cancelled"}).expected == ""


def test_the_other_parcels_of_the_order_are_a_step_away(house: House) -> None:
    ours = factories.store(house)
    with house.db.lane(ours) as session:
        first = parcel(session)
        second = parcel(session, [("picked_up", "", 3)], order=first.order, external_id="2")
        alone = parcel(session, [("picked_up", "", 3)])
    page = ask(house, f"/t/{first.token}?lang=es").text
    assert "Paquete 1 de 2" in page
    assert f'href="/t/{second.token}?lang=es"' in page
    assert f'href="/t/{first.token}' not in page
    assert alone.token not in page
    assert wording("es").page["is_picked_up"] in page
    assert f'href="/t/{first.token}"' in ask(house, f"/t/{second.token}").text
    assert "Parcel 1" not in ask(house, f"/t/{alone.token}").text


# -- places --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("KARACHI", "Karachi"), ("Lahore Hub", "Lahore Hub"), ("DELHI_PALAM (DELHI)", "Delhi_Palam (Delhi)"),
        ("RAHIM YAR KHAN", "Rahim Yar Khan"), ("Hub 7", "Hub 7"), ("", ""), ("کراچی", "کراچی"),
        ("0321 5557788", ""), ("House 441", ""), ("مکان ۴۴۱", ""), (f"received by {NAME}", ""), (NAME.upper(), ""),
        ("Marvi", ""), (f"{STREET}, Karachi", ""), ("Near the Blue Gate", ""),
    ],
)  # fmt: skip
def test_a_place_is_a_place_and_not_a_person_or_a_door(location: str, said: str) -> None:
    assert city(location, Order(customer_name=NAME, address=dict(ADDRESS))) == said


def test_a_city_written_as_the_street_is_still_a_city() -> None:
    order = Order(customer_name="", address={"line1": "Lahore", "city": "lahore"})
    assert city("LAHORE", order) == "Lahore"


@pytest.mark.parametrize(
    ("scans", "way"),
    [
        (WAY, "Lahore > Multan Hub > Sukkur > Karachi"),
        (WAY[:4], "Lahore > Multan Hub > (Karachi)"),
        (WAY[:1], ""),
        ([("delivered", "KARACHI", 1)], ""),
        ([("picked_up", "Lahore", 9), ("delivered", "Clifton Hub", 1)], "Lahore > Clifton Hub > Karachi"),
        ([("picked_up", "Lahore", 9), ("returning", "Multan", 2)], "Lahore > Multan"),
        ([("picked_up", f"Hub {n}", 20 - n) for n in range(9)], "Hub 0 > Hub 5 > Hub 6 > Hub 7 > Hub 8 > (Karachi)"),
    ],
)
def test_its_way_is_drawn_from_the_places_that_scans_name(lite_house: House, scans: Any, way: str) -> None:
    seen = shown(lite_house, factories.store(lite_house), scans)
    assert " > ".join(stop.name if stop.reached else f"({stop.name})" for stop in seen.route) == way
    assert len(seen.route) <= STOPS


# -- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_word_of_the_page(language: str) -> None:
    english, words = wording("en"), wording(language)
    assert words.page.keys() == english.page.keys()
    for key, said in words.page.items():
        assert said.strip() == said != "", key
        assert sorted(re.findall(r"{\w+}", said)) == sorted(re.findall(r"{\w+}", english.page[key])), key
    rows = {"awaiting", "preparing", "sent", "cancelled"}
    assert {f"is_{word}" for word in (*STATUSES, *REMARKS, *rows)} <= words.page.keys()


@pytest.mark.parametrize(
    ("locale", "asked", "language"),
    [
        ("", "", "en"), ("hi-IN", "", "hi"), ("pt_BR", "", "pt"), ("ur", "", "ur"), ("ur", "en", "en"),
        ("hi", "ur-Latn", "ur-Latn"), ("es", "klingon", "es"), ("es", "<script>", "es"),
    ],
)  # fmt: skip
def test_the_page_speaks_the_customers_language_until_another_is_chosen(
    lite_house: House, locale: str, asked: str, language: str
) -> None:
    ours = factories.store(lite_house)
    answer = ask(lite_house, f"/t/{made(lite_house, ours, wanted={'locale': locale})}", query_string={"lang": asked})
    assert f'<html lang="{language}" dir="{"rtl" if language == "ur" else "ltr"}">' in answer.text
    assert "<script" not in answer.text


# -- the shop's dress ----------------------------------------------------------------------------------------------


def _picture(kind: str, width: int, height: int, **options: Any) -> bytes:
    """A plain picture, each kind by its own encoder."""
    drawn = io.BytesIO()
    Image.new("RGBA" if kind != "JPEG" else "RGB", (width, height), "#0b6e4f").save(drawn, kind, **options)
    return drawn.getvalue()


PNG, JPEG = _picture("PNG", 8, 4), _picture("JPEG", 100, 40)
WEBP = {"lossy": _picture("WEBP", 100, 40), "lossless": _picture("WEBP", 100, 40, lossless=True)}


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (JPEG, Picture("image/jpeg", 100, 40)),
        (PNG, Picture("image/png", 8, 4)),
        *((content, Picture("image/webp", 100, 40)) for content in WEBP.values()),
    ],
)  # fmt: skip
def test_a_logo_is_what_its_first_bytes_say(content: bytes, seen: Picture) -> None:
    assert picture(content) == seen


NO_LOGOS = {
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "gif": b"GIF89a\x01\0\x01\0",
    "html": b"<!doctype html><script>alert(1)</script>", "pdf": b"%PDF-1.7", "nothing much": b"\x89PNG",
    "a PNG cut short": PNG[:-30], "a PNG of no size": PNG[:16] + bytes(4) + PNG[20:],
    "too wide": _picture("PNG", 4001, 1), "too large": PNG + bytes(MOST_BYTES),
    "a picture that unpacks without end": PNG[:16] + b"\x7f\xff\xff\xff" * 2 + PNG[24:],
    "a JPEG cut short": JPEG[:12], "half a JPEG": JPEG[: len(JPEG) // 2],
    "another RIFF": b"RIFF\0\0\0\0WAVEfmt ", "a WebP cut short": WEBP["lossy"][:22],
    "a BMP": _picture("BMP", 8, 4), "a GIF": _picture("GIF", 8, 4),
}  # fmt: skip


@pytest.mark.parametrize("content", NO_LOGOS.values(), ids=NO_LOGOS)
def test_what_is_no_logo_is_refused_with_a_sentence(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z].*\.$"):
        picture(content)


BEGINNINGS = [content[:length] for content in (PNG, JPEG, *WEBP.values()) for length in (0, 3, 12, 20, 40)]


@given(st.binary(max_size=80), st.sampled_from(BEGINNINGS))
def test_any_bytes_are_a_logo_or_refused(content: bytes, begins: bytes) -> None:
    try:
        assert picture(begins + content).kind in ("image/png", "image/jpeg", "image/webp")
    except ValueError as fault:
        assert str(fault)


@given(st.from_regex(r"#[0-9a-f]{6}", fullmatch=True))
def test_whatever_the_colour_everything_is_readable(brand: str) -> None:
    found = palette(brand)
    assert found.brand == brand
    assert contrast(brand, found.ink) >= 4.5
    assert contrast(found.by_day, LIGHT) >= 4.5
    assert contrast(found.by_night, DARK) >= 4.5


@pytest.mark.parametrize(
    ("given", "kept"),
    [("#C81E5A", "#c81e5a"), (" c81e5a ", "#c81e5a"), ("", "")],
)
def test_a_colour_is_kept_in_one_spelling(given: str, kept: str) -> None:
    assert colour(given) == kept


@pytest.mark.parametrize("given", ["red", "#fff", "#12345g", "#1234567", "url(x)", "#fff;}body{display:none"])
def test_what_is_no_colour_is_refused_and_never_styles_a_page(given: str) -> None:
    with pytest.raises(ValueError, match="six digits"):
        colour(given)
    assert palette(given) == palette("")


class Merchant:
    """A merchant who is signed in, at the form of their customers' page."""

    def __init__(self, house: House, store_id: int | None) -> None:
        self.browser = build_app(house).test_client()
        if store_id is not None:
            with self.browser.session_transaction() as kept:
                kept["store"], kept["csrf"] = store_id, "token"

    def dress(self, logo: bytes | None = None, token: str = "token", **form: str) -> Any:
        data: dict[str, Any] = {"csrf_token": token, **form}
        if logo is not None:
            data["logo"] = (io.BytesIO(logo), "logo.png", "image/png")
        return self.browser.post("/app/journeys/page", data=data, content_type="multipart/form-data")


def _logos(house: House) -> dict[int, bytes]:
    with house.db.operator() as session:
        return {logo.store_id: logo.content for logo in session.scalars(select(Logo))}


def test_a_merchant_dresses_the_page(house: House) -> None:
    ours, theirs = factories.store(house), factories.store(house)
    token, other = made(house, ours), made(house, theirs)
    merchant = Merchant(house, ours)
    assert merchant.dress(PNG, brand_colour="#FFD400").status_code == 303
    page = ask(house, f"/t/{token}").text
    assert "--brand: #ffd400" in page
    assert "--on-brand: #000000" in page
    address = re.search(r'<img class="logo" src="([^"]+)" alt="" width="8" height="4">', page)
    assert address is not None
    served = ask(house, address[1])
    assert served.data == PNG
    assert served.headers["Content-Type"] == "image/png"
    assert served.headers["X-Content-Type-Options"] == "nosniff"
    assert served.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert "Set-Cookie" not in served.headers
    assert "<img" not in ask(house, f"/t/{other}").text
    assert ask(house, f"/t/{other}/logo").status_code == 404
    assert merchant.dress(JPEG, brand_colour="").status_code == 303  # another one takes its place
    assert _logos(house) == {ours: JPEG}
    assert "--brand: #0b6e4f" in ask(house, f"/t/{token}").text
    assert merchant.dress(brand_colour="").status_code == 303  # no file leaves it
    assert _logos(house) == {ours: JPEG}
    assert merchant.dress(no_logo="1").status_code == 303
    assert _logos(house) == {}


@pytest.mark.parametrize("content", NO_LOGOS.values(), ids=NO_LOGOS)
def test_what_is_no_logo_is_not_kept(lite_house: House, content: bytes) -> None:
    ours = factories.store(lite_house)
    merchant = Merchant(lite_house, ours)
    merchant.dress(PNG)
    answer = merchant.dress(content, brand_colour="#123456")
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert _logos(lite_house) == {ours: PNG}
    with lite_house.db.read(ours) as session:
        assert session.get_one(Store, ours).policy.brand_colour == ""
    assert merchant.dress(brand_colour="red").status_code == 422


def test_a_very_large_upload_is_not_even_read(lite_house: House) -> None:
    browser = Merchant(lite_house, factories.store(lite_house)).browser
    form = {"content_type": "application/x-www-form-urlencoded"}
    assert browser.post("/app/journeys/page", data=b"x" * 2_000_000, **form).status_code == 413


def test_only_the_merchant_dresses_the_page(lite_house: House) -> None:
    ours, theirs = factories.store(lite_house), factories.store(lite_house)
    assert Merchant(lite_house, None).dress(PNG).headers["Location"] == "/"
    assert Merchant(lite_house, ours).dress(PNG, token="forged").status_code == 403
    assert _logos(lite_house) == {}
    Merchant(lite_house, theirs).dress(PNG)
    assert _logos(lite_house) == {theirs: PNG}


# -- in a browser --------------------------------------------------------------------------------------------------

STATES: dict[str, Any] = {
    "prepared": (), "on its way": WAY[:4], "at the door": WAY,
    "attempted": (*WAY, ("attempted", "KARACHI", 1, {"reason": "consignee_unavailable"})),
    "delivered": (*WAY, ("delivered", "KARACHI", 1)),
    "coming back": (*WAY, ("attempted", "", 1.5), ("returning", "MULTAN", 1)),
    "lost": (*WAY[:4], ("lost", "", 1)),
}  # fmt: skip


@pytest.fixture(scope="module")
def tokens(lite_world: World) -> dict[str, str]:
    """A parcel in every state, of a shop with a colour and a logo; the one at the door is one of two."""
    ours = lite_world.store_id("shopify")
    with lite_world.deciding("shopify") as store:
        store.decide(Policy(brand_colour="#c81e5a", delivery_days=(3, 5)))
    with lite_world.house.db.lane(ours) as session:
        change_logo(session, PNG)
        made = {name: parcel(session, scans) for name, scans in STATES.items()}
        made["the other"] = parcel(session, WAY[:3], order=made["at the door"].order, external_id="2")
        return {name: shipment.token for name, shipment in made.items()}


@pytest.fixture
def looking(request: pytest.FixtureRequest) -> Iterator[Callable[..., Watched]]:
    """A browser of a width, where scripts are off."""
    opened: list[Watched] = []

    def look(width: int, **context: Any) -> Watched:
        context = {"java_script_enabled": False, **context}
        opened.append(Watched(request.getfixturevalue("chromium"), width, **context))
        return opened[-1]

    yield look
    for one in opened:
        one.close()


@in_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "ur", "es"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_is_silent_and_asks_nobody_else(
    lite_world: World, tokens: dict[str, str], looking: Callable[..., Watched], width: int, language: str, scheme: str
) -> None:
    here = looking(width, color_scheme=scheme)
    asked: set[str] = set()
    here.page.on("request", lambda request: asked.add(request.url))
    for name, token in tokens.items():
        assert here.page.goto(f"{lite_world.app_url}/t/{token}?lang={language}").status == 200, name
        _fits(here.page)
        assert here.page.get_by_role("heading", level=1).count() == 1
        assert here.page.locator("header").count() == 1
        assert _unreadable(here) == [], name
    assert {urlsplit(url).netloc for url in asked if not url.startswith("data:")} == {
        urlsplit(lite_world.app_url).netloc
    }
    assert here.page.context.cookies() == []
    here.silent()


def _unreadable(here: Watched) -> list[str]:
    """Texts whose contrast to what is behind them is below 4.5, as the browser computes both."""
    found: list[str] = here.page.evaluate(
        """() => {
          const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
          const parts = c => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1);
            return [...canvas.getImageData(0, 0, 1, 1).data]; };
          const light = ([r, g, b]) => {
            const f = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
            return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
          const behind = e => { for (; e; e = e.parentElement) { const c = parts(getComputedStyle(e).backgroundColor);
            if (c[3] > 250) return c; } return [255, 255, 255, 255]; };
          const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), bad = [];
          while (walk.nextNode()) {
            const text = walk.currentNode.data.trim(), e = walk.currentNode.parentElement, s = getComputedStyle(e);
            if (!text || !e.checkVisibility() || s.clipPath !== 'none') continue;
            const [a, b] = [light(parts(e.closest('svg') ? s.fill : s.color)), light(behind(e))].sort((x, y) => y - x);
            if ((a + 0.05) / (b + 0.05) < 4.5) bad.push(`${text}: ${(a + 0.05) / (b + 0.05)}`);
          }
          return bad;
        }"""
    )
    return found


@in_chromium
@pytest.mark.parametrize("width", WIDTHS)
def test_urdu_runs_from_the_right_and_its_numbers_from_the_left(
    lite_world: World, tokens: dict[str, str], looking: Callable[..., Watched], width: int
) -> None:
    page = looking(width).page
    page.goto(f"{lite_world.app_url}/t/{tokens['at the door']}?lang=ur")
    stages = page.locator(".stages li")
    first, last = stages.first.bounding_box(), stages.last.bounding_box()
    assert first is not None
    assert last is not None
    assert first["x"] > last["x"]
    number = page.locator(".number")
    assert number.inner_text() == NUMBER
    assert number.evaluate("e => getComputedStyle(e).direction") == "ltr"
    assert number.evaluate("e => getComputedStyle(e).userSelect") == "all"
    dots = page.locator(".route circle:not(.halo)")
    assert float(dots.first.get_attribute("cx") or 0) > float(dots.nth(2).get_attribute("cx") or 0)
    expect(page.get_by_role("heading", level=1)).to_have_text("ڈیلیوری کے لیے نکلا ہے")


@in_chromium
def test_another_language_and_another_parcel_are_a_click_away(
    lite_world: World, tokens: dict[str, str], looking: Callable[..., Watched]
) -> None:
    here = looking(360)
    page = here.page
    page.goto(f"{lite_world.app_url}/t/{tokens['at the door']}?lang=en")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("Enter")
    page.get_by_role("link", name="اردو").click()
    expect(page.locator("html")).to_have_attribute("lang", "ur")
    page.locator(".parcels a").click()
    expect(page.locator("html")).to_have_attribute("lang", "ur")
    assert tokens["the other"] in page.url
    here.silent()


@in_chromium
@pytest.mark.parametrize("width", WIDTHS)
def test_no_parcel_is_no_dead_end(lite_world: World, looking: Callable[..., Watched], width: int) -> None:
    here = looking(width, locale="ur-PK")
    assert here.page.goto(f"{lite_world.app_url}/t/{'A' * 22}").status == 404
    _fits(here.page)
    expect(here.page.get_by_role("heading", level=1)).to_have_text("یہاں کوئی پارسل نہیں")
    assert {said.split(":")[0] for said in here.said} <= {"Failed to load resource"}  # the 404 itself


@in_chromium
def test_a_customer_opens_the_link_of_the_message_while_the_courier_is_away(
    lite_world: World, looking: Callable[..., Watched]
) -> None:
    """From the shop's dispatch to the phone to the page, with nothing but the link in hand."""
    world = lite_world
    world.connect_courier("shopify", "leopards", push=True)
    placed = world.place("shopify", customer={"name": NAME})
    placed.phone.tap("Confirm")
    world.hand(placed, "fulfil", company="Leopards Courier", tracking_number="KI779455501")
    world.scan("leopards", "KI779455501", "SP", "Shipment Picked", location="LAHORE")
    world.settle()
    world.fault("leopards.api", "error_500", rate=1.0)
    found = re.search(r"http\S+/t/[\w-]+", " ".join(said.text for said in placed.phone.heard))
    assert found is not None
    page = looking(360).page
    assert page.goto(found[0]).status == 200
    expect(page.get_by_role("heading", level=1)).to_have_text("With the courier")
    expect(page.get_by_text("KI779455501")).to_be_visible()
    number = placed.phone.number
    for part in (*NAME.split(), number, number[3:]):
        assert part not in page.content()
    link = page.get_by_role("link", name="Write on WhatsApp").get_attribute("href") or ""
    with world.looking("shopify") as session:
        channel = session.get_one(Store, world.store_id("shopify")).connection("channels")
        assert channel is not None
        assert urlsplit(link).path[1:] == re.sub(r"\D", "", channel.state["number"])


@in_chromium
@pytest.mark.parametrize("where", ["in a window of its own", "in the shop's admin"])
def test_a_logo_is_uploaded_by_hand(
    lite_world: World, looking: Callable[..., Watched], tmp_path: Path, where: str
) -> None:
    logo, no_logo = tmp_path / "logo.png", tmp_path / "logo.svg"
    logo.write_bytes(PNG)
    no_logo.write_bytes(NO_LOGOS["svg"])
    here = looking(1280, java_script_enabled=True)
    page: Any = here.page
    if where == "in the shop's admin":
        page.goto(f"{lite_world.sandbox.url}/shopify/admin/store/dastak-demo/apps/dastak")
        page.get_by_role("link", name="Journeys").click()
        page = page.frame_locator("iframe")
    else:
        _sign_in(page, lite_world)
        page.goto(f"{lite_world.app_url}/app/journeys")
    card = page.locator("#page")
    for chosen, file, said in (("#123456", no_logo, "A logo is a PNG"), ("#c81e5a", logo, "Saved.")):
        card.get_by_label("Your colour").fill(chosen)
        card.get_by_label("Your logo").set_input_files(file)
        card.get_by_role("button", name="Save").click()
        expect(card.get_by_text(said)).to_be_visible()
    expect(card.get_by_role("img", name="Your logo")).to_be_visible()
    assert {said.split(":")[0] for said in here.said} <= {"Failed to load resource"}  # the 422
