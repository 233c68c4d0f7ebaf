"""The Prefect API: runs and leases."""
