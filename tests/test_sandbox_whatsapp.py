"""The fake Graph API: what it accepts, what it refuses, and what its webhooks say."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from dataclasses import replace
from typing import Any

import httpx
import pytest

from sandbox import Running, serve, testing
from sandbox.testing import FAST, Reply, StandIn, Told, quiet, until
from sandbox.whatsapp.webhooks import entries, escaped, signature

sandbox, stand_in = testing.sandbox, testing.stand_in

WABA, NUMBER, TOKEN = "100000000000001", "100000000000011", "sandbox-token-shopify"
ALI = "+923007654321"


class Business:
    """The app's side of one account and number."""

    def __init__(self, running: Running, waba: str = WABA, number: str = NUMBER, token: str = TOKEN) -> None:
        self.running, self.waba, self.number = running, waba, number
        self.http = httpx.Client(base_url=running.url, timeout=60, headers={"Authorization": f"Bearer {token}"})

    def post(self, path: str, body: Any = None, **given: Any) -> httpx.Response:
        return self.http.post(f"/graph/v26.0/{path}", json=body, **given)

    def get(self, path: str, **query: Any) -> httpx.Response:
        return self.http.get(f"/graph/v26.0/{path}", params=query)

    def subscribe(self) -> None:
        assert self.post(f"{self.waba}/subscribed_apps").json() == {"success": True}

    def send(self, body: dict[str, Any], to: str | None = ALI) -> httpx.Response:
        envelope = {"messaging_product": "whatsapp", "recipient_type": "individual"} | ({"to": to} if to else {})
        return self.post(f"{self.number}/messages", envelope | body)

    def text(self, text: str = "Hello", to: str = ALI) -> httpx.Response:
        return self.send({"type": "text", "text": {"body": text}}, to)

    def template(self, *values: str, to: str | None = ALI, **changes: Any) -> httpx.Response:
        names = ("name", "order", "total")
        parameters = [{"type": "text", "parameter_name": n, "text": v} for n, v in zip(names, values, strict=False)]
        components = [
            {"type": "body", "parameters": parameters},
            {
                "type": "button",
                "sub_type": "quick_reply",
                "index": "0",
                "parameters": [{"type": "payload", "payload": "cod:yes:1001"}],
            },
        ]
        template = {"name": "cod_v1", "language": {"code": "en"}, "components": components}
        extra = changes.pop("extra", {})
        return self.send({"type": "template", "template": template | changes, **extra}, to)

    def phone(self, number: str = ALI) -> list[dict[str, Any]]:
        return self.http.get(f"/control/phones/{number}").json()["messages"]

    def hears(self, text: str = "Hi", number: str = ALI) -> dict[str, Any]:
        body = {"text": text, "to": self.number}
        return self.http.post(f"/control/phones/{number}/send", json=body).json()

    def event(self, event: str, **stated: Any) -> httpx.Response:
        return self.http.post("/control/whatsapp", json={"event": event, "phone": ALI} | stated)


def named(body: str, **changes: Any) -> dict[str, Any]:
    """A creation request for a template with named variables."""
    names = {name for name in ("name", "order", "total") if f"{{{{{name}}}}}" in body}
    examples = [{"param_name": name, "example": "x"} for name in sorted(names)]
    part: dict[str, Any] = {"type": "BODY", "text": body}
    if examples:
        part["example"] = {"body_text_named_params": examples}
    return {
        "name": "cod_v1",
        "language": "en",
        "category": "UTILITY",
        "parameter_format": "NAMED",
        "components": [part, *changes.pop("more", [])],
    } | changes


BODY = "Hi {{name}}, please confirm your order {{order}} of {{total}} today so that we can send it. Thank you!"
BUTTONS = {
    "type": "BUTTONS",
    "buttons": [{"type": "QUICK_REPLY", "text": "Confirm"}, {"type": "QUICK_REPLY", "text": "Cancel"}],
}


@pytest.fixture
def business(sandbox: Running):
    one = Business(sandbox)
    one.subscribe()
    assert one.post(f"{WABA}/message_templates", named(BODY, more=[BUTTONS])).json()["status"] == "APPROVED"
    yield one
    one.http.close()


def code_of(answer: httpx.Response) -> int:
    assert answer.status_code >= 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "OAuthException"
    assert error["fbtrace_id"]
    return int(error["code"])


# The wire


def test_webhook_signatures_match_the_published_vectors():
    plain = b'{"object":"whatsapp_business_account","entry":[]}'
    assert signature("test_app_secret", plain) == (
        "sha256=dec6a680679a968e7e0319355b23599cbfc54502c0784668e9618baa0c633756"
    )
    body = escaped({"text": {"body": "آرڈر / 👍"}})
    assert body == rb'{"text":{"body":"\u0622\u0631\u0688\u0631 \/ \ud83d\udc4d"}}'
    assert signature("test_app_secret", body) == (
        "sha256=7bb750ea9533805b3947f094b67c9d72bd872d5ed23940d777eecf9429a5a19b"
    )


def test_a_webhook_is_signed_over_its_raw_bytes(business: Business, stand_in: StandIn):
    business.hears("سلام /")
    told = stand_in.wait_for(lambda told: b"\\/" in told.body and b'"text"' in told.body)[0]
    assert told.path == "/webhooks/channels/whatsapp"
    mac = hmac.new(b"sandbox-whatsapp-secret", told.body, hashlib.sha256).hexdigest()
    assert told.header("X-Hub-Signature-256") == f"sha256={mac}"
    assert told.body.isascii()


def test_the_app_is_asked_for_the_challenge(business: Business, stand_in: StandIn):
    business.running.world.greet_app()
    asked = stand_in.wait_for(lambda told: "hub.challenge" in told.path)[0]
    assert "hub.verify_token=sandbox-verify-token" in asked.path
    until(lambda: business.http.get("/control/health").json()["whatsapp_webhook"] == "verified")


def test_nothing_is_sent_to_an_app_that_did_not_subscribe(sandbox: Running, stand_in: StandIn):
    business = Business(sandbox)
    business.hears()
    quiet(sandbox)
    assert stand_in.told == []
    log = business.http.get("/control/log", params={"vendor": "whatsapp"}).json()["log"]
    assert "subscribed_apps" in log[-1]["outcome"]
    business.http.close()


def test_undelivered_updates_are_sent_again_until_accepted_in_batches(business: Business, stand_in: StandIn):
    """The first requests are not answered before everything has been said, so the rest waits together."""
    quiet(business.running)
    before, all_said = len(stand_in.told), threading.Event()
    refusals = iter(range(6))

    def answers(told: Told) -> Reply | None:
        assert all_said.wait(15)
        return Reply(503) if next(refusals, None) is not None else None

    stand_in.answers = answers
    for n in range(20):
        business.hears(f"message {n}")
    all_said.set()
    texts = lambda: [  # noqa: E731
        message["text"]["body"] for value in stand_in.updates(0) for message in value.get("messages", ())
    ]
    until(lambda: len(set(texts())) == 20)
    quiet(business.running)
    assert len(stand_in.told) - before < 26
    assert max(len(told.json["entry"][0]["changes"]) for told in stand_in.told[before:]) > 1


def test_waiting_statuses_of_one_number_share_a_list():
    def update(id: str, waba: str = "1", **value: Any) -> dict[str, Any]:
        metadata = {"phone_number_id": waba}
        return {"waba": waba, "field": "messages", "time": 0, "value": {"metadata": metadata, **value}}

    contact = [{"wa_id": "92300"}]
    grouped = entries(
        [
            update("a", statuses=[{"id": "a"}], contacts=contact),
            update("b", statuses=[{"id": "b"}], contacts=contact),
            update("c", statuses=[{"id": "c", "status": "failed"}]),
            update("d", waba="2", messages=[{"id": "d"}], contacts=contact),
        ]
    )
    assert [entry["id"] for entry in grouped] == ["1", "2"]
    first, failed = (change["value"] for change in grouped[0]["changes"])
    assert [status["id"] for status in first["statuses"]] == ["a", "b"]
    assert first["contacts"] == contact
    assert "contacts" not in failed


# Sending


def test_a_template_reaches_the_phone_and_its_statuses_the_business(business: Business, stand_in: StandIn):
    answer = business.template("Ali", "#1001", "Rs 4,650", extra={"biz_opaque_callback_data": "outbox-7"}).json()
    assert answer["messaging_product"] == "whatsapp"
    assert answer["contacts"] == [{"input": ALI, "wa_id": ALI[1:]}]
    (message,) = answer["messages"]
    assert message["id"].startswith("wamid.HBg")
    assert message["message_status"] == "accepted"
    (shown,) = business.phone()
    assert (
        shown["text"] == "Hi Ali, please confirm your order #1001 of Rs 4,650 today so that we can send it. Thank you!"
    )
    assert shown["buttons"] == [{"id": "cod:yes:1001", "title": "Confirm"}, {"id": "Cancel", "title": "Cancel"}]
    assert (shown["from"], shown["business"], shown["template"]) == ("business", "Lahore Lawn", "cod_v1")
    sent, delivered = sorted(stand_in.statuses(2), key=lambda status: status["status"], reverse=True)
    assert (sent["status"], delivered["status"]) == ("sent", "delivered")
    for status in (sent, delivered):
        assert status["id"] == message["id"]
        assert status["recipient_id"] == ALI[1:]
        assert status["recipient_user_id"].startswith("PK.")
        assert status["biz_opaque_callback_data"] == "outbox-7"
        assert status["timestamp"].isdigit()
        assert "conversation" not in status
    assert sent["pricing"] == {"billable": True, "pricing_model": "PMP", "type": "regular", "category": "utility"}
    value = next(value for value in stand_in.updates(0) if "statuses" in value)
    assert value["contacts"][0]["wa_id"] == ALI[1:]
    assert value["metadata"] == {"display_phone_number": "922111110001", "phone_number_id": NUMBER}


def test_any_graph_version_answers(business: Business):
    for prefix in ("/graph/v24.0", "/graph/v26.0", "/graph"):
        assert business.http.get(f"{prefix}/{NUMBER}").json()["id"] == NUMBER


def test_outside_the_window_only_templates_go(business: Business):
    assert code_of(business.text()) == 131047
    business.hears()
    assert business.text().status_code == 200
    business.http.post("/control/clock", json={"advance": "23h59m"})
    assert business.text().status_code == 200
    business.http.post("/control/clock", json={"advance": "2m"})
    assert code_of(business.text()) == 131047
    assert business.template("Ali", "#1", "Rs 1").status_code == 200


def test_a_window_is_one_of_a_number_and_a_phone(business: Business, sandbox: Running):
    business.hears()
    other = Business(sandbox, "100000000000002", "100000000000022", "sandbox-token-woocommerce")
    assert code_of(other.text()) == 131047
    assert code_of(business.text(to="+923001112223")) == 131047
    other.http.close()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": "unknown"}, 132001),
        ({"language": {"code": "en_US"}}, 132001),
        ({"language": {"code": "ur"}}, 132001),
        ({"language": {}}, 131008),
        ({"name": None}, 131008),
        ({"components": []}, 132000),
        ({"components": "all"}, 100),
        ({"components": [{"type": "carousel"}]}, 100),
    ],
)
def test_a_template_that_does_not_fit_is_refused(business: Business, change, code):
    assert code_of(business.template("Ali", "#1", "Rs 1", **change)) == code


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (("Ali", "#1"), 132000),
        (("Ali", "#1", "Rs\n1"), 132018),
        (("Ali", "#1", "Rs\t1"), 132018),
        (("Ali", "#1", "Rs    1"), 132018),
        (("Ali", "#1", ""), 131008),
        (("Ali", "#1", "x" * 1000), 132005),
    ],
)
def test_parameters_are_counted_and_read(business: Business, values, code):
    assert code_of(business.template(*values)) == code


def test_named_parameters_need_their_names(business: Business):
    parameters = [{"type": "text", "text": value} for value in ("Ali", "#1", "Rs 1")]
    body = [{"type": "body", "parameters": parameters}]
    assert code_of(business.template(components=body)) == 100
    for parameter, name in zip(parameters, ("name", "order", "stranger"), strict=True):
        parameter["parameter_name"] = name
    assert code_of(business.template(components=body)) == 132000
    parameters[2] |= {"parameter_name": "total", "type": "currency"}
    assert code_of(business.template(components=body)) == 132012


def test_a_media_header_needs_its_component_at_every_send(business: Business):
    header = {"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["4::x"]}}
    wanted = named("Your order is on its way to you now.", name="shipped_v1", more=[header])
    assert business.post(f"{WABA}/message_templates", wanted).status_code == 200
    bare = {"type": "template", "template": {"name": "shipped_v1", "language": {"code": "en"}}}
    answer = business.send(bare)
    assert code_of(answer) == 132012
    assert answer.json()["error"]["error_data"]["details"] == (
        "header: Format mismatch, expected IMAGE, received UNKNOWN"
    )
    image = [{"type": "header", "parameters": [{"type": "image", "image": {"link": "https://x.test/a.jpg"}}]}]
    bare["template"]["components"] = image
    assert business.send(bare).status_code == 200


@pytest.mark.parametrize(("status", "code"), [("PAUSED", 132015), ("DISABLED", 132016), ("REJECTED", 132001)])
def test_a_template_out_of_favour_cannot_be_sent(business: Business, stand_in: StandIn, status, code):
    business.http.post("/control/templates", json={"name": "cod_v1", "status": status})
    assert code_of(business.template("Ali", "#1", "Rs 1")) == code
    news = stand_in.updates(2, "message_template_status_update")  # in whatever order they travelled
    assert {one["event"] for one in news} == {"APPROVED", status}
    assert {one["message_template_name"] for one in news} == {"cod_v1"}


LONG = "x" * 21
ROWS = [{"id": str(n), "title": f"Row {n}"} for n in range(11)]


def interactive(kind: str, action: dict[str, Any], **more: Any) -> dict[str, Any]:
    body = {"type": kind, "body": {"text": "Choose"}, "action": action} | more
    return {"type": "interactive", "interactive": body}


def reply(id: str, title: str) -> dict[str, Any]:
    return {"type": "reply", "reply": {"id": id, "title": title}}


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"type": "text", "text": {"body": "x" * 4097}}, 131009),
        ({"type": "text", "text": {}}, 131008),
        ({"type": "text", "text": "hello"}, 100),
        ({"type": "poll"}, 131051),
        ({"type": 5}, 100),
        (interactive("button", {"buttons": [reply("a", LONG)]}), 131009),
        (interactive("button", {"buttons": [reply("a", "A"), reply("a", "B")]}), 131009),
        (interactive("button", {"buttons": [reply(str(n), str(n)) for n in range(4)]}), 131009),
        (interactive("button", {"buttons": [reply("a" * 257, "A")]}), 131009),
        (interactive("button", {}), 131008),
        (interactive("button", {"buttons": [reply("a", "A")]}, footer={"text": "x" * 61}), 131009),
        (interactive("list", {"button": LONG, "sections": [{"rows": ROWS[:1]}]}), 131009),
        (interactive("list", {"button": "Go", "sections": [{"rows": ROWS}]}), 131009),
        (
            interactive(
                "list",
                {"button": "Go", "sections": [{"title": "A", "rows": ROWS[:6]}, {"title": "B", "rows": ROWS[6:11]}]},
            ),
            131009,
        ),
        (interactive("list", {"button": "Go", "sections": [{"rows": ROWS[:1]}, {"rows": ROWS[1:2]}]}), 131008),
        (interactive("list", {"button": "Go", "sections": [{"rows": [{"id": "1", "title": "x" * 25}]}]}), 131009),
        (
            interactive("cta_url", {"name": "cta_url", "parameters": {"display_text": "Go", "url": "javascript:1"}}),
            131009,
        ),
        (interactive("carousel", {}), 131009),
        ({"type": "image", "image": {}}, 131008),
        ({"type": "image", "image": {"link": "ftp://x"}}, 131009),
        ({"type": "image", "image": {"id": "12345"}}, 131009),
        ({"type": "reaction", "reaction": {"message_id": "wamid.x", "emoji": "👍"}}, 131009),
        ({"type": "text", "text": {"body": "x"}, "context": {}}, 131009),
        ({"type": "text", "text": {"body": "x"}, "biz_opaque_callback_data": "x" * 513}, 131009),
    ],
)
def test_a_message_out_of_bounds_is_refused(business: Business, message, code):
    business.hears()
    assert code_of(business.send(message)) == code
    assert [one["from"] for one in business.phone()] == ["customer"]


def test_interactive_messages_show_and_their_answers_come_back(business: Business, stand_in: StandIn):
    business.hears()
    buttons = interactive("button", {"buttons": [reply("yes", "Yes"), reply("no", "No")]}, footer={"text": "Dastak"})
    first = business.send(buttons).json()["messages"][0]["id"]
    rows = [{"id": "r1", "title": "Too late", "description": "Comes after Eid"}, {"id": "r2", "title": "Wrong size"}]
    listed = business.send(interactive("list", {"button": "Reasons", "sections": [{"rows": rows}]}))
    second = listed.json()["messages"][0]["id"]
    shown = {message["id"]: message for message in business.phone()}
    assert shown[first]["footer"] == "Dastak"
    assert shown[second]["list"]["button"] == "Reasons"
    tap = f"/control/phones/{ALI}/tap"
    assert business.http.post(tap, json={"message_id": first, "button": 1}).json()["text"] == "No"
    assert business.http.post(tap, json={"message_id": second, "button": "too LATE"}).json()["text"] == "Too late"
    until(lambda: len([m for v in stand_in.updates(0) for m in v.get("messages", ())]) == 3)
    messages = {
        m["type"] + str(m.get("context", {}).get("id")): m for v in stand_in.updates(0) for m in v.get("messages", ())
    }
    assert messages[f"interactive{first}"]["interactive"] == {
        "type": "button_reply",
        "button_reply": {"id": "no", "title": "No"},
    }
    assert messages[f"interactive{second}"]["interactive"] == {
        "type": "list_reply",
        "list_reply": {"id": "r1", "title": "Too late", "description": "Comes after Eid"},
    }


def test_a_template_reply_carries_payload_and_context_and_marks_as_read(business: Business, stand_in: StandIn):
    id = business.template("Ali", "#1", "Rs 1").json()["messages"][0]["id"]
    stand_in.statuses(2)
    tapped = business.http.post(f"/control/phones/{ALI}/tap", json={"message_id": id, "button": "confirm"}).json()
    assert (tapped["text"], tapped["context"]) == ("Confirm", id)
    assert "read" in {status["status"] for status in stand_in.statuses(3)}
    stand_in.inbound("button")
    value = next(v for v in stand_in.updates(0) if v.get("messages"))
    (message,) = value["messages"]
    assert message["type"] == "button"
    assert message["button"] == {"payload": "cod:yes:1001", "text": "Confirm"}
    assert message["context"] == {"from": "922111110001", "id": id}
    assert message["from"] == ALI[1:]
    assert value["contacts"][0]["profile"]["name"]
    assert business.text().status_code == 200, "a tap opens the window"
    other = business.http.post(f"/control/phones/{ALI}/tap", json={"message_id": id, "button": "Cancel"}).json()
    assert other["text"] == "Cancel", "a button can be tapped again, it is the app that must cope"


def test_a_tap_on_what_is_not_there_is_refused(business: Business):
    tap = f"/control/phones/{ALI}/tap"
    assert business.http.post(tap, json={"message_id": "wamid.none", "button": "Yes"}).status_code == 404
    id = business.template("Ali", "#1", "Rs 1").json()["messages"][0]["id"]
    missing = business.http.post(tap, json={"message_id": id, "button": "Maybe"})
    assert missing.status_code == 404
    assert "'Confirm', 'Cancel'" in missing.json()["error"]
    assert (
        business.http.post("/control/phones/+923009999999/tap", json={"message_id": id, "button": 0}).status_code == 404
    )
    for button in (None, 2, -1, True, ["Confirm"], {}):
        assert business.http.post(tap, json={"message_id": id, "button": button}).status_code == 404
    hello = business.hears()
    assert business.http.post(tap, json={"message_id": hello["id"], "button": 0}).status_code == 409
    assert business.http.post("/control/phones/letters/tap", json={}).status_code == 400


def test_phones_are_found_by_any_spelling(business: Business):
    business.template("Ali", "#1", "Rs 1")
    for spelling in ("03007654321", "0300-7654321", "923007654321", "+92 300 7654321", "00923007654321", "3007654321"):
        assert len(business.phone(spelling)) == 1, spelling
    listed = business.http.get("/control/phones").json()["phones"]
    assert listed[0]["phone"] == ALI
    assert listed[0]["last"]["template"] == "cod_v1"


def test_numbers_are_understood_as_meta_does(business: Business):
    assert business.template("A", "B", "C", to="923007654321").json()["contacts"][0]["wa_id"] == "923007654321"
    assert business.template("A", "B", "C", to="03007654321").status_code == 200
    assert code_of(business.template("A", "B", "C", to="+92 21 1111 0001")) == 131021
    for to in ("", "abc", "+1", "9" * 30):
        assert code_of(business.template("A", "B", "C", to=to)) in (131009, 100)
    assert code_of(business.template("A", "B", "C", to=None)) == 100


def test_a_pair_has_a_burst_and_then_waits(business: Business):
    answers = [business.template("A", "B", "C") for _ in range(46)]
    assert [answer.status_code for answer in answers[:45]] == [200] * 45
    assert code_of(answers[45]) == 131056
    assert business.template("A", "B", "C", to="+923001112223").status_code == 200


def test_a_number_has_its_throughput(business: Business, sandbox: Running):
    business.http.post("/control/numbers", json={"id": NUMBER, "throughput": 20})
    answers = [business.template("A", "B", "C", to=f"+92300000{n:04}") for n in range(60)]
    assert {code_of(answer) for answer in answers if answer.status_code != 200} == {130429}
    fast = business.http.post("/control/numbers", json={"name": "Fast", "throughput": 1000}).json()
    other = Business(sandbox, fast["waba_id"], fast["phone_number_id"], fast["access_token"])
    other.post(f"{other.waba}/message_templates", named(BODY, more=[BUTTONS]))
    answers = [other.template("A", "B", "C", to=f"+92301000{n:04}") for n in range(160)]
    assert {answer.status_code for answer in answers} == {200}
    assert other.get(other.number, fields="throughput").json()["throughput"] == {"level": "HIGH"}
    other.http.close()


def test_tokens_see_only_their_own(business: Business, sandbox: Running):
    stranger = Business(sandbox, token="sandbox-token-woocommerce")
    refused = stranger.template("A", "B", "C")
    assert code_of(refused) == 100
    assert refused.json()["error"]["error_subcode"] == 33
    nobody = Business(sandbox, token="nonsense")
    answer = nobody.template("A", "B", "C")
    assert (answer.status_code, code_of(answer)) == (401, 190)
    assert code_of(business.get("999")) == 100
    business.event("revoke_token", token=TOKEN)
    assert code_of(business.template("A", "B", "C")) == 190
    business.event("renew_token", token=TOKEN)
    assert business.template("A", "B", "C").status_code == 200
    stranger.http.close()
    nobody.http.close()


# Failures, on demand and by nature


def test_a_failed_message_has_errors_and_no_contacts(business: Business, stand_in: StandIn):
    business.http.post(f"/control/phones/{ALI}", json={"on_whatsapp": False})
    answer = business.template("A", "B", "C", extra={"biz_opaque_callback_data": "o1"})
    assert answer.status_code == 200, "accepted is not delivered"
    (status,) = stand_in.statuses(1)
    assert (status["status"], status["errors"][0]["code"]) == ("failed", 131026)
    assert status["biz_opaque_callback_data"] == "o1"
    assert set(status["errors"][0]) == {"code", "title", "message", "error_data", "href"}
    value = next(value for value in stand_in.updates(0) if value.get("statuses"))
    assert "contacts" not in value
    assert business.phone()[0]["status"] == "failed"


def test_failures_can_be_ordered(business: Business, stand_in: StandIn):
    assert business.event("fail_next", code=131042, when="send").status_code == 200
    assert code_of(business.template("A", "B", "C")) == 131042
    business.event("fail_next", code=131049)
    business.template("A", "B", "C")
    assert stand_in.statuses(1)[0]["errors"][0]["code"] == 131049
    assert business.event("fail_next", code=1).status_code == 200
    assert business.event("fail_next", code=99).status_code == 400
    assert business.event("explode").status_code == 400


def test_stopping_marketing_is_told_and_kept(business: Business, stand_in: StandIn):
    wanted = named("Our big sale is on, come and see it.", name="sale_v1", category="MARKETING")
    business.post(f"{WABA}/message_templates", wanted)
    business.event("preference", value="stop")
    news = stand_in.updates(1, "user_preferences")[0]["user_preferences"][0]
    assert (news["category"], news["value"], news["wa_id"]) == ("marketing_messages", "stop", ALI[1:])
    assert isinstance(news["timestamp"], int)
    business.send({"type": "template", "template": {"name": "sale_v1", "language": {"code": "en"}}})
    assert stand_in.statuses(1)[0]["errors"][0]["code"] == 131050
    business.template("A", "B", "C")
    assert {status["status"] for status in stand_in.statuses(3)} >= {"delivered"}, "utility still goes"


def test_a_held_template_is_said_to_be_held(business: Business):
    business.http.post("/control/templates", json={"name": "cod_v1", "pacing": True})
    message = business.template("A", "B", "C").json()["messages"][0]
    assert message["message_status"] == "held_for_quality_assessment"
    business.event("fail", message_id=message["id"], code=132015)
    assert business.phone()[0]["error"]["code"] == 132015


def test_a_status_never_takes_a_phone_back(business: Business, stand_in: StandIn):
    id = business.template("A", "B", "C").json()["messages"][0]["id"]
    stand_in.statuses(2)
    business.http.post(f"/control/phones/{ALI}/read")
    business.event("status", message_id=id, status="sent")
    assert stand_in.statuses(4)[-1]["status"] in ("sent", "read")
    assert business.phone()[0]["status"] == "read"


def test_without_read_receipts_nothing_is_said(business: Business, stand_in: StandIn):
    business.http.post(f"/control/phones/{ALI}", json={"read_receipts": False})
    business.template("A", "B", "C")
    stand_in.statuses(2)
    business.http.post(f"/control/phones/{ALI}/read")
    quiet(business.running)
    assert {status["status"] for status in stand_in.statuses(2)} == {"sent", "delivered"}
    assert business.phone()[0]["status"] == "read"


# Rare customers and rare messages


def test_a_username_customer_has_no_number_in_webhooks_but_an_id_to_send_to(business: Business, stand_in: StandIn):
    business.http.post(f"/control/phones/{ALI}", json={"hides_number": True})
    business.hears("Hello")
    stand_in.inbound("text")
    value = next(value for value in stand_in.updates(0) if value.get("messages"))
    (message,) = value["messages"]
    assert "from" not in message
    assert "wa_id" not in value["contacts"][0]
    scoped = message["from_user_id"]
    assert value["contacts"][0]["user_id"] == scoped
    answer = business.send({"recipient": scoped, "type": "text", "text": {"body": "Hi"}}, to=None)
    assert answer.json()["contacts"] == [{"input": scoped, "user_id": scoped}]
    assert business.phone()[-1]["text"] == "Hi"
    assert "recipient_id" not in stand_in.statuses(1)[0]
    assert code_of(business.send({"recipient": "PK.1", "type": "text", "text": {"body": "x"}}, to=None)) == 131009


def test_a_scoped_id_is_another_one_for_another_business(business: Business, sandbox: Running, stand_in: StandIn):
    other = Business(sandbox, "100000000000002", "100000000000022", "sandbox-token-woocommerce")
    other.subscribe()
    business.hears()
    other.hears()
    until(lambda: len([v for v in stand_in.updates(0) if v.get("messages")]) == 2)
    values = [value for value in stand_in.updates(0) if value.get("messages")]
    assert len({value["messages"][0]["from_user_id"] for value in values}) == 2
    other.http.close()


def test_rare_messages_have_their_shapes(business: Business, stand_in: StandIn):
    business.template("A", "B", "C")
    for event, more in (
        ("unsupported", {"kind": "edit"}),
        ("reaction", {"emoji": "👍"}),
        ("media", {"kind": "audio"}),
        ("media", {"kind": "document", "caption": "receipt"}),
        ("location", {}),
        ("referral", {"text": "Price?"}),
        ("id_changed", {}),
    ):
        assert business.event(event, **more).status_code == 200, event

    def messages() -> dict[str, Any]:
        return {m["type"]: m for value in stand_in.updates(0) for m in value.get("messages", ())}

    until(lambda: len(messages()) == 7, lambda: str(list(messages())))
    found = messages()
    assert found["unsupported"]["errors"][0]["code"] == 131051
    assert found["unsupported"]["unsupported"] == {"type": "edit"}
    assert found["reaction"]["reaction"]["emoji"] == "👍"
    assert found["audio"]["audio"]["voice"] is True
    assert found["document"]["document"]["filename"] == "receipt.pdf"
    assert found["location"]["location"]["latitude"]
    assert found["text"]["referral"]["source_type"] == "ad"
    assert found["system"]["system"]["type"] == "user_changed_user_id"
    assert found["system"]["system"]["previous_user_id"] != found["system"]["system"]["user_id"]
    system = next(v for v in stand_in.updates(0) if v.get("messages") and v["messages"][0]["type"] == "system")
    assert "contacts" not in system


def test_an_answer_to_an_ad_is_free(business: Business, stand_in: StandIn):
    business.event("referral")
    business.text("Yes, it is.")
    sent = next(status for status in stand_in.statuses(2) if status["status"] == "sent")
    assert sent["pricing"]["type"] == "free_entry_point"
    assert sent["conversation"]["expiration_timestamp"].isdigit()


def test_a_new_number_is_a_system_message_and_a_new_phone(business: Business, stand_in: StandIn):
    business.template("A", "B", "C")
    business.event("number_changed", new_phone="+923335556677")
    system = stand_in.inbound("system")["system"]
    assert (system["type"], system["wa_id"]) == ("user_changed_number", "923335556677")
    assert business.http.get("/control/phones").json()["phones"][-1]["phone"] == "+923335556677"


def test_the_owners_own_words_are_echoed(business: Business, stand_in: StandIn):
    business.event("echo", text="I will call you.")
    echo = stand_in.updates(1, "smb_message_echoes")[0]["message_echoes"][0]
    assert (echo["to"], echo["text"]["body"]) == (ALI[1:], "I will call you.")
    assert business.phone()[0]["text"] == "I will call you."


def test_reading_and_typing_are_one_call(business: Business):
    message = business.hears()
    body = {"messaging_product": "whatsapp", "status": "read", "message_id": message["id"]}
    typing = {"typing_indicator": {"type": "text"}}
    assert business.post(f"{NUMBER}/messages", body | typing).json() == {"success": True}
    assert business.phone()[0]["status"] == "read"
    assert code_of(business.post(f"{NUMBER}/messages", body | {"message_id": "wamid.no"})) == 131009


# Templates


def test_a_template_is_reviewed_a_little_later(stand_in: StandIn):
    running = serve(replace(FAST, app_url=stand_in.url, template_review=0.05))
    try:
        business = Business(running)
        business.subscribe()
        made = business.post(f"{WABA}/message_templates", named(BODY)).json()
        assert (made["status"], made["category"]) == ("PENDING", "UTILITY")
        assert code_of(business.template("A", "B", "C")) == 132001
        news = stand_in.updates(1, "message_template_status_update")[0]
        assert news == {
            "event": "APPROVED",
            "message_template_id": int(made["id"]),
            "message_template_name": "cod_v1",
            "message_template_language": "en",
            "reason": "NONE",
            "message_template_category": "UTILITY",
        }
        business.http.close()
    finally:
        running.stop()


def test_a_promotional_utility_becomes_marketing_without_a_word(business: Business):
    text = "Hello {{name}}, get 20% off with a coupon, this offer is only for you today."
    made = business.post(f"{WABA}/message_templates", named(text, name="promo_v1")).json()
    assert made["category"] == "MARKETING"
    for innocent in (
        "Tu pedido {{name}} sale hoy de nuestra tienda a tu casa.",
        "आपका ऑर्डर {{name}} आज रास्ते में है, धन्यवाद।",
    ):
        made = business.post(f"{WABA}/message_templates", named(innocent, name=f"i{len(innocent)}_v1")).json()
        assert made["category"] == "UTILITY"
    changed = named(BODY, name="x_v1") | {"allow_category_change": True}
    assert code_of(business.post(f"{WABA}/message_templates", changed)) == 100


def test_category_and_quality_can_be_forced_and_are_told(business: Business, stand_in: StandIn):
    business.http.post("/control/templates", json={"name": "cod_v1", "category": "MARKETING", "quality": "RED"})
    category = stand_in.updates(1, "template_category_update")[0]
    assert (category["previous_category"], category["new_category"]) == ("UTILITY", "MARKETING")
    quality = stand_in.updates(1, "message_template_quality_update")[0]
    assert (quality["previous_quality_score"], quality["new_quality_score"]) == ("UNKNOWN", "RED")
    listed = business.get(f"{WABA}/message_templates", fields="name,category,quality_score").json()["data"][0]
    assert (listed["category"], listed["quality_score"]["score"]) == ("MARKETING", "RED")
    assert business.http.post("/control/templates", json={"name": "nobody", "status": "PAUSED"}).status_code == 404
    assert business.http.post("/control/templates", json={"status": "HAPPY"}).status_code == 400


@pytest.mark.parametrize(
    ("body", "subcode"),
    [
        (named("{{name}}, your order is on its way to you now."), 2388299),
        (named("Your order is on its way to you, {{name}}"), 2388299),
        (named("Your order {{name}} {{order}} is on its way to you now."), 2388299),
        (named("Hi {{name}} a {{order}} b {{total}} c"), 2388293),
        (named("Hi {{Name}}, your order is on its way now."), 2388073),
        (named("x" * 1025), 2388040),
        (named("Hello there, dear customer.", name="Bad-Name"), 2388094),
        (named("Hello there, dear customer.", language="xx"), 2388098),
        (named("Hello there.", more=[{"type": "HEADER", "format": "TEXT", "text": "x" * 61}]), 2388047),
        (named("Hello there.", more=[{"type": "FOOTER", "text": "x" * 61}]), 2388072),
        (
            named("Hello there.", more=[{"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "x" * 26}]}]),
            2388040,
        ),
        (named("Hello {{name}}, this is fine today.", parameter_format="POSITIONAL"), 2388073),
        (named("Hi {{2}}, this is not fine at all.", parameter_format="POSITIONAL"), 2388073),
        (
            named("Your order {{name}} is here.")
            | {"components": [{"type": "BODY", "text": "Your {{name}} is here."}]},
            2388043,
        ),
    ],
)
def test_a_template_out_of_bounds_is_not_created(business: Business, body, subcode):
    answer = business.post(f"{WABA}/message_templates", body)
    assert code_of(answer) == 100
    assert answer.json()["error"]["error_subcode"] == subcode
    if subcode != 2388098:
        assert answer.json()["error"]["error_user_msg"]


def test_button_rules(business: Business):
    def create(*buttons: dict[str, Any]) -> httpx.Response:
        part = {"type": "BUTTONS", "buttons": list(buttons)}
        body = named("Hello there, dear customer.", name=f"b{len(str(buttons))}_v1", more=[part])
        return business.post(f"{WABA}/message_templates", body)

    quick = {"type": "QUICK_REPLY", "text": "Yes"}
    track = {"type": "URL", "text": "Track", "url": "https://t.test/{{1}}", "example": ["https://t.test/abc"]}
    call = {"type": "PHONE_NUMBER", "text": "Call", "phone_number": "+922111110001"}
    assert create(quick, track).status_code == 200
    assert code_of(create(quick, track, quick | {"text": "No"})) == 100, "quick replies stand together"
    assert code_of(create(track | {"url": "https://t.test/{{1}}/x"})) == 100
    assert code_of(create(call, call | {"text": "Ring"})) == 100
    assert code_of(create(quick, quick)) == 100
    assert code_of(create(*(quick | {"text": str(n)} for n in range(11)))) == 100


def test_a_url_button_needs_its_suffix_and_opens(business: Business):
    track = {"type": "URL", "text": "Track", "url": "https://t.test/{{1}}", "example": ["abc"]}
    part = {"type": "BUTTONS", "buttons": [track]}
    business.post(f"{WABA}/message_templates", named("Your parcel is on its way.", name="track_v1", more=[part]))
    message: dict[str, Any] = {"type": "template", "template": {"name": "track_v1", "language": {"code": "en"}}}
    assert code_of(business.send(message)) == 131008
    suffix = [{"type": "text", "text": r"a\1b"}]
    message["template"]["components"] = [{"type": "button", "sub_type": "url", "index": 0, "parameters": suffix}]
    id = business.send(message).json()["messages"][0]["id"]
    assert business.phone()[0]["buttons"][0]["url"] == r"https://t.test/a\1b"
    tapped = business.http.post(f"/control/phones/{ALI}/tap", json={"message_id": id, "button": "Track"})
    assert tapped.status_code == 409


def test_names_are_taken_locked_and_counted(business: Business):
    path = f"{WABA}/message_templates"
    again = business.post(path, named(BODY))
    assert again.json()["error"]["error_subcode"] == 2388024
    assert business.post(path, named("السلام علیکم، آپ کا آرڈر مل گیا ہے۔", language="ur")).status_code == 200
    business.http.request("DELETE", f"/graph/v26.0/{path}", params={"name": "cod_v1"})
    assert business.get(path).json()["data"] == []
    assert business.post(path, named(BODY)).json()["error"]["error_subcode"] == 2388023
    business.http.post("/control/clock", json={"advance": "31d"})
    assert business.post(path, named(BODY)).status_code == 200
    gone = business.http.request("DELETE", f"/graph/v26.0/{path}", params={"name": "nobody"})
    assert code_of(gone) == 100


def test_templates_are_listed_in_pages(business: Business):
    path = f"{WABA}/message_templates"
    for n in range(4):
        business.post(path, named("Hello there, dear customer.", name=f"page{n}_v1"))
    names, after = [], None
    while True:
        query = {"fields": "name,status", "limit": 2} | ({"after": after} if after else {})
        page = business.get(path, **query).json()
        names += [one["name"] for one in page["data"]]
        assert set(page["data"][0]) == {"name", "status", "id"}
        if "next" not in page["paging"]:
            break
        after = page["paging"]["cursors"]["after"]
    assert names == ["cod_v1", "page0_v1", "page1_v1", "page2_v1", "page3_v1"]
    assert code_of(business.get(path, after="%%%")) == 131059
    assert code_of(business.get(path, fields="name,secret")) == 100
    assert [one["name"] for one in business.get(path, name="page2_v1").json()["data"]] == ["page2_v1"]


# Accounts, numbers, media


def test_an_account_and_its_number_tell_of_themselves(business: Business):
    (number,) = business.get(f"{WABA}/phone_numbers").json()["data"]
    assert number["display_phone_number"] == "+92 21 1111 0001"
    fields = (
        "display_phone_number,verified_name,quality_rating,throughput,health_status,"
        "whatsapp_business_manager_messaging_limit,code_verification_status"
    )
    told = business.get(NUMBER, fields=fields).json()
    assert told["throughput"] == {"level": "STANDARD"}
    assert told["health_status"]["can_send_message"] == "AVAILABLE"
    assert set(told) == {*fields.split(","), "id"}
    assert code_of(business.get(NUMBER, fields="shoe_size")) == 100
    assert business.get(WABA, fields="name,currency").json() == {"name": "Lahore Lawn", "currency": "USD", "id": WABA}
    apps = business.get(f"{WABA}/subscribed_apps").json()["data"]
    assert apps[0]["whatsapp_business_api_data"]["id"] == "sandbox-app"


def test_a_number_is_registered_with_a_pin(business: Business):
    body = {"messaging_product": "whatsapp", "pin": "123456"}
    assert business.post(f"{NUMBER}/deregister").json() == {"success": True}
    assert code_of(business.template("A", "B", "C")) == 133010
    assert code_of(business.post(f"{NUMBER}/register", body | {"pin": "12"})) == 100
    assert business.post(f"{NUMBER}/register", body).json() == {"success": True}
    assert code_of(business.post(f"{NUMBER}/register", body | {"pin": "654321"})) == 133005
    assert business.template("A", "B", "C").status_code == 200


def test_a_signup_code_is_exchanged_once_within_thirty_seconds(business: Business, sandbox: Running):
    issued = business.http.post("/control/codes", json={"waba_id": WABA}).json()
    assert issued["phone_number_id"] == NUMBER
    query = {"client_id": "sandbox-app", "client_secret": "sandbox-whatsapp-secret", "code": issued["code"]}
    wrong = business.get("oauth/access_token", **(query | {"client_secret": "no"}))
    assert code_of(wrong) == 1
    token = business.get("oauth/access_token", **query).json()["access_token"]
    assert business.get("oauth/access_token", **query).json()["error"]["error_subcode"] == 36009
    mine = Business(sandbox, token=token)
    assert mine.get(NUMBER).status_code == 200
    about = mine.get("debug_token", input_token=token, access_token="sandbox-app|sandbox-whatsapp-secret").json()
    assert about["data"]["is_valid"] is True
    assert "whatsapp_business_messaging" in about["data"]["scopes"]
    late = business.http.post("/control/codes", json={"waba_id": WABA}).json()["code"]
    business.http.post("/control/clock", json={"advance": "31s"})
    assert business.get("oauth/access_token", **(query | {"code": late})).json()["error"]["error_subcode"] == 36007
    mine.http.close()


def test_media_come_and_go(business: Business, stand_in: StandIn):
    upload = {"messaging_product": "whatsapp", "type": "image/png"}
    content = b"\x89PNG" + b"0" * 100
    answer = business.http.post(
        f"/graph/v26.0/{NUMBER}/media", data=upload, files={"file": ("a.png", content, "image/png")}
    )
    id = answer.json()["id"]
    business.hears()
    assert business.send({"type": "image", "image": {"id": id, "caption": "Your parcel"}}).status_code == 200
    assert business.phone()[-1]["media"] == {"kind": "image", "id": id}
    about = business.get(id, phone_number_id=NUMBER).json()
    assert about["sha256"] == hashlib.sha256(content).hexdigest()
    assert business.http.get(about["url"]).content == content
    assert httpx.get(about["url"]).status_code == 400
    business.http.post("/control/clock", json={"advance": "6m"})
    assert business.http.get(about["url"]).status_code == 404
    assert business.http.delete(f"/graph/v26.0/{id}").json() == {"success": True}
    assert code_of(business.get(id)) == 100
    webp = business.http.post(
        f"/graph/v26.0/{NUMBER}/media", data=upload | {"type": "image/svg+xml"}, files={"file": ("a.svg", b"<svg/>")}
    )
    assert code_of(webp) == 131053

    sent = business.http.post(f"/control/phones/{ALI}/send", json={"image": "receipt.jpg", "caption": "Paid"}).json()
    assert sent["type"] == "image"
    image = stand_in.inbound("image")["image"]
    assert image["caption"] == "Paid"
    bytes_of = business.http.get(business.get(image["id"]).json()["url"]).content
    assert base64.b64encode(hashlib.sha256(bytes_of).digest()).decode() == image["sha256"]


def test_a_header_sample_is_uploaded_in_two_steps(business: Business):
    query = {"file_name": "a.png", "file_length": 4, "file_type": "image/png"}
    session = business.http.post("/graph/v26.0/sandbox-app/uploads", params=query).json()["id"]
    assert session.startswith("upload:")
    headers = {"Authorization": f"OAuth {TOKEN}", "file_offset": "0"}
    done = business.http.post(f"/graph/v26.0/{session}", content=b"abcd", headers=headers).json()
    assert done["h"].startswith("4::")


def test_a_customer_without_a_conversation_must_say_to_whom(business: Business):
    path = "/control/phones/+923009998887/send"
    assert business.http.post(path, json={"text": "Hi"}).status_code == 409
    assert business.http.post(path, json={"text": "Hi", "to": "+92 21 1111 0001"}).status_code == 200
    assert business.http.post(path, json={"text": "again"}).status_code == 200
    assert business.http.post(path, json={"text": "Hi", "to": "+1"}).status_code == 404
    for body in ({}, {"text": ""}, {"text": "a", "image": "b"}, {"text": 5}, {"text": "x" * 5000}):
        assert business.http.post(path, json=body).status_code == 400
