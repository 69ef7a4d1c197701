"""Lists of senders, and what spam traps teach."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from moxtwisted.config.schema.structure import ConfigStruct

__all__ = ["ALLOW_DESCRIPTION", "BLOCK_DESCRIPTION", "SenderEntries", "Senders"]

SenderEntries = tuple[str, ...]

_ENTRIES = "addresses, domains, .domains with all below them, client addresses and networks"
ALLOW_DESCRIPTION = (
    f"Senders and clients to let in ({_ENTRIES}): what is known of them, their content and greylisting do not count. "
    "A name counts when SPF, DKIM or DMARC proves it. "
    'With the word dmarc behind it an entry holds against DMARC as well, as "bank.example dmarc".'
)
BLOCK_DESCRIPTION = f"Senders and clients to keep out ({_ENTRIES}). Who is in both is let in."
_FILE = "One entry a line, # begins a comment; read again when it changes. A relative path starts at the directory of mox.conf."


class Senders(ConfigStruct, frozen=True, kw_only=True):
    """Whom to let in and whom to keep out, in plain files for all accounts; accounts have lists of their own in domains.conf."""

    allow_files: Annotated[
        tuple[str, ...],
        Meta(max_length=20, description=f"{ALLOW_DESCRIPTION} {_FILE}", examples=[["allow.txt"]]),
    ] = ()
    block_files: Annotated[
        tuple[str, ...],
        Meta(max_length=20, description=f"{BLOCK_DESCRIPTION} {_FILE}", examples=[["block.txt"]]),
    ] = ()
    spam_trap_account: Annotated[
        str,
        Meta(
            description="The account whose junk mailbox gets a copy of what the spam_traps of domains catch, to learn from. "
            "Empty: none.",
            examples=["traps"],
        ),
    ] = ""
