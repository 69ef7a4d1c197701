"""What the machine of ``moxtwisted.imap.server`` leaves to the protocol; see there."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any

from attrs import frozen

__all__ = ["Close", "Run", "StartCompression", "StartTLS", "StopCompression", "Stream", "Work"]


@frozen
class Run:
    """Await this; it gives ``Work`` or None."""

    coroutine: Coroutine[Any, Any, Any]


@frozen
class Stream:
    """Send these pieces, pulling the next when there is room."""

    pieces: Iterator[bytes]


@frozen
class StartTLS:
    """The handshake begins after the output."""


@frozen
class StartCompression:
    """Everything behind the output is compressed, in both directions."""


@frozen
class StopCompression:
    """Nothing behind the output is compressed, in both directions."""


@frozen
class Close:
    """The connection ends after the output."""


Work = Run | Stream | StartTLS | StartCompression | StopCompression | Close
