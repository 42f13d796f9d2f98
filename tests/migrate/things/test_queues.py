"""The queues in use, and where they are named."""

from __future__ import annotations

import pytest

from tasks_celery.migrate.things.queues import find
from tests.migrate.looking import look, told
from tests.migrate.things.test_settings import APP, SETTINGS


def names(text: str, path: str = "shop/views.py") -> list[str]:
    return sorted(name for _, name, _ in told(look(find, text, path, celery=APP)))


@pytest.mark.parametrize(
    "text",
    [
        "import queue\nqueue.Queue('inner')\n",
        "from queue import Queue\nQueue(maxsize=3)\n",
        "redis.set('queue', 1)\n",
        "draw(queue='left')\n",
        "add.apply_async(queue=None)\n",
        "queue = 'x'\n",
    ],
)
def test_what_is_no_queue_of_celerys(text: str) -> None:
    assert names(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "from shop.tasks import add\nadd.apply_async((1,), queue='mail')\n",
        "from shop.tasks import add\nadd.si(1).set(queue='mail')\n",
        "from celery import shared_task\n@shared_task(queue='mail')\ndef f(): ...\n",
        "app.send_task('shop.tasks.add', queue='mail')\n",
        "from kombu import Queue\nQueue('mail', routing_key='x')\n",
        "import kombu\nkombu.Queue(name='mail')\n",
    ],
)
def test_a_queue_in_code(text: str) -> None:
    assert names(text) == ["mail"]


@pytest.mark.parametrize(
    ("text", "queues"),
    [
        ("CELERY_TASK_DEFAULT_QUEUE = 'usual'\n", ["usual"]),
        ("CELERY_TASK_ROUTES = {'shop.*': {'queue': 'mail'}, 'x': 'slow'}\n", ["mail", "slow"]),
        ("CELERY_TASK_ROUTES = [('shop.*', {'queue': 'mail'}), {'x': 'slow'}]\n", ["mail", "slow"]),
        ("CELERY_TASK_QUEUES = {'mail': {'exchange': 'x'}}\n", ["mail"]),
        ("CELERY_TASK_ROUTES = {'shop.*': {'exchange': 'mail'}}\n", ["computed"]),
    ],
)
def test_a_queue_in_the_settings(text: str, queues: list[str]) -> None:
    assert names(text, SETTINGS) == queues


def test_a_computed_queue_needs_a_person() -> None:
    text = "from shop.tasks import add\nadd.apply_async(queue=choose())\n"
    (found,) = look(find, text)
    assert told([found]) == [("queue", "computed", "person")]
    assert "QUEUES" in found.reason
