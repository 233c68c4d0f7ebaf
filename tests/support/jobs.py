"""Jobs and settings for tests of the flow."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from tabario.jobs import Job, JobSpec
from tabario.settings import (
    ApiSettings,
    AuthSettings,
    ComfyUISettings,
    CoreSettings,
    MediaSettings,
    MetricsSettings,
    PrefectSettings,
    RedisSettings,
    Settings,
    SlotSettings,
    VoiceSettings,
)
from tabario.tiers import Tier

USER = "7d0c7a30-5b1e-4a57-9a3e-0d6c0d2f3a11"
SCRIPT = "The fox crosses the frozen river. An owl watches from the old oak."


def new_job(**changes: object) -> Job:
    """A small job: two scenes of 256x256 pixels, about five seconds. `changes` are fields of its spec."""
    fields: dict[str, Any] = {
        "script": SCRIPT,
        "caption": "A fox at night",
        "prompts": [{"image_prompt": "a fox on a frozen river"}, {"image_prompt": "an owl in an old oak"}],
        "image_width": 256,
        "image_height": 256,
        "video_format": "1:1",
        "target_resolution": "480p",
    }
    return Job(
        job_id=uuid4(),
        user_id=USER,
        run_id=f"test-{uuid4().hex[:8]}",
        tier=Tier.STANDARD,
        accepted_at=datetime.now(UTC),
        spec=JobSpec.model_validate(fields | changes),
    )


def settings_for(
    *, prefect_url: str, redis_url: str, directory: Path, comfyui: ComfyUISettings, voice: VoiceSettings | None = None
) -> Settings:
    """Settings of a stack whose media and state lie in `directory`."""
    return Settings(
        core=CoreSettings(state_dir=directory / "state"),
        redis=RedisSettings.model_validate({"url": redis_url}),
        prefect=PrefectSettings(url=prefect_url),
        comfyui=comfyui,
        voice=voice or VoiceSettings(),
        media=MediaSettings(root=directory / "media"),
        slots=SlotSettings(),
        auth=AuthSettings(),
        api=ApiSettings(),
        metrics=MetricsSettings(),
    )
