"""The way of others, run in an environment of its own."""
