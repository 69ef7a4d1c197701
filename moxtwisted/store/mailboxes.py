"""What the writer does to mailboxes: make, subscribe, special uses, annotations; and their names.

A name is Unicode in NFC with ``/`` between levels. ``INBOX`` is written in capitals, whatever a client wrote, also as
the first level of ``INBOX/lists``::

    canonical_name("inbox/Entwürfe") == "INBOX/Entwürfe"
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

from moxtwisted.errors import LimitError, MailboxExistsError, MailboxMissingError, MailError
from moxtwisted.identifiers import is_inbox
from moxtwisted.store.acl import inherit
from moxtwisted.store.judgements import note_arrival
from moxtwisted.store.ledger import Delta, Ledger, MailboxRecord

__all__ = ["MailboxRefusedError", "canonical_name", "make_mailbox", "parents"]

#: Characters of a mailbox name, and its levels; mailboxes of an account.
MAX_NAME: Final = 512
MAX_DEPTH: Final = 32
MAX_MAILBOXES: Final = 10_000
#: Annotations of one mailbox, octets of a key and of a value; of an account, and octets of keys and values together.
MAX_ANNOTATIONS: Final = 1_000
MAX_ACCOUNT_ANNOTATIONS: Final = 20_000
MAX_ACCOUNT_ANNOTATION_OCTETS: Final = 16_777_216
MAX_ANNOTATION_KEY: Final = 512
MAX_ANNOTATION_VALUE: Final = 262_144
MAX_SUBSCRIPTIONS: Final = 20_000

# RFC 9051 section 5.1: "%" and "*" are wildcards of LIST; a mailbox of that name could not be listed alone.
_FORBIDDEN: Final = frozenset("%*\u2028\u2029\ufffd")
#: No level is one of these. Programs that keep mailboxes as directories (mbsync, for one) take "." and ".." for a way out of
#: their own, and refuse the whole account.
_NO_LEVELS: Final = frozenset(("", ".", ".."))


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
    if is_inbox(levels[0]):
        levels[0] = "INBOX"
        canonical = "/".join(levels)
    if not _NO_LEVELS.isdisjoint(levels) or any(
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
            make_one(ledger, parent, modseq)
    return make_one(ledger, name, modseq)


def make_one(ledger: Ledger, name: str, modseq: int) -> MailboxRecord:
    """Make a mailbox whose parents are there, and subscribe it."""
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
    ledger.tell(Delta("created", record.id, name, modseq, acl=inherit(ledger, record.id, name)))
    add_subscription(ledger, name)
    note_arrival(ledger, name)
    return record


def add_subscription(ledger: Ledger, name: str) -> bool:
    """False when it was there."""
    if name in ledger.subscriptions:
        return False
    ledger.connection.execute("INSERT INTO subscription (name) VALUES (?)", (name,))
    ledger.subscriptions.add(name)
    ledger.subscribed()
    return True


def remove_subscription(ledger: Ledger, name: str) -> bool:
    """False when it was not there."""
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


def check_room(ledger: Ledger, more: int) -> None:
    """Whether so many mailboxes more are allowed. :raises LimitError:"""
    if len(ledger.mailboxes) + more > MAX_MAILBOXES:
        raise LimitError(f"{len(ledger.mailboxes)} mailboxes", public_text="too many mailboxes")


# -- jobs --------------------------------------------------------------------------------------------------------------


def create(ledger: Ledger, name: str, special_use: Sequence[str]) -> MailboxRecord:
    """Make a mailbox. :raises MailboxExistsError: , LimitError."""
    name = canonical_name(name)
    if name in ledger.by_name:
        raise MailboxExistsError(name)
    check_room(ledger, 1 + sum(parent not in ledger.by_name for parent in parents(name)))
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


def subscribe(ledger: Ledger, name: str) -> None:
    """Subscribe a name."""
    name = canonical_name(name)
    if len(ledger.subscriptions) >= MAX_SUBSCRIPTIONS:
        raise LimitError(f"{len(ledger.subscriptions)} subscriptions", public_text="too many subscriptions")
    if add_subscription(ledger, name):
        _tell_subscription(ledger, "subscribed", name)


def unsubscribe(ledger: Ledger, name: str) -> None:
    """Unsubscribe a name."""
    name = canonical_name(name)
    if remove_subscription(ledger, name):
        _tell_subscription(ledger, "unsubscribed", name)


def _tell_subscription(ledger: Ledger, kind: str, name: str) -> None:
    modseq = ledger.next_modseq()
    record = ledger.by_name.get(name)
    if record is not None:
        ledger.touch(record, modseq)
    identifier = record.id if record is not None else 0
    ledger.tell(Delta("subscribed" if kind == "subscribed" else "unsubscribed", identifier, name, modseq))


def annotate(
    ledger: Ledger,
    mailbox: int,
    values: dict[str, bytes | None],
    special_use: Sequence[str] | None = None,
) -> None:
    """Set and remove annotations; mailbox 0 is the account.

    :param special_use: replaces those of the mailbox too, if it is not None.
    :raises LimitError: , MailboxMissingError, MailboxRefusedError; nothing is changed then.
    """
    record = ledger.mailbox(mailbox) if mailbox else None
    keys = {key.lower(): value for key, value in values.items()}
    _check_annotations(ledger, mailbox, keys)
    uses = _uses(special_use) if special_use is not None else None
    modseq = ledger.next_modseq()
    for key, value in keys.items():
        if value is None:
            ledger.connection.execute("DELETE FROM annotation WHERE mailbox = ? AND key = ?", (mailbox, key))
        else:
            ledger.connection.execute(
                "INSERT INTO annotation (mailbox, key, value, modseq) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
                " SET value = excluded.value, modseq = excluded.modseq",
                (mailbox, key, value, modseq),
            )
    if record is not None:
        ledger.touch(record, modseq)
    if keys:
        name = record.name if record is not None else ""
        ledger.tell(Delta("annotated", mailbox, name, modseq, entries=tuple(keys)))
    if record is not None and uses is not None and record.special_use != " ".join(uses):
        _set_uses(ledger, record, uses, modseq)


def _check_annotations(ledger: Ledger, mailbox: int, keys: dict[str, bytes | None]) -> None:
    """Whether these may be set. :raises LimitError:"""
    for key, value in keys.items():
        if len(key) > MAX_ANNOTATION_KEY or len(value or b"") > MAX_ANNOTATION_VALUE:
            raise LimitError(f"annotation {key[:100]}", public_text="annotation is too large")
    new = {key: value for key, value in keys.items() if value is not None}
    if not new:
        return
    execute = ledger.connection.execute
    has: dict[str, int] = dict(
        execute("SELECT key, length(value) FROM annotation WHERE mailbox = ?", (mailbox,)).fetchall()
    )
    ((count, octets),) = execute(
        "SELECT count(*), coalesce(sum(length(key) + length(value)), 0) FROM annotation"
    ).fetchall()
    more = len(new.keys() - has.keys()) - len(has.keys() & keys.keys() - new.keys())
    grows = sum(len(key) + len(value) for key, value in new.items())
    grows -= sum(len(key) + size for key, size in has.items() if key in keys)
    # Who only replaces by less is let through, whatever there is already.
    if more > 0 and (len(has) + more > MAX_ANNOTATIONS or count + more > MAX_ACCOUNT_ANNOTATIONS):
        raise _too_many(f"{count} annotations, {len(has)} of mailbox {mailbox}")
    if grows > 0 and octets + grows > MAX_ACCOUNT_ANNOTATION_OCTETS:
        raise _too_many(f"{octets} octets of annotations")


def _too_many(detail: str) -> LimitError:
    error = LimitError(detail, public_text="too many annotations")
    # RFC 5464 section 4.3
    error.imap_code = "METADATA TOOMANY"
    return error


def copy_annotations(ledger: Ledger, source: MailboxRecord, target: MailboxRecord) -> None:
    """RFC 5464 section 4.1: INBOX that is renamed keeps its annotations, and the new mailbox has them as well."""
    ledger.connection.execute(
        "INSERT INTO annotation (mailbox, key, value, modseq)"
        " SELECT ?, key, value, ? FROM annotation WHERE mailbox = ?",
        (target.id, target.modseq, source.id),
    )
