"""Settings of the tests of cancelling: those of the endings, with records in a database where DATABASE_UNDER_TEST names one."""

from __future__ import annotations

import os

if os.environ.get("DATABASE_UNDER_TEST"):
    from integration.database.settings import *  # noqa: F403
else:
    from integration.settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "integration.asking.cancelling"]  # noqa: F405
TASKS["default"]["QUEUES"] = []  # noqa: F405
