"""The users of the app: what they send to the front door, and what they were promised."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

import httpx
from pydantic import SecretStr

from tabario.tiers import Tier
from tabario.tokens.development import mint_development_token

LIMITS: Final[dict[Tier, int]] = {Tier.STANDARD: 1, Tier.PREMIUM: 3}
ANSWER_SECONDS: Final = 60.0
TOKEN_LIFETIME: Final = timedelta(days=1)


@dataclass
class Ledger:
    """What was sent and what came back. `limits` is how many jobs each user may run at once.

    Each submission counts in one of `answers`: its status code, or None where no answer came.
    """

    answers: Counter[int | None] = field(default_factory=Counter)
    accepted: list[str] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)


class User:
    """One user; `flow_run_id`s name their jobs."""

    def __init__(self, http: httpx.AsyncClient, ledger: Ledger, *, key: str, tier: Tier) -> None:
        self.id = str(uuid4())
        self.tier = tier
        self._http = http
        self._ledger = ledger
        ledger.limits[self.id] = LIMITS[tier]
        token = mint_development_token(SecretStr(key), user_id=self.id, tier=tier, lifetime=TOKEN_LIFETIME)
        self._headers = {"Authorization": f"Bearer {token}"}

    async def submit(self, title: str, *, scenes: int = 1) -> str | None:
        """Sends a tiny job. Its flow run id, or None when it was refused or no answer came.

        The same title gives the same pictures.
        """
        try:
            reply = await self._post("/orchestrate/start", tiny_job(title, scenes=scenes))
        except httpx.TransportError:
            self._ledger.answers[None] += 1
            return None
        self._ledger.answers[reply.status_code] += 1
        if reply.status_code != HTTPStatus.ACCEPTED:
            return None
        flow_run_id = str(reply.json()["flow_run_id"])
        self._ledger.accepted.append(flow_run_id)
        return flow_run_id

    async def cancel(self, flow_run_id: str) -> bool:
        """Cancels a job; says whether that was accepted."""
        try:
            reply = await self._post(f"/orchestrate/cancel/{flow_run_id}", None)
        except httpx.TransportError:
            return False
        return reply.status_code == HTTPStatus.ACCEPTED

    async def _post(self, path: str, body: dict[str, Any] | None) -> httpx.Response:
        return await self._http.post(path, json=body, headers=self._headers)


def tiny_job(title: str, *, scenes: int) -> dict[str, Any]:
    """A film of two or three seconds."""
    return {
        "script": "A red fox runs home.",
        "caption": title,
        "prompts": [{"image_prompt": f"{title}, picture {number}"} for number in range(1, scenes + 1)],
        "image_width": 256,
        "image_height": 256,
        "video_format": "1:1",
        "target_resolution": "480p",
    }
