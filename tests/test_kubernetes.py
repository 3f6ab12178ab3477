"""Kubernetes manifests follow their schemas, are consistent, and run with least privilege."""

import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from app.common.setting_names import unknown_variable_warnings
from app.settings import Settings

FOLDER = Path(__file__).parents[1] / "docker" / "kubernetes"
VERSION = "1.33"


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of every manifest with the name of its file, without the kustomization."""
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from ((path.name, document) for document in YAML(typ="safe").load_all(path))


ALL = list(documents())


def one(kind: str, name: str) -> dict[str, Any]:
    (found,) = [manifest for _, manifest in ALL if (manifest["kind"], manifest["metadata"]["name"]) == (kind, name)]
    return found


def kustomization() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(FOLDER / "kustomization.yaml")
    return loaded


def pods() -> dict[str, dict[str, Any]]:
    """Pod templates by the name of their Deployment or Job."""
    return {
        manifest["metadata"]["name"]: manifest["spec"]["template"]
        for _, manifest in ALL
        if manifest["kind"] in ("Deployment", "Job")
    }


@pytest.mark.parametrize(("file", "manifest"), ALL, ids=[f"{file} {manifest['kind']}" for file, manifest in ALL])
def test_every_object_follows_its_schema(file: str, manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_invalid_object_fails_its_schema() -> None:
    wrong = one("Service", "lookalike") | {"spec": {"ports": [{"port": "many"}]}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


def test_kustomization_lists_every_file_and_pins_the_image() -> None:
    manifest = kustomization()
    assert set(manifest["resources"]) == {file for file, _ in ALL}
    (image,) = manifest["images"]
    images = {container["image"] for pod in pods().values() for container in pod["spec"]["containers"]}
    assert images == {image["name"]}
    assert image["newTag"] == version("lookalike")
    assert one("Namespace", manifest["namespace"])


@pytest.mark.parametrize("name", ["lookalike", "migrate"])
def test_pods_run_with_least_privilege(name: str) -> None:
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


def test_selectors_match_the_replicas_labels() -> None:
    labels = pods()["lookalike"]["metadata"]["labels"]
    assert one("Deployment", "lookalike")["spec"]["selector"]["matchLabels"] == labels
    assert one("Service", "lookalike")["spec"]["selector"] == labels
    assert one("PodDisruptionBudget", "lookalike")["spec"]["selector"]["matchLabels"] == labels
    assert one("NetworkPolicy", "lookalike-replica")["spec"]["podSelector"]["matchLabels"] == labels
    assert pods()["migrate"]["metadata"]["labels"] != labels


def test_replicas_have_liveness_and_readiness_probes() -> None:
    (container,) = pods()["lookalike"]["spec"]["containers"]
    (port,) = container["ports"]
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        asked = container[probe]["httpGet"]
        assert (asked["path"], asked["port"]) == (path, port["name"])
        # Without API keys the service only accepts loopback host names.
        assert asked["httpHeaders"] == [{"name": "Host", "value": "localhost"}]
    assert one("Service", "lookalike")["spec"]["ports"][0]["targetPort"] == port["name"]


def test_configured_settings_exist_and_contain_no_secrets() -> None:
    settings = one("ConfigMap", "lookalike")["data"]
    assert unknown_variable_warnings(set(settings), Settings.model_fields) == []
    assert not [name for name in settings if re.search("SECRET|PASSWORD|KEY|DATABASE_URL", name)]
    for pod in pods().values():
        (container,) = pod["spec"]["containers"]
        assert container["envFrom"] == [{"configMapRef": {"name": "lookalike"}}, {"secretRef": {"name": "lookalike"}}]
    assert [manifest for _, manifest in ALL if manifest["kind"] == "Secret"] == []
