"""The pages under docs/, as text and as the examples in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NAMES = sorted(path.name for path in DOCS.glob("*.md"))
# Where the examples say that the service listens.
ADDRESS = "http://127.0.0.1:8000"
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IN_LINE = re.compile(r"`([^`\n]+)`")


def text(name: str) -> str:
    return (DOCS / name).read_text()


def examples(name: str, language: str) -> list[str]:
    """Examples that run are `bash`, `python` and `javascript`; `sh` takes hours or changes too much, `text` is none."""
    return [code for kind, code in FENCED.findall(text(name)) if kind == language]


def with_examples(language: str) -> list[str]:
    return [name for name in NAMES if examples(name, language)]


def code(name: str) -> str:
    """All that a page sets as code, line by line, with lines joined that go on."""
    blocks = [block.replace("\\\n", " ") for _, block in FENCED.findall(text(name))]
    return "\n".join([*blocks, *IN_LINE.findall(FENCED.sub("", text(name)))])
