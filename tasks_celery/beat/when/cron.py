"""Both. The five fields of a crontab, as Celery and the form of django-celery-beat's admin both take them. Pure.

Each of the two takes what the other does not: Celery no 7 for Sunday, the form no range that runs past the end (fri-sun), and
no `monday`. Some that both take, Celery reads as something else than it says: 1-5-7 as 1-5. So the text is read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from tasks_celery.exceptions import ScheduleError

#: What Celery's own `crontab` takes for a field: a text, a number, or several numbers.
Spec: TypeAlias = str | int | Iterable[int]

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PART = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?", re.ASCII)
#: In a leap year; Celery before 5.7 takes a day that never comes, and its beat falls over it.
_DAYS_OF = dict(zip(range(1, 13), (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What one column may hold; `longest` is how long a text django-celery-beat keeps."""

    name: str
    low: int
    high: int
    longest: int
    names: tuple[str, ...] = ()

    def numbers(self, text: str) -> set[int]:
        """Return the numbers that a text stands for. Raise ScheduleError for one that is no such field."""
        if len(text) > self.longest:
            raise self.wrong(
                text, f"is longer than the {self.longest} characters that a row holds; use ranges and steps"
            )
        return {number for part in text.split(",") for number in self._part(text, part)}

    def wrong(self, text: object, why: str) -> ScheduleError:
        """Return the error about a text."""
        return ScheduleError(f"crontab({self.name}={text!r}): {why}.")

    def _part(self, text: str, part: str) -> range:
        found = _PART.fullmatch(part)
        if found is None:
            raise self.wrong(
                text, f"{part!r} is none of '*', '*/5', '3', '1-5' and '1-5/2', nor a list of them ('1,15')"
            )
        first, last, step = found["first"], found["last"], found["step"]
        if step and first and not last:
            raise self.wrong(text, f"a step follows '*' or a range; for {part!r} write '{first}-{self.high}/{step}'")
        return self._range(text, first, last)[:: self._step(text, step)]

    def _range(self, text: str, first: str | None, last: str | None) -> range:
        if first is None:
            return range(self.low, self.high + 1)
        low = self._number(text, first)
        high = self._number(text, last, after=low) if last else low
        if high < low:
            cure = f"{low}-{self.high},{f'{self.low}-{high}' if high > self.low else high}"
            raise self.wrong(text, f"the range {first}-{last} ends before it begins; write {cure!r}")
        if last and first.isdecimal() != last.isdecimal():  # the form of the admin fails on fri-6
            raise self.wrong(text, f"a range has two numbers or two names; for {first}-{last} write '{low}-{high}'")
        return range(low, high + 1)

    def _number(self, text: str, word: str, after: int | None = None) -> int:
        if word in self.names:
            return self.names.index(word) + self.low
        if not word.isdecimal():
            named = f", or {', '.join(self.names)}" if self.names else ""
            raise self.wrong(text, f"{word!r} is none of {self.low} to {self.high}{named}")
        if self.name == "day_of_week" and int(word) == 7:
            raise self.wrong(text, f"Celery's Sunday is 0, not 7; write {'0' if after is None else f'{after}-6,0'!r}")
        if not self.low <= int(word) <= self.high:
            raise self.wrong(text, f"{word} is not within {self.low} to {self.high}")
        return int(word)

    def _step(self, text: str, step: str | None) -> int:
        if step is not None and not 1 <= int(step) <= self.high:
            raise self.wrong(text, f"a step of {step} is not within 1 to {self.high}")
        return int(step or 1)


#: In the order of the classic columns.
FIELDS: Mapping[str, Field] = {
    field.name: field
    for field in (
        Field(name="minute", low=0, high=59, longest=240),
        Field(name="hour", low=0, high=23, longest=96),
        Field(name="day_of_month", low=1, high=31, longest=124),
        Field(name="month_of_year", low=1, high=12, longest=64, names=_MONTHS),
        Field(name="day_of_week", low=0, high=6, longest=64, names=_WEEKDAYS),
    )
}


def columns(expression: str) -> dict[str, str]:
    """Return the fields of the five columns of a text. Raise ScheduleError where there are not five."""
    found = expression.split()
    if len(found) != len(FIELDS):
        raise ScheduleError(
            f"crontab({expression!r}): give five columns, {' '.join(FIELDS)}, such as '0 3 * * *', and not {len(found)}. A "
            "single field is given by its name, as in crontab(minute='*/5')."
        )
    return dict(zip(FIELDS, found, strict=True))


def texts(fields: Mapping[str, Spec]) -> dict[str, str]:
    """Return the fields as the texts of a row. Raise ScheduleError for what is wrong, and for days that never come."""
    found = {name: _text(FIELDS[name], fields[name]) for name in FIELDS}
    numbers = {name: FIELDS[name].numbers(text) for name, text in found.items()}
    if min(numbers["day_of_month"]) > max(_DAYS_OF[month] for month in numbers["month_of_year"]):
        raise ScheduleError(
            f"crontab(day_of_month={found['day_of_month']!r}, month_of_year={found['month_of_year']!r}) never ticks: no such "
            "month has such a day."
        )
    return found


def _text(field: Field, value: object) -> str:
    if isinstance(value, str):
        return value.lower()
    several = [value] if isinstance(value, int) else list(value) if isinstance(value, Iterable) else [None]
    if not several or not all(isinstance(number, int) and not isinstance(number, bool) for number in several):
        raise TypeError(
            f"crontab({field.name}={value!r}): a field is a text such as '*/5', a whole number, or several of them."
        )
    return ",".join(str(number) for number in sorted(set(several)))
