from __future__ import annotations

from datetime import date
from decimal import Decimal
from io import StringIO

import pytest

from example.reports.forms import DAMAGED, SAMPLE
from example.reports.orders import CHECKED_ROWS, Order, OrdersError, check_upload, read_orders

from .conftest import HEADER, ROWS

GOOD = "2025-01-31,A-1,Tea,2,3.50\n"


def read(text: str) -> list[Order]:
    return list(read_orders(StringIO(text, newline="")))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0", "not a text file in UTF-8 (byte 1 "),
        ("date,order number,product\n2025-01-31,A-1,Café\n".encode("latin-1"), "not a text file in UTF-8 (byte 45 "),
        ((HEADER + GOOD).encode("utf-16"), "not a text file in UTF-8 (byte 1 "),
        ((HEADER + GOOD).encode("utf-16-le"), "a binary file, not a CSV"),
        (b"<!doctype html>\n<p>Hello</p>\n", "Its first row has: “<!doctype html>”"),
        (b"\n\n", "Its first row has: nothing"),
        (b"date,product,Unit_Price\n", "misses the columns “order number”, “quantity”."),
        (b"date,order number,product,quantity,price\n", "misses the column “unit price”."),
        (HEADER.encode(), "no row under the header"),
        ((HEADER + "\n , , \n").encode(), "no row under the header"),
    ],
)
def test_what_is_no_csv_of_orders_is_refused_with_the_reason(content: bytes, says: str) -> None:
    with pytest.raises(OrdersError) as caught:
        check_upload(content)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("31.01.2025,A-1,Tea,2,3.50", "Row 3: the date “31.01.2025” is not a day such as 2025-01-31."),
        ("20250131,A-1,Tea,2,3.50", "Row 3: the date “20250131” is not a day"),
        ("2025-02-30,A-1,Tea,2,3.50", "Row 3: the date “2025-02-30” is not a day"),
        ("2025-01-31,A-1,Tea,two,3.50", "Row 3: the quantity “two” is not a whole number."),
        ("2025-01-31,A-1,Tea,1.5,3.50", "Row 3: the quantity “1.5” is not a whole number."),
        ("2025-01-31,A-1,Tea,1_0,3.50", "Row 3: the quantity “1_0” is not a whole number."),
        ("2025-01-31,A-1,Tea,٣,3.50", "Row 3: the quantity “٣” is not a whole number."),
        ('2025-01-31,A-1,Tea,2,"3,50"', "Row 3: the unit price “3,50” is not a number such as 12.50."),
        ("2025-01-31,A-1,Tea,2,NaN", "Row 3: the unit price “NaN” is not a number"),
        ("2025-01-31,A-1,Tea,2,1e999999", "Row 3: the unit price “1e999999” is not a number"),
        ("2025-01-31,A-1,Tea,2,-3.50", "Row 3: the unit price “-3.50” is not a number"),
        ("2025-01-31,A-1,,2,3.50", "Row 3 has no product."),
        ("2025-01-31,A-1,Tea,2", "Row 3 has 4 values, where 5 are needed."),
        ('2025-01-31,"A-1"x,Tea,2,3.50', "Row 3 is not CSV:"),
        (f"2025-01-31,A-1,Tea,{'9' * 90},3.50", f"Row 3: the quantity “{'9' * 39}…” is not"),
    ],
)
def test_a_bad_row_is_named_with_its_number_and_value(row: str, says: str) -> None:
    with pytest.raises(OrdersError) as caught:
        read(HEADER + GOOD + row + "\n" + GOOD)
    assert str(caught.value).startswith(says)


def test_an_upload_is_checked_in_its_first_rows_only() -> None:
    bad = "2025-01-31,A-1,Tea,two,3.50\n"
    check_upload((HEADER + GOOD * CHECKED_ROWS + bad).encode())
    with pytest.raises(OrdersError, match=f"Row {CHECKED_ROWS + 1}:"):
        check_upload((HEADER + GOOD * (CHECKED_ROWS - 1) + bad).encode())


def test_the_damaged_sample_passes_the_check_and_not_the_reading() -> None:
    check_upload(DAMAGED.read_bytes())
    with pytest.raises(OrdersError, match="Row 119: the quantity “a dozen” is not a whole number"):
        read(DAMAGED.read_text())


def test_the_sample_is_read_to_its_end() -> None:
    check_upload(SAMPLE.read_bytes())
    assert len(read(SAMPLE.read_text())) == 198


def test_orders_are_read_with_their_types() -> None:
    assert read(HEADER + ROWS)[0] == Order(
        day=date(2025, 1, 31), number="A-1", product="Tea", quantity=2, unit_price=Decimal("3.50")
    )


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + HEADER + GOOD,
        HEADER.upper().replace(" ", "_") + GOOD,
        (HEADER + GOOD).replace(",", ";"),
        (HEADER + "\n" + GOOD).replace("\n", "\r\n"),
        "note,unit price,quantity,product,order number,date\n,3.50,2,Tea,A-1,2025-01-31\n",
    ],
    ids=["byte order mark", "other case", "semicolons", "CRLF and a blank line", "other order, one more column"],
)
def test_the_ways_in_which_spreadsheets_write_it_are_all_read(text: str) -> None:
    check_upload(text.encode())
    assert read(text.removeprefix("\ufeff")) == read(HEADER + GOOD)
