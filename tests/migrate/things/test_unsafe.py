"""What is wrong with tasks today."""

from __future__ import annotations

import pytest

from tasks_celery.migrate.things.unsafe import find
from tests.migrate.looking import look, told

MODELS = """
from django.db import models

class Order(models.Model):
    total = models.DecimalField()

class Paid(Order): ...

class Here(There): ...

class There(Here): ...

class Status(models.TextChoices):
    NEW = "new"
"""
IMPORTS = """
import datetime, decimal, uuid
from functools import partial
from django.db import transaction
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.shortcuts import get_object_or_404
from django.utils import timezone
from shop.models import Here, Order, Paid, Status
from shop.tasks import add
"""


def found(text: str, path: str = "shop/views.py") -> list[tuple[str, str]]:
    return [(kind, verdict) for kind, _, verdict in told(look(find, IMPORTS + text, path, models=MODELS))]


@pytest.mark.parametrize(
    "text",
    [
        "add.delay(1, 'x', [2], key={'a': None})\n",
        "add.delay(order.pk)\n",
        "add.delay(Order.objects.get(pk=1).pk)\n",
        "add.delay(Order.objects.count())\n",
        "add.delay(list(Order.objects.values_list('pk', flat=True)))\n",
        "add.delay(str(uuid.uuid4()), timezone.now().isoformat())\n",
        "other.delay(Order.objects.get(pk=1))\n",
        "def f(here: Here):\n    add.delay(here)\n",
        "def f(status: Status):\n    add.delay(status)\n",
        "def f(order: Order):\n    order = order.pk\n    add.delay(order)\n",
        "def f():\n    order = Order.objects.get(pk=1)\n    order = order.pk\n    add.delay(order)\n",
        "def f():\n    for order in orders:\n        add.delay(order)\n",
        "class View:\n    def get(self):\n        add.delay(self)\n",
        "class Mine(Order):\n    @staticmethod\n    def f(self):\n        add.delay(self)\n",
        "add.apply_async((1,), eta=timezone.now())\n",
        "add.delay(*rows)\n",
    ],
)
def test_arguments_that_are_not_proven_wrong(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "add.delay(Order.objects.get(pk=1))\n",
        "add.delay(order=Order.objects.create())\n",
        "add.delay(get_object_or_404(Order, pk=1))\n",
        "add.delay(Order.objects.filter(pk=1))\n",
        "add.delay([1, {'o': Order.objects.select_related('x').first()}])\n",
        "add.apply_async(args=[Order.objects.all()])\n",
        "add.apply_async(kwargs={'order': Order.objects.all()})\n",
        "add.apply_async((Order.objects.latest(),))\n",
        "add.si(Order.objects.all())\n",
        "def f(order: Order):\n    add.delay(order)\n",
        "def f(paid: Paid):\n    add.delay(paid)\n",
        "def f():\n    order = Order.objects.get(pk=1)\n    add.delay(order)\n",
        "class Mine(Order):\n    def f(self):\n        add.delay(self)\n",
        "class Mine(Order):\n    @property\n    def f(self):\n        add.delay(self)\n",
        "add.delay({1, 2})\n",
        "add.delay(set(rows))\n",
        "add.delay(lambda: 1)\n",
    ],
)
def test_arguments_that_no_message_should_carry(text: str) -> None:
    assert found(text) == [("argument", "unsafe")]


@pytest.mark.parametrize(
    "value", ["timezone.now()", "datetime.datetime.now()", "decimal.Decimal(1)", "uuid.uuid4()", "b'x'"]
)
def test_arguments_that_celery_carries_and_django_does_not(value: str) -> None:
    assert found(f"add.delay({value})\n") == [("argument", "person")]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("def f():\n    add.delay(1)\n", "shop/views.py"),
        ("def f():\n    with transaction.atomic():\n        x()\n    add.delay(1)\n", "shop/views.py"),
        ("with transaction.atomic():\n    transaction.on_commit(lambda: add.delay(1))\n", "shop/views.py"),
        ("with transaction.atomic():\n    transaction.on_commit(partial(add.delay, 1))\n", "shop/views.py"),
        ("with transaction.atomic():\n    add.delay_on_commit(1)\n", "shop/views.py"),
        ("with transaction.atomic():\n    def later():\n        add.delay(1)\n", "shop/views.py"),
        ("with other.atomic():\n    add.delay(1)\n", "shop/views.py"),
        ("class View:\n    def save(self):\n        add.delay(1)\n", "shop/views.py"),
        ("class Mine(Order):\n    def close(self):\n        add.delay(1)\n", "shop/models2.py"),
        ("with transaction.atomic():\n    add.delay(1)\n", "shop/tests/test_views.py"),
        ("with transaction.atomic():\n    add.s(1)\n", "shop/views.py"),
    ],
)
def test_what_is_not_sent_in_a_transaction_for_certain(text: str, path: str) -> None:
    assert found(text, path) == []


@pytest.mark.parametrize(
    "text",
    [
        "with transaction.atomic():\n    add.delay(1)\n",
        "def f():\n    with lock, transaction.atomic(using='x'):\n        if y:\n            add.apply_async((1,))\n",
        "@transaction.atomic\ndef f():\n    add.delay(1)\n",
        "@transaction.atomic(durable=True)\ndef f():\n    add.delay(1)\n",
        "@receiver(post_save, sender=Order)\ndef f(**kwargs):\n    add.delay(1)\n",
        "@receiver([post_save])\ndef f(**kwargs):\n    add.delay(1)\n",
        "class Mine(Order):\n    def save(self):\n        super().save()\n        add.delay(1)\n",
    ],
)
def test_messages_that_may_be_faster_than_their_transaction(text: str) -> None:
    assert found(text) == [("commit", "unsafe")]


def test_pickle_for_one_task_is_unsafe() -> None:
    assert found("@shared_task(serializer='pickle')\ndef f(): ...\n") == [("serializer", "unsafe")]
    assert found("add.apply_async((1,), serializer='pickle')\n") == [("serializer", "unsafe")]
    assert found("add.apply_async((1,), serializer='json')\n") == []
    assert found("store(serializer='pickle')\n") == []


@pytest.mark.parametrize(
    "call", ["add.delay({1})", "add .delay({1})", "add. delay({1})", "add.\\\n    delay({1})", "(add\n.s({1}))"]
)
def test_calls_are_found_however_they_are_written(call: str) -> None:
    assert look(find, f"from shop.tasks import add\n{call}\n")
