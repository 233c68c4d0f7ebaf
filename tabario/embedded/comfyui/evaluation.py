"""What each node class does. A sampler paints; its latent carries the finished pictures as PNG bytes."""

from __future__ import annotations

import asyncio
import io
import json
import secrets
import string
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from PIL import Image, ImageOps

from tabario.embedded.comfyui.directories import Directories, Outside
from tabario.embedded.comfyui.faults import Fault, Faults
from tabario.embedded.comfyui.painter import Card, paint
from tabario.embedded.comfyui.png import encode_png, with_text
from tabario.embedded.comfyui.queue import Graph

# More pixels than this in one batch are more than the graphics card holds.
_MEMORY_PIXELS: Final = 100_000_000


class NodeFailed(Exception):
    """A node raised. `exception_type` is the name that the server would tell."""

    def __init__(self, exception_type: str, message: str) -> None:
        super().__init__(message)
        self.exception_type = exception_type


class Interrupted(Exception):
    """Somebody asked to stop the run."""


class ServerRestarted(Exception):
    """The server restarts in the middle of the run."""


@dataclass(frozen=True)
class Latent:
    """A batch of pictures, of `batch` frames in pixels; empty until it has been sampled."""

    width: int
    height: int
    batch: int
    pictures: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Result:
    """A node's outputs by slot, and what an output node shows to the client. `painted` counts new pictures."""

    values: tuple[Any, ...]
    shown: dict[str, Any] | None = None
    painted: int = 0


@dataclass(frozen=True)
class Work:
    """One node to run: its inputs with links resolved, and its surroundings."""

    inputs: dict[str, Any]
    graph: Graph
    interrupted: asyncio.Event
    on_step: Callable[[int, int], None]

    async def pause(self, seconds: float) -> None:
        """Waits. Raises Interrupted as soon as somebody asks for it."""
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self.interrupted.wait()
        except TimeoutError:
            return
        raise Interrupted


class Workshop:
    """Runs nodes. A sampler takes `image_seconds` for each picture, the painting included."""

    def __init__(self, directories: Directories, faults: Faults, *, image_seconds: float) -> None:
        self._directories = directories
        self._faults = faults
        self._image_seconds = image_seconds
        self._temp_prefix = "ComfyUI_temp_" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(5))
        self._actions: dict[str, Callable[[Work], Awaitable[Result]]] = {
            "CheckpointLoaderSimple": self._load_checkpoint,
            "CLIPTextEncode": self._encode_text,
            "EmptyLatentImage": self._make_latent,
            "KSampler": self._sample,
            "VAEDecode": self._decode,
            "EmptyImage": self._make_image,
            "ImageInvert": self._invert,
            "LoadImage": self._load_image,
            "SaveImage": self._save,
            "PreviewImage": self._preview,
        }

    async def run(self, class_type: str, work: Work) -> Result:
        """Raises NodeFailed, Interrupted or ServerRestarted."""
        return await self._actions[class_type](work)

    async def _load_checkpoint(self, work: Work) -> Result:
        name = work.inputs["ckpt_name"]
        return Result((name, name, name))

    async def _encode_text(self, work: Work) -> Result:
        return Result((work.inputs["text"],))

    async def _make_latent(self, work: Work) -> Result:
        width, height, batch = (work.inputs[name] for name in ("width", "height", "batch_size"))
        return Result((Latent(width // 8 * 8, height // 8 * 8, batch),))

    async def _sample(self, work: Work) -> Result:
        latent: Latent = work.inputs["latent_image"]
        _check_memory(latent.width, latent.height, latent.batch)
        started = time.monotonic()
        seconds = self._image_seconds * latent.batch
        await self._misbehave(work, seconds)
        pictures = await asyncio.to_thread(self._paint, work.inputs, latent)
        steps = work.inputs["steps"]
        for step in range(1, steps + 1):
            await work.pause(started + seconds * step / steps - time.monotonic())
            work.on_step(step, steps)
        return Result((replace(latent, pictures=pictures),), painted=len(pictures))

    async def _misbehave(self, work: Work, seconds: float) -> None:
        if self._faults.take(Fault.NODE_ERROR):
            raise NodeFailed("RuntimeError", "The sampler could not make sense of its model.")
        if self._faults.take(Fault.OUT_OF_MEMORY):
            raise _out_of_memory()
        if self._faults.take(Fault.HANG):
            await work.interrupted.wait()
            raise Interrupted
        if self._faults.take(Fault.STATE_LOST):
            await work.pause(seconds / 2)
            raise ServerRestarted

    def _paint(self, inputs: dict[str, Any], latent: Latent) -> tuple[bytes, ...]:
        width, height = latent.width, latent.height
        if self._faults.take(Fault.WRONG_SIZE_PICTURE):
            width, height = width // 2, height // 2
        if self._faults.take(Fault.BLACK_PICTURE):
            return (encode_png(Image.new("RGB", (width, height))),) * latent.batch
        cards = [Card(inputs["positive"], inputs["seed"] + offset, width, height) for offset in range(latent.batch)]
        return tuple(encode_png(paint(card)) for card in cards)

    async def _decode(self, work: Work) -> Result:
        latent: Latent = work.inputs["samples"]
        if latent.pictures:
            return Result((latent.pictures,))
        _check_memory(latent.width, latent.height, latent.batch)
        blank = Image.new("RGB", (latent.width, latent.height), "grey")
        return Result(((encode_png(blank),) * latent.batch,))

    async def _make_image(self, work: Work) -> Result:
        width, height, batch = (work.inputs[name] for name in ("width", "height", "batch_size"))
        _check_memory(width, height, batch)
        colour = f"#{work.inputs['color']:06x}"
        return Result(((encode_png(Image.new("RGB", (width, height), colour)),) * batch,))

    async def _invert(self, work: Work) -> Result:
        return Result((tuple(encode_png(ImageOps.invert(_open(picture))) for picture in work.inputs["image"]),))

    async def _load_image(self, work: Work) -> Result:
        path = self._directories.find_input(work.inputs["image"])
        if path is None:
            raise NodeFailed("FileNotFoundError", "The uploaded picture is gone.")
        try:
            picture = encode_png(_open(path.read_bytes()))
        except OSError as error:  # what Pillow raises for a file that is no picture
            raise NodeFailed("PIL.UnidentifiedImageError", f"cannot identify image file '{path.name}'\n") from error
        return Result(((picture,), None))

    async def _save(self, work: Work) -> Result:
        return await asyncio.to_thread(partial(self._write, work, "output", work.inputs["filename_prefix"]))

    async def _preview(self, work: Work) -> Result:
        return await asyncio.to_thread(partial(self._write, work, "temp", self._temp_prefix))

    def _write(self, work: Work, kind: str, prefix: str) -> Result:
        items = []
        pictures: tuple[bytes, ...] = work.inputs["images"]
        for picture in pictures:
            try:
                path, subfolder = self._directories.next_output(kind, prefix)
            except Outside:
                raise NodeFailed("Exception", "Saving a picture outside the output folder is not allowed.") from None
            data = with_text(picture, "prompt", json.dumps(work.graph))
            path.write_bytes(data[: len(data) // 2] if self._faults.take(Fault.TRUNCATED_PICTURE) else data)
            items.append({"filename": path.name, "subfolder": subfolder, "type": kind})
        return Result((pictures,), shown={"images": items})


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def _check_memory(width: int, height: int, batch: int) -> None:
    if width * height * batch > _MEMORY_PIXELS:
        raise _out_of_memory()


def _out_of_memory() -> NodeFailed:
    return NodeFailed("torch.OutOfMemoryError", "Allocation on device would exceed allowed memory. (out of memory)")
