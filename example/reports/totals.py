"""Worker process. What the orders come to, by month and by product. Pure: orders in, figures out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from example.reports.orders import Order

ZERO = Decimal(0)


def money(amount: Decimal) -> str:
    """Return an amount with two places, as 1,234.50."""
    return f"{amount:,.2f}"


@dataclass(slots=True)
class Sum:
    """How many pieces, and what they come to."""

    quantity: int = 0
    amount: Decimal = ZERO

    def add(self, order: Order) -> None:
        """Count one row in."""
        self.quantity += order.quantity
        self.amount += order.amount


@dataclass(slots=True, kw_only=True)
class Totals:
    """The figures of a report. Months are their first days; an order counts in the month of its date."""

    numbers: set[str] = field(default_factory=set)
    overall: Sum = field(default_factory=Sum)
    months: dict[date, Sum] = field(default_factory=lambda: defaultdict(Sum))
    products: dict[str, Sum] = field(default_factory=lambda: defaultdict(Sum))

    @property
    def order_count(self) -> int:
        """How many orders there are; one with several rows counts once."""
        return len(self.numbers)

    def by_month(self) -> list[tuple[date, Sum]]:
        """Return the months, first to last."""
        return sorted(self.months.items())

    def by_product(self) -> list[tuple[str, Sum]]:
        """Return the products, the largest amount first, equal ones by name."""
        return sorted(self.products.items(), key=lambda item: (-item[1].amount, item[0]))


def add_up(orders: Iterable[Order]) -> Totals:
    """Return what `orders` come to; they are read once and not kept."""
    totals = Totals()
    for order in orders:
        totals.numbers.add(order.number)
        for part in (totals.overall, totals.months[order.day.replace(day=1)], totals.products[order.product]):
            part.add(order)
    return totals
