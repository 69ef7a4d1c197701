"""What the machine of ``moxtwisted.imap.server`` leaves to the protocol; see there."""

from __future__ import annotations

from attrs import frozen

from moxtwisted.transport.work import Close, Run, StartTLS, Stream

__all__ = ["Close", "Depart", "Run", "StartCompression", "StartTLS", "StopCompression", "Stream", "Work"]


@frozen
class StartCompression:
    """Everything behind the output is compressed, in both directions."""


@frozen
class StopCompression:
    """Nothing behind the output is compressed, in both directions."""


@frozen
class Depart:
    """The connection goes on in another process: what came after the log-in is not looked at here.

    :ivar output: what is to be sent there, before anything else.
    """

    output: bytes


Work = Run | Stream | StartTLS | StartCompression | StopCompression | Depart | Close
