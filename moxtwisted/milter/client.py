"""The MTA's side of one message, without I/O.

::

    machine = MilterClient(message)                 # MilterMessage: envelope, client, header, chunks of the body
    transport.write(machine.start())
    for octets in machine.receive(data):            # what to say next; MilterProtocolError
        transport.write(octets)
    machine.verdict                                 # MilterVerdict, once the filter has decided

A filter may add, change and remove header fields and ask for quarantine; the verdict says what it wants, and nothing is altered here.
Body and recipients are not offered. It is told the message as it came: connection, EHLO, envelope, header, body.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from attrs import field, frozen

from moxtwisted.milter.packets import (
    OLDEST_VERSION,
    VERSION,
    Action,
    MilterProtocolError,
    PacketReader,
    Step,
    encode,
)

__all__ = ["Decision", "MilterClient", "MilterMessage", "MilterVerdict"]

#: Octets of a packet from a filter: libmilter's own limit for what it sends.
_PACKET_OCTETS: Final = 1 << 20
#: Octets of body in one packet (MILTER_CHUNK_SIZE).
CHUNK_OCTETS: Final = 65535
#: Of a header field's name and value: libmilter closes the connection at a packet with more than 65535, and then nobody has looked.
_SHOWN_OCTETS: Final = 65_000
_SHOWN_NAME_OCTETS: Final = 1000
#: Header fields that a filter may add, the octets of these and of those that it changes together beyond what the message has, and packets
#: that it may say beside its answers. What it removes is bounded by the last alone: a sender could else write more than it may remove, or
#: change.
_MAX_FIELDS: Final = 50
_MAX_FIELD_OCTETS: Final = 65536
_MAX_PACKETS: Final = 20_000
_OPTIONS: Final = struct.Struct("!III")
_OFFERED: Final = Action.ADD_HEADERS | Action.CHANGE_HEADERS | Action.QUARANTINE
#: What a filter may do without; but each piece of the body is answered, so that no more than one is under way.
_KNOWN_STEPS: Final = Step(sum(Step)) & ~(Step.REJECTED_RECIPIENTS | Step.LEADING_SPACE | Step.SILENT_BODY)


class Decision(Enum):
    """What a filter decided."""

    ACCEPT = "accept"
    REJECT = "reject"
    TEMPFAIL = "tempfail"
    DISCARD = "discard"
    QUARANTINE = "quarantine"


@frozen(kw_only=True)
class MilterMessage:
    """A message to be shown.

    :ivar hostname: the client's name in the reverse DNS, or ``[192.0.2.1]``.
    :ivar ip: of the client; None for a unix socket.
    :ivar reverse_path: with angle brackets; ``recipients`` too.
    :ivar fields: (name, value) of the header, the value as it came behind the colon, folded with CRLF.
    :ivar body: the octets behind the empty line, in any pieces.
    :ivar macros: by their name, such as ``{daemon_name}``, ``j``, ``i``.
    """

    hostname: str
    ip: IPv4Address | IPv6Address | None
    port: int = 0
    hello: str
    reverse_path: bytes
    recipients: tuple[bytes, ...]
    fields: tuple[tuple[bytes, bytes], ...]
    body: Iterable[bytes]
    macros: dict[bytes, bytes] = field(factory=dict)


@frozen
class MilterVerdict:
    """What came of it.

    :ivar reply: (code, enhanced code, text) that the filter wants to be given, or None.
    :ivar fields: (name, value) to be added above the message, in this order, as the filter gave them.
    :ivar changes: (place in ``MilterMessage.fields``, value) of fields to be changed; None: to be removed.
    :ivar why: of a quarantine.
    :ivar refused: recipients that the filter refused while it took others. A message is shown to it when it has come in
        whole, so they cannot be told any more: it is for the caller to know.
    """

    decision: Decision
    reply: tuple[int, str, str] | None = None
    fields: tuple[tuple[bytes, bytes], ...] = ()
    why: str = ""
    refused: tuple[bytes, ...] = ()
    changes: tuple[tuple[int, bytes | None], ...] = ()


class MilterClient:
    """One message with one filter.

    :ivar verdict: once it has decided.
    """

    def __init__(self, message: MilterMessage) -> None:
        self._message = message
        self._reader = PacketReader(_PACKET_OCTETS)
        self._steps = Step(0)
        self._version = VERSION
        self._dialogue: Iterator[tuple[bytes, bool]] | None = None
        self._in_body = False
        self._skip_body = False
        self._recipient: bytes | None = None
        self._refused: list[bytes] = []
        self._at_end = False
        self._waiting = True
        self._packets = 0
        self._fields = _Fields(message.fields)
        self._quarantine: str | None = None
        self.verdict: MilterVerdict | None = None

    def start(self) -> bytes:
        """The first octets to send."""
        return encode(b"O", _OPTIONS.pack(VERSION, _OFFERED, _KNOWN_STEPS))

    def receive(self, octets: bytes) -> Iterator[bytes]:
        """The filter said something: what to say next. :raises MilterProtocolError:"""
        for command, data in self._reader.feed(octets):
            self._packets += 1
            if self._packets > _MAX_PACKETS:
                raise MilterProtocolError("the filter talks without end")
            if self.verdict is not None:
                return
            yield from self._answer(command, data)

    # -- what the filter says ------------------------------------------------------------------------------------------

    def _answer(self, command: bytes, data: bytes) -> Iterator[bytes]:
        if self._dialogue is None:
            self._negotiated(command, data)
            self._dialogue = self._tell()
            yield from self._go_on()
        elif command == b"p":
            return  # it is still at work
        elif command in _MODIFICATIONS and self._at_end:
            self._modify(command, data)
        elif not self._waiting:
            raise MilterProtocolError(f"the filter said {command!r} without being asked")
        elif command in _REFUSALS and self._recipient is not None:
            self._refused.append(self._recipient)
            if len(self._refused) < len(self._message.recipients):
                yield from self._go_on()
            else:
                self._refused.clear()
                self._end(_FINAL[command], data)
                yield encode(b"Q")
        elif command in _FINAL:
            self._end(_FINAL[command], data)
            yield encode(b"Q")
        elif command == b"c":
            if self._at_end:
                self._end(Decision.ACCEPT, b"")
                yield encode(b"Q")
            else:
                yield from self._go_on()
        elif command == b"s" and self._in_body:
            self._skip_body = True
            yield from self._go_on()
        else:
            raise MilterProtocolError(f"the filter said {command!r}, which it may not say now")

    def _negotiated(self, command: bytes, data: bytes) -> None:
        if command != b"O" or len(data) < _OPTIONS.size:
            raise MilterProtocolError("the filter did not answer the negotiation")
        version, actions, steps = _OPTIONS.unpack_from(data)
        if not OLDEST_VERSION <= version <= VERSION:
            raise MilterProtocolError(f"the filter speaks version {version} of the protocol")
        if actions & ~_OFFERED:
            raise MilterProtocolError(
                f"the filter wants to do what is not offered ({Action(actions & ~_OFFERED)!r}): "
                "it may add header fields, ask for changes of them, and quarantine"
            )
        self._version = version
        self._steps = Step(steps) & _KNOWN_STEPS

    def _modify(self, command: bytes, data: bytes) -> None:
        if command == b"q":
            self._quarantine = data.rstrip(b"\0").decode("utf-8", "replace")[:200]
            return
        number = 0
        if command != b"h":
            number, data = int.from_bytes(data[:4]), data[4:]
        name, _, value = data.rstrip(b"\0").partition(b"\0")
        if command == b"h":
            self._fields.append(name, value)
        elif command == b"i":
            self._fields.insert(number, name, value)
        else:
            self._fields.change(number, name, value)

    def _end(self, decision: Decision, data: bytes) -> None:
        reply = None
        if data:
            reply = _parse_reply(data)
            decision = Decision.TEMPFAIL if reply[0] < 500 else Decision.REJECT
        if decision is Decision.ACCEPT and self._quarantine is not None:
            decision = Decision.QUARANTINE
        self.verdict = MilterVerdict(
            decision,
            reply,
            self._fields.added(),
            self._quarantine or "",
            tuple(self._refused),
            tuple(sorted(self._fields.changes.items())),
        )

    # -- what we say ---------------------------------------------------------------------------------------------------

    def _go_on(self) -> Iterator[bytes]:
        """Packets up to the next that is answered."""
        if self._dialogue is None:
            return
        self._waiting = False
        for octets, answered in self._dialogue:
            yield octets
            if answered:
                self._waiting = True
                self._packets -= 1
                return

    def _says(self, no: Step) -> bool:
        return not self._steps & no

    def _tell(self) -> Iterator[tuple[bytes, bool]]:
        """(packet, whether it is answered) of the whole message."""
        message = self._message
        steps = self._steps
        if self._says(Step.NO_CONNECT):
            yield self._macros(b"C", b"j", b"{daemon_name}", b"v"), False
            yield encode(b"C", _connection(message)), not steps & Step.SILENT_CONNECT
        if self._says(Step.NO_HELLO):
            hello = message.hello.encode("utf-8", "replace") + b"\0"
            yield encode(b"H", hello), not steps & Step.SILENT_HELLO
        if self._says(Step.NO_MAIL):
            yield self._macros(b"M", b"i", b"{mail_addr}"), False
            yield encode(b"M", _nulled(message.reverse_path)), not steps & Step.SILENT_MAIL
        if self._says(Step.NO_RECIPIENT):
            for self._recipient in message.recipients:
                yield encode(b"R", _nulled(self._recipient)), not steps & Step.SILENT_RECIPIENT
            self._recipient = None
        if self._version >= 4 and self._says(Step.NO_DATA):
            yield encode(b"T"), not steps & Step.SILENT_DATA
        if self._says(Step.NO_HEADERS):
            for name, value in message.fields:
                yield encode(b"L", _shown(name, value)), not steps & Step.SILENT_HEADERS
        if self._says(Step.NO_END_OF_HEADER):
            yield self._macros(b"N", b"i"), False
            yield encode(b"N"), not steps & Step.SILENT_END_OF_HEADER
        if self._says(Step.NO_BODY):
            self._in_body = True
            for chunk in _chunks(message.body):
                yield encode(b"B", chunk), not steps & Step.SILENT_BODY
                if self._skip_body:
                    break
            self._in_body = False
        self._at_end = True
        yield encode(b"E"), True

    def _macros(self, command: bytes, *names: bytes) -> bytes:
        known = self._message.macros
        pairs = b"".join([_nulled(name) + _nulled(known[name]) for name in names if name in known])
        return encode(b"D", command + pairs)


class _Fields:
    """What a filter wants of the header.

    :ivar changes: by place in the message's header: the new value, or None.
    """

    def __init__(self, fields: tuple[tuple[bytes, bytes], ...]) -> None:
        self.changes: dict[int, bytes | None] = {}
        self._fields = fields
        self._places: dict[bytes, list[int]] | None = None
        self._inserted: list[tuple[bytes, bytes | None]] = []
        self._appended: list[tuple[bytes, bytes | None]] = []
        self._octets = -sum([len(name) + len(value) for name, value in fields])

    def added(self) -> tuple[tuple[bytes, bytes], ...]:
        """Those to stand above the message; what it would put below stands there as well, for a signature covers what is below it."""
        both = (*self._inserted, *self._appended)
        return tuple((name, value) for name, value in both if value is not None)

    def append(self, name: bytes, value: bytes) -> None:
        """Add one at the end."""
        self._appended.append((name, value))
        self._count(name, value)

    def insert(self, index: int, name: bytes, value: bytes) -> None:
        """Add one at the top, or so many fields below it."""
        self._inserted.insert(index, (name, value))
        self._count(name, value)

    def change(self, ordinal: int, name: bytes, value: bytes) -> None:
        """Change the first, second … of a name. As sendmail counts them: those that were inserted first, and removed ones keep their
        number. One that is not there is added."""
        ordinal = max(ordinal, 1)
        places = self._places_of(name.lower())
        before = [i for i, (other, _) in enumerate(self._inserted) if other.lower() == name.lower()]
        after = [i for i, (other, _) in enumerate(self._appended) if other.lower() == name.lower()]
        new = value or None
        if ordinal <= len(before):
            self._inserted[before[ordinal - 1]] = (name, new)
        elif (ordinal := ordinal - len(before)) <= len(places):
            self.changes[places[ordinal - 1]] = new
        elif (ordinal := ordinal - len(places)) <= len(after):
            self._appended[after[ordinal - 1]] = (name, new)
        elif new is not None:
            self._appended.append((name, new))
        if new is not None:
            self._count(name, new)

    def _places_of(self, name: bytes) -> list[int]:
        if self._places is None:
            self._places = {}
            for i, (other, _) in enumerate(self._fields):
                self._places.setdefault(other.lower(), []).append(i)
        return self._places.get(name, [])

    def _count(self, name: bytes, value: bytes) -> None:
        self._octets += len(name) + len(value)
        if len(self._inserted) + len(self._appended) > _MAX_FIELDS or self._octets > _MAX_FIELD_OCTETS:
            raise MilterProtocolError("the filter adds too many header fields")


_FINAL: Final = {
    b"a": Decision.ACCEPT,
    b"r": Decision.REJECT,
    b"t": Decision.TEMPFAIL,
    b"d": Decision.DISCARD,
    b"y": Decision.REJECT,
    b"4": Decision.TEMPFAIL,
    b"f": Decision.TEMPFAIL,
}
#: What refuses one recipient when it is the answer to that.
_REFUSALS: Final = frozenset((b"r", b"t", b"y"))
_MODIFICATIONS: Final = frozenset((b"h", b"i", b"m", b"q"))


def _nulled(octets: bytes) -> bytes:
    """A string; an octet 0 inside would end it."""
    return octets.replace(b"\0", b"") + b"\0"


def _shown(name: bytes, value: bytes) -> bytes:
    """A header field, as much of it as a filter takes."""
    text = value.lstrip(b" \t").replace(b"\r\n", b"\n")
    return _nulled(name[:_SHOWN_NAME_OCTETS]) + _nulled(text[: _SHOWN_OCTETS - _SHOWN_NAME_OCTETS])


def _connection(message: MilterMessage) -> bytes:
    name = _nulled(message.hostname.encode("utf-8", "replace"))
    if message.ip is None:
        return name + b"L" + struct.pack("!H", 0) + _nulled(b"local")
    family, address = (b"4", str(message.ip)) if message.ip.version == 4 else (b"6", f"IPv6:{message.ip}")
    return name + family + struct.pack("!H", message.port) + _nulled(address.encode())


def _chunks(body: Iterable[bytes]) -> Iterator[bytes]:
    for piece in body:
        for start in range(0, len(piece), CHUNK_OCTETS):
            yield piece[start : start + CHUNK_OCTETS]


def _parse_reply(data: bytes) -> tuple[int, str, str]:
    """(code, enhanced code, text) of ``550 5.7.1 no``. :raises MilterProtocolError:"""
    text = data.rstrip(b"\0").decode("utf-8", "replace")[:1000]
    code, rest = text[:3], text[4:]
    if not (len(code) == 3 and code.isascii() and code.isdigit() and code[0] in "45" and text[3:4] in " -"):
        raise MilterProtocolError(f"the filter wants a reply that is none: {text[:50]!r}")
    # A reply of several lines repeats the code: 550-5.7.1 first\r\n550 5.7.1 second
    lines = [line[4:] for line in text.splitlines()] if text[3:4] == "-" else [rest]
    enhanced, words = "", []
    for line in lines:
        first, _, after = line.partition(" ")
        coded = first.count(".") == 2 and first.replace(".", "").isdigit() and first[0] == code[0]
        enhanced = first if coded else enhanced
        words.append(after if coded else line)
    printable = "".join(c for c in " ".join(words) if c.isprintable())
    return int(code), enhanced or f"{code[0]}.7.1", printable or "refused by a filter"
