"""Escape control characters in untrusted text for terminals and logs.

An escape sequence can move the cursor, clear the screen or rename the window; a line break can forge a log line; a
bidirectional override shows `exe.jpg` for `gpj.exe`.
"""

import unicodedata

# Control characters, format characters such as bidirectional overrides, lone surrogates (Python's representation of
# non-UTF-8 bytes in file names), line and paragraph separators.
_ESCAPED = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
# Zero-width joiners, which Persian, Hindi and emoji need, and which are harmless.
_JOINERS = frozenset("\u200c\u200d")


def escape_controls(text: str) -> str:
    r"""Replace every control character by its Python escape, such as `\x1b`, `\n` or `\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(character) if _is_control(character) else character for character in text)


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in _ESCAPED and character not in _JOINERS


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
