r"""ESEARCH: a search through several mailboxes, selected or not (MULTISEARCH, RFC 7377).

::

    C: tag1 ESEARCH IN (mailboxes "folder1" subtree "folder2") UNSEEN
    S: * ESEARCH (TAG "tag1" MAILBOX folder1 UIDVALIDITY 1) UID ALL 4001,4003,4005,4007,4009
    S: * ESEARCH (TAG "tag1" MAILBOX folder2/banana UIDVALIDITY 503) UID ALL 3002,4004
    S: tag1 OK ESEARCH completed

One mailbox is searched after the other, and others have their turns between. Nothing of it touches what is selected.
"""

from __future__ import annotations

import inspect
from typing import Final

from moxtwisted.errors import MailError
from moxtwisted.imap.commands.contexts import keep_updated
from moxtwisted.imap.commands.mailboxfilters import chosen, reach_others
from moxtwisted.imap.commands.matching import Matching
from moxtwisted.imap.commands.results import Results, answer, origin_of
from moxtwisted.imap.commands.search import forget_saved, matches, prepare
from moxtwisted.imap.connection import Answer, Connection, RefusalError, Selected
from moxtwisted.imap.sharing import sharing
from moxtwisted.imap.view import SessionView
from moxtwisted.imap.wire.commands import MultiSearch
from moxtwisted.imap.wire.mailboxfilter import FilterKind, MailboxFilter
from moxtwisted.imap.wire.returnoptions import SearchReturn, update_of

__all__ = ["multi_search"]

# RFC 7377 section 2.2: without source options it is the selected mailbox.
_SELECTED: Final = (MailboxFilter(FilterKind.SELECTED),)


async def multi_search(connection: Connection, command: MultiSearch) -> Answer:
    """ESEARCH."""
    sources = command.sources or _SELECTED
    kinds = {source.kind for source in sources}
    if FilterKind.SELECTED in kinds and connection.selected is None:
        raise RefusalError("no mailbox is selected", kind="BAD")
    # Section 2.1: source options without result options imply ALL.
    returns = command.returns or frozenset({SearchReturn.ALL})
    if SearchReturn.SAVE in returns and kinds != {FilterKind.SELECTED}:
        # RFC 7377 section 2.2: what is saved are messages of the selected mailbox.
        raise RefusalError("SAVE is for the selected mailbox alone", kind="BAD")
    shared = sharing(connection.mail) if reach_others(connection, sources) else None
    waiting = shared.prepare() if shared is not None else None
    if waiting is not None:
        await waiting
    modseq = prepare(connection, command, returns)
    mailboxes = chosen(connection, sources)
    if len(mailboxes) > connection.settings.limits.search_mailboxes:
        # Section 2.4: limits are ours to set.
        raise RefusalError("too many mailboxes in one search", "LIMIT")
    try:
        # Section 2.2: the same mailbox by several filters is searched once.
        messages = {name: info.messages for name, info in mailboxes.items()}
        await _all(connection, command, messages, modseq=modseq)
    except BaseException:
        forget_saved(connection, returns)
        raise
    return None


async def _all(
    connection: Connection, command: MultiSearch, messages: dict[str, int], *, modseq: bool
) -> None:
    total, done = sum(messages.values()), 0
    for name, count in messages.items():
        connection.progress = (done, total)
        box = await _opened(connection, name)
        if box is not None:
            try:
                await _one(connection, command, box, modseq=modseq)
            finally:
                if box is not connection.selected:
                    box.mailbox.close()
        done += count
        if connection.pause is not None:
            await connection.pause(0)


async def _one(connection: Connection, command: MultiSearch, box: Selected, *, modseq: bool) -> None:
    matching = Matching(connection, box)
    found = await matches(connection, matching, command.key)
    returns = command.returns or frozenset({SearchReturn.ALL})
    updated = update_of(returns) is not None and box is connection.selected
    if found or updated:
        # RFC 7377 section 2.1: by UID, with all correlators; nothing for a mailbox without matches.
        origin = origin_of(connection, box)
        results = Results(command.tag, found, matching, True, returns, modseq=modseq, origin=origin)
        if found:
            answer(connection, results)
        if updated:
            # Section 2.2: UPDATE is for the selected mailbox.
            await keep_updated(connection, results, command.key)
    if not found and SearchReturn.SAVE in returns:
        connection.saved = ()


async def _opened(connection: Connection, name: str) -> Selected | None:
    """A mailbox as the session would see it; None when it went, or may not be read."""
    if connection.selected is not None and connection.selected.name == name:
        return connection.selected
    try:
        mailbox = connection.mail.select(name, read_only=True)
        if inspect.isawaitable(mailbox):
            mailbox = await mailbox
    except MailError:
        # RFC 7377 section 2.2: without the right to read it is as if it were not there.
        return None
    return Selected(name, mailbox, SessionView(mailbox.view), read_only=True)
