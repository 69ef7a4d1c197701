"""Rights of RFC 4314: what each letter allows, how a list of them is read, written and weighed.

A set of rights is a ``frozenset`` of letters without the virtual ``c`` and ``d``::

    parse_rights("lrd")                                        # {"l", "r", "t", "e"}
    shown(parse_rights("lrd"))                                 # "lrted"
    granted({"anyone": {"l", "r"}, "-bob": {"r"}}, "bob")      # {"l"}
    kept_flags(MessageFlags.parse(["\\\\Seen", "$Junk"]), {"s"})   # (\\Seen)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from attrs import frozen

from moxtwisted.message.flags import DELETED, SEEN, SYSTEM_FLAGS, MessageFlags

__all__ = [
    "ALL",
    "ANYONE",
    "KNOWING",
    "NONE",
    "STANDARD",
    "WRITING",
    "Modification",
    "Rights",
    "RightsError",
    "flags_within",
    "granted",
    "kept_flags",
    "modified",
    "parse_modification",
    "parse_rights",
    "replaced",
    "shown",
]

Rights = frozenset[str]

STANDARD: Final = "lrswipkxtea"
"""RFC 4314 section 2.1: lookup, read, seen, write flags, insert, post, create below, delete mailbox, delete messages, expunge,
administer; in the order in which they are written."""

NONE: Final[Rights] = frozenset()
ALL: Final[Rights] = frozenset(STANDARD)

KNOWING: Final[Rights] = frozenset("lrikxa")
"""RFC 4314 section 4: one of these lets somebody ask MYRIGHTS, and so know that the mailbox is there."""

WRITING: Final[Rights] = frozenset("iewst")
"""RFC 4314 section 5.2: without any of these the mailbox is opened READ-ONLY. All flags are shared here, so the shared flag
rights are w, s and t."""

# RFC 4314 section 2.1.1: "create" and "delete" of its predecessor. Of the two ways we take the one in which c is k and x, and d is e and t.
_VIRTUAL: Final = {"c": frozenset("kx"), "d": frozenset("et")}

ANYONE: Final = "anyone"
"""RFC 4314 section 2: the identifier of everybody, which is every account of this server; nobody is let in without one."""


class RightsError(ValueError):
    """The text is no list of rights.

    :ivar public_text: why, in ASCII.
    """

    def __init__(self, public_text: str) -> None:
        self.public_text = public_text
        super().__init__(public_text)


def parse_rights(text: str) -> Rights:
    """Read a list of rights; the virtual ones become what they stand for.

    :raises RightsError: for anything that is no standard right.
    """
    rights: set[str] = set()
    for letter in text:
        if letter in _VIRTUAL:
            rights |= _VIRTUAL[letter]
        elif letter in ALL:
            rights.add(letter)
        elif "A" <= letter <= "Z":
            # RFC 4314 section 2: not allowed, for the sake of clients and servers that compare without case.
            raise RightsError("uppercase rights are not allowed")
        else:
            # Section 3.1: what is not known must not be ignored.
            name = letter if letter.isascii() and letter.isprintable() else "given"
            raise RightsError(f"the {name} right is not supported")
    return frozenset(rights)


@frozen
class Modification:
    """What SETACL does to the rights of an identifier."""

    mode: Literal["replace", "add", "remove"]
    rights: Rights


def parse_modification(text: str) -> Modification:
    """The third argument of SETACL: ``lr`` replaces, ``+lr`` adds, ``-lr`` removes.

    :raises RightsError: as ``parse_rights``.
    """
    if text[:1] == "+":
        return Modification("add", parse_rights(text[1:]))
    if text[:1] == "-":
        return Modification("remove", parse_rights(text[1:]))
    return Modification("replace", parse_rights(text))


def modified(before: Rights, modification: Modification) -> Rights:
    """The rights after a modification."""
    if modification.mode == "add":
        return before | modification.rights
    if modification.mode == "remove":
        return before - modification.rights
    return modification.rights


def shown(rights: Iterable[str]) -> str:
    """As ACL and MYRIGHTS responses show them: with ``c`` and ``d`` when one of their members is there (RFC 4314 section 2.1.1)."""
    has = frozenset(rights)
    virtual = "".join(letter for letter, members in _VIRTUAL.items() if members & has)
    return "".join(letter for letter in STANDARD if letter in has) + virtual


def granted(acl: Mapping[str, Rights], user: str) -> Rights:
    """What an access control list gives a user who is not the owner.

    RFC 4314 section 2 leaves the combination to us: the union of what the user and everybody have, without what the negative
    entries of either take away.
    """
    has = acl.get(user, NONE) | acl.get(ANYONE, NONE)
    return has - acl.get("-" + user, NONE) - acl.get("-" + ANYONE, NONE) if has else NONE


_OTHER_FLAGS: Final = sum(SYSTEM_FLAGS) & ~(SEEN | DELETED)


def flags_within(rights: Rights) -> tuple[int, bool]:
    r"""System flags that these rights let somebody change, and whether keywords are among what they may change.

    RFC 4314 section 4: s for \Seen, t for \Deleted, w for all others.
    """
    system = (SEEN if "s" in rights else 0) | (DELETED if "t" in rights else 0)
    return (system | _OTHER_FLAGS, True) if "w" in rights else (system, False)


def kept_flags(flags: MessageFlags, rights: Rights) -> MessageFlags:
    """Those of the flags that somebody with these rights may set."""
    system, keywords = flags_within(rights)
    if keywords and not flags.system & ~system:
        return flags
    return MessageFlags.of(flags.system & system, flags.keywords if keywords else ())


def replaced(before: MessageFlags, flags: MessageFlags, rights: Rights) -> MessageFlags:
    """The flags of a message after somebody with these rights has replaced them: what he may not change stays as it is."""
    system, keywords = flags_within(rights)
    kept = kept_flags(flags, rights)
    return MessageFlags.of(before.system & ~system | kept.system, (kept if keywords else before).keywords)
