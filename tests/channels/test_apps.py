from __future__ import annotations

import subprocess
import sys

from django.apps import apps
from django.core.checks.registry import registry

from tasks_celery.channels.checks import check_channels
from tasks_celery.channels.receivers import announce
from tasks_celery.compat import task_finished


def test_the_app_has_its_fixed_label() -> None:
    assert apps.get_app_config("tasks_celery_channels").name == "tasks_celery.channels"


def test_it_hears_of_tasks_and_checks_the_settings() -> None:
    assert announce in [receiver for receivers in task_finished._live_receivers(None) for receiver in receivers]
    assert check_channels in registry.get_checks()


def test_starting_django_starts_no_thread_and_imports_no_layer() -> None:
    code = (
        "import os, sys, threading; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'\n"
        "import django; django.setup()\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "assert 'channels_redis' not in sys.modules and 'tasks_celery.channels.consumers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
