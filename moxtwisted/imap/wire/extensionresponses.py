"""Responses of extensions: ESEARCH in all its forms, SORT, THREAD, quotas, rights, metadata, URLs, languages, the way to JMAP.

``READERS`` has a function for each name; ``moxtwisted.imap.wire.responses`` calls it behind the name.
"""

from __future__ import annotations

from collections.abc import Callable

from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire.lexer import MAX_NUMBER64, CommandError
from moxtwisted.imap.wire.responsecursor import ResponseCursor, bounded, strings
from moxtwisted.imap.wire.sequence import MAX_NUMBER, SequenceError, SequenceSet

__all__ = ["READERS"]


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")


def _set(octets: object) -> SequenceSet | None:
    """A set that was read as a value."""
    if octets is None:
        return None
    text = b"%d" % octets if isinstance(octets, int) else octets
    if not isinstance(text, bytes):
        raise CommandError("expected a set")
    try:
        return SequenceSet.parse(text)
    except SequenceError as error:
        raise CommandError(str(error)) from None


def _esearch_item(cursor: ResponseCursor, label: str) -> r.Value:
    if label == "ALL":
        return cursor.sequence_set()
    value = cursor.value()
    if label == "PARTIAL":
        # RFC 9394 section 3.1: (range set), NIL for none.
        if not isinstance(value, tuple) or len(value) != 2 or not isinstance(value[0], bytes):
            raise CommandError("expected a range and its members")
        return value[0].decode("ascii", "replace"), _set(value[1])
    return bounded(value, MAX_NUMBER64 if label == "MODSEQ" else MAX_NUMBER)


def _changes(cursor: ResponseCursor, *, added: bool) -> list[r.ContextChange]:
    """RFC 5267 sections 4.3.3 and 4.3.4: pairs of a position and what was put or taken there."""
    value = cursor.value()
    if not isinstance(value, tuple) or len(value) % 2:
        raise CommandError("expected positions and sets")
    found = []
    for position, members in zip(value[::2], value[1::2], strict=True):
        if not isinstance(bounded(position), int):
            raise CommandError("expected a position")
        found.append(r.ContextChange(added, position, _set(members)))
    return found


def _esearch(cursor: ResponseCursor) -> r.Response:
    tag: bytes | None = None
    mailbox: str | None = None
    uidvalidity: int | None = None
    if cursor.skip(b"("):
        while True:
            what = cursor.keyword()
            cursor.space()
            if what == b"TAG":
                tag = cursor.astring()
            elif what == b"MAILBOX":
                mailbox = cursor.name()
            elif what == b"UIDVALIDITY":
                uidvalidity = cursor.number(least=1)
            else:
                raise CommandError("expected TAG, MAILBOX or UIDVALIDITY")
            if cursor.skip(b")"):
                break
            cursor.space()
        cursor.spaces()
    uid = False
    items: dict[str, r.Value] = {}
    changes: list[r.ContextChange] = []
    while not cursor.at_end():
        label = cursor.keyword().decode("ascii")
        if label == "UID" and not items and not changes and not uid:
            uid = True
        elif label in {"ADDTO", "REMOVEFROM"}:
            cursor.space()
            # RFC 5267 section 4.3.2: they are worked off in the order in which they came.
            changes += _changes(cursor, added=label == "ADDTO")
        else:
            cursor.space()
            items[label] = _esearch_item(cursor, label)
        if not cursor.at_end():
            cursor.space()
    return r.EsearchData(tag, uid, items, mailbox, uidvalidity, tuple(changes))


def _sort(cursor: ResponseCursor) -> r.Response:
    numbers: list[int] = []
    modseq: int | None = None
    for word in cursor.rest().replace(b"(", b" (").split():
        if word.isdigit() and len(word) <= 10 and modseq is None:
            number = int(word)
            if not 1 <= number <= MAX_NUMBER:
                raise CommandError("number is out of range")
            numbers.append(number)
        elif word.upper() == b"(MODSEQ":
            modseq = 0
        elif modseq == 0 and word.endswith(b")") and word[:-1].isdigit() and len(word) <= 20:
            modseq = int(word[:-1])
            if modseq > MAX_NUMBER64:
                raise CommandError("number is out of range")
        else:
            raise CommandError("expected numbers")
    return r.SortData(tuple(numbers), modseq)


def _check_members(thread: r.Value) -> None:
    """The numbers in it are those of messages."""
    stack = [thread]
    while stack:
        value = stack.pop()
        if isinstance(value, tuple):
            stack.extend(value)
        else:
            bounded(value, least=1)


def _thread(cursor: ResponseCursor) -> r.Response:
    threads: list[r.Value] = []
    while not cursor.at_end():
        if cursor.skip(b" "):
            continue
        value = cursor.value()
        if not isinstance(value, tuple):
            raise CommandError("expected a thread")
        _check_members(value)
        threads.append(value)
        # Thread lists stand without spaces between, but some servers put one.
    return r.ThreadData(tuple(threads))


def _quota(cursor: ResponseCursor) -> r.Response:
    root = _text(cursor.astring())
    cursor.space()
    listed = cursor.value()
    if not isinstance(listed, tuple) or len(listed) % 3:
        raise CommandError("expected resources with usage and limit")
    resources: dict[str, r.ResourceUse] = {}
    for name, usage, limit in zip(listed[::3], listed[1::3], listed[2::3], strict=True):
        if not isinstance(name, bytes) or not isinstance(usage, int) or not isinstance(limit, int):
            raise CommandError("expected a resource with usage and limit")
        # RFC 9208 section 7: number64.
        bounded(usage, MAX_NUMBER64)
        bounded(limit, MAX_NUMBER64)
        resources[_text(name).upper()] = r.ResourceUse(usage, limit)
    return r.QuotaData(root, resources)


def _strings_to_end(cursor: ResponseCursor) -> list[bytes]:
    found = []
    while not cursor.at_end():
        cursor.space()
        found.append(cursor.astring())
    return found


def _quota_root(cursor: ResponseCursor) -> r.Response:
    mailbox = cursor.name()
    return r.QuotaRootData(mailbox, tuple(map(_text, _strings_to_end(cursor))))


def _acl(cursor: ResponseCursor) -> r.Response:
    mailbox = cursor.name()
    words = list(map(_text, _strings_to_end(cursor)))
    if len(words) % 2:
        raise CommandError("expected identifiers with rights")
    return r.AclData(mailbox, tuple(zip(words[::2], words[1::2], strict=True)))


def _list_rights(cursor: ResponseCursor) -> r.Response:
    mailbox = cursor.name()
    words = list(map(_text, _strings_to_end(cursor)))
    if len(words) < 2:
        raise CommandError("expected an identifier and rights")
    return r.ListRightsData(mailbox, words[0], words[1], tuple(words[2:]))


def _my_rights(cursor: ResponseCursor) -> r.Response:
    mailbox = cursor.name()
    cursor.space()
    return r.MyRightsData(mailbox, _text(cursor.astring()))


def _metadata(cursor: ResponseCursor) -> r.Response:
    mailbox = cursor.name()
    cursor.space()
    if not cursor.looking_at(b"("):
        # RFC 5464 section 4.4.2: names alone say that these have changed.
        names = [cursor.astring(), *_strings_to_end(cursor)]
        return r.MetadataData(mailbox, {}, tuple(map(_text, names)))
    listed = cursor.value()
    if not isinstance(listed, tuple) or len(listed) % 2:
        raise CommandError("expected entries with values")
    entries: dict[str, bytes | None] = {}
    for name, value in zip(listed[::2], listed[1::2], strict=True):
        octets = b"%d" % value if isinstance(value, int) else value
        if not isinstance(name, bytes) or not isinstance(octets, bytes | None):
            raise CommandError("expected an entry with its value")
        entries[_text(name).lower()] = octets
    return r.MetadataData(mailbox, entries)


def _genurlauth(cursor: ResponseCursor) -> r.Response:
    first = cursor.astring()
    return r.UrlsData(tuple(map(_text, [first, *_strings_to_end(cursor)])))


def _urlfetch(cursor: ResponseCursor) -> r.Response:
    values: list[tuple[str, bytes | None]] = []
    while True:
        url = _text(cursor.astring())
        cursor.space()
        values.append((url, cursor.nstring()))
        if cursor.at_end():
            return r.UrlData(tuple(values))
        cursor.space()


def _language(cursor: ResponseCursor) -> r.Response:
    return r.LanguageData(strings(cursor.value()))


def _jmap_access(cursor: ResponseCursor) -> r.Response:
    return r.JmapAccessData(_text(cursor.string()))


READERS: dict[bytes, Callable[[ResponseCursor], r.Response]] = {
    b"ESEARCH": _esearch,
    b"SORT": _sort,
    b"THREAD": _thread,
    b"QUOTA": _quota,
    b"QUOTAROOT": _quota_root,
    b"ACL": _acl,
    b"LISTRIGHTS": _list_rights,
    b"MYRIGHTS": _my_rights,
    b"METADATA": _metadata,
    b"GENURLAUTH": _genurlauth,
    b"URLFETCH": _urlfetch,
    b"LANGUAGE": _language,
    b"JMAPACCESS": _jmap_access,
}
