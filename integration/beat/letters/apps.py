from __future__ import annotations

from django.apps import AppConfig


class LettersConfig(AppConfig):
    name = "integration.beat.letters"
    label = "letters"
