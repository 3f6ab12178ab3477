"""Escape control characters in untrusted text for terminals and logs."""

import sys
import unicodedata

import pytest

from app.common.escaping import escape_controls


@pytest.mark.parametrize(
    "text",
    ["", "boots/one.png", "[/x] [red]", "été 写真　一 𝔘", "C:\\pictures", "👩\u200d🚀 می\u200cخواهم", "a\u00a0b"],
)
def test_printable_text_is_unchanged(text: str) -> None:
    assert escape_controls(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("a\nb\r\tc\0\x7f", "a\\nb\\r\\tc\\x00\\x7f"),
        ("\u202egpj.exe\u2066", "\\u202egpj.exe\\u2066"),
        ("\u2028\u2029\u200e\u200b\ufeff", "\\u2028\\u2029\\u200e\\u200b\\ufeff"),
        ("caf\udce9", "caf\\udce9"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert escape_controls(text) == shown


def test_no_control_character_is_left_in_all_of_unicode() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    left = {unicodedata.category(character) for character in escape_controls(everything)}
    assert left.isdisjoint({"Cc", "Cs", "Zl", "Zp"})
    assert [character for character in escape_controls(everything) if unicodedata.category(character) == "Cf"] == [
        "\u200c",
        "\u200d",
    ]
