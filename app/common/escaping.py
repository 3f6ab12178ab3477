"""Escapes of control characters, for text that others wrote and that goes to a terminal or into a log.

An escape sequence can move the cursor, clear the screen or rename the window; a line break can forge a line of the log;
a bidirectional override shows `exe.jpg` for `gpj.exe`. Knows nothing of terminals and logs.
"""

import unicodedata

# Control characters, format characters such as bidirectional overrides, halves of surrogate pairs (how Python holds the
# bytes of a file name that are not UTF-8), line and paragraph separators.
_ESCAPED = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
# These two join letters in Persian, Hindi and emoji, and move nothing.
_JOINERS = frozenset("\u200c\u200d")


def escape_controls(text: str) -> str:
    r"""Returns text with every control character as its Python escape, such as `\x1b`, `\n` or `\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(character) if _is_control(character) else character for character in text)


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in _ESCAPED and character not in _JOINERS


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
