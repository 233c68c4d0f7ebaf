"""Metric names and the recorder that keeps them in Redis."""
