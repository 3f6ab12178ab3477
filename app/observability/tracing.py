"""Whether requests are traced: off, with OpenTelemetry's SDK not even imported, unless its own variables ask for it.

OTEL_EXPORTER_OTLP_ENDPOINT says where traces go; all other variables of OpenTelemetry's SDK mean what they mean
everywhere (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
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
    """Returns what traces requests, if the variables ask for it and it can be done; otherwise the log says why not."""
    exporter = wanted_exporter(environment)
    if exporter is None:
        return None
    if (refusal := why_not(exporter, environment)) is not None:
        log.warning("Nothing is traced: %s", refusal)
        return None
    try:
        from app.observability.spans import Tracing, open_provider

        return Tracing(open_provider(exporter))
    except ModuleNotFoundError as missing:
        log.warning("Nothing is traced: %s is missing; `pip install 'lookalike[otel]'` brings it.", missing.name)
        return None


def wanted_exporter(environment: Mapping[str, str]) -> str | None:
    """Returns the exporter that the variables ask for; None for none."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    named = environment.get("OTEL_TRACES_EXPORTER", "")
    addressed = any(environment.get(name) for name in _ENDPOINTS)
    exporter = named or ("otlp" if addressed else "none")
    return None if exporter == "none" else exporter


def why_not(exporter: str, environment: Mapping[str, str]) -> str | None:
    """Says what of the variables cannot be done here; None if everything can."""
    if exporter not in _EXPORTERS:
        return f"OTEL_TRACES_EXPORTER is {exporter}, and only {' and '.join(_EXPORTERS)} are known here."
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), _PROTOCOL)
    if exporter == "otlp" and protocol != _PROTOCOL:
        return f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}, and only {_PROTOCOL} is spoken here."
    return None
