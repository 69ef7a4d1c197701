"""What the writer does to mailboxes together with what is in and below them: rename and delete."""

from __future__ import annotations

from moxtwisted.errors import MailboxExistsError
from moxtwisted.store.judgements import note_arrival
from moxtwisted.store.ledger import Delta, Ledger, MailboxRecord
from moxtwisted.store.mailboxes import (
    MailboxRefusedError,
    add_subscription,
    canonical_name,
    check_room,
    copy_annotations,
    find,
    make_mailbox,
    make_one,
    parents,
    remove_subscription,
)
from moxtwisted.store.messages import move, remove_all

__all__ = ["delete", "rename"]


def rename(ledger: Ledger, old: str, new: str) -> MailboxRecord:
    """Rename a mailbox with all below it; INBOX stays, its messages go.

    :raises MailboxMissingError: , MailboxExistsError, LimitError.
    """
    record, name = find(ledger, old), canonical_name(new)
    if record.name == name or name in ledger.by_name:
        raise MailboxExistsError(name)
    missing = sum(parent not in ledger.by_name for parent in parents(name))
    if record.name == "INBOX":
        # RFC 9051 section 6.3.6: its messages move to the new mailbox, INBOX stays and is empty; what is below stays.
        check_room(ledger, 1 + missing)
        target = make_mailbox(ledger, name, ledger.next_modseq())
        move(ledger, record.id, None, target.id)
        copy_annotations(ledger, record, target)
        return target
    if name.startswith(record.name + "/"):
        raise MailboxRefusedError("CANNOT", f"{old} to {new}", public_text="a mailbox cannot go below itself")
    check_room(ledger, missing)
    below = record.name + "/"
    family = [record, *(r for r in ledger.mailboxes.values() if r.name.startswith(below))]
    cut = len(record.name)
    names = [canonical_name(name + member.name[cut:]) for member in family]
    for target_name in names:
        if target_name in ledger.by_name:
            raise MailboxExistsError(target_name)
    modseq = ledger.next_modseq()
    for parent in parents(name):
        if parent not in ledger.by_name:
            make_one(ledger, parent, modseq)
    for member, target_name in zip(family, names, strict=True):
        _rename_one(ledger, member, target_name, modseq)
    return record


def _rename_one(ledger: Ledger, record: MailboxRecord, name: str, modseq: int) -> None:
    old = record.name
    del ledger.by_name[old]
    record.name = name
    # At once: the next job of this transaction may want the old name.
    ledger.connection.execute("UPDATE mailbox SET name = ? WHERE id = ?", (name, record.id))
    ledger.by_name[name] = record
    ledger.touch(record, modseq)
    ledger.tell(Delta("renamed", record.id, name, modseq, old_name=old))
    note_arrival(ledger, name)
    if remove_subscription(ledger, old):
        add_subscription(ledger, name)


def delete(ledger: Ledger, name: str) -> None:
    """Delete a mailbox with its messages. :raises MailboxRefusedError: , MailboxMissingError."""
    record = find(ledger, name)
    if record.name == "INBOX":
        raise MailboxRefusedError("CANNOT", "INBOX", public_text="INBOX cannot be deleted")
    # RFC 9051 section 6.3.5: as we know no \\Noselect, a mailbox with others below it stays.
    if any(other.name.startswith(record.name + "/") for other in ledger.mailboxes.values()):
        raise MailboxRefusedError("HASCHILDREN", record.name, public_text="mailbox has others below it")
    modseq = ledger.next_modseq()
    ledger.flush()
    remove_all(ledger, record)
    ledger.connection.execute("DELETE FROM annotation WHERE mailbox = ?", (record.id,))
    ledger.connection.execute("DELETE FROM acl WHERE mailbox = ?", (record.id,))
    ledger.connection.execute("DELETE FROM mailbox WHERE id = ?", (record.id,))
    ledger.tell(Delta("removed", record.id, record.name, modseq))
    ledger.removed(record)
    remove_subscription(ledger, record.name)
