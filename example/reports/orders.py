"""Both. A CSV of orders, row by row. The web process checks an upload with it, the worker reads it all.

Pure: no model, no setting. Every complaint is an OrdersError in words for the person who sent the file.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from io import StringIO
from itertools import chain, islice

COLUMNS = ("date", "order number", "product", "quantity", "unit price")
MAX_BYTES = 10 * 1024 * 1024
CHECKED_ROWS = 20

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_QUANTITY = re.compile(r"-?\d{1,6}", re.ASCII)
_PRICE = re.compile(r"\d{1,7}(\.\d{1,4})?", re.ASCII)


class OrdersError(ValueError):
    """A file of orders cannot be used; the message says why to the person who sent it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One row: so many of a product, on a day. An order number may come in several rows."""

    day: date
    number: str
    product: str
    quantity: int
    unit_price: Decimal

    @property
    def amount(self) -> Decimal:
        """What the row comes to; below zero for a return."""
        return self.quantity * self.unit_price


def check_upload(content: bytes) -> None:
    """Raise OrdersError unless `content` is text with the right columns and its first rows are good.

    Only so many rows are read, as a person waits for the answer; the worker reads them all.
    """
    text = decode(content)
    for _ in islice(read_orders(StringIO(text, newline="")), CHECKED_ROWS):
        pass


def decode(content: bytes) -> str:
    """Return the text of a CSV in UTF-8, with or without a byte order mark."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OrdersError(
            f"This is not a text file in UTF-8 (byte {error.start + 1} cannot be read). "
            "Save the orders as “CSV UTF-8” and send them again."
        ) from error
    if "\0" in text:
        raise OrdersError("This is a binary file, not a CSV. Save the orders as “CSV UTF-8” and send them again.")
    return text


def read_orders(lines: Iterable[str]) -> Iterator[Order]:
    """Yield each order of a CSV as it is read; rows are counted as a spreadsheet does, the header is row 1.

    Raise OrdersError at the first row that cannot be used, and for a file without any.
    """
    rows = _rows(lines)
    _, header = next(rows, (1, []))
    positions = _positions(header)
    empty = True
    for number, cells in rows:
        empty = False
        yield _order(number, cells, positions)
    if empty:
        raise OrdersError("The file has no orders: there is no row under the header.")


def _rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    lines = iter(lines)
    first = next(lines, "")
    # Spreadsheets of half the world write semicolons.
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
    number = 0
    try:
        for number, cells in enumerate(reader, start=1):
            if any(cell.strip() for cell in cells):
                yield number, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise OrdersError(f"Row {number + 1} is not CSV: {error}.") from error


def _positions(header: list[str]) -> dict[str, int]:
    names = [name.lower().replace("_", " ") for name in header]
    missing = [column for column in COLUMNS if column not in names]
    if missing:
        found = ", ".join(map(_quoted, header[:8])) or "nothing"
        raise OrdersError(
            f"The file misses {'the column' if len(missing) == 1 else 'the columns'} "
            f"{', '.join(map(_quoted, missing))}. Its first row has: {found}."
        )
    return {column: names.index(column) for column in COLUMNS}


def _order(row: int, cells: list[str], positions: dict[str, int]) -> Order:
    if len(cells) <= max(positions.values()):
        raise OrdersError(f"Row {row} has {len(cells)} values, where {max(positions.values()) + 1} are needed.")
    values = {column: cells[position] for column, position in positions.items()}
    for column, value in values.items():
        if not value:
            raise OrdersError(f"Row {row} has no {column}.")
    return Order(
        day=_day(row, values["date"]),
        number=values["order number"],
        product=values["product"],
        quantity=int(_matched(_QUANTITY, row, values, "quantity", "a whole number")),
        unit_price=Decimal(_matched(_PRICE, row, values, "unit price", "a number such as 12.50")),
    )


def _day(row: int, value: str) -> date:
    try:
        # fromisoformat alone would take 20250131 and 2025-W05-5 too.
        return date.fromisoformat(value if _DATE.fullmatch(value) else "")
    except ValueError as error:
        raise OrdersError(f"Row {row}: the date {_quoted(value)} is not a day such as 2025-01-31.") from error


def _matched(pattern: re.Pattern[str], row: int, values: dict[str, str], column: str, wanted: str) -> str:
    value = values[column]
    if not pattern.fullmatch(value):
        raise OrdersError(f"Row {row}: the {column} {_quoted(value)} is not {wanted}.")
    return value


def _quoted(value: str) -> str:
    return f"“{value if len(value) <= 40 else value[:39] + '…'}”"
