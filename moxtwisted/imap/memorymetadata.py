"""Annotations and limits of mail in memory; see ``moxtwisted.imap.metadata``, ``moxtwisted.imap.quota`` and
``moxtwisted.imap.memory``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import define, field
from zope.interface import implementer

from moxtwisted.errors import LimitError
from moxtwisted.imap.metadata import SPECIAL_USE, IAnnotatedSession
from moxtwisted.imap.quota import IQuotaSession, Quota

__all__ = ["ANNOTATED", "MemoryAnnotatedSession", "MemoryAnnotations"]

ANNOTATED: Final = frozenset(
    {"METADATA", "LIST-METADATA", "FILTERS", "QUOTA", "QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE"}
)
"""Capabilities that sessions with this have."""


@define(eq=False)
class MemoryAnnotations:
    """What is noted, by the object id of the mailbox, empty for the server.

    :ivar most: entries of one mailbox.
    :ivar limits: octets and messages that the account may have, None for no limit.
    """

    most: int = 100
    limits: tuple[int | None, int | None] = (None, None)
    administrator: str = "mailto:postmaster@mail.example.org"
    values: dict[str, dict[str, bytes]] = field(factory=dict)
    listeners: list[Callable[[str, Sequence[str]], None]] = field(factory=list)

    def tell(self, mailbox: str, entries: Sequence[str]) -> None:
        """Entries of a mailbox changed."""
        for listener in list(self.listeners):
            listener(mailbox, entries)

    def copy(self, source: str, target: str) -> None:
        """RFC 5464 section 4.1: INBOX that is renamed keeps its annotations, and the new mailbox has them as well."""
        self.values[target] = {**self.values.get(source, {})}


@implementer(IAnnotatedSession, IQuotaSession)
class MemoryAnnotatedSession:
    """The part of a session in memory that is about annotations and limits."""

    __slots__ = ()
    _mail: Any

    @property
    def administrator(self) -> str:
        """See ``IAnnotatedSession``."""
        annotations: MemoryAnnotations = self._mail.annotations
        return annotations.administrator

    def _id(self, mailbox: str) -> str:
        return str(self._mail.find(mailbox).objectid) if mailbox else ""

    def annotations(self, mailbox: str) -> Mapping[str, bytes]:
        """See ``IAnnotatedSession``."""
        kept: Mapping[str, bytes] = self._mail.annotations.values.get(self._id(mailbox), {})
        return kept

    async def annotate(
        self, mailbox: str, values: Mapping[str, bytes | None], special_use: Sequence[str] | None
    ) -> None:
        """See ``IAnnotatedSession``."""
        annotations: MemoryAnnotations = self._mail.annotations
        kept = {**annotations.values.get(self._id(mailbox), {}), **values}
        new = {name: value for name, value in kept.items() if value is not None}
        if len(new) > annotations.most:
            error = LimitError(mailbox, public_text="too many annotations")
            error.imap_code = "METADATA TOOMANY"
            raise error
        annotations.values[self._id(mailbox)] = new
        if values:
            annotations.tell(mailbox, tuple(values))
        if special_use is not None and self._mail.find(mailbox).special_use != tuple(special_use):
            for info in self._mail.infos():
                box = self._mail.find(info.name)
                left = tuple(use for use in box.special_use if use not in special_use)
                if box.name != mailbox and left != box.special_use:
                    box.special_use = left
                    annotations.tell(box.name, (SPECIAL_USE,))
            self._mail.find(mailbox).special_use = tuple(special_use)
            annotations.tell(mailbox, (SPECIAL_USE,))

    def watch_annotations(self, changed: Callable[[str, Sequence[str]], None]) -> Callable[[], None]:
        """See ``IAnnotatedSession``."""
        listeners: list[Callable[[str, Sequence[str]], None]] = self._mail.annotations.listeners
        listeners.append(changed)
        return lambda: listeners.remove(changed)

    def quota_root(self, mailbox: str) -> str:
        """See ``IQuotaSession``."""
        return ""

    def quota(self, root: str) -> Quota | None:
        """See ``IQuotaSession``."""
        if root:
            return None
        infos = self._mail.infos()
        octets, messages = self._mail.annotations.limits
        return Quota(sum(i.size for i in infos), octets, sum(i.messages for i in infos), messages)
