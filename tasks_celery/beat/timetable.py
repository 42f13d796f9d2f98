"""Beat process. Which schedule is to be looked at next, and when. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from datetime import datetime
from typing import Any


class Timetable:
    """The next moment of each schedule, by its primary key."""

    def __init__(self) -> None:
        self._moments: dict[Any, datetime] = {}
        self._heap: list[tuple[datetime, Any]] = []

    def __len__(self) -> int:
        return len(self._moments)

    def fill(self, moments: Mapping[Any, datetime]) -> None:
        """Forget all that is known, and know these."""
        self._moments = dict(moments)
        self._heap = [(moment, key) for key, moment in moments.items()]
        heapq.heapify(self._heap)

    def put(self, key: Any, moment: datetime | None) -> None:
        """Note the next moment of a schedule; None for one that has no more."""
        if moment is None:
            self._moments.pop(key, None)
        else:
            self._moments[key] = moment
            heapq.heappush(self._heap, (moment, key))

    def first(self) -> tuple[Any, datetime] | None:
        """Return the schedule whose moment comes first, and that moment; None where there is none."""
        while self._heap:
            moment, key = self._heap[0]
            if self._moments.get(key) == moment:
                return key, moment
            heapq.heappop(self._heap)  # a moment that has been put off since
        return None
