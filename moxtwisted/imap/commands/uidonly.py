r"""UIDONLY (RFC 9586): after ENABLE nobody speaks of sequence numbers any more.

What is told is the affair of ``head`` and ``lines`` of `SessionView <moxtwisted.imap.view.SessionView>`; here is what a client
may no longer say::

    C: a7 FETCH 1:5 (FLAGS)
    S: a7 BAD [UIDREQUIRED] no sequence numbers after ENABLE UIDONLY
"""

from __future__ import annotations

from moxtwisted.imap.connection import RefusalError
from moxtwisted.imap.wire.commands import Command, Select
from moxtwisted.imap.wire.searchkeys import NumberIn, SearchKey, subkeys

__all__ = ["refuse_numbers"]


def refuse_numbers(command: Command) -> None:
    """Refuse a command that names messages by their sequence numbers.

    :raise RefusalError: BAD with UIDREQUIRED.
    """
    if _has_numbers(command):
        raise RefusalError("no sequence numbers after ENABLE UIDONLY", "UIDREQUIRED", "BAD")


def _has_numbers(command: Command) -> bool:
    # RFC 9586 sections 3.2 and 3.8: what has a form with UIDs must be said in it.
    if getattr(command, "uid", None) is False:
        return True
    if isinstance(command, Select):
        # Section 3.7: the pairs of sequence numbers and UIDs.
        return command.qresync is not None and command.qresync.match is not None
    # Section 3.5: ALL, or UID with a set, instead of a set alone.
    key: SearchKey | None = getattr(command, "key", None)
    return key is not None and any(isinstance(sub, NumberIn) for sub in subkeys(key))
