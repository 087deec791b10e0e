"""An exported statement is read as it is, and a claim is proven by one line or by none. All rows here are invented."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from integration.statements import (
    LARGEST,
    MOST_ROWS,
    Claim,
    Line,
    Table,
    amount,
    fingerprint,
    guess,
    lines,
    match,
    moment,
    read,
)
from integration.values import clean

KARACHI = ZoneInfo("Asia/Karachi")
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)

WALLET = """Account statement
Account: Lahore Lawn

Date,Transaction ID,Type,Status,Amount (PKR),Sender Number,Sender Name,Balance
26/11/2026 14:35,060935465981,Money Received,Successful,"Rs. 1,500/-",03001234567,Ayesha,"25,000.00"
26/11/2026 15:00,060935466120,Money Sent,Successful,500.00,,Courier,"24,500.00"
27/11/2026 09:10,060935470001,Money Received,Pending,700.00,03007654321,Bilal,"24,500.00"

27/11/2026 09:12,6.09355E+10,Money Received,Successful,800.00,03007654321,Bilal,"25,300.00"
"""
BANK = """Fecha;Clave de rastreo;Concepto;Cargo;Abono;Saldo
27/11/2026;MBAN0100261127001;Pedido 1001;;1.500,00;20.000,00
28/11/2026;MBAN0100261127002;Renta;9.000,50;;11.000,00
"""


def _lines(text: str, zone: ZoneInfo = KARACHI) -> tuple[list[Line], list[tuple[int, str]], int]:
    table = read(text.encode())
    found = lines(table, guess(table.header, table.rows), zone)
    return list(found.lines), [(row.number, row.why) for row in found.unread], found.out


def test_a_wallets_export_is_read_row_by_row() -> None:
    found, unread, out = _lines(WALLET)
    assert [(line.number, line.transaction, line.amount, line.sender, line.name) for line in found] == [
        (5, "060935465981", Decimal(1500), "03001234567", "Ayesha")
    ]
    assert found[0].at == datetime(2026, 11, 26, 9, 35, tzinfo=UTC)
    assert out == 1
    assert unread == [
        (7, "Its status, Pending, does not say that the money is there."),
        (9, "The spreadsheet shortened the transaction's number. Export the statement again as CSV."),
    ]


def test_a_banks_export_with_two_columns_of_money_and_decimal_commas() -> None:
    found, unread, out = _lines(BANK, ZoneInfo("America/Mexico_City"))
    assert [(line.transaction, line.amount, line.note) for line in found] == [
        ("MBAN0100261127001", Decimal("1500.00"), "Pedido 1001")
    ]
    assert (unread, out) == ([], 1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_encodings_and_delimiters(encoding: str, delimiter: str) -> None:
    rows = [["تاریخ", "ٹرانزیکشن آئی ڈی", "رقم", "نام"], ["۲۶/۱۱/۲۰۲۶", "۰۶۰۹۳۵۴۶۵۹۸۱", "۱٬۵۰۰", "عائشہ"]]
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter).writerows(rows)
    table = read(file.getvalue().encode(encoding))
    assert table == Table(tuple(rows[0]), (tuple(rows[1]),), 2)
    found = lines(table, guess(table.header, table.rows), KARACHI).lines
    assert [(line.transaction, line.amount, line.at) for line in found] == [
        ("060935465981", Decimal(1500), datetime(2026, 11, 25, 19, tzinfo=UTC))
    ]


def test_western_letters_of_an_old_spreadsheet_are_read() -> None:
    assert read("Fecha;Descripción;Abono\n27/11/2026;Señora Núñez;1\n".encode("cp1252")).rows[0][1] == "Señora Núñez"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b" \n \n", "empty"),
        (b"PK\x03\x04rest", "spreadsheet"),
        (b"%PDF-1.7", "PDF"),
        (b"a,b\x00c\n1,2,3\n", "not a CSV"),
        (b"\xff\xfe\x00", "letters"),
        (b"1,2\n3,4\n", "names of columns"),
        (b"just one sentence\n", "names of columns"),
        (b'Date,Amount\n"' + (b"x" * 100 + b"\n") * 2_000, "well-formed"),
        (b"Date,Amount\n" + b"1," * 200_000, "longer than a statement's"),
        (b"Date,Amount\n" * (MOST_ROWS + 2), "rows"),
        (b"x" * (LARGEST + 1), "5 MB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_statement_is_said_in_a_sentence(content: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says) as told:
        read(content)
    assert str(told.value).endswith(".")


@given(st.binary(max_size=400) | st.text(alphabet='Date,Amount;|\t"\n\r 1.\x85é', max_size=200).map(str.encode))
@example(b"\xef\xbb\xbf")
@example(b"Date,Amount\r\n")
def test_any_bytes_are_a_table_or_a_sentence(content: bytes) -> None:
    try:
        table = read(content)
    except ValueError as error:
        assert str(error).endswith(".")
        return
    mapping = guess(table.header, table.rows)
    assert all(0 <= nth < len(table.header) for nth in mapping.values())
    try:
        found = lines(table, mapping, KARACHI)
    except ValueError as error:
        assert str(error) == "Say which column holds the amount."
        return
    assert len(found.lines) + len(found.unread) + found.out == sum(any(row) for row in table.rows)


# -- sums and dates ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1,500.00", "1500"), ("Rs. 1,500/-", "1500"), ("PKR 1500", "1500"), ("₹1,50,000.50", "150000.5"),
        ("1.500,00", "1500"),
        ("R$ 1.500,90", "1500.9"), ("1.500.000", "1500000"), ("1.500", "1500"), ("1,500", "1500"), ("1,5", "1.5"),
        ("0.500", "0.5"),
        ("۱٬۵۰۰٫۲۵", "1500.25"), ("१,५००", "1500"), ("1 500,00", "1500"), ("1'500.00", "1500"), ("1500 Cr", "1500"),
        ("+1500", "1500"),
        ("(1,500.00)", "-1500"), ("-1500", "-1500"), ("1500-", "-1500"), ("1500 Dr", "-1500"),
        ("Rs -1,500", "-1500"), ("1500.125", "1500.125"),
    ],
)  # fmt: skip
def test_sums_as_they_are_written_everywhere(written: str, value: str) -> None:
    assert amount(written) == Decimal(value)


@pytest.mark.parametrize(
    "written", ["", "abc", "1.5.00", "1,2,3", "12-11-2026", "--5", "1e5", "NaN", "1,500.00.00", "9" * 40]
)
def test_what_is_no_sum_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        amount(written)


def test_thousands_and_decimals_are_told_by_the_rest_of_the_file() -> None:
    assert amount("1,500", ".") == Decimal(1500)
    with pytest.raises(ValueError, match="not clear"):
        amount("1,500", ",")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("26/11/2026 14:35", "2026-11-26T14:35"), ("26-11-26 2:35 PM", "2026-11-26T14:35"),
        ("26.11.2026", "2026-11-26T00:00"),
        ("2026-11-26 14:35:10", "2026-11-26T14:35:10"), ("2026-11-26T14:35:10+00:00", "2026-11-26T19:35:10"),
        ("2026-11-26T09:35:10.123Z", "2026-11-26T14:35:10"), ("2026/11/26", "2026-11-26T00:00"),
        ("26 Nov 2026, 12:05 am", "2026-11-26T00:05"),
        ("Nov 26, 2026", "2026-11-26T00:00"), ("26-Nov-26", "2026-11-26T00:00"),
        ("26 de noviembre de 2026", "2026-11-26T00:00"),
        ("26 نومبر 2026", "2026-11-26T00:00"), ("26 नवंबर 2026", "2026-11-26T00:00"),
        ("20261126143510", "2026-11-26T14:35:10"),
        ("11/26/2026", "2026-11-26T00:00"), ("05/06/2026", "2026-06-05T00:00"),
        ("26 novembro 2026", "2026-11-26T00:00"),
    ],
)  # fmt: skip
def test_dates_as_they_are_written_everywhere(written: str, value: str) -> None:
    assert moment(written, KARACHI) == datetime.fromisoformat(value).replace(tzinfo=KARACHI)


@pytest.mark.parametrize(
    "written", ["", "tomorrow", "31/02/2026", "2026-13-01", "1/1/1", "26/11/2026 25:00", "26/11/2026 13:00 PM", "0609"]
)
def test_what_is_no_date_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        moment(written, KARACHI)


def test_a_column_with_one_date_that_must_have_its_month_first_has_it_everywhere() -> None:
    found, _, _ = _lines("Date,Amount,Type\n11/05/2026,1.00,Cr\n11/26/2026,2.00,Cr\n")
    assert [line.at.month if line.at else 0 for line in found] == [11, 11]


@given(st.text(max_size=40))
@example("-")
@example("+")
def test_any_text_is_a_sum_or_not_and_a_date_or_not(written: str) -> None:
    for reads in (amount, moment):
        try:
            reads(written)
        except ValueError as error:
            assert str(error).endswith(".")


DAWN = datetime(2001, 1, 1, tzinfo=UTC).replace(tzinfo=None)
STYLES = {
    "1,500.00": "{:,.2f}".format,
    "1500.00": "{:.2f}".format,
    "Rs. 1,500.00": "Rs. {:,.2f}".format,
    "1,500.00 Cr": "{:,.2f} Cr".format,
    "1.500,00": lambda value: f"{value:,.2f}".translate(str.maketrans(",.", ".,")),
    "urdu": lambda value: f"{value:.2f}".translate(str.maketrans("0123456789.", "۰۱۲۳۴۵۶۷۸۹٫")),
}
DAYS = {
    "d/m/y": "%d/%m/%Y %H:%M:%S",
    "d b y": "%d %b %Y %I:%M:%S %p",
    "iso": "%Y-%m-%dT%H:%M:%S",
    "d-m-y": "%d-%m-%y %H:%M:%S",
}


@given(
    st.lists(
        st.tuples(
            st.decimals(min_value="0.01", max_value="99999999", places=2),
            st.datetimes(DAWN, DAWN.replace(year=2068)),
            st.text(alphabet="ABCDEF0123456789", min_size=6, max_size=20).filter(str.isalnum),
            st.text(max_size=20).map(clean),
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(list(STYLES)),
    st.sampled_from(list(DAYS)),
    st.sampled_from(",;\t|"),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_a_written_statement_reads_back_exactly(
    rows: list[tuple[Decimal, datetime, str, str]], style: str, days: str, delimiter: str, encoding: str
) -> None:
    rows = [(value, at.replace(microsecond=0), id_, name) for value, at, id_, name in rows]
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerow(["Date", "Reference", "Credit", "Name"])
    writer.writerows([at.strftime(DAYS[days]), id_, STYLES[style](value), name] for value, at, id_, name in rows)
    table = read(file.getvalue().encode(encoding))
    found = lines(table, guess(table.header, table.rows), UTC)
    assert found.unread == ()
    assert [(line.amount, line.at, line.transaction, line.name) for line in found.lines] == [
        (value, at.replace(tzinfo=UTC), id_, name) for value, at, id_, name in rows
    ]


# -- columns -------------------------------------------------------------------------------------------------------


def test_columns_of_names_that_nobody_knows_are_told_by_what_is_in_them() -> None:
    table = read(b"When it was,What,Who it is,How much\n26/11/2026,060935465981,03001234567,1500.00\n" * 1)
    assert guess(table.header, table.rows) == {"transaction": 1, "amount": 3, "at": 0, "sender": 2}


def test_balances_fees_and_receivers_are_not_mistaken_for_what_is_sought() -> None:
    header = (
        "Receiver Name",
        "Sender Name",
        "Fee",
        "Balance",
        "Transaction Amount (Rs.)",
        "Trx. ID",
        "Txn Date & Time",
    )
    assert guess(header, ()) == {"name": 1, "amount": 4, "transaction": 5, "at": 6}


def test_a_fingerprint_is_of_the_columns_names_and_order_alone() -> None:
    assert fingerprint(("Date", "Amount (PKR)")) == fingerprint((" date", "AMOUNT [pkr]"))
    assert fingerprint(("Date", "Amount")) != fingerprint(("Amount", "Date"))
    assert len(fingerprint(())) == 16


def test_where_a_column_says_what_came_and_what_went_a_row_that_does_not_is_unread() -> None:
    found, unread, out = _lines("Date,Amount,Type\n26/11/2026,1.00,Cr\n26/11/2026,2.00,\n26/11/2026,3.00,Dr\n")
    assert ([line.amount for line in found], out) == ([Decimal(1)], 1)
    assert unread == [(3, "Whether the money came in or went out is not clear.")]


def test_a_mapping_that_the_merchant_made_counts_and_one_without_money_is_refused() -> None:
    table = Table(("a", "b"), (("5", "7"),))
    assert lines(table, {"amount": 1}, UTC).lines[0].amount == 7
    with pytest.raises(ValueError, match="which column"):
        lines(table, {"transaction": 0}, UTC)
    assert lines(table, {"amount": 9}, UTC).unread[0].why == "There is no amount."


# -- claims --------------------------------------------------------------------------------------------------------


def _line(id_: str, value: int, **more: object) -> Line:
    return replace(Line(id_, Decimal(value), NOON, "", "", raw=f"{id_} {value} {more}"), **more)  # type: ignore[arg-type]


def _claim(id_: str, value: int, minutes: int = 0, phones: tuple[str, ...] = ()) -> Claim:
    return Claim(id_, Decimal(value), NOON + timedelta(minutes=minutes), phones)


def _verdicts(claims: list[Claim], statement: list[Line]) -> list[str]:
    found = match(claims, statement)
    assert [one.claim for one in found] == claims
    assert all(one.why.endswith(".") and (one.line is None) == (one.verdict == "none") for one in found)
    return [one.verdict for one in found]


def test_a_line_with_the_id_says_how_much_came_and_when() -> None:
    statement = [_line("A1234567", 1500), _line("B1234567", 1400), _line("C1234567", 1600)]
    statement.append(_line("D1234567", 1500, at=NOON - timedelta(hours=25)))
    claims = [_claim(f"{letter}1234567", 1500) for letter in "ABCDE"]
    assert _verdicts(claims, statement) == ["exact", "short", "over", "older", "none"]
    assert match(claims, statement)[1].why.endswith("1,400 instead of 1,500: 100 are missing.")


def test_an_id_that_a_spreadsheet_cut_or_a_description_holds_is_the_same_id() -> None:
    assert _verdicts([_claim("060935465981", 5)], [_line("60935465981", 5)]) == ["exact"]
    assert _verdicts([_claim("060935465981", 5)], [_line("", 5, note="IN/060935465981/AYESHA")]) == ["exact"]


def test_what_stands_in_many_descriptions_or_can_be_dialled_proves_nothing() -> None:
    notes = [_line("", 5, note="TO A/C 1020304050607 FROM 03001234567 NR 1"), _line("", 5, note="TO A/C 1020304050607")]
    assert _verdicts([_claim("1020304050607", 5), _claim("03001234567", 5)], notes) == ["none", "none"]


def test_one_transaction_proves_one_claim_however_often_it_is_listed() -> None:
    statement = [_line("A1234567", 1500), _line("A1234567", 1500, number=9), _line("A1234567", 1400, number=10)]
    claims = [_claim("A1234567", 1500, minutes=5), _claim("A1234567", 1500), _claim("A1234567", 1400)]
    assert _verdicts(claims, statement) == ["none", "exact", "none"]
    assert (
        match(claims, statement)[0].why == "The statement has this transaction, but it already pays for another order."
    )


def test_a_line_that_merely_fits_one_open_claim_is_a_suggestion() -> None:
    line = _line("Z9999999", 700, sender="0300***4567")
    ours, other = _claim("", 700, phones=("+923001234567",)), _claim("", 700, phones=("+923007654321",))
    assert _verdicts([ours, other], [line]) == ["likely", "none"]
    assert _verdicts([ours, ours], [line]) == ["none", "none"]
    assert _verdicts([ours], [replace(line, amount=Decimal(701))]) == ["none"]
    assert _verdicts([ours], [replace(line, sender="67")]) == ["none"]
    assert _verdicts([ours], [replace(line, at=NOON - timedelta(days=2))]) == ["none"]
    assert _verdicts([ours, _claim("Z9999999", 700)], [line]) == ["none", "exact"]


def test_in_any_statement_no_line_proves_two_claims_and_order_does_not_matter() -> None:
    dice = Random(20261127)
    for _ in range(2_000):
        ids = [f"T{nth}234567" for nth in range(4)] + [""]
        statement = [
            _line(dice.choice(ids), dice.choice([5, 6]), number=nth, sender=dice.choice(["", "03001234567"]))
            for nth in range(dice.randint(0, 6))
        ]
        claims = [
            _claim(dice.choice(ids), dice.choice([5, 6]), nth, dice.choice([(), ("+923001234567",)]))
            for nth in range(dice.randint(0, 6))
        ]
        found = match(claims, statement)
        proven = [one.line for one in found if one.line]
        assert len({id(line) for line in proven}) == len(proven)
        named = [line.transaction for line in proven if line.transaction]
        assert len(set(named)) == len(named)
        for one in found:
            assert one.verdict != "exact" or (one.line and one.line.amount == one.claim.amount)
            assert (one.verdict == "likely") <= (one.claim.id == "")
        dice.shuffle(statement)
        assert [one.verdict for one in match(claims, statement)] == [one.verdict for one in found]
