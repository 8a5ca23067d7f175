"""Text from files, made safe for a terminal.

Control characters can move the cursor, change colours or set the title of a window, and
bidirectional ones show a line in another order than it has. All text for people passes through
`printable` on its way out.
"""

from __future__ import annotations

import re
import unicodedata

TAB = "    "
PLAIN = re.compile(r"[\n\t -~]*")
UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# embeddings, overrides, isolates and marks of direction (Unicode Standard Annex 9)
BIDIRECTIONAL = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def cell(sign: str) -> str:
    """Return a character in safe form: a control as its picture, other unsafe ones as U+FFFD."""
    if sign == "\t":
        return TAB
    if sign == "\ufeff":
        return ""
    if ord(sign) < 32:
        return chr(0x2400 + ord(sign))
    return "\ufffd" if unicodedata.category(sign) in UNSAFE else sign


def printable(text: str) -> str:
    """Replace the characters of a text that steer a terminal; tabs and line ends stay."""
    if PLAIN.fullmatch(text):
        return text
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join("".join(x if x == "\t" else cell(x) for x in line) for line in lines)


def json_safe(text: str) -> str:
    """Return JSON in which an escape stands for each character that steers a terminal."""
    if PLAIN.fullmatch(text):
        return text
    return "".join(f"\\u{ord(x):04x}" if ord(x) < 0x10000 and _unsafe(x) else x for x in text)


def _unsafe(sign: str) -> bool:
    return sign not in "\n\t" and unicodedata.category(sign) in UNSAFE
