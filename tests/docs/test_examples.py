"""The documentation's examples run against a real service."""

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
def test_bash_examples_run(name: str, server_url: str, folder: Path, environment: dict[str, str]) -> None:
    for example in examples(name, "bash"):
        run(["bash", "-euo", "pipefail", "-c", example.replace(ADDRESS, server_url)], folder, environment)


@pytest.mark.parametrize("name", with_examples("python"))
def test_python_examples_run(name: str, server_url: str, folder: Path, environment: dict[str, str]) -> None:
    for example in examples(name, "python"):
        assert run([sys.executable, "-c", example.replace(ADDRESS, server_url)], folder, environment)


@pytest.mark.parametrize("name", with_examples("javascript"))
def test_javascript_examples_run(name: str, page: Page) -> None:
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.goto("/")
    for example in examples(name, "javascript"):
        page.evaluate(f"async () => {{ {example} }}")
    assert len(messages) == 5
    assert messages[0].startswith("1 "), "the query image comes first"
