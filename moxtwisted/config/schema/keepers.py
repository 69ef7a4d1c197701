"""``[keepers]`` of ``mox.conf``: processes of their own that serve IMAP."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from moxtwisted.config.schema.structure import ConfigStruct

__all__ = ["Keepers"]


class Keepers(ConfigStruct, frozen=True, kw_only=True):
    """Processes of their own that serve IMAP: the server lends an account to one of them when its user logs in, and what it does for
    IMAP has a processor of its own then. They are good for many clients that are busy at the same time on a machine with several
    processors.
    """

    processes: Annotated[
        int,
        Meta(
            ge=0,
            le=64,
            description="How many; each takes some 80 MB of memory. As many as there are processors are enough. 0: the server serves all "
            "of IMAP itself, as it does at any rate for accounts that share mailboxes or are shared to, and for those with a mailbox of "
            "queued messages.",
        ),
    ] = 0
