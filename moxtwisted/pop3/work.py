"""What a server machine cannot do itself; see ``moxtwisted.pop3.server``."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any

from attrs import frozen

__all__ = ["Close", "Run", "StartTLS", "Stream", "Work"]


@frozen
class Run:
    """Await this; it gives more work or None."""

    coroutine: Coroutine[Any, Any, Any]


@frozen
class Stream:
    """Send these as fast as the client reads."""

    pieces: Iterator[bytes]


@frozen
class StartTLS:
    """Begin a handshake."""


@frozen
class Close:
    """Send what is left and hang up."""


Work = Run | Stream | StartTLS | Close
