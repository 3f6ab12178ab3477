"""Enable tracing if OpenTelemetry's environment variables request it; otherwise its SDK is not even imported.

Set OTEL_EXPORTER_OTLP_ENDPOINT to the collector's address. All other variables of the SDK have their standard meaning
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.observability.spans import Tracing

log = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTERS = ("otlp", "console")
_PROTOCOL = "http/protobuf"


def open_tracing(environment: Mapping[str, str]) -> "Tracing | None":
    """Return the tracing observer; None if it is not requested, or, with a logged warning, if it is not possible."""
    exporter = selected_exporter(environment)
    if exporter is None:
        return None
    if (reason := unsupported_reason(exporter, environment)) is not None:
        log.warning("Tracing is disabled: %s", reason)
        return None
    try:
        from app.observability.spans import Tracing, open_provider

        return Tracing(open_provider(exporter))
    except ModuleNotFoundError as missing:
        log.warning("Tracing is disabled: %s is missing. Run `pip install 'lookalike[otel]'`.", missing.name)
        return None


def selected_exporter(environment: Mapping[str, str]) -> str | None:
    """Return the exporter that the variables select; None if tracing is off."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    exporter = environment.get("OTEL_TRACES_EXPORTER", "")
    if not exporter:
        exporter = "otlp" if any(environment.get(name) for name in _ENDPOINTS) else "none"
    return None if exporter == "none" else exporter


def unsupported_reason(exporter: str, environment: Mapping[str, str]) -> str | None:
    """Return an error message if a variable has an unsupported value; None if all are supported."""
    if exporter not in _EXPORTERS:
        return f"OTEL_TRACES_EXPORTER is {exporter}, and only {' and '.join(_EXPORTERS)} are supported."
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), _PROTOCOL)
    if exporter == "otlp" and protocol != _PROTOCOL:
        return f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}, and only {_PROTOCOL} is supported."
    return None
