"""A record is dealt with by the alias it was enqueued on, as long as there is one."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from tasks_celery.aliases import backend_of, by_backend
from tasks_celery.compat import task_backends
from tests.stores.making import a_record

CELERY = {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": []}
DUMMY = {"BACKEND": f"{type(task_backends).__module__}.backends.dummy.DummyBackend"}
TASKS = {"default": CELERY, "other": CELERY, "dummy": DUMMY}


@pytest.mark.parametrize("alias", ["gone", "dummy", ""])
def test_of_an_alias_that_is_gone_or_of_another_kind_the_asker_takes_care(alias: str) -> None:
    with override_settings(TASKS=TASKS):
        asker: Any = task_backends["other"]
        assert backend_of(alias, otherwise=asker) is asker


@override_settings(TASKS=TASKS)
def test_records_go_to_their_backends_in_their_order() -> None:
    asker: Any = task_backends["default"]
    aliases = ["other", "default", "other", "default", "other"]
    records = [a_record(alias=alias, args=[number]) for number, alias in enumerate(aliases)]
    found = [
        (backend.alias, [record.args for record in theirs]) for backend, theirs in by_backend(records, otherwise=asker)
    ]
    assert found == [("default", [[1], [3]]), ("other", [[0], [2], [4]])]


def test_no_records_are_nobodys() -> None:
    asker: Any = task_backends["default"]
    assert by_backend([], otherwise=asker) == []
