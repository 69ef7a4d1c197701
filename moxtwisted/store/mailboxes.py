"""What the writer does to mailboxes: make, rename, delete, subscribe, special uses, annotations; and their names.

A name is Unicode in NFC with ``/`` between levels. ``INBOX`` is written in capitals, whatever a client wrote, also as
the first level of ``INBOX/lists``::

    canonical_name("inbox/Entwürfe") == "INBOX/Entwürfe"
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

from moxtwisted.errors import LimitError, MailboxExistsError, MailboxMissingError, MailError
from moxtwisted.store.ledger import Delta, Ledger, MailboxRecord

__all__ = ["MailboxRefusedError", "canonical_name", "make_mailbox", "parents"]

#: Characters of a mailbox name, and its levels; mailboxes of an account.
MAX_NAME: Final = 512
MAX_DEPTH: Final = 32
MAX_MAILBOXES: Final = 10_000
#: Annotations of one mailbox, octets of a key and of a value.
MAX_ANNOTATIONS: Final = 1_000
MAX_ANNOTATION_KEY: Final = 512
MAX_ANNOTATION_VALUE: Final = 262_144
MAX_SUBSCRIPTIONS: Final = 20_000

# RFC 9051 section 5.1: "%" and "*" are wildcards of LIST; a mailbox of that name could not be listed alone.
_FORBIDDEN: Final = frozenset("%*\u2028\u2029\ufffd")


class MailboxRefusedError(MailError):
    """This cannot be done to this mailbox; ``imap_code`` says why (RFC 5530, RFC 9051 section 7.1)."""

    reply_code = 550
    enhanced_code = "5.2.0"

    def __init__(self, imap_code: str, detail: str, *, public_text: str) -> None:
        super().__init__(detail, public_text=public_text)
        self.imap_code = imap_code


def canonical_name(name: str) -> str:
    """The form in which a name is kept.

    :raises MailboxRefusedError: for a name that no mailbox can have.
    :raises LimitError: when it is too long or too deep.
    """
    known = _CANONICAL.get(name)
    if known is not None:
        return known
    if len(name) > MAX_NAME:
        raise LimitError(f"mailbox name of {len(name)} characters", public_text="mailbox name is too long")
    canonical = unicodedata.normalize("NFC", name)
    levels = canonical.split("/")
    if len(levels) > MAX_DEPTH:
        raise LimitError(
            f"mailbox name of {len(levels)} levels", public_text="mailbox name has too many levels"
        )
    # RFC 9051 section 5.1: INBOX is the same in any case.
    if levels[0].upper() == "INBOX":
        levels[0] = "INBOX"
        canonical = "/".join(levels)
    if not all(levels) or any(
        character in _FORBIDDEN or unicodedata.category(character) in {"Cc", "Cs"} for character in canonical
    ):
        raise MailboxRefusedError("CANNOT", repr(name), public_text="no mailbox can have this name")
    if len(_CANONICAL) >= 10_000:
        _CANONICAL.clear()
    _CANONICAL[name] = canonical
    return canonical


_CANONICAL: dict[str, str] = {}


def parents(name: str) -> Iterator[str]:
    """The names above this one, from the top."""
    position = name.find("/")
    while position >= 0:
        yield name[:position]
        position = name.find("/", position + 1)


def make_mailbox(ledger: Ledger, name: str, modseq: int) -> MailboxRecord:
    """Make a mailbox and its missing parents; all get subscribed, as in mox. The name is canonical and free."""
    for parent in parents(name):
        if parent not in ledger.by_name:
            _make_one(ledger, parent, modseq)
    return _make_one(ledger, name, modseq)


def _make_one(ledger: Ledger, name: str, modseq: int) -> MailboxRecord:
    record = MailboxRecord(
        id=0,
        name=name,
        uidvalidity=ledger.next_uidvalidity(),
        uidnext=1,
        special_use="",
        modseq=modseq,
        createseq=modseq,
    )
    ledger.connection.execute(
        "INSERT INTO mailbox (name, uidvalidity, modseq, createseq) VALUES (?, ?, ?, ?)",
        (name, record.uidvalidity, modseq, modseq),
    )
    record.id = ledger.connection.last_insert_rowid()
    ledger.created(record)
    ledger.tell(Delta("created", record.id, name, modseq))
    _subscribe(ledger, name)
    return record


def _subscribe(ledger: Ledger, name: str) -> bool:
    if name in ledger.subscriptions:
        return False
    ledger.connection.execute("INSERT INTO subscription (name) VALUES (?)", (name,))
    ledger.subscriptions.add(name)
    ledger.subscribed()
    return True


def _unsubscribe(ledger: Ledger, name: str) -> bool:
    if name not in ledger.subscriptions:
        return False
    ledger.connection.execute("DELETE FROM subscription WHERE name = ?", (name,))
    ledger.subscriptions.discard(name)
    ledger.subscribed()
    return True


def find(ledger: Ledger, name: str) -> MailboxRecord:
    """By name. :raises MailboxMissingError:"""
    record = ledger.by_name.get(canonical_name(name))
    if record is None:
        raise MailboxMissingError(name)
    return record


def _check_room(ledger: Ledger, more: int) -> None:
    if len(ledger.mailboxes) + more > MAX_MAILBOXES:
        raise LimitError(f"{len(ledger.mailboxes)} mailboxes", public_text="too many mailboxes")


# -- jobs --------------------------------------------------------------------------------------------------------------


def create(ledger: Ledger, name: str, special_use: Sequence[str]) -> MailboxRecord:
    """Make a mailbox. :raises MailboxExistsError: , LimitError."""
    name = canonical_name(name)
    if name in ledger.by_name:
        raise MailboxExistsError(name)
    _check_room(ledger, 1 + sum(parent not in ledger.by_name for parent in parents(name)))
    uses = _uses(special_use)
    modseq = ledger.next_modseq()
    record = make_mailbox(ledger, name, modseq)
    if uses:
        _set_uses(ledger, record, uses, modseq)
    return record


def _uses(special_use: Sequence[str]) -> list[str]:
    uses = list(dict.fromkeys(special_use))
    for use in uses:
        if not use.startswith("\\") or " " in use or len(use) > 64:
            raise MailboxRefusedError("USEATTR", repr(use), public_text="no such special use")
    return uses


def set_special_use(ledger: Ledger, name: str, special_use: Sequence[str]) -> None:
    """Replace the special uses of a mailbox."""
    record = find(ledger, name)
    uses = _uses(special_use)
    if record.special_use != " ".join(uses):
        _set_uses(ledger, record, uses, ledger.next_modseq())


def _set_uses(ledger: Ledger, record: MailboxRecord, uses: list[str], modseq: int) -> None:
    wanted = {use.lower() for use in uses}
    for other in ledger.mailboxes.values():
        has = other.special_use.split()
        keeps = [use for use in has if use.lower() not in wanted]
        if other is not record and len(keeps) < len(has):
            other.special_use = " ".join(keeps)
            ledger.touch(other, modseq)
            ledger.tell(Delta("special_use", other.id, other.name, modseq))
    record.special_use = " ".join(uses)
    ledger.touch(record, modseq)
    ledger.tell(Delta("special_use", record.id, record.name, modseq))


def rename(ledger: Ledger, old: str, new: str) -> MailboxRecord:
    """Rename a mailbox with all below it; INBOX stays, its messages go.

    :raises MailboxMissingError: , MailboxExistsError, LimitError.
    """
    from moxtwisted.store.messages import move

    record, name = find(ledger, old), canonical_name(new)
    if record.name == name or name in ledger.by_name:
        raise MailboxExistsError(name)
    missing = sum(parent not in ledger.by_name for parent in parents(name))
    if record.name == "INBOX":
        # RFC 9051 section 6.3.6: its messages move to the new mailbox, INBOX stays and is empty; what is below stays.
        _check_room(ledger, 1 + missing)
        target = make_mailbox(ledger, name, ledger.next_modseq())
        move(ledger, record.id, None, target.id)
        return target
    if name.startswith(record.name + "/"):
        raise MailboxRefusedError("CANNOT", f"{old} to {new}", public_text="a mailbox cannot go below itself")
    _check_room(ledger, missing)
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
            _make_one(ledger, parent, modseq)
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
    if _unsubscribe(ledger, old):
        _subscribe(ledger, name)


def delete(ledger: Ledger, name: str) -> None:
    """Delete a mailbox with its messages. :raises MailboxRefusedError: , MailboxMissingError."""
    from moxtwisted.store.messages import remove_all

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
    ledger.connection.execute("DELETE FROM mailbox WHERE id = ?", (record.id,))
    ledger.tell(Delta("removed", record.id, record.name, modseq))
    ledger.removed(record)
    _unsubscribe(ledger, record.name)


def subscribe(ledger: Ledger, name: str) -> None:
    """Subscribe a name."""
    name = canonical_name(name)
    if len(ledger.subscriptions) >= MAX_SUBSCRIPTIONS:
        raise LimitError(f"{len(ledger.subscriptions)} subscriptions", public_text="too many subscriptions")
    if _subscribe(ledger, name):
        _tell_subscription(ledger, "subscribed", name)


def unsubscribe(ledger: Ledger, name: str) -> None:
    """Unsubscribe a name."""
    name = canonical_name(name)
    if _unsubscribe(ledger, name):
        _tell_subscription(ledger, "unsubscribed", name)


def _tell_subscription(ledger: Ledger, kind: str, name: str) -> None:
    modseq = ledger.next_modseq()
    record = ledger.by_name.get(name)
    if record is not None:
        ledger.touch(record, modseq)
    identifier = record.id if record is not None else 0
    ledger.tell(Delta("subscribed" if kind == "subscribed" else "unsubscribed", identifier, name, modseq))


def annotate(ledger: Ledger, mailbox: int, values: dict[str, bytes | None]) -> None:
    """Set and remove annotations; mailbox 0 is the account. :raises LimitError: , MailboxMissingError."""
    record = ledger.mailbox(mailbox) if mailbox else None
    for key, value in values.items():
        if len(key) > MAX_ANNOTATION_KEY or len(value or b"") > MAX_ANNOTATION_VALUE:
            raise LimitError(f"annotation {key[:100]}", public_text="annotation is too large")
    execute = ledger.connection.execute
    has = {row[0] for row in execute("SELECT key FROM annotation WHERE mailbox = ?", (mailbox,))}
    keys = {key.lower(): value for key, value in values.items()}
    if len(has | {key for key, value in keys.items() if value is not None}) > MAX_ANNOTATIONS:
        raise LimitError(f"annotations of mailbox {mailbox}", public_text="too many annotations")
    modseq = ledger.next_modseq()
    for key, value in keys.items():
        if value is None:
            execute("DELETE FROM annotation WHERE mailbox = ? AND key = ?", (mailbox, key))
        else:
            execute(
                "INSERT INTO annotation (mailbox, key, value, modseq) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
                " SET value = excluded.value, modseq = excluded.modseq",
                (mailbox, key, value, modseq),
            )
    if record is not None:
        ledger.touch(record, modseq)
    ledger.tell(Delta("annotated", mailbox, record.name if record is not None else "", modseq))
