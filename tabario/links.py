"""Signed links to films: whoever has one may fetch that film until it expires, without a token."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import jwt

from tabario.errors import NotFound
from tabario.slots.clock import Clock, utc_now

ALGORITHM: Final = "HS256"
AUDIENCE: Final = "tabario-film"  # no access token has it, so neither can stand in for the other


@dataclass(frozen=True, slots=True)
class Link:
    """An address, and until when it serves."""

    url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Linked:
    """What a link leads to."""

    user_id: str
    run_id: str


class FilmLinks:
    """Makes links and reads them. `key` has at least 32 bytes, `public_url` is the front door's as users see it."""

    def __init__(self, key: bytes, *, public_url: str, clock: Clock = utc_now) -> None:
        self._key = key
        self._public_url = public_url.rstrip("/")
        self._clock = clock

    def make(self, user_id: str, run_id: str, *, lifetime: timedelta) -> Link:
        """A link to the film of a user's run."""
        expires_at = (self._clock() + lifetime).replace(microsecond=0)
        claims = {"aud": AUDIENCE, "sub": user_id, "run": run_id, "exp": int(expires_at.timestamp())}
        token = jwt.encode(claims, self._key, algorithm=ALGORITHM)
        return Link(f"{self._public_url}/orchestrate/films/{token}", expires_at)

    def read(self, token: str) -> Linked:
        """What the link leads to. Raises NotFound when it is expired or not of our making."""
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                options={"require": ["exp", "sub", "run"], "verify_exp": False},
            )
            alive = float(claims["exp"]) > self._clock().timestamp()
        except (jwt.InvalidTokenError, TypeError, ValueError):
            alive, claims = False, {}
        if not alive:
            raise NotFound("This link has expired or was never valid.")
        return Linked(str(claims["sub"]), str(claims["run"]))
