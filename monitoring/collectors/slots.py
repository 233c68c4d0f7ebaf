"""The slots that users hold, from their global concurrency limits.

video_orchestrator_slots_in_use{tier="premium"} 5.0
video_orchestrator_slots_limit{tier="premium"} 3.0
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Final

from prometheus_client.metrics_core import Metric as Family

from monitoring.families import gauge_family
from monitoring.prefect_reader import PrefectReader
from tabario import names
from tabario.metrics.definitions import SLOTS_IN_USE, SLOTS_LIMIT
from tabario.settings import SlotSettings
from tabario.tiers import Tier

MAX_PAGE_SIZE: Final = 200  # Prefect gives no more at once


class Slots:
    """Adds up the active slots of all users by tier. A limit's size tells the tier: Prefect knows no tiers.

    A read takes one page, so that it costs the same however many users there are, and shows the sums of the last
    complete pass. Up to `page_size` users that is the present; with ten times as many it is ten reads old at most.
    """

    name: ClassVar = "slots"
    keeps_values: ClassVar = False

    def __init__(self, prefect: PrefectReader, settings: SlotSettings, *, page_size: int = MAX_PAGE_SIZE) -> None:
        self._prefect = prefect
        self._settings = settings
        self._page_size = page_size
        self._offset = 0
        self._counting: Counter[Tier] = Counter()
        self._counted: Counter[Tier] | None = None

    async def read(self) -> Sequence[Family]:
        """Slots in use, once all pages have been seen, and slots that one user may hold, by tier."""
        page = await self._prefect.concurrency_limits(offset=self._offset, size=self._page_size)
        for limit in page:
            if limit["name"].startswith(names.slot_limit("")):
                self._counting[self._tier_of(limit["limit"])] += int(limit["active_slots"])
        self._offset += len(page)
        if len(page) < self._page_size:
            self._counted, self._counting, self._offset = self._counting, Counter(), 0
        in_use = {} if self._counted is None else {(tier.value,): self._counted[tier] for tier in Tier}
        return (
            gauge_family(SLOTS_IN_USE, in_use),
            gauge_family(SLOTS_LIMIT, {(tier.value,): self._settings.slots(tier) for tier in Tier}),
        )

    def _tier_of(self, slots: int) -> Tier:
        return Tier.PREMIUM if slots > self._settings.standard else Tier.STANDARD
