"""Settings of the project: those of the elsewhere project, with an app of its own."""

from integration.elsewhere.settings import *  # noqa: F403
