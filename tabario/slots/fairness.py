"""Keeps premium jobs from passing a standard job for ever.

Prefect's queue priority is strict: while premium runs keep coming, a standard one never starts. So once a standard
run has waited for `standard_wait` seconds, both queues get the same priority, and Prefect serves their runs together
by age: no premium run that came later passes the overdue one any more. Nor can overdue standard runs, however many,
starve a premium one that is older. The bound is kept to within one pass of the keeper.

The premium queue is not paused instead: on PostgreSQL the running jobs of a paused queue no longer count against the
pool's limit, free places would stay empty, and an operator's own pause could not be told from ours.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from tabario.clients.prefect.queues import WorkQueues
from tabario.settings import SlotSettings
from tabario.slots.clock import Clock
from tabario.slots.leader import Leader
from tabario.tiers import Tier

log = logging.getLogger(__name__)


class Fairness:
    """Sets the standard queue's priority by how long its runs have waited. Only the leading keeper does.

    It remembers nothing: each pass looks anew, so the next leader makes good what a dead one left.
    """

    def __init__(self, queues: WorkQueues, leader: Leader, settings: SlotSettings, *, clock: Clock) -> None:
        self._queues = queues
        self._leader = leader
        self._standard_wait = timedelta(seconds=settings.standard_wait)
        self._clock = clock

    async def order_queues(self) -> bool:
        """Gives the standard queue its priority of now; says whether a standard run is overdue.

        Raises NotLeading, and RetryLater when Prefect does not answer.
        """
        premium, standard = [await self._queues.read(tier) for tier in (Tier.PREMIUM, Tier.STANDARD)]
        if premium is None or standard is None:  # not deployed yet
            return False
        overdue = await self._queues.has_waiting(Tier.STANDARD, since=self._clock() - self._standard_wait)
        due = premium.priority if overdue else premium.priority + 1
        if standard.priority != due:
            await self._leader.confirm()
            await self._queues.set_priority(standard, due)
            log.info(
                "Standard jobs %s.", "are overdue: all go by age now" if overdue else "wait for premium ones again"
            )
        return overdue
