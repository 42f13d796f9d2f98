"""No pages: what the fast suite serves where the partners are not installed."""

from __future__ import annotations

urlpatterns: list[object] = []
