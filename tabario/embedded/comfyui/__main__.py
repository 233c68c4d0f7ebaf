"""`python -m tabario.embedded.comfyui`: the stand-in as a process."""

from __future__ import annotations

import argparse
from pathlib import Path

import uvicorn

from tabario.embedded.comfyui.app import create_app
from tabario.embedded.comfyui.versions import Version
from tabario.logs import configure_logging


def main() -> None:
    """Serves a stand-in for ComfyUI until SIGTERM."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; loopback only when absent")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--directory", type=Path, required=True, help="directory of pictures, uploads and the log")
    parser.add_argument("--image-seconds", type=float, default=1.0, help="seconds that a picture takes")
    parser.add_argument(
        "--version", type=Version, choices=list(Version), default=Version.V0_33_0, help="whose behaviour to show"
    )
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    configure_logging()
    uvicorn.run(
        create_app(options.directory, image_seconds=options.image_seconds, version=options.version),
        host=options.host,
        port=options.port,
        log_level="warning",
        log_config=None,
        ws="websockets-sansio",
        ws_ping_interval=None,  # the real server sends no pings
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
