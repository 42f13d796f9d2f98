from __future__ import annotations

from django.apps import AppConfig


class LackingConfig(AppConfig):
    """Has a migration that lacks its dependency."""

    name = "integration.beat.lacking"
    label = "lacking"
