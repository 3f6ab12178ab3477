"""Dockerfile and compose files, checked without a container engine."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from app.common.setting_names import unknown_variable_warnings
from app.settings import Settings

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "docker-compose.yml"
CUDA = ROOT / "docker" / "cuda.yml"
DOCKERFILE = ROOT / "docker" / "Dockerfile"
OUR_SERVICES = ("migrate", "app", "replica")
PROFILES = {
    "default": {"app"},
    "scale": {"replica", "proxy", "milvus", "etcd", "objects", "buckets"},
    "observe": {"prometheus", "grafana"},
}
PUBLISHED = {"app": "8000", "proxy": "8080", "prometheus": "9090", "grafana": "3000"}
# A release, not a moving tag: v1.2.3, 18.4, 3.2.22-alpine, RELEASE.2024-05-28T17-19-04Z.
RELEASE = re.compile(r"[\w./-]+:(v?\d+\.\d+(\.\d+)?(-\w+)?|RELEASE\.[\dTZ-]+)")


def compose(path: Path = COMPOSE) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(path)
    return loaded


def stages() -> list[list[str]]:
    """Instructions of the Dockerfile, one list for each stage."""
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


@pytest.mark.parametrize("path", [COMPOSE, CUDA], ids=lambda path: path.name)
def test_compose_files_follow_the_compose_specification(path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    checked = subprocess.run(command, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_profile_starts_its_services_database_and_migration() -> None:
    found = {name: set(service.get("profiles", [])) for name, service in compose()["services"].items()}
    assert {name for name, profiles in found.items() if not profiles} == {"database", "migrate"}
    for profile, names in PROFILES.items():
        assert {name for name, profiles in found.items() if profile in profiles} == names


def test_services_depend_only_on_services_of_their_profile() -> None:
    services = compose()["services"]
    for name, service in services.items():
        for needed in service.get("depends_on", {}):
            assert set(services[needed].get("profiles", service.get("profiles", []))) >= set(
                service.get("profiles", [])
            )
            assert needed in services, (name, needed)


def test_services_that_must_be_healthy_have_a_healthcheck() -> None:
    services = compose()["services"]
    for service in services.values():
        waiting = service.get("depends_on", {})
        for needed, how in waiting.items() if isinstance(waiting, dict) else ():
            assert how["condition"] != "service_healthy" or "healthcheck" in services[needed], needed


@pytest.mark.parametrize("name", ["app", "replica"])
def test_service_starts_after_the_migration_and_that_after_the_database(name: str) -> None:
    services = compose()["services"]
    assert services["migrate"]["command"] == ["migrate"]
    assert services["migrate"]["depends_on"]["database"]["condition"] == "service_healthy"
    assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


@pytest.mark.parametrize("name", ["app", "replica"])
def test_service_and_migration_share_image_and_database(name: str) -> None:
    migrate, serving = compose()["services"]["migrate"], compose()["services"][name]
    assert migrate["image"] == serving["image"]
    assert migrate["environment"].items() <= serving["environment"].items()


def test_replicas_share_milvus_and_an_existing_bucket() -> None:
    services = compose()["services"]
    replica = services["replica"]
    assert replica["deploy"]["replicas"] == 2
    assert "ports" not in replica, "replicas are only reached through the proxy"
    environment = replica["environment"]
    assert environment["LOOKALIKE_INDEX_BACKEND"] == "milvus"
    assert environment["LOOKALIKE_MILVUS_URI"] == "http://milvus:19530"
    bucket = environment["LOOKALIKE_STORAGE_URL"].removeprefix("s3://").split("/")[0]
    assert f"objects/{bucket}" in services["buckets"]["command"][0]
    assert environment["AWS_ENDPOINT_URL"] == "http://objects:9000"
    assert environment["AWS_ACCESS_KEY_ID"] == services["objects"]["environment"]["MINIO_ROOT_USER"]
    for name, key in (("objects", "MINIO_ROOT_PASSWORD"), ("milvus", "MINIO_SECRET_ACCESS_KEY")):
        assert services[name]["environment"][key] == environment["AWS_SECRET_ACCESS_KEY"] == "${S3_PASSWORD:-}"


def test_configured_settings_exist() -> None:
    for name in OUR_SERVICES:
        given = {key for key in compose()["services"][name]["environment"] if key.startswith("LOOKALIKE_")}
        assert unknown_variable_warnings(given, Settings.model_fields) == []


def test_passwords_are_required_from_the_environment() -> None:
    services = compose()["services"]
    assert services["database"]["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")
    assert services["app"]["environment"]["PGPASSWORD"].startswith("${POSTGRES_PASSWORD:?")


def test_our_services_can_only_write_to_their_volume_and_tmp() -> None:
    services = compose()["services"]
    for service in (services[name] for name in OUR_SERVICES):
        assert service["read_only"] is True
        assert service["tmpfs"] == ["/tmp"]  # noqa: S108 – the container's
        assert service["cap_drop"] == ["ALL"]
    assert services["app"]["volumes"] == ["data:/data"]
    assert services["replica"]["volumes"] == ["replicas:/data"]


def test_ports_are_published_on_loopback_only() -> None:
    ports = {name: service["ports"] for name, service in compose()["services"].items() if "ports" in service}
    assert set(ports) == set(PUBLISHED)
    for name, (port,) in ports.items():
        assert port.startswith("127.0.0.1:"), name
        assert port.endswith(f":{PUBLISHED[name]}"), name


def test_external_images_are_pinned_to_a_release() -> None:
    images = {service["image"] for name, service in compose()["services"].items() if name not in OUR_SERVICES}
    assert len(images) == 7
    for image in images:
        assert RELEASE.fullmatch(image), image
    assert any(image.startswith("postgres:18.") for image in images)
    base = instructions(DOCKERFILE.read_text().splitlines(), "ARG")[0]
    assert base == "PYTHON_IMAGE=python:3.11-slim-bookworm"
    assert all(stage[0].startswith("FROM ${PYTHON_IMAGE}") for stage in stages())


def test_image_is_for_cpus_unless_cuda_is_requested() -> None:
    arguments = instructions(stages()[0], "ARG")
    assert "DEVICE=cpu" in arguments
    services = compose()["services"]
    cuda = compose(CUDA)["services"]
    for name in OUR_SERVICES:
        assert services[name]["build"]["args"]["DEVICE"] == "cpu"
        assert cuda[name]["build"]["args"]["DEVICE"] == "cuda"
        assert cuda[name]["image"] != services[name]["image"]
    for name in ("app", "replica"):
        (device,) = cuda[name]["deploy"]["resources"]["reservations"]["devices"]
        assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def test_image_has_the_extras_of_its_profiles() -> None:
    """Tracing can be enabled by a setting, and replicas need the clients of Milvus and S3."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    default = compose()["services"]["app"]["build"]["args"]["EXTRAS"]
    named = default.removeprefix("${EXTRAS-").removesuffix("}").split()
    assert set(named) == {"milvus", "otel", "s3"}
    assert set(named) <= set(extras)


def refusal(**arguments: str) -> str | None:
    """Error message of the first build step; None if it succeeds."""
    (check,) = [line for line in instructions(stages()[0], "RUN") if line.startswith("if [")]
    script = check[: check.index("&& python")]
    given = {"DEVICE": "cpu", "TORCH_INDEX": "", **arguments}
    done = subprocess.run(["sh", "-c", script], env=given, check=False, capture_output=True, text=True)
    return done.stderr if done.returncode else None


def test_cpu_build_without_a_torch_index_is_refused() -> None:
    assert "TORCH_INDEX" in str(refusal())
    assert refusal(TORCH_INDEX="an address") is None
    assert refusal(DEVICE="cuda") is None


def test_image_does_not_run_as_root() -> None:
    *_, user = instructions(stages()[-1], "USER")
    assert user.split(":")[0].isdecimal()
    assert int(user.split(":")[0]) > 0


def test_image_serves_and_has_a_readiness_healthcheck() -> None:
    final = stages()[-1]
    assert instructions(final, "ENTRYPOINT") == ['["lookalike"]']
    assert instructions(final, "CMD") == ['["serve"]']
    assert instructions(final, "EXPOSE") == ["8000"]
    assert "/readyz" in instructions(final, "HEALTHCHECK")[0]


def test_build_context_contains_only_what_the_package_needs() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    wanted = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    folders = {"app", "clients/python", "migrations", "models"}
    assert wanted == folders | {"constraints.txt", "lookalike_cli.py", "pyproject.toml", "LICENSE", "README.md"}
    assert all((ROOT / name).exists() for name in wanted)
