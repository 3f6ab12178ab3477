"""The examples on the pages do what the pages say, with a real service."""

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.docs.pages import ADDRESS, examples, with_examples


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{command[-1]}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


@pytest.mark.parametrize("name", with_examples("bash"))
def test_what_a_page_says_to_a_shell_works(
    name: str, server_url: str, folder: Path, environment: dict[str, str]
) -> None:
    for example in examples(name, "bash"):
        run(["bash", "-euo", "pipefail", "-c", example.replace(ADDRESS, server_url)], folder, environment)


@pytest.mark.parametrize("name", with_examples("python"))
def test_what_a_page_says_in_python_works(
    name: str, server_url: str, folder: Path, environment: dict[str, str]
) -> None:
    for example in examples(name, "python"):
        assert run([sys.executable, "-c", example.replace(ADDRESS, server_url)], folder, environment)


@pytest.mark.parametrize("name", with_examples("javascript"))
def test_what_a_page_says_in_javascript_works(name: str, page: Page) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto("/")
    for example in examples(name, "javascript"):
        page.evaluate(f"async () => {{ {example} }}")
    assert len(said) == 5
    assert said[0].startswith("1 "), "the picture that asked comes first"
