"""The front door: the HTTP API that the app talks to."""
