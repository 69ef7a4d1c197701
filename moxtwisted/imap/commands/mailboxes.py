r"""CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 9051 sections 6.3.4 to 6.3.8, RFC 6154 section 3).

::

    C: a1 CREATE Sent (USE (\Sent))
    S: a1 OK [MAILBOXID (F23)] CREATE completed
"""

from __future__ import annotations

from moxtwisted.errors import MailError
from moxtwisted.imap.commands.listing import renamed, tell_name
from moxtwisted.imap.connection import Answer, Connection, RefusalError, mailbox_name, refused
from moxtwisted.imap.specialuse import UnknownUseError, checked_uses
from moxtwisted.imap.wire.commands import Create, Delete, Rename, Subscribe, Unsubscribe
from moxtwisted.imap.wire.mailboxname import SuppliedName

__all__ = ["create", "delete", "rename", "subscribe", "unsubscribe"]


async def create(connection: Connection, command: Create) -> Answer:
    """CREATE, with missing parents."""
    # RFC 9051 section 6.3.4: a separator at the end only declares what the name will be used for.
    wanted = command.mailbox.removesuffix("/")
    name = mailbox_name(wanted)
    try:
        uses = checked_uses(command.use or ())
    except UnknownUseError as e:
        raise RefusalError(str(e), "USEATTR") from e
    try:
        made = await connection.mail.create(name, uses)
    except MailError as e:
        raise refused(e) from e
    connection.caused("created", _with_parents(made.name))
    # RFC 9051 section 6.3.4: the name came out different (normalised); the client learns which.
    tell_name(connection, made.name, command.mailbox)
    if made.objectid and "OBJECTID" in connection.offered:
        # RFC 8474 section 4.1
        return b"OK [MAILBOXID (%b)] CREATE completed" % made.objectid.encode("ascii")
    return None


def _with_parents(name: str) -> list[str]:
    """What a name that was made may have been made with."""
    levels = name.split("/")
    return ["/".join(levels[:n]) for n in range(1, len(levels) + 1)]


async def delete(connection: Connection, command: Delete) -> Answer:
    """DELETE."""
    name = connection.existing(command.mailbox, "x").name
    was_open = connection.selected is not None and connection.selected.view.live.exists
    await connection.mail.delete(name)
    if was_open and connection.selected is not None and not connection.selected.view.live.exists:
        # The client deleted what it had open: there is nothing left to be selected.
        connection.leave()
        connection.out.append(b"* OK [CLOSED] mailbox is being deleted\r\n")
    connection.caused("removed", [name])
    # RFC 9051 section 6.3.5: with \\NonExistent, which it is now.
    tell_name(connection, name, command.mailbox)
    return None


async def rename(connection: Connection, command: Rename) -> Answer:
    """RENAME, with all below."""
    old = connection.existing(command.mailbox, "x").name
    new = mailbox_name(command.new_name.removesuffix("/"))
    await connection.mail.rename(old, new)
    connection.caused("renamed", [new])
    connection.caused("renamed from", [old])
    connection.caused("created", _with_parents(new))
    selected = connection.selected
    if (
        selected is not None
        and old != "Inbox"
        and (selected.name == old or selected.name.startswith(old + "/"))
    ):
        selected.name = new + selected.name[len(old) :]
    # RFC 9051 section 6.3.6: with the old name as it was supplied, also when it is the new one that came out different; INBOX
    # stays where it is, and in which case it was written says nothing.
    written = (command.new_name,) if old == "Inbox" else (command.mailbox, command.new_name)
    if connection.rev2 and any(isinstance(name, SuppliedName) for name in written):
        connection.out.append(renamed(connection, new, command.mailbox))
    return None


async def subscribe(connection: Connection, command: Subscribe) -> Answer:
    """SUBSCRIBE: a name, whether or not there is such a mailbox (RFC 9051 section 6.3.7 lets us choose; so does mox)."""
    name = mailbox_name(command.mailbox.removesuffix("/"))
    await connection.mail.subscribe(name)
    connection.caused("subscribed", [name])
    return None


async def unsubscribe(connection: Connection, command: Unsubscribe) -> Answer:
    """UNSUBSCRIBE."""
    name = mailbox_name(command.mailbox.removesuffix("/"))
    await connection.mail.unsubscribe(name)
    connection.caused("unsubscribed", [name])
    return None
