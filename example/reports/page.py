"""Worker process. The report as one HTML file that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.template.loader import render_to_string
from django.utils.formats import date_format

from example.reports.totals import ZERO, Sum, Totals, money

SHOWN_PRODUCTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of a table, ready to print; `percent` is the length of its bar."""

    label: str
    quantity: str
    amount: str
    percent: int


def render_report(title: str, totals: Totals, *, built_at: datetime) -> str:
    """Return the HTML of a report. Django's template engine escapes every value of the CSV."""
    products = totals.by_product()
    return render_to_string(
        "reports/report.html",
        {
            "title": title,
            "built_at": built_at,
            "order_count": f"{totals.order_count:,}",
            "quantity": f"{totals.overall.quantity:,}",
            "amount": money(totals.overall.amount),
            "months": _rows((date_format(month, "F Y"), part) for month, part in totals.by_month()),
            "products": _rows(products[:SHOWN_PRODUCTS]),
            "more_products": max(0, len(products) - SHOWN_PRODUCTS),
        },
    )


def _rows(parts: Iterable[tuple[str, Sum]]) -> list[Row]:
    parts = list(parts)
    largest = max((part.amount for _, part in parts), default=ZERO)
    return [
        Row(
            label=label,
            quantity=f"{part.quantity:,}",
            amount=money(part.amount),
            # Returns can bring a month or a product below zero: it has no bar.
            percent=round(100 * part.amount / largest) if largest > 0 and part.amount > 0 else 0,
        )
        for label, part in parts
    ]
