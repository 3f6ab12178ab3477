"""The container files, as far as they can be checked without an engine."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "docker" / "Dockerfile"


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(COMPOSE)
    return loaded


def stages() -> list[list[str]]:
    """The Dockerfile's instructions, one list for each stage."""
    lines = DOCKERFILE.read_text().replace("\\\n", " ").splitlines()
    found: list[list[str]] = []
    for line in filter(lambda line: line and not line.startswith("#"), lines):
        if line.startswith("FROM "):
            found.append([])
        if found:
            found[-1].append(" ".join(line.split()))
    return found


def instructions(stage: list[str], name: str) -> list[str]:
    return [line.removeprefix(f"{name} ") for line in stage if line.startswith(f"{name} ")]


def test_compose_file_follows_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    checked = subprocess.run(command, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_app_waits_for_the_migration_and_the_migration_for_the_database() -> None:
    services = compose()["services"]
    assert services["migrate"]["command"] == ["migrate"]
    assert services["migrate"]["depends_on"]["database"]["condition"] == "service_healthy"
    assert services["app"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert "healthcheck" in services["database"]


def test_migration_and_app_are_one_image_over_one_database() -> None:
    migrate, app = compose()["services"]["migrate"], compose()["services"]["app"]
    assert migrate["image"] == app["image"]
    assert migrate["environment"].items() <= app["environment"].items()


def test_no_password_is_written_down_and_a_missing_one_is_an_error() -> None:
    services = compose()["services"]
    assert services["database"]["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")
    assert services["app"]["environment"]["PGPASSWORD"].startswith("${POSTGRES_PASSWORD:?")


def test_what_runs_our_code_can_write_to_its_volume_and_tmp_only() -> None:
    services = compose()["services"]
    for service in (services["migrate"], services["app"]):
        assert service["read_only"] is True
        assert service["tmpfs"] == ["/tmp"]  # noqa: S108 – the container's
        assert service["cap_drop"] == ["ALL"]
    assert services["app"]["volumes"] == ["data:/data"]


def test_only_the_app_is_reached_from_outside_and_only_from_this_machine() -> None:
    ports = {name: service.get("ports", []) for name, service in compose()["services"].items()}
    assert [name for name, published in ports.items() if published] == ["app"]
    assert all(port.startswith("127.0.0.1:") for port in ports["app"])


def test_images_from_elsewhere_are_pinned_to_a_release() -> None:
    assert compose()["services"]["database"]["image"].startswith("postgres:18.")
    base = instructions(DOCKERFILE.read_text().splitlines(), "ARG")[0]
    assert base == "PYTHON_IMAGE=python:3.11-slim-bookworm"
    assert all(stage[0].startswith("FROM ${PYTHON_IMAGE}") for stage in stages())


def test_the_image_does_not_run_as_root() -> None:
    *_, user = instructions(stages()[-1], "USER")
    assert user.split(":")[0].isdecimal()
    assert int(user.split(":")[0]) > 0


def test_the_image_serves_and_is_asked_whether_it_is_ready() -> None:
    final = stages()[-1]
    assert instructions(final, "ENTRYPOINT") == ['["lookalike"]']
    assert instructions(final, "CMD") == ['["serve"]']
    assert instructions(final, "EXPOSE") == ["8000"]
    assert "/readyz" in instructions(final, "HEALTHCHECK")[0]


def test_the_image_is_built_from_what_the_package_needs_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    wanted = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    assert wanted == {"app", "migrations", "models", "constraints.txt", "pyproject.toml", "LICENSE", "README.md"}
    assert all((ROOT / name).exists() for name in wanted)
