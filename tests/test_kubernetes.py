"""The manifests follow Kubernetes' schemas and each other, and run what they run with as little as it needs."""

import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from app.common.setting_names import misspelt
from app.settings import Settings

FOLDER = Path(__file__).parents[1] / "docker" / "kubernetes"
VERSION = "1.33"


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of every manifest, with the name of its file; what kustomize itself reads is none."""
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from ((path.name, document) for document in YAML(typ="safe").load_all(path))


ALL = list(documents())


def one(kind: str, name: str) -> dict[str, Any]:
    (found,) = [made for _, made in ALL if (made["kind"], made["metadata"]["name"]) == (kind, name)]
    return found


def kustomization() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(FOLDER / "kustomization.yaml")
    return loaded


def pods() -> dict[str, dict[str, Any]]:
    """The pods that are run, by what runs them."""
    return {
        made["metadata"]["name"]: made["spec"]["template"] for _, made in ALL if made["kind"] in ("Deployment", "Job")
    }


@pytest.mark.parametrize(("file", "made"), ALL, ids=[f"{file} {made['kind']}" for file, made in ALL])
def test_every_object_follows_its_schema(file: str, made: dict[str, Any]) -> None:
    kubernetes_validate.validate(made, VERSION, strict=True)


def test_the_schemas_can_refuse() -> None:
    wrong = one("Service", "lookalike") | {"spec": {"ports": [{"port": "many"}]}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


def test_kustomize_knows_every_file_and_names_the_image_with_a_version() -> None:
    made = kustomization()
    assert set(made["resources"]) == {file for file, _ in ALL}
    (image,) = made["images"]
    images = {container["image"] for pod in pods().values() for container in pod["spec"]["containers"]}
    assert images == {image["name"]}
    assert image["newTag"] == version("lookalike")
    assert one("Namespace", made["namespace"])


@pytest.mark.parametrize("name", ["lookalike", "migrate"])
def test_nothing_runs_with_more_than_it_needs(name: str) -> None:
    spec = pods()[name]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    context = container["securityContext"]
    assert (context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"]) == (True, False)
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert "memory" in container["resources"]["limits"]
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp", "/data"}  # noqa: S108 - the pod's
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}


def test_everything_that_points_at_replicas_finds_them() -> None:
    labels = pods()["lookalike"]["metadata"]["labels"]
    assert one("Deployment", "lookalike")["spec"]["selector"]["matchLabels"] == labels
    assert one("Service", "lookalike")["spec"]["selector"] == labels
    assert one("PodDisruptionBudget", "lookalike")["spec"]["selector"]["matchLabels"] == labels
    assert one("NetworkPolicy", "lookalike-replica")["spec"]["podSelector"]["matchLabels"] == labels
    assert pods()["migrate"]["metadata"]["labels"] != labels


def test_a_replica_is_asked_whether_it_lives_and_whether_it_is_ready() -> None:
    (container,) = pods()["lookalike"]["spec"]["containers"]
    (port,) = container["ports"]
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        asked = container[probe]["httpGet"]
        assert (asked["path"], asked["port"]) == (path, port["name"])
        # Without keys the service answers to names of its own machine alone.
        assert asked["httpHeaders"] == [{"name": "Host", "value": "localhost"}]
    assert one("Service", "lookalike")["spec"]["ports"][0]["targetPort"] == port["name"]


def test_settings_are_settings_and_no_secret_is_written_down() -> None:
    settings = one("ConfigMap", "lookalike")["data"]
    assert misspelt(set(settings), Settings.model_fields) == []
    assert not [name for name in settings if re.search("SECRET|PASSWORD|KEY|DATABASE_URL", name)]
    for pod in pods().values():
        (container,) = pod["spec"]["containers"]
        assert container["envFrom"] == [{"configMapRef": {"name": "lookalike"}}, {"secretRef": {"name": "lookalike"}}]
    assert [made for _, made in ALL if made["kind"] == "Secret"] == []
