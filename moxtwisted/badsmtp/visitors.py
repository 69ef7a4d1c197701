"""Who logs in to the IMAP and POP3 twins, what the user name asks for, and which messages are shown.

::

    >>> visitor = parse_user("bob+fetch.cut100@example.org", {"fetch"}, {"cut"})
    >>> visitor.address, visitor.wishes["fetch"].number
    ('bob@example.org', 100)

The local part is cut at each ``+``; what is a wish (``moxtwisted.badsmtp.grammar``) is taken out. Who logs in as an address sees
the messages to it; where nothing but wishes is left, or without ``@``, all are seen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final

from attrs import define, field, frozen
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.badsmtp.authentication import AuthContext, name_decides
from moxtwisted.badsmtp.grammar import Wish, parse_local_part
from moxtwisted.badsmtp.interfaces import CapturedMessage, ISessionWriter, Level
from moxtwisted.badsmtp.mechanisms import ALL_MECHANISMS, begin
from moxtwisted.badsmtp.surroundings import Surroundings

__all__ = ["Doorkeeper", "Visitor", "parse_user"]

_PIECES: Final = 16

_log = Logger()


@frozen
class Visitor:
    """A user.

    :ivar name: as it was said.
    :ivar address: whose messages are shown; empty: everybody's.
    :ivar wishes: what goes wrong, by verb; ``any`` is about every command.
    """

    name: str = ""
    address: str = ""
    wishes: Mapping[str, Wish] = field(factory=dict)

    def wish_for(self, verb: str) -> Wish | None:
        """What is asked for the answer to a command."""
        return self.wishes.get(verb) or self.wishes.get("any")


def parse_user(name: str, verbs: Collection[str], faults: Collection[str]) -> Visitor:
    """What a user name says."""
    local, at, domain = name.rpartition("@")
    if not at:
        local, domain = name, ""
    wishes: dict[str, Wish] = {}
    rest = []
    for piece in local.split("+", _PIECES):
        wish = parse_local_part(piece, verbs, faults)
        if wish is None or wish.code:
            rest.append(piece)
        else:
            wishes[wish.verb] = wish
    address = f"{'+'.join(rest)}@{domain}" if at and rest else ""
    return Visitor(name, address, wishes)


@implementer(ISessionWriter)
@define(eq=False)
class Doorkeeper:
    """Lets people in to one connection of a twin, by the rules of AUTH, and is what hooks see of it.

    :ivar protocol: ``"IMAP"`` or ``"POP3"``, for the log.
    :ivar write: sends octets out of turn.
    """

    surroundings: Surroundings
    protocol: str
    client_ip: str = ""
    write: Callable[[bytes], None] = lambda _: None
    session: str = ""
    hello_name: str = ""
    username: str = ""
    _metadata: dict[str, Any] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.session = "sess_" + self.surroundings.entropy(12).hex()

    def write_response(self, octets: bytes) -> None:
        """See ``ISessionWriter``."""
        self.write(octets)

    def metadata(self, key: str) -> Any:
        """See ``ISessionWriter``."""
        return self._metadata.get(key)

    def set_metadata(self, key: str, value: Any) -> None:
        """See ``ISessionWriter``."""
        self._metadata[key] = value

    def log(self, level: Level, message: str, **fields: Any) -> None:
        """A line of the log, with who it is about."""
        about = {"session_id": self.session, "client_ip": self.client_ip}
        try:
            self.surroundings.journal.write(level, f"{self.protocol} {message}", {**about, **fields})
        except Exception:  # noqa: BLE001  (somebody else's code ends here)
            _log.failure("a journal failed")

    async def decide(self, mechanism: str, username: str, secret: bytes) -> bool:
        """Whether this user comes in."""
        authenticator = self.surroundings.hooks.authenticator
        if authenticator is None:
            success = name_decides(username)
        else:
            answer = authenticator.authenticate(mechanism, username, secret, self)
            success = bool(await answer if isinstance(answer, Awaitable) else answer)
        self.username = username if success else ""
        self.log(
            Level.INFO if success else Level.WARN,
            "authentication successful" if success else "authentication failed",
            auth_mechanism=mechanism,
            username=username,
            success=success,
        )
        return success

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """What is on offer for SASL."""
        wanted = self.surroundings.settings.twin_mechanisms.upper().split()
        return tuple(name for name in wanted if name in ALL_MECHANISMS)

    def exchange(self, mechanism: str) -> Any:
        """A SASL exchange, or None when the mechanism is not on offer."""
        if mechanism not in self.mechanisms:
            return None
        return begin(mechanism, AuthContext(self.decide, self.surroundings.challenge))

    def triggered(self, wish: Wish) -> None:
        """Write down that a wish comes true."""
        trigger = f"{wish.verb}.{wish.fault}{'' if wish.number is None else wish.number}"
        self.log(Level.WARN, "error simulation triggered", trigger=trigger)

    def messages(self, address: str) -> Sequence[CapturedMessage]:
        """What somebody sees, the oldest first."""
        return self.surroundings.captured.messages(recipient=address)
