"""Prefect blocks: where the parts of a job are, saved at deployment and loaded by each flow run.

A block holds settings and opens the core's client for them; it does no work itself. Redis has a block of its own
in prefect-redis.
"""
