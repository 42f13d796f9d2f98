#!/usr/bin/env python
"""Both. Django's command line for the example: ``python example/manage.py migrate``, from any folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Run the management command that the command line names."""
    # Python puts this file's own folder first, where `celery.py` would hide Celery and the package
    # `example` could not be found at all: its parent takes that place.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example.settings")

    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
