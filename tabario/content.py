"""Keys of the media store. What was made from the same inputs has the same key, so nothing is made twice.

A user's parts are kept apart from everybody else's: the user stands in the path, as a hash, and in the digest.
"""

from __future__ import annotations

import hashlib
import json

from tabario.names import user_hash


def content_key(kind: str, user_id: str, suffix: str, **inputs: str | float | bool | None) -> str:
    """Key of a part made for a user from `inputs`: `content/{user}/{kind}/{digest}{suffix}`.

    `inputs` are all that the part depends on. Raises ValueError for a number that is not finite.
    """
    facts = json.dumps([kind, user_id, inputs], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"content/{user_hash(user_id)}/{kind}/{hashlib.sha256(facts.encode()).hexdigest()}{suffix}"


def run_key(user_id: str, job_id: object, file_name: str) -> str:
    """Key of a finished file of one job: `runs/{user}/{job}/{file}`."""
    return f"runs/{user_hash(user_id)}/{job_id}/{file_name}"
