"""Parser of rendered pages, and a value that would break out of an unescaped page or template."""

from html.parser import HTMLParser

HOSTILE = """</p><script>alert("1")</script> {{ 7 * 7 }} {% raw %} {# 'single' #} " onload="x" & &lt;"""


class ParsedPage(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.attributes = set[str](), set[str]()
        self._text: list[str] = []
        self.feed(html)
        self.close()

    @property
    def text(self) -> str:
        return " ".join("".join(self._text).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self._text.append(data)


def assert_hostile_text_is_shown(html: str, times: int) -> None:
    """Assert that `HOSTILE` is visible text as it is, this number of times, and neither markup nor template code."""
    page = ParsedPage(html)
    assert page.text.count(HOSTILE) == times
    assert "script" not in page.tags
    assert not {name for name in page.attributes if name.startswith("on")}
