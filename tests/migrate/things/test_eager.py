"""What tests of a project do with its tasks."""

from __future__ import annotations

import pytest

from tasks_celery.migrate.things.eager import find, is_test
from tests.migrate.looking import look, told

TEST = "shop/tests/test_views.py"


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("shop/tests/helpers.py", True),
        ("shop/tests.py", True),
        ("shop/test_x.py", True),
        ("conftest.py", True),
        ("shop/latest.py", False),
        ("contest/views.py", False),
        ("shop/attestation_test_data/x.py", False),
    ],
)
def test_tests_are_known_by_their_paths(path: str, is_one: bool) -> None:
    assert is_test(path) is is_one


@pytest.mark.parametrize(
    "text",
    [
        "from shop.tasks import add\nd = {}\nd.get('x')\nadd.delay(1)\n",
        "from shop.tasks import add\nother.delay().get()\n",
        "def test_it(client): ...\n",
        "@override_settings(DEBUG=True)\ndef test_it(): ...\n",
        "other.apply()\n",
        "from unittest import mock\nmock.patch('shop.views.delay')\n",
    ],
)
def test_what_has_nothing_to_do_with_tasks(text: str) -> None:
    assert look(find, text, TEST) == []


@pytest.mark.parametrize(
    "text",
    [
        "@override_settings(CELERY_TASK_ALWAYS_EAGER=True)\ndef test_it(): ...\n",
        "with self.settings(CELERY_ALWAYS_EAGER=True): ...\n",
        "def test_it(settings):\n    settings.CELERY_TASK_ALWAYS_EAGER = True\n",
    ],
)
def test_eager_mode_in_a_test(text: str) -> None:
    assert told(look(find, text, TEST)) == [("eager", "task_always_eager", "person")]


def test_waiting_for_a_result_in_a_test() -> None:
    text = "from shop.tasks import add\ndef test_it():\n    assert add.delay(1).get(timeout=3)\n"
    assert told(look(find, text, TEST)) == [("eager", "shop.tasks.add.delay().get", "person")]
    assert look(find, text, "shop/views.py") == []


def test_apply_in_a_test_stays() -> None:
    text = "from shop.tasks import add\ndef test_it():\n    add.apply(args=[1])\n"
    assert told(look(find, text, TEST)) == [("eager", "shop.tasks.add.apply", "stays")]


def test_celerys_fixtures_stay() -> None:
    text = "def test_it(celery_app, celery_worker): ...\n"
    assert told(look(find, text, TEST)) == [("eager", "celery_app", "stays")]


def test_a_patch_of_a_task_needs_a_person() -> None:
    text = "from unittest import mock\n@mock.patch('shop.tasks.add.delay')\ndef test_it(delay): ...\n"
    (found,) = look(find, text, TEST)
    assert told([found]) == [("eager", "patch of shop.tasks.add.delay", "person")]
