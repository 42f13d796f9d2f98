"""A project of many files to be read: as large ones are, with Celery in one file of eight. The same for the same seed."""

from __future__ import annotations

import random
from pathlib import Path

APPS, FILES_PER_APP = 100, 50
#: Of each app's files, what holds what; the others are models, views and tests without a word of Celery.
WITH_TASKS, WITH_CALLS, WITH_PATCHES = 2, 3, 1


def write_project(folder: Path, *, apps: int = APPS, seed: int = 1) -> int:
    """Write a project into a folder and return how many Python files it has."""
    chance = random.Random(seed)
    _write(folder / "manage.py", "import sys\n")
    _write(folder / "proj/__init__.py", "from .celery import app as celery_app\n\n__all__ = ['celery_app']\n")
    _write(folder / "proj/celery.py", _CELERY)
    _write(folder / "proj/settings.py", _SETTINGS)
    for number in range(apps):
        _write_app(folder / f"app{number}", number, apps, chance)
    return sum(1 for _ in folder.rglob("*.py"))


def _write_app(folder: Path, number: int, apps: int, chance: random.Random) -> None:
    _write(folder / "__init__.py", "")
    for each in range(FILES_PER_APP - 1):
        body = _plain(chance, chance.randint(4, 24))
        other = chance.randrange(apps)
        if each < WITH_TASKS:
            text = "from celery import shared_task\n" + body + _tasks(number, each)
            _write(folder / f"tasks{each}.py", text)
        elif each < WITH_TASKS + WITH_CALLS:
            text = f"from django.db import transaction\n\nfrom app{other}.tasks0 import work_{other}_0\nfrom . import tasks1\n"
            _write(folder / f"views{each}.py", text + body + _calls(number, other))
        elif each < WITH_TASKS + WITH_CALLS + WITH_PATCHES:
            patch = f"\n\n@mock.patch('app{number}.tasks0.work_{number}_0.delay')\ndef test_it(sent): ...\n"
            _write(folder / f"test_{each}.py", "from unittest import mock\n" + body + patch)
        else:
            _write(folder / f"module{each}.py", body)


def _tasks(number: int, file: int) -> str:
    return "".join(_TASK.format(name=f"work_{number}_{file}" + ("" if not each else f"_{each}")) for each in range(3))


def _calls(number: int, other: int) -> str:
    return _CALLS.format(near=f"work_{number}_1", far=f"work_{other}_0")


def _plain(chance: random.Random, functions: int) -> str:
    made = [_IMPORTS]
    for each in range(functions):
        template = chance.choice((_MODEL, _FUNCTION, _CLASS))
        made.append(template.format(each=each, number=chance.randrange(10_000)))
    return "".join(made)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


_CELERY = """\
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")
app = Celery("proj")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""

_SETTINGS = """\
CELERY_BROKER_URL = "redis://"
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_BEAT_SCHEDULE = {"nightly": {"task": "app1.tasks0.work_1_0", "schedule": 3600.0, "args": (1,)}}
"""

_TASK = '''

@shared_task(bind=True, max_retries=3, queue="slow")
def {name}(self, order_id: int, note: str = ""):
    """Do one thing."""
    try:
        order = Order.objects.get(pk=order_id)
    except Order.DoesNotExist as error:
        raise self.retry(exc=error, countdown=5)
    order.note = note
    order.save(update_fields=["note"])
    return {{"order": order.pk, "note": note}}
'''

_CALLS = """

def order_paid(request, pk):
    order = get_object_or_404(Order, pk=pk)
    tasks1.{near}.delay(order.pk, note="paid")
    {far}.apply_async((order.pk,), countdown=10, queue="slow")
    transaction.on_commit(lambda: {far}.delay(order.pk))
    return redirect(order)
"""

_IMPORTS = """\
import logging

from django.db import models
from django.shortcuts import get_object_or_404, redirect

from proj.settings import *

logger = logging.getLogger(__name__)
"""

_MODEL = '''

class Order{each}(models.Model):
    """An order, the {number}th kind of it."""

    number = models.CharField(max_length=20, unique=True)
    total = models.DecimalField(max_digits=10, decimal_places=2, default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "order {number}"

    def __str__(self) -> str:
        return f"{{self.number}} ({{self.total:.2f}})"

    @property
    def is_paid(self) -> bool:
        return all(payment.done for payment in self.payments.all() if payment.total > {number})
'''

_FUNCTION = '''

def total_of_{each}(orders, *, currency="EUR", limit={number}):
    """Return what the orders come to, and the largest of them."""
    found, largest = 0, None
    for order in orders[:limit]:
        if order.currency != currency:
            logger.warning("order %s is in %s", order.pk, order.currency)
            continue
        found += order.total
        if largest is None or order.total > largest.total:
            largest = order
    shares = {{order.pk: round(order.total / found, 4) for order in orders if found}}
    return found, largest, sorted(shares.items(), key=lambda item: item[1], reverse=True)
'''

_CLASS = """

class View{each}:
    template_name = "shop/page_{number}.html"
    paginate_by = 50

    def get_queryset(self):
        query = super().get_queryset().select_related("customer").prefetch_related("lines__product")
        if self.request.GET.get("paid"):
            query = query.filter(paid_at__isnull=False, total__gte={number})
        return query.order_by("-created_at")

    def get_context_data(self, **kwargs):
        context = super().get_context_data(**kwargs)
        context |= {{"page": {number}, "title": self.title, "can_edit": self.request.user.has_perm("shop.change_order")}}
        return context
"""
