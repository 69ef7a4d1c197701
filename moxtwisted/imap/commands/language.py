r"""LANGUAGE (RFC 5255 section 3).

::

    C: a1 LANGUAGE fr-CA en-CA
    S: * LANGUAGE (en)
    S: a1 OK LANGUAGE completed

All texts are English, so that ``en`` and the default are the same, and nothing has to be remembered. Nor has NAMESPACE
translations: the prefixes are English already.
"""

from __future__ import annotations

from typing import Final

from moxtwisted.imap.connection import Answer, Connection, RefusalError
from moxtwisted.imap.wire.mailboxcommands import Language

__all__ = ["LANGUAGES", "language"]

_DEFAULT: Final = "i-default"
"""RFC 5255 section 3.1: what is spoken until the client asks for something else, and always on offer."""

LANGUAGES: Final = ("en", _DEFAULT)
"""What we speak."""


def language(connection: Connection, command: Language) -> Answer:
    """LANGUAGE: the first language of the client's that we speak, or without arguments a list of ours."""
    if not command.ranges:
        connection.out.append(f"* LANGUAGE ({' '.join(LANGUAGES)})\r\n".encode("ascii"))
        return None
    for wanted in command.ranges:
        spoken = _matching(wanted)
        if spoken is not None:
            connection.out.append(f"* LANGUAGE ({spoken})\r\n".encode("ascii"))
            return None
    raise RefusalError("that language is not supported")


def _matching(wanted: str) -> str | None:
    """Our language for a range: its exact name, or what is left when parts are taken off its end (RFC 4647 section 3.4)."""
    if wanted in {"default", "*"}:
        # RFC 5255 section 3.2: the language that the administrator prefers.
        return _DEFAULT
    while wanted:
        if wanted in LANGUAGES:
            return wanted
        wanted = wanted.rpartition("-")[0]
        # RFC 4647 section 3.4: a single letter or digit goes with what followed it.
        if len(wanted.rpartition("-")[2]) == 1:
            wanted = wanted.rpartition("-")[0]
    return None
