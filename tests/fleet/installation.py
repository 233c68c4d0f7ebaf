"""The system of docker-compose.yml with a bucket, two front doors and as many workers as are asked for."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tabario.cli.secret_files import GIVEN, make_secrets
from tests.support.buckets import BUCKET, bucket_running
from tests.support.composition import COMPOSE_FILE, Composition, overlaid, read_compose
from tests.support.issuer import Issuer
from tests.support.postgresql import unprivileged_directory

NOT_NEEDED: Final = {"grafana", "prometheus", "alertmanager", "rules"}
ONE_OFF: Final = ("check", "migrate", "deploy")
DOORS: Final = ("front-door", "front-door-2")


@contextmanager
def fleet(issuer: Issuer, *, workers: int, variables: dict[str, str], **image: str) -> Iterator[Composition]:
    """Every service that films need, healthy. `variables` are what an operator sets, `image` the stand-in's options."""
    with unprivileged_directory() as directory, bucket_running(directory) as bucket:
        given = {
            "PUBLIC_URL": "https://films.example",
            "SUPABASE_URL": issuer.project,
            "COMFYUI_URL": "http://comfyui:8188",
            "MEDIA_BUCKET": f"{BUCKET}/media",
            "MEDIA_ENDPOINT": bucket.endpoint.replace("127.0.0.1", "localhost"),
            **variables,
        }
        list(make_secrets(directory / "secrets"))
        for name in (GIVEN, "media_access_key", "media_secret_key"):
            (directory / "secrets" / name).write_text(f"sb_{secrets.token_hex(16)}")
        over = read_compose(given, COMPOSE_FILE.with_name("docker-compose.s3.yml"))
        composition = Composition(directory, overlaid(read_compose(given), over))
        for option, value in image.items():
            composition.services["comfyui"]["command"] += [f"--{option.replace('_', '-')}", value]
        composition.scale("front-door", 2)
        for number in range(2, workers + 1):
            composition.scale("worker", number)
        with composition.stack:
            for service in composition.in_order(without=NOT_NEEDED):
                if service in ONE_OFF:
                    composition.run(service)
                else:
                    composition.start(service)
            yield composition


def doors_of(composition: Composition) -> list[str]:
    """The addresses of the front doors."""
    return [f"http://{composition.address(door)}:8000" for door in DOORS]
