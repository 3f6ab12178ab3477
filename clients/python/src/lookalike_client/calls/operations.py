"""Calls of the API for people who run the service: API keys, models, maintenance tasks. They need the scope `admin`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import TypeAdapter

from lookalike_client.requests import CallFlow, Request

if TYPE_CHECKING:
    from collections.abc import Iterable

Scope = Literal["search", "write", "admin"]
TaskKind = Literal["adapt", "demo", "reindex", "report"]


@dataclass(frozen=True)
class ApiKey:
    """An API key without its secret.

    Attributes:
        last_used_at: to about a minute; None if it was never used.
    """

    id: int
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True)
class NewApiKey(ApiKey):
    """A new API key; `key` is its secret, which cannot be read again."""

    key: str


@dataclass(frozen=True)
class AvailableModel:
    """A model that the catalogue can move to.

    Attributes:
        precision: `f32`, or `int8` or `bf16` for a quantised one.
        classes: number of labels that it was trained with; 0 for a model that knows no labels.
        active: whether the catalogue uses it.
    """

    name: str
    fingerprint: str
    backbone: str
    bits: int
    feature_dim: int
    precision: str
    classes: int
    active: bool


@dataclass(frozen=True)
class Task:
    """The last run of a kind of maintenance task.

    Attributes:
        kind: `adapt`, `demo`, `reindex` or `report`.
        state: `running`, `done`, `failed` or `cancelled`.
        model: the model that a reindex moves to.
        step: what it is doing; None at first.
        processed: progress of the step.
        total: what `processed` reaches; None until it is known.
        message: its result, or why it failed.
    """

    kind: str
    state: str
    model: str | None
    step: str | None
    processed: int
    total: int | None
    message: str | None
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class _Keys:
    items: tuple[ApiKey, ...]


@dataclass(frozen=True)
class _Models:
    items: tuple[AvailableModel, ...]


@dataclass(frozen=True)
class _Tasks:
    items: tuple[Task, ...]


_KEYS, _NEW_KEY, _MODELS = TypeAdapter(_Keys), TypeAdapter(NewApiKey), TypeAdapter(_Models)
_TASKS, _TASK = TypeAdapter(_Tasks), TypeAdapter(Task)


def list_keys() -> CallFlow[tuple[ApiKey, ...]]:
    """Return all API keys, by name."""
    response = yield Request("GET", "/keys")
    return response.parse(_KEYS).items


def create_key(name: str, scopes: Iterable[Scope] = ("search",)) -> CallFlow[NewApiKey]:
    """Create an API key; from the first one on, every call needs a key.

    Raises `ProblemError` if another key has the name: also if the response to an earlier attempt was lost. Then revoke
    that key, since its secret is lost too.
    """
    response = yield Request("POST", "/keys", json={"name": name, "scopes": list(scopes)})
    return response.parse(_NEW_KEY)


def delete_key(key_id: int) -> CallFlow[None]:
    """Revoke an API key."""
    response = yield Request("DELETE", f"/keys/{key_id}")
    response.require_deleted()


def list_models() -> CallFlow[tuple[AvailableModel, ...]]:
    """Return the models that the catalogue can move to."""
    response = yield Request("GET", "/models")
    return response.parse(_MODELS).items


def list_tasks() -> CallFlow[tuple[Task, ...]]:
    """Return the last run of each kind of maintenance task, the latest first."""
    response = yield Request("GET", "/tasks")
    return response.parse(_TASKS).items


def start_adapt() -> CallFlow[Task]:
    """Fit codes to the catalogue in the background, and use them if they find more.

    Raises `ProblemError` if a task is running, as do the other calls that start one: also if the response to an earlier
    attempt was lost.
    """
    response = yield Request("POST", "/tasks/adapt")
    return response.parse(_TASK)


def start_demo() -> CallFlow[Task]:
    """Add the demo images in the background.

    Raises `ProblemError` also if the catalogue or its trash has images.
    """
    response = yield Request("POST", "/tasks/demo")
    return response.parse(_TASK)


def start_reindex(model: str) -> CallFlow[Task]:
    """Encode all images with another model in the background, then switch to it; `model` is a name of `list_models`."""
    response = yield Request("POST", "/tasks/reindex", json={"model": model})
    return response.parse(_TASK)


def start_report() -> CallFlow[Task]:
    """Measure search quality in the background."""
    response = yield Request("POST", "/tasks/report")
    return response.parse(_TASK)


def cancel_task(kind: TaskKind) -> CallFlow[Task]:
    """Cancel a maintenance task."""
    response = yield Request("POST", f"/tasks/{kind}/cancel")
    return response.parse(_TASK)
