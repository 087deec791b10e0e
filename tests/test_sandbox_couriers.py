"""The couriers of the sandbox: each in its own shape, with its own way of saying no. It knows nothing of the app."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from sandbox import Running
from sandbox.couriers import ACCESS_TOKEN, COURIERS, KEY, PASSWORD, TOKEN
from sandbox.testing import StandIn, sandbox, stand_in, until

__all__ = ["sandbox", "stand_in"]

AT = "2026-11-21T12:00:00+05:00"
ASKED: dict[str, dict[str, Any]] = {
    "tcs": {"method": "GET", "url": "tcs/tracking/api/Tracking/GetDynamicTrackDetail", "params": {"consignee": "N1"},
            "headers": {"Authorization": f"Bearer {TOKEN}"}},
    "leopards": {"method": "POST", "url": "leopards/trackBookedPacket/format/json/",
                 "json": {"api_key": KEY, "api_password": PASSWORD, "track_numbers": "N1"}},
    "shiprocket": {"method": "POST", "url": "shiprocket/courier/track/awbs", "json": {"awbs": ["N1"]},
                   "headers": {"Authorization": f"Bearer {TOKEN}"}},
    "postex": {"method": "GET", "url": "postex/v1/track-order/N1", "headers": {"token": KEY}},
    "trax": {"method": "GET", "url": "trax/shipment/track", "params": {"tracking_number": "N1", "type": "1"},
             "headers": {"Authorization": KEY}},
}  # fmt: skip


@pytest.fixture
def http(sandbox: Running) -> httpx.Client:
    return httpx.Client(base_url=sandbox.url, trust_env=False)


def _scan(http: httpx.Client, courier: str, **said: str) -> httpx.Response:
    return http.post("/control/scans", json={"courier": courier, "tracking_number": "N1", "at": AT, **said})


@pytest.mark.parametrize("courier", COURIERS)
def test_a_parcel_is_unknown_until_it_is_scanned_and_then_told_in_the_couriers_shape(
    http: httpx.Client, courier: str
) -> None:
    asked = dict(ASKED[courier])
    asked["url"] = f"/couriers/{asked['url']}"
    before = http.request(**asked)
    assert before.status_code == 200
    assert "Rider Picked" not in before.text
    assert _scan(http, courier, text="Rider Picked", location="LAHORE").status_code == 201
    after = http.request(**asked)
    assert "Rider Picked" in after.text or "RIDER PICKED" in after.text
    assert "N1" in after.text


@pytest.mark.parametrize("courier", COURIERS)
def test_wrong_keys_are_refused_in_the_couriers_way(http: httpx.Client, courier: str) -> None:
    _scan(http, courier, text="Rider Picked")
    asked = {name: value for name, value in ASKED[courier].items() if name != "headers"}
    if courier == "leopards":
        asked["json"] = {**asked["json"], "api_password": "wrong"}
    answer = http.request(**{**asked, "url": f"/couriers/{asked['url']}"})
    assert answer.status_code == (401 if courier in ("shiprocket", "postex") else 200)
    assert "Rider Picked" not in answer.text


@pytest.mark.parametrize(("courier", "status"), [("leopards", 202), ("shiprocket", 200), ("trax", 200)])
def test_a_courier_that_pushes_does_so_with_the_key_it_was_given(
    sandbox: Running, stand_in: StandIn, http: httpx.Client, courier: str, status: int
) -> None:
    address = f"{stand_in.url}/webhooks/couriers/{courier}/t"
    told = {"courier": courier, "push_url": address, "push_key": "k"}
    assert http.post("/control/couriers", json=told).status_code == 200
    _scan(http, courier, code="AC", text="Out for Delivery")
    until(lambda: any(e["direction"] == "webhook" for e in http.get("/control/log").json()["log"]))
    log = http.get("/control/log", params={"vendor": courier}).json()["log"]
    [entry] = [entry for entry in log if entry["direction"] == "webhook"]
    assert entry["outcome"].startswith("delivered" if status == 200 else "refused")  # the stand-in says 200 to all


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/control/scans", {"courier": "ups"}, "There is no courier"),
        ("/control/scans", {"courier": "tcs", "tracking_number": "N1"}, "own words"),
        ("/control/scans", {"courier": "tcs", "tracking_number": "N1", "text": "x", "at": "noon"}, "a time like"),
        ("/control/couriers", {"courier": "tcs", "push_url": "http://127.0.0.1:1"}, "pushes nothing"),
    ],
)
def test_an_impossible_scan_is_refused_with_what_exists(
    http: httpx.Client, path: str, body: dict[str, str], said: str
) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]


# Booking


def body_of(courier: str, order: str = "#1001", **changes: Any) -> dict[str, Any]:
    """A good booking at this courier; `changes` are laid over it, deep ones as part__field."""
    body: dict[str, Any] = {
        "tcs": {
            "accesstoken": ACCESS_TOKEN,
            "shipperinfo": {"tcsaccount": "04011K1", "cityname": "Lahore", "mobile": "03001234567"},
            "consigneeinfo": {"firstname": "Ali Raza", "address1": "7 Tariq Road", "citycode": "KHI",
                              "mobile": "03007654321"},
            "shipmentinfo": {"costcentercode": "01", "referenceno": order, "servicecode": "O", "codamount": 2450,
                             "shipmentdate": "21-11-2026", "weightinkg": 0.5, "pieces": 1, "fragile": False,
                             "remarks": "Call first"},
        },
        "leopards": {
            "api_key": KEY, "api_password": PASSWORD, "booked_packet_weight": 500, "booked_packet_no_piece": 1,
            "booked_packet_collect_amount": 2450, "booked_packet_order_id": order, "origin_city": "self",
            "destination_city": 592, "shipment_name_eng": "self", "shipment_phone": "self",
            "shipment_address": "self", "consignment_name_eng": "Ali Raza", "consignment_phone": "03007654321",
            "consignment_address": "7 Tariq Road", "special_instructions": "Call first",
        },
        "shiprocket": {
            "order_id": order, "order_date": "2026-11-21 12:00", "pickup_location": "Primary",
            "billing_customer_name": "Ali", "billing_last_name": "Raza", "billing_address": "7 Tariq Road",
            "billing_city": "Mumbai", "billing_pincode": "400050", "billing_state": "Maharashtra",
            "billing_country": "India", "billing_email": "ali@shop.example", "billing_phone": "9876543210",
            "shipping_is_billing": True, "payment_method": "COD", "sub_total": 2450, "length": 10, "breadth": 10,
            "height": 5, "weight": 0.5,
            "order_items": [{"name": "Kurta", "sku": "KRT-M", "units": 1, "selling_price": 2450}],
        },
        "postex": {
            "cityName": "Karachi", "customerName": "Ali Raza", "customerPhone": "03007654321",
            "deliveryAddress": "7 Tariq Road", "invoicePayment": 2450, "orderRefNumber": order, "items": 1,
            "orderType": "Normal",
        },
        "trax": {
            "service_type_id": 1, "pickup_address_id": 3015, "information_display": 1, "consignee_city_id": 202,
            "consignee_name": "Ali Raza", "consignee_address": "7 Tariq Road",
            "consignee_phone_number_1": "0300-7654321", "consignee_email_address": "ali@shop.example",
            "order_id": order, "item_product_type_id": 1, "item_description": "Kurta", "item_quantity": 1,
            "item_insurance": 0, "pickup_date": "2026-11-21", "estimated_weight": 0.5, "shipping_mode_id": 1,
            "amount": 2450, "payment_mode_id": 1, "charges_mode_id": 4,
        },
    }[courier]  # fmt: skip
    for path, value in changes.items():
        *parts, last = path.split("__")
        within = body
        for part in parts:
            within = within[part]
        within[last] = value
    return body


BOOKS = {
    "tcs": "ecom/api/booking/create",
    "leopards": "bookPacket/format/json/",
    "shiprocket": "orders/create/adhoc",
    "postex": "v3/create-order",
    "trax": "shipment/book",
}
HEADERS = {
    "tcs": {"Authorization": f"Bearer {TOKEN}"},
    "leopards": {},
    "shiprocket": {"Authorization": f"Bearer {TOKEN}"},
    "postex": {"token": KEY},
    "trax": {"Authorization": KEY},
}


class Counter:
    """One courier's API, asked with the right keys."""

    def __init__(self, http: httpx.Client, courier: str) -> None:
        self.http, self.courier = http, courier

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.http.request(
            method, f"/couriers/{self.courier}/{path}", **{"headers": HEADERS[self.courier], **more}
        )

    def asked(self, method: str, path: str, **more: Any) -> Any:
        return self.ask(method, path, **more).json()

    def lcs(self, path: str, **said: Any) -> Any:
        """A call of Leopards, its keys in the body."""
        return self.asked("POST", f"{path}/format/json/", json={"api_key": KEY, "api_password": PASSWORD, **said})

    def book(self, **changes: Any) -> str:
        """A booked parcel's number."""
        answer = self.asked("POST", BOOKS[self.courier], json=body_of(self.courier, **changes))
        if self.courier == "shiprocket":
            answer = self.asked("POST", "courier/assign/awb", json={"shipment_id": answer["shipment_id"]})
            return str(answer["response"]["data"]["awb_code"])
        places = {"tcs": ("consignmentNo",), "leopards": ("track_number",), "postex": ("dist", "trackingNumber")}
        for key in places.get(self.courier, ("tracking_number",)):
            answer = answer[key]
        return str(answer)

    def scan(self, number: str, code: str = "", text: str = "", reason: str = "") -> None:
        said = {"courier": self.courier, "tracking_number": number, "code": code, "text": text, "reason": reason}
        assert self.http.post("/control/scans", json=said).status_code == 201

    def fail(self, number: str) -> None:
        """A failed attempt, in the courier's first words for one."""
        words = self.http.get("/control/couriers").json()["words"][self.courier]
        word = next(word for word in words if word["stage"] == "attempted")
        self.scan(number, word["code"], word["text"], word["reason"])

    def parcel(self, number: str) -> dict[str, Any]:
        [parcel] = self.http.get("/control/couriers", params={"courier": self.courier, "number": number}).json()[
            "parcels"
        ]
        return parcel


@pytest.fixture
def counter(http: httpx.Client, request: pytest.FixtureRequest) -> Counter:
    return Counter(http, request.param)


every = pytest.mark.parametrize("counter", COURIERS, indirect=True)


def at(*couriers: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("counter", couriers, indirect=True)


@every
def test_a_booked_parcel_stands_there_with_its_booking_and_its_first_state(counter: Counter) -> None:
    parcel = counter.parcel(counter.book())
    booking = parcel["booking"]
    assert (parcel["order"], parcel["stage"], len(parcel["scans"])) == ("#1001", "booked", 1)
    assert (booking["name"], booking["cod"], booking["address"]) == ("Ali Raza", 2450, "7 Tariq Road")
    assert booking["phone"].replace("-", "") in ("03007654321", "9876543210")
    assert parcel["destination"] == booking["city"].upper()
    assert parcel["advice"] == []


@every
def test_no_two_parcels_have_one_number(counter: Counter) -> None:
    numbers = {counter.book(), counter.book(order="#1002")}
    assert len(numbers) == 2


@at("tcs", "shiprocket")
def test_what_nobody_has_scanned_is_no_data_to_some(counter: Counter) -> None:
    number = counter.book()
    asked = {**ASKED[counter.courier], "url": f"/couriers/{ASKED[counter.courier]['url']}"}
    asked |= {"params": {"consignee": number}} if counter.courier == "tcs" else {"json": {"awbs": [number]}}
    before = counter.http.request(**asked).json()
    assert before.get("message") == "FAIL" or before[number]["tracking_data"]["track_status"] == 0
    word = "Shipment Picked Up" if counter.courier == "tcs" else "Picked Up"
    counter.scan(number, "" if counter.courier == "tcs" else "42", word)
    assert word in counter.http.request(**asked).text


@at("leopards", "postex", "trax")
def test_others_track_a_booking_at_once(counter: Counter) -> None:
    number = counter.book()
    asked = {**ASKED[counter.courier], "url": f"/couriers/{ASKED[counter.courier]['url']}".replace("N1", number)}
    if counter.courier == "leopards":
        asked["json"] = {**asked["json"], "track_numbers": number}
    if counter.courier == "trax":
        asked["params"] = {"tracking_number": number, "type": "1"}
    said = counter.http.request(**asked).text
    assert counter.parcel(number)["scans"][0]["text"] in said
    assert "#1001" in said


def test_what_each_says_to_a_booking(http: httpx.Client) -> None:
    tcs = Counter(http, "tcs").asked("POST", BOOKS["tcs"], json=body_of("tcs"))
    assert (tcs["response"], tcs["code"], tcs["status"]) == ("SUCCESS", "200", True)
    lcs = Counter(http, "leopards").asked("POST", BOOKS["leopards"], json=body_of("leopards"))
    assert (lcs["status"], lcs["error"]) == (1, 0)
    order = Counter(http, "shiprocket").asked("POST", BOOKS["shiprocket"], json=body_of("shiprocket"))
    assert (order["status"], order["status_code"], order["awb_code"]) == ("NEW", 1, "")
    postex = Counter(http, "postex").asked("POST", BOOKS["postex"], json=body_of("postex"))
    assert (postex["statusCode"], postex["dist"]["orderStatus"]) == ("200", "UnBooked")
    trax = Counter(http, "trax").asked("POST", BOOKS["trax"], json=body_of("trax"))
    assert (trax["status"], trax["message"]) == (0, "Shipment has been Booked!")


# courier, what is changed in a good booking, what the refusal names
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("tcs", {"shipmentinfo__codamount": 250_001}, "codamount"),
    ("tcs", {"shipmentinfo__codamount": "2450"}, "codamount"),
    ("tcs", {"shipmentinfo__weightinkg": 0.4}, "weightinkg"),
    ("tcs", {"consigneeinfo__citycode": "ZZZ"}, "citycode"),
    ("tcs", {"consigneeinfo__mobile": "+923007654321"}, "mobile"),
    ("tcs", {"consigneeinfo__address1": "x" * 121}, "address1"),
    ("tcs", {"consigneeinfo": None}, "firstname"),
    ("tcs", {"shipmentinfo__shipmentdate": "2026-11-21"}, "shipmentdate"),
    ("leopards", {"destination_city": 1}, "Destination City is required"),
    ("leopards", {"booked_packet_collect_amount": "2450.50"}, "COD Amount"),
    ("leopards", {"special_instructions": ""}, "Special Instructions are required"),
    ("leopards", {"consignment_phone": None}, "Consignee Phone is required"),
    ("shiprocket", {"billing_pincode": "4000"}, "billing_pincode"),
    ("shiprocket", {"billing_phone": "+919876543210"}, "billing_phone"),
    ("shiprocket", {"order_items": []}, "order_items"),
    ("shiprocket", {"payment_method": "Cash"}, "payment_method"),
    ("shiprocket", {"order_id": "x" * 51}, "order_id"),
    ("shiprocket", {"shipping_is_billing": False}, "shipping_address"),
    ("postex", {"cityName": "Atlantis"}, "CITY"),
    ("postex", {"customerPhone": "+923007654321"}, "PHONE"),
    ("postex", {"deliveryAddress": ""}, "deliveryAddress"),
    ("postex", {"orderType": "Express"}, "ORDER TYPE"),
    ("trax", {"consignee_city_id": 1}, "consignee_city_id"),
    ("trax", {"amount": "2450.50"}, "amount"),
    ("trax", {"consignee_name": 7}, "consignee_name"),
    ("trax", {"consignee_phone_number_1": "+923007654321"}, "consignee_phone_number_1"),
    ("trax", {"consignee_email_address": ""}, "consignee_email_address"),
    ("trax", {"amount": 0}, "parcel_value"),
]


@pytest.mark.parametrize(("courier", "changes", "named"), WRONG, ids=[f"{c}-{n}" for c, _, n in WRONG])
def test_a_wrong_booking_is_refused_in_the_couriers_shape(
    http: httpx.Client, courier: str, changes: dict[str, Any], named: str
) -> None:
    answer = Counter(http, courier).ask("POST", BOOKS[courier], json=body_of(courier, **changes))
    said = answer.json()
    assert answer.status_code == (422 if courier == "shiprocket" else 200)
    where = {
        "tcs": lambda: [one["errorname"] for one in said["error"]],
        "leopards": lambda: [said["error"]] if said["status"] == 0 and said["track_number"] is None else [],
        "shiprocket": lambda: list(said["errors"]) if said["status_code"] == 422 else [],
        "postex": lambda: [said["statusMessage"]] if said["statusCode"] == "400" and said["dist"] is None else [],
        "trax": lambda: list(said["errors"]) if said["status"] == 1 else [],
    }[courier]()
    assert any(named in one for one in where), said
    assert http.get("/control/couriers").json()["parcels"] == []


@every
def test_nothing_in_a_booking_breaks_a_counter(counter: Counter) -> None:
    good = body_of(counter.courier)
    paths = [f"{part}__{field}" for part, within in good.items() if isinstance(within, dict) for field in within]
    for path in [*good, *paths]:
        for value in ([], {}, [{}], 7, -1, 1e300, True, None, "", "x" * 5000, "\0", "४२"):
            answer = counter.ask("POST", BOOKS[counter.courier], json=body_of(counter.courier, **{path: value}))
            assert answer.status_code < 500, (path, value)


def test_what_postex_cannot_parse_is_a_stack_trace(http: httpx.Client) -> None:
    answer = Counter(http, "postex").ask("POST", BOOKS["postex"], json=body_of("postex", invoicePayment="a lot"))
    assert answer.status_code == 400
    assert answer.text.startswith("java.lang.NumberFormatException")


def test_a_postcode_nobody_serves_gets_no_number_inside_http_200(http: httpx.Client) -> None:
    shiprocket = Counter(http, "shiprocket")
    order = shiprocket.asked("POST", BOOKS["shiprocket"], json=body_of("shiprocket", billing_pincode="799001"))
    answer = shiprocket.ask("POST", "courier/assign/awb", json={"shipment_id": order["shipment_id"]})
    assert (answer.status_code, answer.json()["awb_assign_status"]) == (200, 0)


def test_a_batch_of_leopards_is_booked_whole_or_not_at_all(http: httpx.Client) -> None:
    leopards = Counter(http, "leopards")
    good = body_of("leopards")
    refused = leopards.lcs("batchBookPacket", packets=[good, {}])
    assert refused["error"]["bookPacket - 1"]["consignment_name_eng"] == "Consignee Name is required"
    booked = leopards.lcs("batchBookPacket", packets=[good, good])
    assert [row["booked_packet_order_id"] for row in booked["data"]] == ["#1001", "#1001"]


@every
def test_a_booking_with_wrong_keys_is_refused_as_each_does(counter: Counter) -> None:
    body = body_of(counter.courier)
    if counter.courier == "leopards":
        body["api_password"] = "wrong"
    answer = counter.ask("POST", BOOKS[counter.courier], json=body, headers={})
    said = answer.json()
    assert answer.status_code == (401 if counter.courier in ("shiprocket", "postex") else 200)
    assert {
        "tcs": said.get("code") == 401 and said.get("status") == "UnAuthorized",
        "leopards": said.get("status") == 0,
        "shiprocket": said.get("status_code") == 401,
        "postex": said.get("statusCode") == "401",
        "trax": said.get("status") == 1,
    }[counter.courier]
    assert counter.http.get("/control/couriers").json()["parcels"] == []


def test_tcs_refuses_tokens_in_three_shapes(http: httpx.Client) -> None:
    tcs = Counter(http, "tcs")
    first = tcs.asked("POST", "auth/api/auth", json={"clientid": "x", "clientsecret": "y"})
    assert (first["status"], first["code"]) == (False, "401")
    second = tcs.asked("POST", BOOKS["tcs"], json=body_of("tcs"), headers={"Authorization": "Bearer x"})
    assert (second["code"], second["status"]) == (401, "UnAuthorized")
    third = tcs.asked("POST", BOOKS["tcs"], json=body_of("tcs", accesstoken="x"))
    assert (third["code"], third["status"]) == ("UnAuthorized", 401)


def test_the_second_token_of_tcs_is_asked_for_with_the_first(http: httpx.Client) -> None:
    tcs, who = Counter(http, "tcs"), {"username": KEY, "password": PASSWORD}
    given = tcs.asked("GET", "ecom/api/authentication/token", params=who)
    assert given["accesstoken"] == ACCESS_TOKEN
    assert given["expiry"].endswith("Z")
    assert tcs.asked("GET", "ecom/api/authentication/token", params=who, headers={})["code"] == 401
    assert tcs.asked("GET", "ecom/api/authentication/token", params={**who, "password": "x"})["code"] == "401"


def test_the_classic_api_of_tcs_tells_the_number_in_prose(http: httpx.Client) -> None:
    tcs, client = Counter(http, "tcs"), {"X-IBM-Client-Id": KEY}
    body = {
        "userName": KEY, "password": PASSWORD, "costCenterCode": "01", "consigneeName": "Ali Raza",
        "consigneeAddress": "7 Tariq Road", "consigneeMobNo": "03007654321", "destinationCityName": "Karachi",
        "codAmount": "2450", "customerReferenceNo": "#1001", "services": "O",
    }  # fmt: skip

    def ask(method: str, path: str, **more: Any) -> Any:
        return tcs.asked(method, f"classic/v1/cod/{path}", **{"headers": client, **more})

    said = ask("POST", "create-order", json=body)
    assert said["returnStatus"]["code"] == "0200"
    number = said["bookingReply"]["result"].removeprefix("Your generated CN is: ")
    assert tcs.parcel(number)["booking"]["cod"] == 2450
    for change in ({"destinationCityName": "Atlantis"}, {"codAmount": "250001"}, {"password": "x"}, {"services": ""}):
        assert ask("POST", "create-order", json={**body, **change})["returnStatus"]["status"] == "FAIL", change
    assert {"cityName": "KARACHI", "cityCode": "KHI"}.items() <= ask("GET", "cities")["allCities"][0].items()
    assert tcs.ask("GET", "classic/v1/cod/cities", headers={}).status_code == 401
    cancel = {"userName": KEY, "password": PASSWORD, "consignmentNumber": number}
    assert ask("PUT", "cancel-order", json=cancel)["returnStatus"]["status"] == "SUCCESS"
    assert ask("PUT", "cancel-order", json=cancel)["returnStatus"]["status"] == "FAIL"


def test_a_reference_known_to_shiprocket_is_the_same_order(http: httpx.Client) -> None:
    shiprocket = Counter(http, "shiprocket")
    number = shiprocket.book()
    again = shiprocket.asked("POST", BOOKS["shiprocket"], json=body_of("shiprocket"))
    assert (again["awb_code"], again["status"]) == (number, "READY TO SHIP")
    [found] = shiprocket.asked("GET", "orders", params={"search": "#1001"})["data"]
    assert found["shipments"][0]["awb"] == number
    assert shiprocket.asked("GET", "orders", params={"search": "#999"})["data"] == []


@at("leopards", "trax", "postex", "shiprocket")
def test_a_booking_is_found_by_its_reference(counter: Counter) -> None:
    number = counter.book()
    found = {
        "leopards": lambda: counter.lcs("getShipmentDetailsByOrderID", shipment_order_id=["#1001"])["data"][0][
            "track_number"
        ],
        "trax": lambda: counter.asked("GET", "shipment/track/order_id", params={"order_id": "#1001", "type": 0})[
            "details"
        ][0]["tracking_number"],
        "postex": lambda: counter.asked(
            "GET", "v1/get-all-order", params={"orderStatusId": 0, "startDate": "2020-01-01", "endDate": "2040-01-01"}
        )["dist"][0]["trackingNumber"],
        "shiprocket": lambda: counter.asked("GET", "orders", params={"search": "#1001"})["data"][0]["shipments"][0][
            "awb"
        ],
    }[counter.courier]()
    assert str(found) == number


@at("leopards", "trax")
def test_a_reference_nobody_booked_is_not_found(counter: Counter) -> None:
    if counter.courier == "leopards":
        assert counter.lcs("getShipmentDetailsByOrderID", shipment_order_id=["#9"])["status"] == 0
    else:
        assert counter.asked("GET", "shipment/track/order_id", params={"order_id": "#9", "type": 0})["status"] == 1


def test_trax_takes_a_reference_once(http: httpx.Client) -> None:
    trax = Counter(http, "trax")
    number = trax.book()
    assert "order_id" in trax.asked("POST", BOOKS["trax"], json=body_of("trax"))["errors"]
    trax.asked("POST", "shipment/cancel", json={"tracking_number": number})
    assert trax.book() != number


def test_a_prepaid_parcel_of_trax_states_its_worth_and_collects_nothing(http: httpx.Client) -> None:
    trax = Counter(http, "trax")
    assert trax.parcel(trax.book(payment_mode_id=4))["booking"]["cod"] == 0


# Cities and labels


@at("tcs", "leopards", "postex", "trax")
def test_each_tells_the_cities_it_delivers_to(counter: Counter) -> None:
    cities = {
        "tcs": lambda: [one["cityname"] for one in counter.asked(
            "GET", "ecom/api/setup/citylistbycountry", params={"countrycode": "PK"})["data"]],
        "leopards": lambda: [one["name"] for one in counter.lcs("getAllCities")["city_list"]],
        "postex": lambda: [one["operationalCityName"] for one in counter.asked(
            "GET", "v2/get-operational-city")["dist"]],
        "trax": lambda: [one["name"] for one in counter.asked("GET", "cities")["cities"]],
    }[counter.courier]()  # fmt: skip
    assert {"lahore", "karachi", "sukkur"} <= {city.casefold() for city in cities}


def label_of(counter: Counter, *numbers: str) -> httpx.Response:
    if counter.courier == "tcs":
        params = {"consignmentno": numbers[0], "shipperdetail": "true", "accesstoken": ACCESS_TOKEN}
        return counter.ask("GET", "ecom/api/print/label", params=params)
    if counter.courier == "leopards":
        return counter.http.get(f"/couriers/leopards/slip/{numbers[0]}")
    if counter.courier == "shiprocket":
        rows = [counter.asked("GET", "orders", params={"search": counter.parcel(one)["order"]}) for one in numbers]
        ids = [row["data"][0]["shipments"][0]["id"] for row in rows]
        return counter.http.get(counter.asked("POST", "courier/generate/label", json={"shipment_id": ids})["label_url"])
    if counter.courier == "postex":
        return counter.ask("GET", "v1/get-invoice", params={"trackingNumbers": ",".join(numbers)})
    return counter.ask("GET", "shipment/air_waybill", params={"tracking_numbers[]": list(numbers), "type": "1"})


@every
def test_a_label_is_a_pdf(counter: Counter) -> None:
    answer = label_of(counter, counter.book())
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.content.startswith(b"%PDF-") and answer.content.rstrip().endswith(b"%%EOF")
    start = int(answer.content.rsplit(b"startxref", 1)[1].split()[0])
    assert answer.content[start : start + 4] == b"xref"
    assert b"#1001" in answer.content


@at("shiprocket", "postex", "trax")
def test_some_put_several_labels_into_one_pdf(counter: Counter) -> None:
    answer = label_of(counter, counter.book(), counter.book(order="#1002"))
    assert b"/Count 2" in answer.content


def test_the_slip_of_leopards_is_where_its_booking_says(http: httpx.Client) -> None:
    link = Counter(http, "leopards").asked("POST", BOOKS["leopards"], json=body_of("leopards"))["slip_link"]
    assert httpx.get(link, trust_env=False).content.startswith(b"%PDF-")


def test_no_label_is_told_as_each_does(http: httpx.Client) -> None:
    said = label_of(Counter(http, "tcs"), "99").json()
    assert (said["message"], said["url"]) == ("CN not found", "")
    assert label_of(Counter(http, "postex"), "99").json()["statusCode"] == "404"
    assert label_of(Counter(http, "trax"), "99").json()["status"] == 1
    assert label_of(Counter(http, "leopards"), "99").status_code == 404


def test_no_more_labels_than_are_allowed_and_none_by_post(http: httpx.Client) -> None:
    trax, postex = Counter(http, "trax"), Counter(http, "postex")
    assert "tracking_numbers" in label_of(trax, *"123456").json()["errors"]
    assert trax.ask("POST", "shipment/air_waybill").status_code == 405
    assert label_of(postex, *map(str, range(11))).json()["statusCode"] == "400"


# Cancelling


def cancelled(counter: Counter, number: str) -> bool:
    """Whether the courier says that it cancelled."""
    if counter.courier == "tcs":
        said = {"consignmentNumber": number, "accesstoken": ACCESS_TOKEN}
        return bool(counter.asked("POST", "ecom/api/booking/cancel", json=said)["message"] == "SUCCESS")
    if counter.courier == "leopards":
        answer = counter.lcs("cancelBookedPackets", cn_numbers=number)
        assert str(answer["status"]) == "1" or number in answer["error"]
        return str(answer["status"]) == "1"
    if counter.courier == "shiprocket":
        return counter.ask("POST", "orders/cancel/shipment/awbs", json={"awbs": [number]}).status_code == 200
    if counter.courier == "postex":
        said = {"trackingNumber": number}
        return bool(counter.asked("PUT", "v1/cancel-order", json=said)["statusCode"] == "200")
    return bool(counter.asked("POST", "shipment/cancel", json={"tracking_number": number})["status"] == 0)


@every
def test_a_booking_is_cancelled_once(counter: Counter) -> None:
    number = counter.book()
    assert cancelled(counter, number)
    until(lambda: counter.parcel(number)["stage"] == "cancelled")  # Shiprocket does it when it comes to it
    assert not cancelled(counter, number)
    assert not cancelled(counter, "12345678901234")


@every
def test_what_was_picked_up_is_not_cancelled(counter: Counter) -> None:
    number = counter.book()
    words = counter.http.get("/control/couriers").json()["words"][counter.courier]
    word = next(word for word in words if word["stage"] == "picked_up")
    counter.scan(number, word["code"], word["text"])
    assert not cancelled(counter, number)
    assert counter.parcel(number)["stage"] == "picked_up"


def test_an_order_of_shiprocket_is_cancelled_with_no_content(http: httpx.Client) -> None:
    shiprocket = Counter(http, "shiprocket")
    number = shiprocket.book()
    [order] = shiprocket.asked("GET", "orders", params={"search": "#1001"})["data"]
    answer = shiprocket.ask("POST", "orders/cancel", json={"ids": [order["id"]]})
    assert (answer.status_code, answer.content) == (204, b"")
    assert shiprocket.parcel(number)["stage"] == "cancelled"
    assert shiprocket.ask("POST", "orders/cancel", json={"ids": [order["id"]]}).status_code == 400
    assert shiprocket.ask("POST", "orders/cancel", json={"ids": [1]}).status_code == 404


def test_a_cancelled_packet_of_leopards_is_not_tracked(http: httpx.Client) -> None:
    leopards = Counter(http, "leopards")
    number = leopards.book()
    assert cancelled(leopards, number)
    assert leopards.lcs("trackBookedPacket", track_numbers=number)["packet_list"] is None


def test_shiprocket_schedules_a_pickup_once_and_mends_an_address_before_it_leaves(http: httpx.Client) -> None:
    shiprocket = Counter(http, "shiprocket")
    number = shiprocket.book()
    [order] = shiprocket.asked("GET", "orders", params={"search": "#1001"})["data"]
    asked = {"shipment_id": [order["shipments"][0]["id"]]}
    assert shiprocket.asked("POST", "courier/generate/pickup", json=asked)["pickup_status"] == 1
    assert shiprocket.ask("POST", "courier/generate/pickup", json=asked).status_code == 400
    [order] = shiprocket.asked("GET", "orders", params={"filter_by": "channel_order_id", "filter": "#1001"})["data"]
    assert order["status_code"] == 4
    new = {
        "order_id": order["id"], "shipping_customer_name": "Ali Raza", "shipping_phone": "9876543211",
        "shipping_address": "8 Hill Road", "shipping_city": "Mumbai", "shipping_state": "Maharashtra",
        "shipping_country": "India", "shipping_pincode": "400050",
    }  # fmt: skip
    assert shiprocket.ask("POST", "orders/address/update", json=new).status_code == 202
    assert shiprocket.parcel(number)["booking"]["address"] == "8 Hill Road"
    assert shiprocket.ask("POST", "orders/address/update", json={**new, "shipping_phone": ""}).status_code == 422
    shiprocket.scan(number, "42", "Picked Up")
    assert shiprocket.ask("POST", "orders/address/update", json=new).status_code == 400


# Advice


def advised(counter: Counter, number: str, means: str = "re-attempt") -> bool:
    """Whether the courier took the advice."""
    note = "Tomorrow after five"
    if counter.courier == "leopards":
        rows = counter.lcs("shipperAdviceList", cn_number=number)["data"]
        row = {"id": rows[0]["id"] if rows else 1, "cn_number": number, "shipper_remarks": note,
               "shipper_advice_status": {"re-attempt": "RA", "return": "RT"}[means]}  # fmt: skip
        return str(counter.lcs("updateShipperAdvice", data=[row])["status"]) == "1"
    if counter.courier == "shiprocket":
        answer = counter.ask("POST", f"ndr/{number}/action", json={"action": means, "comments": note})
        assert answer.status_code in (202, 400)
        return answer.status_code == 202 and answer.json() == {"status": "Data Updated Sucessfully"}
    kind = {"return": 1, "re-attempt": 2}[means]
    if counter.courier == "postex":
        said = {"trackingNumber": number, "statusId": kind, "remarks": note}
        return bool(counter.asked("PUT", "v2/save-shipper-advice", json=said)["statusCode"] == "200")
    said = {"tracking_number": int(number), "type": kind, "remarks": note}
    return bool(counter.asked("POST", "request/rcp", json=said)["status"] == 0)


advising = at("leopards", "shiprocket", "postex", "trax")


@advising
@pytest.mark.parametrize("means", ["re-attempt", "return"])
def test_advice_ends_at_the_courier_with_the_right_instruction(counter: Counter, means: str) -> None:
    number = counter.book()
    counter.fail(number)
    assert advised(counter, number, means)
    [advice] = counter.parcel(number)["advice"]
    assert advice["means"] == means
    assert "Tomorrow after five" in advice["said"].values()


@advising
def test_advice_is_taken_only_while_the_newest_scan_is_a_failed_attempt(counter: Counter) -> None:
    number = counter.book()
    assert not advised(counter, number)
    counter.fail(number)
    word = {"leopards": ("AC", "Out for delivery"), "shiprocket": ("17", "Out For Delivery"),
            "postex": ("0004", "Package on Root"), "trax": ("", "Out for Delivery")}[counter.courier]  # fmt: skip
    counter.scan(number, *word)
    assert not advised(counter, number)
    assert counter.parcel(number)["advice"] == []


def test_leopards_lists_what_waits_for_advice_and_knows_each_attempt(http: httpx.Client) -> None:
    leopards = Counter(http, "leopards")
    number = leopards.book()
    assert leopards.lcs("shipperAdviceList")["data"] == []
    leopards.fail(number)
    [row] = leopards.lcs("shipperAdviceList", Cn_number=number)["data"]
    assert (row["shipper_advice_status"], row["attempt_counter"]) == ("Pending", 1)
    said = {"id": row["id"], "cn_number": number, "shipper_advice_status": "RX", "shipper_remarks": "x"}
    assert leopards.lcs("updateShipperAdvice", data=[said])["error"].startswith("Invalid advice status")
    assert advised(leopards, number)
    assert leopards.lcs("shipperAdviceList", cn_number=number)["data"][0]["shipper_advice_status"] == "RA"
    leopards.scan(number, "PN2", "Pending")
    [second] = leopards.lcs("shipperAdviceList", cn_number=number)["data"]
    assert (second["shipper_advice_status"], second["attempt_counter"]) == ("Pending", 2)
    assert leopards.lcs("updateShipperAdvice", data=[{**said, "shipper_advice_status": "RA"}])["status"] == 0


def test_shiprocket_takes_an_address_a_phone_and_a_day_with_a_re_attempt(http: httpx.Client) -> None:
    shiprocket = Counter(http, "shiprocket")
    number = shiprocket.book()
    assert shiprocket.asked("GET", f"ndr/{number}")["data"] == []
    shiprocket.fail(number)
    [row] = shiprocket.asked("GET", f"ndr/{number}")["data"]
    assert (row["status"], row["status_code"], row["attempts"]) == ("UNDELIVERED", 36, 1)
    said = {"action": "re-attempt", "comments": "Moved", "phone": "9876543211", "address1": "8 Hill Road",
            "deferred_date": "2036-01-01"}  # fmt: skip
    for change in ({"action": "give up"}, {"phone": "123"}, {"deferred_date": "2020-01-01"}, {"comments": ""}):
        assert shiprocket.ask("POST", f"ndr/{number}/action", json={**said, **change}).status_code == 422, change
    assert shiprocket.ask("POST", f"ndr/{number}/action", json=said).status_code == 202
    assert shiprocket.parcel(number)["advice"][0]["said"] == said


def test_postex_tells_the_advice_it_was_given(http: httpx.Client) -> None:
    postex = Counter(http, "postex")
    number = postex.book()
    postex.scan(number, "0013", "Attempt Made: NSC")  # any reason is an attempt
    assert advised(postex, number)
    told = postex.asked("GET", f"v1/get-shipper-advice/{number}")["dist"]
    assert [row["remarks"] for row in told["trackingResponse"]] == ["Tomorrow after five"]
    said = {"trackingNumber": number, "statusId": 3, "remarks": "x"}
    assert postex.asked("PUT", "v2/save-shipper-advice", json=said)["statusCode"] == "400"
    assert postex.ask("PUT", "v2/save-shipper-advice", json={**said, "statusId": "soon"}).status_code == 400


def test_trax_wants_the_number_as_a_number_and_moves_on_with_the_advice(http: httpx.Client) -> None:
    trax = Counter(http, "trax")
    number = trax.book()
    trax.fail(number)
    said = {"tracking_number": number, "type": 1}
    assert "tracking_number" in trax.asked("POST", "request/rcp", json=said)["errors"]
    answer = trax.asked("POST", "request/rcp", json={**said, "tracking_number": int(number)})
    assert answer["message"] == "Shipment successfully marked as Shipment - Return Confirm"
    assert trax.parcel(number)["stage"] == "returning"
    assert not advised(trax, number)


# Proof


def test_a_delivery_is_proven_by_those_that_prove(http: httpx.Client) -> None:
    leopards, shiprocket = Counter(http, "leopards"), Counter(http, "shiprocket")
    number, who = leopards.book(), {"api_key": KEY, "api_password": PASSWORD}

    def proof() -> Any:
        asked = {**who, "cn_number": number}
        return leopards.asked("GET", "getElectronicProofOfDelivery/format/json/", params=asked)

    assert proof()["status"] == 0
    leopards.scan(number, "DV", "Delivered")
    item = proof()["data"][0][number]
    assert (item["Receiver_Name"], item["Relation"]) == ("Ali Raza", "Self")
    assert http.get(item["Sig_Url"]).content.startswith(b"\x89PNG")

    awb = shiprocket.book()
    shiprocket.scan(awb, "17", "Out For Delivery")
    [track] = shiprocket.asked("GET", f"courier/track/awb/{awb}")["tracking_data"]["shipment_track"]
    assert (track["pod"], track["pod_status"]) == ("Not Available", None)
    shiprocket.scan(awb, "7", "Delivered")
    [found] = shiprocket.asked("GET", "courier/track", params={"order_id": "#1001"})  # an array, unlike the others
    [track] = found["tracking_data"]["shipment_track"]
    assert track["pod"] == "Available"
    assert http.get(track["pod_status"]).content.startswith(b"\x89PNG")


# Pushes of what the courier writes itself


@at("leopards", "shiprocket", "trax")
def test_a_booking_is_pushed_only_by_trax(sandbox: Running, stand_in: StandIn, counter: Counter) -> None:
    told = {"courier": counter.courier, "push_url": f"{stand_in.url}/webhooks/couriers/x/t"}
    counter.http.post("/control/couriers", json=told)
    number = counter.book()
    counter.scan(number, *{"leopards": ("SP", "Shipment Picked"), "shiprocket": ("42", "Picked Up")}.get(
        counter.courier, ("", "Rider Picked")))  # fmt: skip
    pushes = stand_in.wait_for(lambda one: one.path.startswith("/webhooks/couriers"), 1)
    if counter.courier == "trax":
        pushes = stand_in.wait_for(lambda one: one.path.startswith("/webhooks/couriers"), 2)
        assert pushes[0].json["status"] == "Shipment - Booked"
    elif counter.courier == "shiprocket":
        assert [scan["sr-status"] for scan in pushes[0].json["scans"]] == ["42"]
    else:
        assert pushes[0].json["data"][0]["status"] == "SP"


@at("leopards", "shiprocket", "trax")
def test_shops_that_name_themselves_are_each_told_of_every_parcel(stand_in: StandIn, counter: Counter) -> None:
    for shop in ("one", "two", "two"):
        told = {"courier": counter.courier, "push_url": f"{stand_in.url}/webhooks/couriers/x/{shop}", "shop": shop}
        counter.http.post("/control/couriers", json=told)
    counter.scan(counter.book(), *{"leopards": ("SP", "Shipment Picked"), "shiprocket": ("42", "Picked Up")}.get(
        counter.courier, ("", "Rider Picked")))  # fmt: skip
    each = 2 if counter.courier == "trax" else 1  # which pushes the booking too
    pushes = stand_in.wait_for(lambda one: one.path.startswith("/webhooks/couriers"), 2 * each)
    assert sorted(push.path[-3:] for push in pushes) == ["one"] * each + ["two"] * each


# The scanner's words


@every
def test_the_scanner_has_words_for_a_whole_life(counter: Counter) -> None:
    words = counter.http.get("/control/couriers").json()["words"][counter.courier]
    life = ["booked", "picked_up", "in_transit", "at_destination", "out_for_delivery", "attempted", "delivered",
            "returning", "returned"]  # fmt: skip
    assert list(dict.fromkeys(word["stage"] for word in words)) == life
    number = counter.book()
    for word in words:
        counter.scan(number, word["code"], word["text"], word["reason"])
        assert counter.parcel(number)["stage"] == word["stage"], word


def test_parcels_are_shown_by_courier_order_and_number(http: httpx.Client) -> None:
    tcs, trax = Counter(http, "tcs"), Counter(http, "trax")
    first, second = tcs.book(), trax.book(order="#1002")

    def numbers(**asked: str) -> list[str]:
        return [parcel["number"] for parcel in http.get("/control/couriers", params=asked).json()["parcels"]]

    assert numbers() == [first, second]
    assert numbers(courier="trax") == numbers(order="#1002") == numbers(number=second) == [second]
    assert http.get("/control/couriers", params={"courier": "ups"}).status_code == 400
