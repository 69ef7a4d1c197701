"""What the machine of ``moxtwisted.pop3.server`` leaves to the protocol; see there."""

from __future__ import annotations

from moxtwisted.transport.work import Close, Run, StartTLS, Stream

__all__ = ["Close", "Run", "StartTLS", "Stream", "Work"]

Work = Run | Stream | StartTLS | Close
