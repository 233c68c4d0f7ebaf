"""An S3 service on loopback, with one bucket."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tabario.settings import MediaSettings
from tests.support.servers import free_port, running
from tests.support.waiting import wait_until

BUCKET: Final = "films"


@dataclass(frozen=True)
class Bucket:
    """Where the bucket is."""

    endpoint: str

    def settings(self, **changes: object) -> MediaSettings:
        """Settings of a store in this bucket."""
        fields = {
            "bucket": f"{BUCKET}/media",
            "endpoint": self.endpoint,
            "access_key": "made-up",
            "secret_key": "made-up",
            **changes,
        }
        return MediaSettings.model_validate(fields)

    def variables(self) -> dict[str, str]:
        """The same for a process."""
        return {
            "TABARIO_MEDIA_BUCKET": f"{BUCKET}/media",
            "TABARIO_MEDIA_ENDPOINT": self.endpoint,
            "TABARIO_MEDIA_ACCESS_KEY": "made-up",
            "TABARIO_MEDIA_SECRET_KEY": "made-up",
        }


@contextmanager
def bucket_running(directory: Path) -> Iterator[Bucket]:
    """Runs the service until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    endpoint = f"http://127.0.0.1:{port}"

    def made() -> bool:
        try:
            return httpx.put(f"{endpoint}/{BUCKET}", timeout=5).is_success
        except httpx.TransportError:
            return False

    with running(command, environment={}, log=directory / "bucket.log"):
        wait_until(made, within=60, what="the bucket is there")
        yield Bucket(endpoint)
