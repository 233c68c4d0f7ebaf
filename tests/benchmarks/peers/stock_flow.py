"""A flow as Prefect's tutorials write one: a single task, run by a worker with the default settings."""

from __future__ import annotations

from prefect import flow, task


@task
def first() -> None:
    """Has run as soon as it is there."""


@flow
def stock() -> None:
    """Runs the task."""
    first()
