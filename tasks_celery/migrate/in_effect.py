"""The settings that a running Celery app goes by, wherever they come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from celery.app.defaults import DEFAULTS

from tasks_celery.migrate.finding import Finding
from tasks_celery.migrate.things.eager import is_test
from tasks_celery.migrate.things.settings import ADVICE, setting_finding

PLACE = "in effect"
_KINDS = {"setting", "serializer"}


def find_in_effect(conf: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the settings of an app's `conf` that are not as they are by default, and mean something for a move."""
    for setting in dict.fromkeys(each.setting for each in ADVICE):
        value = conf.get(setting)
        if value not in (None, DEFAULTS.get(setting)):
            yield setting_finding(setting, value, PLACE, 0)


def with_those_in_effect(findings: Iterable[Finding], conf: Mapping[str, Any]) -> list[Finding]:
    """Return findings with what is in effect in the place of what the settings' source says; tests have their own."""
    effective = list(find_in_effect(conf))
    meant = {each.setting for each in ADVICE}
    kept = [each for each in findings if each.kind not in _KINDS or each.name not in meant or is_test(each.path)]
    return [*kept, *effective]
