"""Both. What has to change so that the database's schedules are those that the code declares. Pure: `sync` carries it out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tasks_celery.beat.declare import Declaration
from tasks_celery.beat.rows import has_other_times, is_done
from tasks_celery.beat.rows.diff import differences, options_of, texts_of, texts_of_row
from tasks_celery.exceptions import ScheduleError

Rows = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One schedule that is to be another; `lines` say how. `enabled` None leaves that as it is."""

    what: Literal["create", "update", "disable", "delete"]
    name: str
    lines: tuple[str, ...] = ()
    declaration: Declaration | None = None
    enabled: bool | None = None

    def __str__(self) -> str:
        match self.what:
            case "create":
                return f"+ {self.name}: {', '.join(self.lines)}"
            case "update":
                return "\n".join((f"~ {self.name}", *(f"    {line}" for line in self.lines)))
            case _:
                return f"- {self.name}: {self.what}d, for the code no longer declares it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to change, and notes on what stays otherwise than the code may lead one to think."""

    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the diff, and the notes."""
        return [line for each in (*self.changes, *self.notes) for line in str(each).splitlines()]


def plan(declarations: Iterable[Declaration], rows: Rows, *, prune: bool = False) -> Plan:
    """Return what has to change so that the rows, by name, are what is declared.

    With `prune` what is no longer declared is deleted, not disabled. Raise ScheduleError where a person or a migration made
    a row of a declared name.
    """
    wanted = {declaration.name: declaration for declaration in declarations}
    _refuse_others(wanted, rows)
    dropped = [row for name, row in rows.items() if name not in wanted and _is_ours(row)]
    changes = [
        *(_wanted(declaration, rows.get(name)) for name, declaration in wanted.items()),
        *(_unwanted(row, prune) for row in dropped),
    ]
    kept = [rows[name] for name in wanted if name in rows]
    return Plan(
        changes=tuple(sorted((each for each in changes if each), key=lambda each: each.name)),
        notes=tuple(sorted((*_left_off(kept), *(() if prune else _left_on(dropped))))),
    )


def _refuse_others(wanted: Iterable[str], rows: Rows) -> None:
    if others := [name for name in wanted if name in rows and not _is_ours(rows[name])]:
        told = "\n".join(f"  {name}: {rows[name].task}, {texts_of_row(rows[name])['when']}" for name in others)
        raise ScheduleError(
            f"A person or a migration made schedules of names that the code declares:\n{told}\n"
            "Give each declared one another name, as in @schedule(…, name=…), or rename or delete the other in the admin."
        )


def _is_ours(row: Any) -> bool:
    options = options_of(row)
    return bool(options and options.declared)


def _wanted(declaration: Declaration, row: Any) -> Change | None:
    if row is None:
        return Change(what="create", name=declaration.name, lines=_told(declaration), declaration=declaration)
    comes_back = _comes_back(row, declaration)
    lines = (
        *differences(row, declaration),
        *(["enabled: no -> yes"] if comes_back else []),
        *(["dropped from the code: yes -> no"] if options_of(row).dropped else []),
    )
    if not lines:
        return None
    enabled = True if comes_back else None
    return Change(what="update", name=row.name, lines=lines, declaration=declaration, enabled=enabled)


def _told(declaration: Declaration) -> tuple[str, ...]:
    texts = texts_of(declaration)
    usual = {"args": "[]", "kwargs": "{}", "one_off": "no", "catch_up": "once", "skip_while_active": "no"}
    more = {name: text for name, text in texts.items() if name not in ("task", "when") and text != usual.get(name)}
    return str(texts["task"]), str(texts["when"]), *(f"{name}={text}" for name, text in more.items())


def _comes_back(row: Any, declaration: Declaration) -> bool:
    if row.enabled:
        return False
    return has_other_times(row, declaration) if is_done(row) else bool(options_of(row).dropped)


def _unwanted(row: Any, prune: bool) -> Change | None:
    if prune:
        return Change(what="delete", name=row.name)
    return Change(what="disable", name=row.name) if row.enabled and not options_of(row).dropped else None


def _left_off(rows: Iterable[Any]) -> Iterator[str]:
    for row in rows:
        if not row.enabled and not is_done(row) and not options_of(row).dropped:
            yield f"! {row.name}: somebody disabled it, and it stays so"


def _left_on(rows: Iterable[Any]) -> Iterator[str]:
    for row in rows:
        if row.enabled and options_of(row).dropped:
            yield f"! {row.name}: the code no longer declares it, somebody enabled it again, and it stays so"
