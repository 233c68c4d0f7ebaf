"""The bodies of replies."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from tabario.clients.prefect import RunState
from tabario.records import JobFailure, Receipt, Stage
from tabario.tiers import Tier

Progress = Annotated[float, Field(ge=0, le=1, description="0 to 1 over the whole job", examples=[0.42])]
ClientRunId = Annotated[str, Field(description="The client's reference, unique per user.", examples=["lisbon-trams-1"])]


class Reply(BaseModel):
    """Root of all replies."""

    model_config = ConfigDict(frozen=True)


class RunIds(Reply):
    """The names of one job."""

    run_id: ClientRunId
    flow_run_id: UUID = Field(description="Prefect's id of the flow run.")
    workflow_id: str = Field(
        description="Name of the flow run.",
        examples=["tabario-user-7b0f6a52-8c3e-4b7e-9d5f-0d2a7c1e9f10-lisbon-trams-1"],
    )


class RunMessage(RunIds):
    """A request about a job was accepted."""

    message: str = Field(description="One sentence for people.")


class FilmBody(Reply):
    """The finished film."""

    url: str = Field(
        description="Address of the MP4; fetch it with your access token.",
        examples=["https://films.example/orchestrate/video/lisbon-trams-1"],
    )
    poster_url: str | None = Field(description="A frame as JPEG, to be fetched in the same way.")
    srt_url: str | None = Field(description="The subtitles as SRT.")
    vtt_url: str | None = Field(description="The subtitles as WebVTT.")
    duration: float = Field(description="seconds", examples=[31.46])
    bytes: int = Field(examples=[4_211_337])
    width: int = Field(description="pixels", examples=[720])
    height: int = Field(description="pixels", examples=[1280])


class LinkBody(Reply):
    """A link to a film."""

    url: str = Field(description="Address of the MP4; it needs no token.")
    expires_at: AwareDatetime = Field(description="When it stops to serve.")


class RunBody(RunIds):
    """All that is known of a job."""

    state: RunState = Field(description="What Prefect says of the run.")
    stage: Stage = Field(description="Where the work is, or where it stopped.")
    progress: Progress
    message: str = Field(description="One sentence for people.", examples=["Painting the pictures, 3 of 7."])
    seconds_left: float | None = Field(description="Estimate; null while it is not known.", examples=[48.0])
    scenes_done: int = Field(examples=[2])
    scenes_total: int | None = Field(description="null until the scenes are planned", examples=[7])
    failure: JobFailure | None = Field(description="Why there is no film; null unless the job failed.")
    receipt: Receipt = Field(description="What the job has used so far.")
    film: FilmBody | None = Field(description="null until the job is done")
    accepted_at: AwareDatetime
    started_at: AwareDatetime | None
    ended_at: AwareDatetime | None


class ProgressBody(Reply):
    """How far a job is: the data of an event."""

    run_id: ClientRunId
    stage: Stage
    progress: Progress
    message: str = Field(description="One sentence for people.", examples=["Painting the pictures, 3 of 7."])
    seconds_left: float | None = Field(description="Estimate; null while it is not known.", examples=[48.0])
    scenes_done: int = Field(examples=[2])
    scenes_total: int | None = Field(description="null until the scenes are planned", examples=[7])
    failure: JobFailure | None
    film: FilmBody | None


class RunList(Reply):
    """One page of jobs, newest first."""

    runs: list[RunBody]
    next_cursor: str | None = Field(description="Ask for the next page with it; null on the last page.")


class ActiveRun(Reply):
    """A job that holds a slot."""

    run_id: ClientRunId
    stage: Stage
    progress: Progress
    started_at: AwareDatetime | None = Field(description="null while it waits for a worker")


class SlotsBody(Reply):
    """The caller's slots."""

    tier: Tier
    limit: int = Field(description="Jobs at once.", examples=[3])
    active: list[ActiveRun] = Field(description="The jobs that hold a slot.")


class HealthBody(Reply):
    """The process lives."""

    status: str = Field(default="ok", examples=["ok"])
