"""The Prefect API over plain HTTP, without importing prefect."""

from tabario.clients.prefect.client import open_prefect
from tabario.clients.prefect.http import NotDone, OutcomeUnknown
from tabario.clients.prefect.leases import Lease, Limit, LimitFull
from tabario.clients.prefect.models import Run, RunPage, RunState
from tabario.clients.prefect.runs import PrefectApi

__all__ = [
    "Lease",
    "Limit",
    "LimitFull",
    "NotDone",
    "OutcomeUnknown",
    "PrefectApi",
    "Run",
    "RunPage",
    "RunState",
    "open_prefect",
]
