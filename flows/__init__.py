"""The flow that makes a film, and its tasks."""
