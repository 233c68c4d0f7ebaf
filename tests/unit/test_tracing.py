"""Traces that are switched off, and the label that carries one on."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from tabario.errors import ConfigurationError
from tabario.settings import TracingSettings
from tabario.settings_source import read_group
from tabario.tracing import start_tracing, trace_labels


def test_without_an_endpoint_nothing_is_traced() -> None:
    assert not start_tracing(TracingSettings(), service="test")
    assert trace_labels() == {}


def test_within_a_trace_a_flow_run_is_told_of_it() -> None:
    context = SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    with trace.use_span(NonRecordingSpan(context)):
        assert trace_labels() == {"__OTEL_TRACEPARENT": f"00-{0xABC:032x}-{0xDEF:016x}-01"}


def test_an_endpoint_that_is_no_address_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")
    with pytest.raises(ConfigurationError, match="Set OTEL_EXPORTER_OTLP_ENDPOINT: URL scheme"):
        read_group(TracingSettings)


def test_an_endpoint_without_the_extra_says_what_to_install() -> None:
    program = """
import sys
sys.modules["opentelemetry.sdk"] = None
from tabario.settings import TracingSettings
from tabario.tracing import start_tracing
start_tracing(TracingSettings(endpoint="http://127.0.0.1:4318"), service="test")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "Install tabario-flows[otel], or unset OTEL_EXPORTER_OTLP_ENDPOINT" in ended.stderr
