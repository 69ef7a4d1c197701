"""Fuzz what comes from name servers: messages, the exchange with a server, proofs of absence, resolv.conf.

A message is read or refused in a time that its size allows, and what is read is within it; whatever a server sends, an exchange ends;
names have one form.
"""

from __future__ import annotations

from moxtwisted.dns.denial import Denial
from moxtwisted.dns.exchange import AskPolicy, Exchange, Send, Upstream
from moxtwisted.dns.message import Message, MessageError, Question, decode, parse
from moxtwisted.dns.names import BadNameError, normalise, parent, to_wire
from moxtwisted.dns.records import NSEC, NSEC3
from moxtwisted.dns.servers import ResolverSettings, ServerAddress
from moxtwisted.imap.testing import counted_entropy
from tests.fuzz.run import alone
from tests.fuzz.watching import within

_QUESTION = Question("example", 1)
_STEPS = 60


def message(data: bytes) -> Message | None:
    """Read a message, and all that is in it."""
    try:
        read = parse(data)
    except MessageError:
        return None
    for record in (*read.answer, *read.authority, *read.additional):
        if record.start + record.length > len(data) or len(to_wire(record.name)) > 255:
            raise AssertionError(record)
        try:
            decode(data, record)
        except MessageError:
            continue
    return read


def denial(read: Message) -> None:
    """Let the records of absence prove something; nothing may be proved of a name that they show to be there."""
    nsecs: list[tuple[str, NSEC]] = []
    nsec3s: list[tuple[str, NSEC3]] = []
    for record in read.authority[:8]:
        try:
            content = decode(read.data, record)
        except MessageError:
            continue
        if isinstance(content, NSEC):
            nsecs.append((record.name, content))
        elif isinstance(content, NSEC3):
            nsec3s.append((record.name, content))
    proofs = Denial("example", nsecs, nsec3s)
    for name in ("example", "a.example", "x.y.example"):
        proofs.no_name(name)
        proofs.no_type(name, 1)
        proofs.cut(name)
        proofs.no_closer(name, 1)


def exchange(data: bytes) -> None:
    """A server that always sends this, with our id and question where the first octet says so."""
    upstreams = [Upstream(ServerAddress("192.0.2.1")), Upstream(ServerAddress("192.0.2.2"))]
    machine = Exchange(_QUESTION, upstreams, AskPolicy(), counted_entropy())
    step = machine.start()
    for _ in range(_STEPS):
        if not isinstance(step, Send):
            return
        octets = data
        if data[:1] < b"\x80":
            octets = step.octets[:2] + data[:10] + step.octets[12:25] + data[10:]
        step = machine.receive(octets) or machine.receive(octets) or machine.timed_out()
    if isinstance(step, Send):
        raise AssertionError("an exchange without end")  # noqa: TRY004  # it is no mistake of types


def names(text: str) -> None:
    """A name has one form, which is its own."""
    try:
        name = normalise(text)
    except BadNameError:
        return
    if normalise(name) != name or len(to_wire(name)) > 255:
        raise AssertionError(name)
    normalise(parent(name))


def everything(data: bytes) -> None:
    """All of it, with one input."""
    read = message(data)
    if read is not None:
        denial(read)
    exchange(data)
    text = data.decode("utf-8", "replace")
    names(text)
    ResolverSettings.from_resolv_conf(text)


def one(data: bytes) -> None:
    """See the module."""
    within(50_000 + 500 * len(data), data, lambda: everything(data))


def main() -> None:
    """Run the fuzzer on it."""
    alone(__name__)


if __name__ == "__main__":
    main()
