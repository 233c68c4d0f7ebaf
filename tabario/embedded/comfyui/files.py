"""Routes of files: /view and /upload/image."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Final

from PIL import Image, UnidentifiedImageError
from starlette.datastructures import QueryParams, UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from tabario.embedded.comfyui.bodies import Garbled
from tabario.embedded.comfyui.directories import Directories, Outside, annotated
from tabario.embedded.comfyui.faults import Fault
from tabario.embedded.comfyui.png import encode_png
from tabario.embedded.comfyui.standin import StandIn


class _NotShown(Exception):
    """There is no such file to show; carries the status of the answer."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


async def view(request: Request) -> Response:
    """GET /view?filename=&subfolder=&type=&channel=. With `channel=rgb` the picture comes without its prompt."""
    try:
        path = _locate(request.app.state.standin, request.query_params)
    except _NotShown as refusal:
        return Response(status_code=refusal.status)
    if request.query_params.get("channel") == "rgb":
        return Response(_without_metadata(path), media_type="image/png")
    response = FileResponse(path, stat_result=path.stat())
    if request.headers.get("if-none-match") == response.headers["etag"]:
        return Response(status_code=304, media_type=response.media_type)
    return response


def _locate(standin: StandIn, query: QueryParams) -> Path:
    if "filename" not in query:
        raise _NotShown(404)
    name, kind = annotated(query["filename"])
    kind = kind or query.get("type", "output")
    if not name or name.startswith("/") or ".." in name or kind not in Directories.KINDS:
        raise _NotShown(400)
    if "\0" in name:
        raise _NotShown(404)
    try:
        path = standin.directories.subfolder(kind, query.get("subfolder", "")) / PurePosixPath(name).name
    except Outside:
        raise _NotShown(403) from None
    if not path.is_file() or standin.faults.take(Fault.MISSING_FILE):
        raise _NotShown(404)
    return path


async def upload(request: Request) -> Response:
    """POST /upload/image: a multipart form with the field `image`."""
    standin: StandIn = request.app.state.standin
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return Response(status_code=400)
    async with request.form() as form:
        image = form.get("image")
        if not isinstance(image, UploadFile):
            return Response(status_code=400)
        name = image.filename or ""
        kind, subfolder = str(form.get("type", "input")), str(form.get("subfolder", ""))
        if ".." in name:
            return Response(status_code=400)
        if not name or "/" in name or kind not in Directories.KINDS:
            raise Garbled
        try:
            directory = standin.directories.subfolder(kind, subfolder)
        except Outside:
            return Response(status_code=400)
        path = _keep(directory, name, await image.read(), overwrite=form.get("overwrite") in ("true", "1"))
    return JSONResponse({"name": path.name, "subfolder": subfolder, "type": kind})


def _keep(directory: Path, name: str, data: bytes, *, overwrite: bool) -> Path:
    """Writes the upload; under another name when the name is taken by other bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    count = 0
    while not overwrite and path.exists() and path.read_bytes() != data:
        count += 1
        path = directory / f"{Path(name).stem} ({count}){Path(name).suffix}"
    path.write_bytes(data)
    return path


def _without_metadata(path: Path) -> bytes:
    try:
        picture = Image.open(path).convert("RGB")
    except UnidentifiedImageError:
        raise Garbled from None
    return encode_png(picture)


FILE_ROUTES: Final = (Route("/view", view), Route("/upload/image", upload, methods=["POST"]))
