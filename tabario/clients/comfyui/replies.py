"""What a ComfyUI server answers, as records. Unknown fields are ignored: versions differ in them."""

from __future__ import annotations

import re
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MAX_REASON_CHARACTERS: Final = 300

_ADDRESS = re.compile(r"\w+://\S+")
_PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:|\.{1,2})?[\\/][^\s'\":;,)\]]+")


def public(text: str) -> str:
    """The first line of a server's message, cut short and free of paths and addresses."""
    line = next(iter(text.strip().splitlines()), "")
    clean = _PATH.sub("(path)", _ADDRESS.sub("(address)", line))
    return clean if len(clean) <= MAX_REASON_CHARACTERS else f"{clean[:MAX_REASON_CHARACTERS]}…"


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class QueuedPrompt(_Reply):
    """A prompt as queue and history show it. `number` is its place in the order, new for each submission."""

    number: float
    prompt_id: str
    extra_data: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, item: object) -> object:
        if not isinstance(item, list):
            return item
        number, prompt_id, _, extra_data, *_ = item
        return {"number": number, "prompt_id": prompt_id, "extra_data": extra_data or {}}


class Queue(_Reply):
    """What `GET /queue` answers."""

    running: tuple[QueuedPrompt, ...] = Field(alias="queue_running")
    pending: tuple[QueuedPrompt, ...] = Field(alias="queue_pending")

    @property
    def head(self) -> QueuedPrompt | None:
        """The prompt that the one executor works on."""
        return self.running[0] if self.running else None

    def find(self, prompt_id: str) -> QueuedPrompt | None:
        """The prompt of that id, running or pending."""
        return next((item for item in (*self.running, *self.pending) if item.prompt_id == prompt_id), None)


class SavedFile(_Reply):
    """A file on the server, by the three values that `GET /view` takes."""

    filename: str
    subfolder: str = ""
    type: str


class _Status(_Reply):
    status_str: str
    messages: tuple[tuple[str, dict[str, Any]], ...] = ()


class EndedPrompt(_Reply):
    """An entry of the history: a prompt that ended in any way."""

    prompt: QueuedPrompt
    outputs: dict[str, dict[str, Any]]
    status: _Status

    @property
    def succeeded(self) -> bool:
        """Whether every node ran."""
        return self.status.status_str == "success"

    @property
    def interrupted(self) -> bool:
        """Whether somebody stopped it."""
        return any(kind == "execution_interrupted" for kind, _ in self.status.messages)

    @property
    def busy_seconds(self) -> float:
        """How long the executor worked on it, by the server's own clock; 0 when the messages do not tell."""
        stamps = [fields["timestamp"] for _, fields in self.status.messages if "timestamp" in fields]
        return max(0.0, (max(stamps) - min(stamps)) / 1000) if stamps else 0.0

    @property
    def failure(self) -> str:
        """Why it failed: the node's class and its exception, fit for callers."""
        for kind, fields in self.status.messages:
            if kind == "execution_error":
                message = public(str(fields.get("exception_message", "")))
                return f"its node {fields.get('node_type')} failed with {fields.get('exception_type')}: {message}"
        return "it gave no reason"

    def saved_files(self, node_id: str) -> list[SavedFile]:
        """The saved files of a node. Texts, flags and temporary files, which stand in the same lists, are left out."""
        lists = [value for value in self.outputs.get(node_id, {}).values() if isinstance(value, list)]
        items = [item for items in lists for item in items if isinstance(item, dict) and "filename" in item]
        return [SavedFile.model_validate(item) for item in items if item.get("type") == "output"]


class _NodeError(_Reply):
    class_type: str = "?"
    errors: tuple[dict[str, Any], ...] = ()

    def __str__(self) -> str:
        reasons = [f"{error.get('message', '')} ({error.get('details', '')})" for error in self.errors]
        return f"{self.class_type}: {', '.join(reasons)}"


class _GeneralError(_Reply):
    message: str = ""
    details: str = ""

    def __str__(self) -> str:
        return f"{self.message} ({self.details})" if self.details else self.message


class Submission(_Reply):
    """What `POST /prompt` answers, with status 200 or 400."""

    error: _GeneralError | None = None
    node_errors: dict[str, _NodeError] = Field(default_factory=dict)

    @field_validator("error", mode="before")
    @classmethod
    def _from_text(cls, error: object) -> object:
        return {"message": error} if isinstance(error, str) else error

    @field_validator("node_errors", mode="before")
    @classmethod
    def _from_empty(cls, node_errors: object) -> object:
        return node_errors or {}  # some versions write an empty list when there is none

    @property
    def refusal(self) -> str | None:
        """Why the prompt, or a branch of it, will not run; fit for callers. None when all of it will."""
        if self.node_errors:
            return public("; ".join(str(error) for error in self.node_errors.values()))
        return public(str(self.error)) if self.error else None


class CancelReply(_Reply):
    """What `POST /api/jobs/{id}/cancel` answers; false also for a prompt that had ended."""

    cancelled: bool


class UploadedImage(_Reply):
    """What `POST /upload/image` answers. The name may differ from the one sent."""

    name: str
    subfolder: str = ""

    @property
    def reference(self) -> str:
        """What a LoadImage node takes."""
        return f"{self.subfolder}/{self.name}" if self.subfolder else self.name


class Device(_Reply):
    """A device that the server computes on. Memory is in bytes."""

    name: str
    type: str
    vram_total: int = 0
    vram_free: int = 0


class _System(_Reply):
    comfyui_version: str = "unknown"


class SystemStats(_Reply):
    """What `GET /system_stats` answers."""

    system: _System
    devices: tuple[Device, ...] = ()

    @property
    def version(self) -> str:
        """Version of ComfyUI."""
        return self.system.comfyui_version
