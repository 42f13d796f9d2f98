"""Web process. In which tenant a request or a scope is, for projects that keep several apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.utils.module_loading import import_string

from tasks_celery.channels.options import event_options


def tenant_of(source: HttpRequest | Mapping[str, Any]) -> str | None:
    """Return the tenant of a request or an ASGI scope, as text, by the function that ``TASK_EVENTS["TENANT"]`` names.

    None without such a function, and where it says so. Raise what it raises.
    """
    path = event_options().tenant
    if path is None:
        return None
    tenant = import_string(path)(source)
    return None if tenant is None else str(tenant)
