"""`/docs`: the page that lets people try the API. Its scripts come from this server, not from somebody else's."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

PAGE: Final = "/docs"
FILES: Final = "/docs/files"
SCRIPT, STYLE, ICON = f"{FILES}/swagger-ui-bundle.js", f"{FILES}/swagger-ui.css", f"{FILES}/favicon-32x32.png"


def add_documentation(app: FastAPI) -> None:
    """Adds the page. The app must be made with `docs_url=None`."""
    app.mount(FILES, StaticFiles(packages=[("fastapi_swagger", "resources")]))

    @app.get(PAGE, include_in_schema=False)
    async def show_documentation() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url=app.openapi_url or "",
            title=app.title,
            swagger_js_url=SCRIPT,
            swagger_css_url=STYLE,
            swagger_favicon_url=ICON,
        )
