"""What was found, counted and grouped: by kind, by reason, by file. Nothing is worded here but the names of the kinds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tasks_celery.migrate.finding import Finding, Verdict
from tasks_celery.migrate.things.eager import is_test
from tasks_celery.migrate.things.task_options import COMPUTED_SERIALIZER

#: What a report calls the kinds of things, in the order in which it tells them.
KINDS = {
    "task": "tasks",
    "call": "calls",
    "canvas": "canvas",
    "commit": "sent on commit, or not",
    "argument": "arguments",
    "result": "uses of results",
    "context": "uses of the request",
    "schedule": "schedules",
    "push": "pushes to browsers",
    "signal": "receivers of signals",
    "queue": "queues named",
    "setting": "settings",
    "serializer": "serializers",
    "eager": "tests and eager mode",
    "app": "Celery apps",
    "unreadable": "files that cannot be read",
}
_PLACE = re.compile(r" \([^()\s]+:\d+\)")
#: The queue of a Django task that names none.
DJANGOS_QUEUE = "default"


@dataclass(frozen=True, slots=True)
class Group:
    """Findings that have their verdict for the same reason."""

    kind: str
    verdict: Verdict
    reason: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found in a project, in the order of its files. `title` is the project's name, `files` how many were read.

    `default_queue` is the one that Celery sends to where nothing names another. One with `all_told` tells of what stays, too, and
    of no next steps.
    """

    title: str
    files: int
    findings: tuple[Finding, ...]
    default_queue: str = "celery"
    all_told: bool = False

    @classmethod
    def of(cls, findings: Iterable[Finding], *, title: str, files: int, default_queue: str = "celery") -> Report:
        """Return the report of findings, each told once."""
        once = {(each.path, each.anchor, each.kind, each.name, each.reason): each for each in findings}
        ordered = sorted(once.values(), key=lambda each: (each.path, each.anchor, each.kind))
        return cls(title=title, files=files, findings=tuple(ordered), default_queue=default_queue)

    def kinds(self) -> Mapping[str, Counter[Verdict]]:
        """Return how many there are of each verdict, for every kind that was found."""
        counts = {
            kind: self.verdicts(kind) for kind in [*KINDS, *sorted({each.kind for each in self.findings} - set(KINDS))]
        }
        return {kind: count for kind, count in counts.items() if count}

    def verdicts(self, kind: str | None = None) -> Counter[Verdict]:
        """Return how many there are of each verdict, of one kind or of all."""
        return Counter(each.verdict for each in self.findings if kind in (None, each.kind))

    def groups(self, verdict: Verdict) -> list[Group]:
        """Return what has a verdict, by kind and reason, the most frequent first. What has several reasons is in several groups."""
        grouped: dict[tuple[str, str], list[Finding]] = {}
        tasks = re.compile("|".join(sorted(map(re.escape, self._tasks()), reverse=True)) or r"(?!)")
        for each in self.findings:
            for reason in _reasons(each) if each.verdict is verdict else ():
                grouped.setdefault((each.kind, tasks.sub("the task", reason)), []).append(each)
        groups = [Group(kind, verdict, reason, tuple(found)) for (kind, reason), found in grouped.items()]
        return sorted(groups, key=lambda group: (-len(group.findings), group.kind, group.reason))

    def _tasks(self) -> set[str]:
        return {each.name for each in self.findings if each.kind == "task" and "." in each.name}

    def by_file(self) -> Mapping[str, Counter[Verdict]]:
        """Return how many there are of each verdict, for every file with something to do."""
        files: dict[str, Counter[Verdict]] = {}
        for each in self.findings:
            files.setdefault(each.path, Counter())[each.verdict] += 1
        return {path: count for path, count in files.items() if set(count) != {Verdict.STAYS}}

    def fixers(self) -> Counter[str]:
        """Return how much each fixer would change."""
        return Counter(each.fixer for each in self.findings if each.verdict is Verdict.MOVES)

    def kept_by_serializer(self) -> int:
        """Return how many tasks nothing keeps but a task_serializer that cannot be read."""
        return sum(each.kind == "task" and each.facts.get("left") == [COMPUTED_SERIALIZER] for each in self.findings)

    def queues(self) -> list[str]:
        """Return the queues that Django's tasks may be sent to, once they have moved; those of tests left out."""
        named = {each.facts.get("queue") for each in self.findings if each.kind == "queue" and not is_test(each.path)}
        used = {self.default_queue} if self.verdicts("task") else set()
        return sorted({DJANGOS_QUEUE, *used, *(str(each) for each in named if each)})


def _reasons(finding: Finding) -> list[str]:
    """Return why something is left: each reason by itself, and without the place that is its example."""
    clauses = finding.facts.get("left")
    return [_PLACE.sub("", _sentence(each)) for each in clauses] if clauses else [finding.reason]


def _sentence(clause: str) -> str:
    return f"{clause[:1].upper()}{clause[1:].rstrip('.')}."
