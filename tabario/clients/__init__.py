"""Clients of the services that the system talks to."""
