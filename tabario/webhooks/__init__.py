"""Completion webhooks: put into an outbox in Redis at the end of a job, delivered from there until they arrive."""
