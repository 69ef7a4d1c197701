"""``[receivers]`` of ``mox.conf``: processes of their own that take in mail from strangers."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from moxtwisted.config.schema.structure import ConfigStruct

__all__ = ["Receivers"]


class Receivers(ConfigStruct, frozen=True, kw_only=True):
    """Processes of their own that take in mail from strangers (SMTP), verify who sent it, and hand each complete message to the
    server, which judges and stores it. They are good for more than some hundred messages a second on a machine with several
    processors, and for security: what reads the octets of strangers runs where neither mail nor its key are.
    """

    processes: Annotated[
        int,
        Meta(
            ge=0,
            le=16,
            description="How many; each takes some 50 MB of memory. One or two are enough for most: the server itself has the rest of "
            "the work. 0: the server takes in that mail itself. So it does at any rate for listeners with proxy_protocol_from, and "
            "everywhere while verification or judgement is off; submission, LMTP and IMAP are always its own.",
        ),
    ] = 0
