"""The front door as an ASGI app."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, FastAPI, Security
from fastapi.middleware.cors import CORSMiddleware
from starlette.routing import Route

from api.accepting import REPLAYED
from api.authentication import Authentication
from api.body_limit import BodyLimit
from api.deps import BEARER
from api.documentation import add_documentation
from api.error_handlers import UnexpectedErrors, add_error_handlers
from api.headers import REQUEST_ID, ReplyHeaders
from api.idempotency import HEADER as IDEMPOTENCY_KEY
from api.lifespan import lifespan, open_services
from api.openapi import AUTHENTICATED, DESCRIPTION, TAGS, DocumentedApi, problems
from api.rate_limit import RateLimit
from api.routes import companions, events, links, operation, regenerate, runs, slots, start, video
from api.scraping import PATH, for_prometheus
from api.services import OpenServices
from monitoring.exporter import Exporter, create_exporter
from tabario.errors import ConfigurationError, SlotsFull
from tabario.settings import MetricsScope, Settings
from tabario.tokens.verifier import TokenVerifier, create_verifier
from tabario.tracing import start_tracing


def create_app(settings: Settings, *, services: OpenServices = open_services) -> FastAPI:
    """The front door. `services` opens what the routes work with for the life of the app.

    Raises ConfigurationError when the settings contradict each other.
    """
    exporter = _exporter(settings) if settings.metrics.enabled else None
    verifier = create_verifier(settings)
    is_traced = start_tracing(settings.tracing, service="tabario-front-door")
    app = DocumentedApi(
        title="Tabario Flows",
        version=version("tabario-flows"),
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan(settings, services, verifier, exporter),
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
    )
    app.include_router(_jobs())
    app.include_router(links.open_router, tags=["links"])
    app.include_router(operation.router, tags=["operation"])
    if exporter is not None:
        metrics = for_prometheus(exporter.app, settings)
        app.router.routes.append(Route(PATH, metrics, methods=["GET"], include_in_schema=False))
    add_error_handlers(app)
    app.exception_handler(SlotsFull)(slots.answer_slots_full)
    _add_middleware(app, settings, verifier)
    add_documentation(app)
    if is_traced:
        _add_spans(app)
    return app


def _add_spans(app: FastAPI) -> None:
    """A span for each request but those of machines that ask every few seconds."""
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor  # noqa: PLC0415 - installed only with the extra `otel`

    FastAPIInstrumentor.instrument_app(app, excluded_urls="/metrics,/health,/ready", exclude_spans=["receive", "send"])


def _exporter(settings: Settings) -> Exporter:
    """Raises ConfigurationError when front doors that share an address would each show totals that it has read itself.

    Prometheus would meet them in turn, now one that has read a count and now one that has not, and take each step back
    for a reset.
    """
    if settings.metrics.multiprocess_directory is not None and settings.metrics.scope is MetricsScope.ALL:
        raise ConfigurationError(
            "Set METRICS_SCOPE=process and run one `tabario exporter`, since front doors that share "
            "PROMETHEUS_MULTIPROC_DIR cannot each show everything; or leave PROMETHEUS_MULTIPROC_DIR unset."
        )
    return create_exporter(
        redis=settings.redis,
        prefect=settings.prefect,
        slots=settings.slots,
        metrics=settings.metrics,
        scope=settings.metrics.scope,
    )


def _jobs() -> APIRouter:
    router = APIRouter(tags=["jobs"], dependencies=[Security(BEARER)], responses=problems(*AUTHENTICATED))
    for module in (start, regenerate, runs, events, video, companions, links, slots):
        router.include_router(module.router)
    return router


def _add_middleware(app: FastAPI, settings: Settings, verifier: TokenVerifier) -> None:
    """The last one added is the first to see a request."""
    app.add_middleware(BodyLimit, limit=settings.api.body_limit)
    app.add_middleware(RateLimit)
    app.add_middleware(Authentication, verifier=verifier)
    app.add_middleware(UnexpectedErrors)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.api.cors_origins,
        allow_methods=["GET", "HEAD", "POST"],
        allow_headers=[
            "Authorization",
            "Content-Type",
            "Range",
            "If-Range",
            "If-None-Match",
            IDEMPOTENCY_KEY,
            events.LAST_EVENT_ID,
            REQUEST_ID,
        ],
        expose_headers=[
            "Location",
            "Retry-After",
            "Content-Range",
            "Content-Disposition",
            "ETag",
            REPLAYED,
            REQUEST_ID,
        ],
    )
    app.add_middleware(ReplyHeaders)
