"""Reads a Celery project and moves it, function by function. Runs in neither process: it imports nothing of the project.

``python -m tasks_celery.migrate report PATH`` says what is there, ``rewrite PATH`` changes what it can prove.
"""

from __future__ import annotations
