"""Links of the README."""

from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_readme_links_to_the_settings() -> None:
    assert "](docs/settings.md)" in README
