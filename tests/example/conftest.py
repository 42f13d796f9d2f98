"""What the example's tests share: files in a temporary folder, no worker, and two users."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.test import Client

from tasks_celery.compat import API_MODULE

HEADER = "date,order number,product,quantity,unit price\n"
ROWS = "2025-01-31,A-1,Tea,2,3.50\n2025-01-31,A-1,Mug,1,10.00\n2025-02-01,A-2,Tea,1,3.50\n2025-02-02,A-3,Mug,-1,10.00\n"


@pytest.fixture(autouse=True)
def _nothing_real(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.REPORT_SECONDS = 0
    settings.DEMO_SIGN_IN = True
    settings.TASKS = backend("dummy.DummyBackend")


def backend(path: str) -> dict[str, Any]:
    """Return TASKS with one of the backends that Django brings."""
    return {"default": {"BACKEND": f"{API_MODULE}.backends.{path}", "QUEUES": ["default", "reports"]}}


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada", first_name="Ada")


@pytest.fixture
def grace(db: None) -> User:
    return User.objects.create_user("grace", first_name="Grace")


@pytest.fixture
def as_ada(ada: User) -> Client:
    client = Client()
    client.force_login(ada)
    return client


@pytest.fixture
def as_grace(grace: User) -> Client:
    client = Client()
    client.force_login(grace)
    return client


@pytest.fixture
def report_of() -> Callable[..., Any]:
    """Make a report that waits, from the text of a CSV."""
    from example.reports.models import Report

    def make(owner: User, text: str = HEADER + ROWS, title: str = "Orders") -> Report:
        return Report.objects.create(owner=owner, title=title, orders=ContentFile(text.encode(), name="orders.csv"))

    return make
