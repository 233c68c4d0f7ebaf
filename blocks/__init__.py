"""Prefect blocks: how a deployment is told where its services are."""
