"""Files to keep: with a name that is safe, and never shown by a browser."""

from __future__ import annotations

import re
import unicodedata
from typing import Any
from urllib.parse import quote

__all__ = ["attach", "safe_filename"]

#: Most file systems have 255 octets for a name.
NAME_OCTETS = 150

# What separates paths and streams, what shells and Windows take for something else.
_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]+')


def safe_filename(name: str) -> str:
    """A name for a file, out of one that a stranger gave: no path, nothing invisible, not hidden, not long.

    :return: never empty.
    """
    # Control characters, those that turn the direction of writing ("gpj.exe"), private and unassigned ones.
    visible = "".join(c if not unicodedata.category(c).startswith("C") else "_" for c in name)
    plain = _UNSAFE.sub("_", visible).strip(" .")
    while len(plain.encode("utf-8")) > NAME_OCTETS:
        stem, dot, ending = plain.rpartition(".")
        # The ending says what it is: cut in front of it, as long as that leaves something.
        plain = f"{stem[:-1]}{dot}{ending}" if len(stem) > 1 and len(ending) < 20 else plain[:-1]
    return plain or "file"


def attach(request: Any, name: str) -> None:
    """Have a browser keep the answer under this name.

    :param name: as a stranger gave it.
    """
    safe = safe_filename(name)
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", unicodedata.normalize("NFKD", safe))
    request.setHeader(
        "content-disposition", f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(safe, safe='')}"
    )
