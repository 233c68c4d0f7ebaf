"""Routes under /api/jobs, which newer servers have: one view of what waits, runs and has ended."""

from __future__ import annotations

import uuid
from enum import StrEnum
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tabario.embedded.comfyui.bodies import Garbled, read_json
from tabario.embedded.comfyui.queue import QueuedPrompt
from tabario.embedded.comfyui.standin import StandIn

Job = dict[str, Any]


class JobStatus(StrEnum):
    """Where a job stands."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


_ENDINGS: Final = {
    "execution_success": JobStatus.COMPLETED,
    "execution_error": JobStatus.FAILED,
    "execution_interrupted": JobStatus.CANCELLED,
}


async def list_jobs(request: Request) -> Response:
    """GET /api/jobs?status=&workflow_id=&sort_order=&limit=&offset=."""
    query = request.query_params
    wanted = {part for part in query.get("status", "").split(",") if part}
    if unknown := sorted(wanted - set(JobStatus)):
        valid = ", ".join(JobStatus)
        return _refusal(f"Invalid status value(s): {', '.join(unknown)}. Valid values: {valid}")
    limit, offset = query.get("limit"), query.get("offset", "0")
    if limit is not None and not (limit.isdecimal() and int(limit) > 0):
        return _refusal("limit must be a positive integer")
    if not offset.isdecimal():
        return _refusal("offset must be a non-negative integer")
    jobs = [
        job
        for job in map(_summary, _all_jobs(request.app.state.standin))
        if (not wanted or job["status"] in wanted) and query.get("workflow_id") in (None, job.get("workflow_id"))
    ]
    jobs.sort(key=lambda job: (job["create_time"], job["priority"]), reverse=query.get("sort_order") != "asc")
    first = int(offset)
    last = len(jobs) if limit is None else first + int(limit)
    pagination = {
        "offset": first,
        "limit": None if limit is None else int(limit),
        "total": len(jobs),
        "has_more": last < len(jobs),
    }
    return JSONResponse({"jobs": jobs[first:last], "pagination": pagination})


async def show_job(request: Request) -> Response:
    """GET /api/jobs/{id}."""
    job = _find(request.app.state.standin, request.path_params["job_id"])
    return JSONResponse(job) if job else JSONResponse({"error": "Job not found"}, 404)


async def cancel_job(request: Request) -> Response:
    """POST /api/jobs/{id}/cancel: deletes it when it waits, interrupts it when it runs."""
    return JSONResponse({"cancelled": _cancel(request.app.state.standin, request.path_params["job_id"])})


async def cancel_jobs(request: Request) -> Response:
    """POST /api/jobs/cancel {"job_ids": [...]}."""
    job_ids = (await read_json(request)).get("job_ids", [])
    if invalid := [job_id for job_id in job_ids if not _is_uuid(job_id)]:
        return JSONResponse({"error": "job_ids contains invalid id(s)", "invalid_ids": invalid}, 400)
    cancelled = [_cancel(request.app.state.standin, job_id) for job_id in job_ids]
    return JSONResponse({"cancelled": any(cancelled)})


def _refusal(message: str) -> Response:
    return JSONResponse({"error": message}, 400)


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _cancel(standin: StandIn, job_id: str) -> bool:
    return standin.queue.delete({job_id}) or standin.executor.interrupt(job_id)


def _find(standin: StandIn, job_id: str) -> Job | None:
    return next((job for job in _all_jobs(standin) if job["id"] == job_id), None)


def _all_jobs(standin: StandIn) -> list[Job]:
    queue = standin.queue
    jobs = [_unfinished(prompt, JobStatus.PENDING) for prompt in queue.pending]
    if queue.running:
        jobs.append(_unfinished(queue.running, JobStatus.IN_PROGRESS))
    return jobs + [_finished(entry) for entry in queue.history.values()]


def _unfinished(prompt: QueuedPrompt, status: JobStatus) -> Job:
    return {**_identity(prompt.row(), status), "outputs_count": 0, "previewable_outputs_count": 0}


def _finished(entry: dict[str, Any]) -> Job:
    messages = entry["status"]["messages"]
    kind, ending = messages[-1]
    files = [
        {**item, "nodeId": node_id, "mediaType": media_type}
        for node_id, shown in entry["outputs"].items()
        for media_type, items in shown.items()
        for item in items
    ]
    _, _, graph, extra_data, _ = entry["prompt"]
    job = {
        **_identity(entry["prompt"], _ENDINGS[kind]),
        "execution_start_time": messages[0][1]["timestamp"],
        "execution_end_time": ending["timestamp"],
        "outputs_count": len(files),
        "previewable_outputs_count": len(files),
        "outputs": entry["outputs"],
        "execution_status": entry["status"],
        "workflow": {"prompt": graph, "extra_data": extra_data},
    }
    if kind == "execution_error":
        job["execution_error"] = ending
    if files:
        job["preview_output"] = files[0]
    return job


def _identity(row: list[Any], status: JobStatus) -> Job:
    number, prompt_id, _, extra_data, _ = row
    picture_info = extra_data.get("extra_pnginfo", {})
    if picture_info is None:
        raise Garbled  # one such prompt spoils the list for everybody
    identity = {"id": prompt_id, "status": status, "priority": number, "create_time": extra_data["create_time"]}
    workflow_id = picture_info.get("workflow", {}).get("id")
    return identity | ({"workflow_id": workflow_id} if workflow_id else {})


def _summary(job: Job) -> Job:
    """A job as the list shows it."""
    return {key: value for key, value in job.items() if key not in {"outputs", "execution_status", "workflow"}}


JOB_ROUTES: Final = (
    Route("/jobs", list_jobs),
    Route("/jobs/cancel", cancel_jobs, methods=["POST"]),
    Route("/jobs/{job_id}", show_job),
    Route("/jobs/{job_id}/cancel", cancel_job, methods=["POST"]),
)
