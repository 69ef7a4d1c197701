r"""Which mailbox of another server goes into which of ours.

::

    plan(listed, subscribed, prefixes=("INBOX.",), ours={"Sent": ("\\Sent",)})
      -> Plan(folders=(Folder("INBOX.Sent Items", "Sent", "\\Sent", subscribed=True), …), left_out=(("Virtual", "why"), …))

Levels are separated by ``/`` here, whatever the other server uses. What a mailbox is for is known by its special use (RFC 6154), or else
guessed from the names that programs give; then it goes where we have that. A prefix that all own mailboxes have (RFC 2342) goes away.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from attrs import evolve, frozen

from moxtwisted.errors import MailError
from moxtwisted.identifiers import is_inbox
from moxtwisted.imap.client.mailboxcommands import ListedMailbox
from moxtwisted.store.mailboxes import canonical_name

__all__ = ["Folder", "Plan", "plan"]

#: More are refused: nobody has them.
MAX_FOLDERS: Final = 10_000
#: Of one level of a name: the rest would be cut off later.
_MOST_CHARACTERS: Final = 1_000
_USES: Final = ("\\Sent", "\\Drafts", "\\Trash", "\\Junk", "\\Archive")
#: What programs and servers call them when nobody says what they are for, in lower case.
_GUESSES: Final = {
    "sent": "\\Sent",
    "sent items": "\\Sent",
    "sent messages": "\\Sent",
    "sent mail": "\\Sent",
    "sent-mail": "\\Sent",
    "drafts": "\\Drafts",
    "draft": "\\Drafts",
    "trash": "\\Trash",
    "deleted items": "\\Trash",
    "deleted messages": "\\Trash",
    "bin": "\\Trash",
    "junk": "\\Junk",
    "spam": "\\Junk",
    "junk e-mail": "\\Junk",
    "junk email": "\\Junk",
    "bulk mail": "\\Junk",
    "archive": "\\Archive",
    "archives": "\\Archive",
}
_VIRTUAL: Final = ("\\Flagged", "\\Important")


@frozen
class Folder:
    r"""A mailbox to be fetched.

    :ivar remote: its name there.
    :ivar local: its name here.
    :ivar use: as ``"\Sent"``, or empty.
    """

    remote: str
    local: str
    use: str = ""
    subscribed: bool = False


@frozen
class Plan:
    """What is fetched, and what is not, with the reason."""

    folders: tuple[Folder, ...]
    left_out: tuple[tuple[str, str], ...]


def plan(
    listed: Sequence[ListedMailbox],
    subscribed: Collection[str],
    *,
    prefixes: tuple[Sequence[str], Sequence[str]] = ((), ()),
    ours: Mapping[str, Sequence[str]],
    wanted: tuple[Collection[str], Collection[str]] = ((), ()),
) -> Plan:
    """Make the plan.

    :param prefixes: of own mailboxes, and of other users' and shared ones.
    :param ours: special uses by the name of our mailboxes.
    :param wanted: names there: only these (if any are given), and not these.
    :raise MailError: one of them is not there, or there are too many mailboxes.
    """
    only, never = wanted
    unknown = sorted({*only, *never}.difference(mailbox.name for mailbox in listed))
    if unknown:
        raise MailError(
            f"the other server has no mailbox {', '.join(unknown)}; --dry-run shows what there is"
        )
    own, foreign = prefixes
    chosen: list[tuple[ListedMailbox, str]] = []
    left_out: list[tuple[str, str]] = []
    for mailbox in sorted(listed, key=lambda one: (not is_inbox(one.name), one.name)):
        why = _why_not(mailbox, foreign, only, never)
        if why:
            left_out.append((mailbox.name, why))
        elif not _container(mailbox):
            chosen.append((mailbox, _local_name(mailbox, own)))
    if len(chosen) > MAX_FOLDERS:
        raise MailError(
            f"the other server has {len(chosen)} mailboxes; more than {MAX_FOLDERS} are not fetched"
        )
    return Plan(tuple(_named(chosen, set(subscribed), ours)), tuple(left_out))


def _container(mailbox: ListedMailbox) -> bool:
    return mailbox.has("\\Noselect") or mailbox.has("\\NonExistent")


def _why_not(
    mailbox: ListedMailbox, foreign: Iterable[str], only: Collection[str], never: Collection[str]
) -> str:
    if mailbox.name in never or (only and mailbox.name not in only):
        return "not wanted"
    if any(prefix and (mailbox.name + (mailbox.separator or "")).startswith(prefix) for prefix in foreign):
        return "shared, or somebody else's"
    if any(map(mailbox.has, _VIRTUAL)) and not only:
        return "its messages are in other mailboxes, too"
    return ""


def _local_name(mailbox: ListedMailbox, prefixes: Iterable[str]) -> str:
    name, separator = mailbox.name, mailbox.separator
    if is_inbox(name):
        return "INBOX"
    for prefix in sorted(prefixes, key=len, reverse=True):
        if prefix and name.startswith(prefix) and len(name) > len(prefix):
            name = name[len(prefix) :]
            break
    levels = name.split(separator) if separator else [name]
    return "/".join(filter(None, map(_level, levels))) or "_"


def _level(level: str) -> str:
    """A level with what no mailbox of ours can have in its name replaced."""
    text = "".join(
        "_" if character in '/%*"\\' or unicodedata.category(character) in {"Cc", "Cs"} else character
        for character in unicodedata.normalize("NFC", level[:_MOST_CHARACTERS])
    )
    if text in {".", ".."}:
        return "_" * len(text)
    return ("_" + text[1:] if text.startswith("#") else text).strip()


def _fitting(name: str) -> str:
    """The name, or the nearest that the store takes."""
    try:
        return canonical_name(name)
    except MailError:
        flat = name.replace("/", "_")[:200]
        try:
            return canonical_name(flat)
        except MailError:
            return "Imported"


def _uses(chosen: Sequence[tuple[ListedMailbox, str]]) -> dict[str, str]:
    """Special use by remote name: what the server says first, then guesses for uses that nobody has."""
    uses: dict[str, str] = {}
    for use in _USES:
        said = [mailbox.name for mailbox, _ in chosen if mailbox.has(use)]
        guessed = [mailbox.name for mailbox, local in chosen if _GUESSES.get(local.lower()) == use]
        # A guess that several fit goes to the one that is called like the use itself.
        guessed.sort(key=lambda name: not name.lower().endswith(use[1:].lower()))
        for name in said or guessed[:1]:
            uses.setdefault(name, use)
    return uses


def _named(
    chosen: Sequence[tuple[ListedMailbox, str]],
    subscribed: Collection[str],
    ours: Mapping[str, Sequence[str]],
) -> list[Folder]:
    uses = _uses(chosen)
    homes = {use: name for name, mine in ours.items() for use in mine}
    taken: set[str] = set()
    folders: list[Folder] = []
    used: set[str] = set()
    for mailbox, name in chosen:
        use = uses.get(mailbox.name, "")
        if use in used:
            use = ""
        if use:
            used.add(use)
        local = homes.get(use) or _fitting(name)
        folder = Folder(mailbox.name, local, use, mailbox.name in subscribed)
        number = 2
        while folder.local in taken:
            folder = evolve(folder, local=f"{_fitting(name)[:200]} {number}")
            number += 1
        taken.add(folder.local)
        folders.append(folder)
    return folders
