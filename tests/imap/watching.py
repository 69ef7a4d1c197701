"""What a session watches besides its selected mailbox: the groups of events of NOTIFY (RFC 5465 section 6), as the model has them."""

from __future__ import annotations

from collections.abc import Container, Sequence

from attrs import frozen

_OF_NOTES = frozenset({"MailboxMetadataChange", "ServerMetadataChange"})


@frozen
class Group:
    """Events of some mailboxes.

    @ivar kind: which ones, as on the wire.
    @ivar names: of MAILBOXES and SUBTREE.
    """

    kind: str
    names: tuple[str, ...]
    events: frozenset[str]

    @property
    def text(self) -> str:
        """As on the wire."""
        names = f" ({' '.join(self.names)})" if len(self.names) > 1 else "".join(f" {n}" for n in self.names)
        return f"({self.kind}{names} ({' '.join(sorted(self.events))}))"

    def matches(self, name: str, subscribed: Container[str]) -> bool:
        """Whether this mailbox is among them."""
        match self.kind:
            case "MAILBOXES":
                return name in self.names
            case "SUBTREE":
                return any(name == top or name.startswith(top + "/") for top in self.names)
            case "SUBSCRIBED":
                return name in subscribed
            case _:
                # Section 6.3: "inboxes" may be the same as "personal".
                return True


@frozen
class Watch:
    """All groups of one command."""

    groups: Sequence[Group]

    @property
    def all_events(self) -> frozenset[str]:
        """Those that are wanted of any mailbox."""
        return frozenset[str]().union(*[group.events for group in self.groups])

    @property
    def any_notes(self) -> bool:
        """Whether changed annotations are among them."""
        return not self.all_events.isdisjoint(_OF_NOTES)

    def events(self, name: str, subscribed: Container[str]) -> frozenset[str]:
        """Section 6: several groups can be about the same mailbox.

        @param subscribed: names.
        """
        found = [group.events for group in self.groups if group.matches(name, subscribed)]
        return frozenset[str]().union(*found)
