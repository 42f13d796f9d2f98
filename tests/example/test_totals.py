from __future__ import annotations

from datetime import date
from decimal import Decimal
from io import StringIO

from example.reports.orders import read_orders
from example.reports.totals import Sum, add_up, money

from .conftest import HEADER, ROWS


def test_totals_are_those_computed_by_hand() -> None:
    # January: 2 teas at 3.50 and a mug at 10. February: a tea at 3.50, and a mug that came back.
    totals = add_up(read_orders(StringIO(HEADER + ROWS)))
    assert totals.order_count == 3
    assert totals.overall == Sum(3, Decimal("10.50"))
    assert totals.by_month() == [
        (date(2025, 1, 1), Sum(3, Decimal("17.00"))),
        (date(2025, 2, 1), Sum(0, Decimal("-6.50"))),
    ]
    assert totals.by_product() == [("Tea", Sum(3, Decimal("10.50"))), ("Mug", Sum(0, Decimal("0.00")))]


def test_money_adds_up_to_the_cent() -> None:
    rows = "".join(f"2025-01-01,A-{number},Pin,1,0.10\n" for number in range(1000))
    assert add_up(read_orders(StringIO(HEADER + rows))).overall.amount == Decimal("100.00")


def test_no_orders_come_to_nothing() -> None:
    assert add_up([]).overall == Sum(0, Decimal(0))


def test_money_is_written_with_two_places() -> None:
    assert money(Decimal("1234567.5")) == "1,234,567.50"
