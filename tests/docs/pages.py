"""Read the pages under docs/: text, examples and inline code."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NAMES = sorted(path.name for path in DOCS.glob("*.md"))
# Address of the service in the examples.
ADDRESS = "http://127.0.0.1:8000"
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`([^`\n]+)`")


def text(name: str) -> str:
    return (DOCS / name).read_text()


def examples(name: str, language: str) -> list[str]:
    """Return a page's code blocks in a language.

    Tests run blocks in `bash`, `python` and `javascript`. Blocks in `sh` take hours or change too much; `text` is not
    code.
    """
    return [code for kind, code in FENCED.findall(text(name)) if kind == language]


def with_examples(language: str) -> list[str]:
    return [name for name in NAMES if examples(name, language)]


def code(name: str) -> str:
    """Return all code of a page, blocks and inline, with continued lines joined."""
    blocks = [block.replace("\\\n", " ") for _, block in FENCED.findall(text(name))]
    return "\n".join([*blocks, *INLINE_CODE.findall(FENCED.sub("", text(name)))])
