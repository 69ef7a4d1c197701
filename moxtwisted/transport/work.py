"""What a server's machine cannot do itself, and leaves to its protocol."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any

from attrs import frozen

__all__ = ["Close", "Run", "StartTLS", "Stream"]


@frozen
class Run:
    """Await this; it gives more work or None."""

    coroutine: Coroutine[Any, Any, Any]


@frozen
class Stream:
    """Send these pieces, pulling the next when there is room."""

    pieces: Iterator[bytes]


@frozen
class StartTLS:
    """The handshake begins after the output."""


@frozen
class Close:
    """The connection ends after the output."""
