"""From octets in a named charset to text, for names and octets as they come.

::

    decode(b"Gr\\xfc\\xdfe", "iso-8859-1")       # 'Grüße'
    decode(b"Gr\\xfc\\xdfe", "x-unknown")        # 'Grüße': not UTF-8, so taken for windows-1252
"""

from __future__ import annotations

import codecs
from functools import lru_cache

__all__ = ["decode", "decode_unlabelled", "python_codec"]

# What the label says is not always what senders mean: a superset decodes more and never less
# (the WHATWG Encoding standard maps the same way).
_MEANT = {
    "ascii": "utf-8",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "tis-620": "cp874",
}
_ALIASES = {
    "ks_c_5601-1987": "cp949",
    "x-sjis": "cp932",
    "x-gbk": "gb18030",
    "x-mac-roman": "mac_roman",
    "x-macroman": "mac_roman",
    "unicode-1-1-utf-7": "utf-7",
    "iso-8859-8-i": "iso8859-8",
    "iso-8859-6-i": "iso8859-6",
    "iso-8859-8-e": "iso8859-8",
    "windows-874": "cp874",
    "x-unknown": "",
    "unknown-8bit": "",
    "8bit": "",
    "default": "",
}
# Python codecs that are no charsets of mail, and some that take quadratic time or have side effects.
_REFUSED = frozenset(
    ("punycode", "idna", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem", "unicode-escape")
)


@lru_cache(maxsize=256)
def _codec(label: str) -> str:
    name = label.strip().strip("\"'").lower()
    name = _ALIASES.get(name, name)
    if not name or not name.isascii() or len(name) > 40:
        return ""
    try:
        info = codecs.lookup(name)
        b"a".decode(info.name, "replace")  # refuses those that do not make text, like hex
    except (LookupError, ValueError):
        return ""
    if info.name in _REFUSED:
        return ""
    return _MEANT.get(info.name, info.name)


def python_codec(label: str) -> str:
    """The name of the Python codec for a charset label, or the empty string when there is none."""
    return _codec(label) if len(label) <= 60 else ""


def decode(octets: bytes, label: str) -> str:
    """Decode octets labelled with a charset; what does not fit becomes U+FFFD. Never raises."""
    codec = python_codec(label)
    if not codec or codec == "utf-8":
        return decode_unlabelled(octets)
    try:
        return octets.decode(codec, "replace")
    except (UnicodeError, ValueError):  # utf-16 and some others raise on input that they cannot even replace
        return decode_unlabelled(octets)


def decode_unlabelled(octets: bytes) -> str:
    """Decode octets of which nothing is known: UTF-8 when they are that (or mostly), else windows-1252."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        text = octets.decode("utf-8", "replace")
        # Cut or slightly damaged UTF-8 shows few replacements beside its good characters.
        bad = text.count("\ufffd")
        good = sum(1 for c in text[:4096] if c > "\x7f" and c != "\ufffd")
        return text if bad * 4 <= good + 4 and good else octets.decode("cp1252", "replace")
