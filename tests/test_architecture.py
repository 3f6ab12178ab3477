"""Import rules and file sizes, checked on the parsed sources without importing them."""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CLIENT = ROOT / "clients" / "python" / "src"
MAX_LINES = 300
# A baseline is read alongside its paper.
MAX_BASELINE_LINES = 150
HTTP = ("fastapi", "starlette", "fastapi_offline", "uvicorn")
SQL = ("sqlalchemy", "psycopg", "alembic")
NETWORK = (
    "torch",
    "torchvision",
    "timm",
    "openvino",
    "safetensors",
    "models.network.latent_hash_net",
    "models.network.backbones",
    "models.network.registry",
    "models.network.libraries.timm_models",
    "models.network.libraries.torchvision_models",
    "models.network.libraries.weights_file",
    "models.network.libraries.probing",
)
ABOVE_CATALOGUE = (
    "app.adaptation",
    "app.ingest",
    "app.maintenance",
    "app.model_switch",
    "app.quality",
    "app.api",
    "app.cli",
    "app.demo",
    "app.tasks",
    "app.bootstrap",
    "app.main",
)
# Modules of a package, without its subpackages. `app.demo` has one for each drawing.
MAX_MODULES, LARGER_PACKAGES = 15, {"app.demo"}
SETTINGS_READERS = (
    "app.main",
    "app.bootstrap",
    "app.model_switch.networks",
    "app.maintenance.tools",
    "app.startup.start",
    "app.tasks.child",
    "app.cli",
    "migrations.env",
)


@dataclass(frozen=True)
class Import:
    """One import; `at_once` is whether it runs when the importing module is imported."""

    importer: str
    imported: str
    at_once: bool


def sources(*packages: str) -> list[Path]:
    folders = [folder / package for package in packages for folder in (ROOT, CLIENT)]
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def module_name(path: Path) -> str:
    root = CLIENT if path.is_relative_to(CLIENT) else ROOT
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(name: str, tree: ast.Module) -> Iterator[Import]:
    deferred = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_for_types_only(node)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        for imported in imported_by(node):
            yield Import(name, imported, id(node) not in deferred)


def is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported_by(node: ast.AST) -> list[str]:
    """Possible module names of an import: `from a import b` may import `a` or `a.b`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports must be absolute"
        return [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def all_imports() -> list[Import]:
    return [
        one
        for path in sources("app", "models", "migrations", "lookalike_client")
        for one in imports_of(module_name(path), ast.parse(path.read_text()))
    ]


IMPORTS = all_imports()
BOUNDED = ("app", "models", "lookalike_client")


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def imports(by: tuple[str, ...], of: tuple[str, ...], but: tuple[str, ...] = ()) -> set[tuple[str, str]]:
    """Pairs (importer, imported) with the importer in `by`, not in `but`, and the imported module in `of`."""
    return {
        (one.importer, one.imported)
        for one in IMPORTS
        if within(one.importer, by) and within(one.imported, of) and not within(one.importer, but)
    }


def test_known_imports_are_found() -> None:
    """Without this, the tests below might not be able to fail."""
    assert ("app.search.encode.runtimes", "torch") in imports(("app",), NETWORK)
    assert ("app.main", "fastapi") in imports(("app",), HTTP)
    assert Import("app.cli.models.training", "models.training.train", at_once=False) in IMPORTS
    assert Import("app.main", "app.settings", at_once=True) in IMPORTS


@pytest.mark.parametrize(
    ("by", "of"),
    [
        (("models",), ("app", "migrations", "tests")),
        (("app.search",), (*HTTP, *SQL)),
        (("app.search",), ("app.catalogue", *ABOVE_CATALOGUE)),
        (("app.catalogue",), ABOVE_CATALOGUE),
        (("app.search.decode",), ("app.search.encode", "app.search.local", "app.search.milvus", "app.search.pipeline")),
        (("app.search.encode",), ("app.search.local", "app.search.milvus", "app.search.pipeline")),
        (("app.search.local", "app.search.milvus"), ("app.search.pipeline",)),
        (("app.search.local",), ("app.search.milvus",)),
        (("app.catalogue.storage", "app.catalogue.vectors"), ("app.catalogue.filters",)),
        (("app.api.schemas",), ("app.api.routes", "app.api.middleware", "app.api.admission")),
        (("app.api.middleware", "app.api.admission"), ("app.api.routes",)),
        (("app.common",), ("app.api", "app.catalogue", "app.ingest", "app.search", "models")),
        (("models.network",), ("models.training", "models.evaluation", "models.comparison", "models.reports")),
        (("models.data",), ("models.comparison", "models.evaluation", "models.reports")),
        (("models.training",), ("models.comparison", "models.reports")),
        (("app.ingest",), ("app.api", "app.cli", "app.main", "app.bootstrap", "app.maintenance", "app.model_switch")),
        (("app.quality",), ("app.adaptation", "app.api", "app.cli", "app.main", "app.bootstrap")),
        (("app.maintenance", "app.model_switch"), ("app.adaptation", "app.api", "app.cli", "app.main")),
        (("app.adaptation", "app.catalogue", "app.ingest", "app.quality", "app.tasks"), HTTP),
        (("lookalike_client",), ("migrations", "models", "tests", *HTTP, *SQL)),
        (("app.api",), ("app.cli",)),
        (("app.errors",), ("app", "models", *HTTP, *SQL)),
        (("app", "models", "migrations"), ("tests",)),
        (("models", "migrations"), ("benchmarks",)),
        (("app", "models", "migrations"), ("pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")),
        (("migrations.versions",), ("app", "models")),
    ],
    ids=lambda names: ", ".join(names) if len(names) < 4 else f"{names[0]}, {names[1]}, …",
)
def test_packages_do_not_import_from_forbidden_ones(by: tuple[str, ...], of: tuple[str, ...]) -> None:
    assert imports(by, of) == set()


def test_client_imports_only_httpx_and_pydantic() -> None:
    tops = {one.imported.partition(".")[0] for one in IMPORTS if within(one.importer, ("lookalike_client",))}
    # `typing_extensions` is a dependency of pydantic, for annotations that Python 3.10 lacks. Pillow is used only for
    # images of Pillow.
    optional = {"typing_extensions", "PIL"}
    assert tops - sys.stdlib_module_names - {"lookalike_client"} == {"httpx", "pydantic", *optional}
    client = [one for one in IMPORTS if within(one.importer, ("lookalike_client",))]
    assert not any(one.at_once for one in client if one.imported.partition(".")[0] in optional)
    assert {one.importer for one in client if within(one.imported, ("PIL",))} == {"lookalike_client.pillow_images"}


def test_there_are_no_import_cycles() -> None:
    paths = sources("app", "models", "migrations", "lookalike_client")
    # Packages are left out: importing a module through its package is not a cycle.
    modules = {module_name(path) for path in paths if path.name != "__init__.py"}
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for one in IMPORTS:
        if one.at_once and {one.importer, one.imported} <= modules and one.imported != one.importer:
            graph[one.importer].add(one.imported)
    assert tuple(TopologicalSorter(graph).static_order())


def test_no_package_has_too_many_modules() -> None:
    paths = sources("app", "models", "benchmarks", "lookalike_client")
    count = Counter(module_name(path).rpartition(".")[0] for path in paths if path.name != "__init__.py")
    assert {name for name, modules in count.items() if modules > MAX_MODULES} == LARGER_PACKAGES
    assert count["app"] <= 5


def test_only_one_module_of_the_service_imports_the_network() -> None:
    assert imports(("app",), NETWORK, but=("app.search.encode.runtimes",)) == set()


def test_training_is_only_imported_by_its_commands() -> None:
    heavy = ("models.training.train", "models.training.fit", "models.evaluation.evaluate", "models.comparison.compare")
    assert imports(("app",), heavy, but=("app.cli",)) == set()
    assert [
        one for one in IMPORTS if within(one.importer, ("app",)) and within(one.imported, heavy) and one.at_once
    ] == []


def test_settings_are_only_read_at_the_roots() -> None:
    assert imports(("app", "models", "migrations"), ("app.settings",), but=SETTINGS_READERS) == set()


def test_faiss_is_imported_in_one_module() -> None:
    assert {importer for importer, _ in imports(("app", "models"), ("faiss",))} == {"app.search.local.kernels"}


def test_opentelemetry_is_imported_lazily_in_one_module() -> None:
    assert {importer for importer, _ in imports(("app", "models"), ("opentelemetry",))} == {"app.observability.spans"}
    assert {one for one in IMPORTS if one.imported == "app.observability.spans" and one.at_once} == set()


def test_milvus_is_imported_lazily_in_one_module() -> None:
    assert {importer for importer, _ in imports(("app", "models"), ("pymilvus", "grpc"))} == {
        "app.search.milvus.connection"
    }
    milvus_modules = (
        "pymilvus",
        "grpc",
        "app.search.milvus.index",
        "app.search.milvus.collection",
        "app.search.milvus.connection",
    )
    at_once = {one.importer for one in IMPORTS if within(one.imported, milvus_modules) and one.at_once}
    assert at_once == {"app.search.milvus.index", "app.search.milvus.collection"}


def test_tables_are_declared_in_two_modules() -> None:
    declaring = {
        module_name(path)
        for path in sources("app", "models")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id == "__tablename__"
    }
    assert declaring == {"app.catalogue.database.tables", "app.catalogue.database.job_tables"}


def test_no_file_is_too_long() -> None:
    lengths = {
        module_name(path): len(path.read_text().splitlines()) for path in sources("app", "models", "lookalike_client")
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}
    baselines = {name: lines for name, lines in lengths.items() if name.startswith("models.comparison.baselines.")}
    assert len(baselines) > 10
    assert {name: lines for name, lines in baselines.items() if lines > MAX_BASELINE_LINES} == {}


def test_every_module_has_a_docstring() -> None:
    assert [
        module_name(path)
        for path in sources(*BOUNDED)
        if path.read_text() and not ast.get_docstring(ast.parse(path.read_text()))
    ] == []
