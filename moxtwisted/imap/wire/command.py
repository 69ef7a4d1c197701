"""What all commands are."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

__all__ = ["Command"]


@frozen
class Command:
    """Base of all commands.

    :ivar tag: the client's tag, to be echoed.
    :cvar name: the command's word in upper case, ``"UID EXPUNGE"`` for that one.
    """

    tag: bytes
    name: ClassVar[str] = ""
