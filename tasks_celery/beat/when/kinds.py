"""Both. The four kinds of times that a schedule has, as values: each is a kind of row of django-celery-beat's. Pure.

`when` makes them, and holds what anybody made by hand to the same.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal, TypeAlias
from zoneinfo import ZoneInfo

from tasks_celery.beat.when.cron import FIELDS
from tasks_celery.beat.when.zones import celery_zone
from tasks_celery.moments import as_project, to_text

Kind = Literal["crontab", "interval", "solar", "clocked"]
Period = Literal["days", "hours", "minutes", "seconds", "microseconds"]
SolarEvent = Literal[
    "dawn_astronomical",
    "dawn_nautical",
    "dawn_civil",
    "sunrise",
    "solar_noon",
    "sunset",
    "dusk_civil",
    "dusk_nautical",
    "dusk_astronomical",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crontab:
    """At the minutes that five fields name; `timezone` is a key such as Europe/Berlin, None for Celery's own zone."""

    kind: ClassVar[Kind] = "crontab"
    minute: str = "*"
    hour: str = "*"
    day_of_month: str = "*"
    month_of_year: str = "*"
    day_of_week: str = "*"
    timezone: str | None = None

    def fields(self) -> dict[str, Any]:
        """Return what a row of `CrontabSchedule` has. Raise ScheduleError where Celery's own zone has no name."""
        return asdict(self) | {"timezone": ZoneInfo(self.timezone) if self.timezone else celery_zone()}

    def __str__(self) -> str:
        return " ".join(["crontab", *(getattr(self, name) for name in FIELDS), *filter(None, [self.timezone])])


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """Each time that so many periods have passed."""

    kind: ClassVar[Kind] = "interval"
    every: int
    period: Period

    def fields(self) -> dict[str, Any]:
        """Return what a row of `IntervalSchedule` has."""
        return asdict(self)

    def __str__(self) -> str:
        return f"every {self.period[:-1]}" if self.every == 1 else f"every {self.every} {self.period}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Solar:
    """Each time that the sun stands so, seen from a place in degrees."""

    kind: ClassVar[Kind] = "solar"
    event: str
    latitude: Decimal
    longitude: Decimal

    def fields(self) -> dict[str, Any]:
        """Return what a row of `SolarSchedule` has."""
        return asdict(self)

    def __str__(self) -> str:
        return f"solar {self.event} {self.latitude} {self.longitude}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocked:
    """Once, at a moment."""

    kind: ClassVar[Kind] = "clocked"
    at: datetime

    def fields(self) -> dict[str, Any]:
        """Return what a row of `ClockedSchedule` has, its time as the project has its times."""
        return {"clocked_time": as_project(self.at)}

    def __str__(self) -> str:
        return f"clocked {to_text(self.at)}"


When: TypeAlias = Crontab | Every | Solar | Clocked
