from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO

from example.reports.orders import read_orders
from example.reports.page import SHOWN_PRODUCTS, render_report
from example.reports.totals import add_up

from .conftest import HEADER, ROWS


def render(rows: str, title: str = "Orders") -> str:
    totals = add_up(read_orders(StringIO(HEADER + rows)))
    return render_report(title, totals, built_at=datetime(2025, 3, 1, tzinfo=UTC))


def test_values_of_the_csv_are_escaped() -> None:
    html = render('2025-01-01,A-1,<script>alert(1)</script>,1,1\n2025-01-01,A-1,"=HYPERLINK(""x"")",1,1\n', "<b>&")
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "=HYPERLINK(&quot;x&quot;)" in html
    assert "<title>&lt;b&gt;&amp;</title>" in html


def test_the_page_loads_nothing_from_anywhere() -> None:
    html = render(ROWS)
    assert "http://" not in html
    assert "https://" not in html
    assert "src=" not in html
    assert "href=" not in html


def test_months_products_and_the_total_are_printed() -> None:
    html = render(ROWS)
    for text in ("January 2025", "17.00", "February 2025", "-6.50", "Tea", "10.50"):
        assert text in html


def test_the_longest_bar_is_full_and_what_is_below_zero_has_none() -> None:
    html = render(ROWS)
    assert 'width="100%"' in html
    assert 'width="0%"' in html


def test_orders_that_come_to_nothing_have_a_page_too() -> None:
    assert "0.00" in render("2025-01-01,A-1,Gift,1,0\n")


def test_smaller_products_are_counted_not_listed() -> None:
    rows = "".join(f"2025-01-01,A-1,Product {number:03},1,{number}\n" for number in range(1, SHOWN_PRODUCTS + 3))
    html = render(rows)
    assert "and 2 more products" in html
    assert "Product 003" in html
    assert "Product 002" not in html
