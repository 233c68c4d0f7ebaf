"""Traces: one from a request to the front door, through the flow and its tasks, to each request to ComfyUI.

Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set. OpenTelemetry's own variables (headers, sampling) are honoured.
"""

from __future__ import annotations

import time
from typing import Final

from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from tabario.errors import ConfigurationError
from tabario.settings import TracingSettings

TRACE_LABEL: Final = "__OTEL_TRACEPARENT"  # of a flow run: Prefect goes on with the trace that it names
_NANO: Final = 1_000_000_000

_tracer: Final = trace.get_tracer("tabario")


def start_tracing(settings: TracingSettings, *, service: str) -> bool:
    """Sends this process's spans to the configured endpoint; says whether there is one.

    Raises ConfigurationError when the extra is not installed.
    """
    if settings.endpoint is None:
        return False
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "Install tabario-flows[otel], or unset OTEL_EXPORTER_OTLP_ENDPOINT: traces need the extra."
        ) from None
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return True


def trace_labels() -> dict[str, str]:
    """Labels that let a flow run go on with the current trace; none outside of one."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return {TRACE_LABEL: carrier["traceparent"]} if "traceparent" in carrier else {}


def note_request(name: str, *, outcome: str, seconds: float) -> None:
    """A span for a request that has just ended, below the current one. `outcome` is a status class or a reason."""
    ended = time.time_ns()
    span = _tracer.start_span(
        name, kind=SpanKind.CLIENT, start_time=ended - int(seconds * _NANO), attributes={"outcome": outcome}
    )
    if outcome != "2xx":
        span.set_status(Status(StatusCode.ERROR, outcome))
    span.end(ended)
