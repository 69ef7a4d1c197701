"""Fuzz BadSMTP: the grammar of addresses, the tokens of names, and whole sessions of SMTP and LMTP.

Whatever is asked for, nothing fails that nobody asked to fail: no exception reaches the log, cuts change nothing, replies and transcripts
are bounded, no password shows, and nothing is left when the client is gone.
"""

from __future__ import annotations

from moxtwisted.badsmtp.faults import spoil
from moxtwisted.badsmtp.grammar import parse_local_part
from moxtwisted.badsmtp.surroundings import Listener
from moxtwisted.badsmtp.tokens import MAXIMUM_DELAY_SECONDS, MAXIMUM_SIZE, parse_hello_name
from tests.badsmtp.inmemory import Client, Server
from tests.fuzz.run import alone
from tests.fuzz.watching import nothing_failed

SECRET = b"hunter2"

#: How far the client has come before the input begins.
_PREFIXES = (
    b"",
    b"EHLO c.example\r\nLHLO c.example\r\n",
    b"EHLO c.example\r\nLHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<dend550@d.example>\r\n",
    b"EHLO badnoopdrip2-eodlf.example\r\nLHLO eodcr.example\r\nMAIL FROM:<dend.drip1@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n",
)


def words(text: str) -> None:
    """What a local part and a name ask for."""
    wish = parse_local_part(text)
    if wish is not None and wish.fault:
        plan = spoil(b"250 OK\r\n", wish.fault, wish.number)
        octets = sum(len(step.octets) for step in plan.steps)
        if octets > 1_000_000:
            raise AssertionError(octets)
    wishes = parse_hello_name(text)
    if not 0 <= wishes.delay_seconds <= MAXIMUM_DELAY_SECONDS or (wishes.size or 0) > MAXIMUM_SIZE:
        raise AssertionError(wishes)


def wait(client: Client) -> None:
    """Until the server has done what it wanted to do in its own time, which is none here."""
    for _ in range(10_000):
        if client.closed or not client.protocol._dialogue.waiting:
            return
        client.server.clock.advance(0)
    raise AssertionError("still waiting")


def dialogue(octets: bytes, size: int, *, lmtp: bool) -> tuple[bytes, list[tuple[object, ...]], str]:
    """What the server says to octets in pieces of ``size``, the messages it has then, and all that was written down."""
    server = Server(Listener(name="fuzz", lmtp=lmtp))
    server.surroundings.pace = 0.0
    with nothing_failed():
        client = server.connect()
        for i in range(0, len(octets), size):
            if client.closed:
                break
            client.protocol.dataReceived(octets[i : i + size])
            wait(client)
        said: bytes = client.transport.value()
        lines = [session.transcript.lines for session in server.surroundings.sessions]
        client.leave()
    if server.clock.getDelayedCalls() or server.surroundings.sessions or server.factory.connections:
        raise AssertionError("something is left")
    if max(map(len, lines), default=0) > 500:
        raise AssertionError("a transcript without end")
    messages = server.captured.messages()
    written = repr((server.journal.lines, lines))
    return said, [(m.reverse_path, m.forward_paths, m.content, m.protocol) for m in messages], written


def one(data: bytes) -> None:
    """Try one input: an octet for how it begins, one for the cuts, and what the client says."""
    if len(data) < 2:
        return
    choice, size, octets = data[0], data[1] % 64 + 1, data[2:]
    words(octets.decode("latin-1"))
    if choice & 8:
        # A password behind AUTH, however that is said, and behind the line that it is said in.
        flat = octets.replace(b"\r", b" ").replace(b"\n", b" ")
        octets = b"EHLO x\r\n" + b"AUTH " + flat + SECRET + b"\r\n" + SECRET + b"\r\n"
    else:
        octets = _PREFIXES[choice & 3] + octets
    lmtp = bool(choice & 4)
    said, messages, written = dialogue(octets, len(octets) or 1, lmtp=lmtp)
    if choice & 8 and SECRET.decode() in written:
        raise AssertionError("a password was written down")
    again, same, _ = dialogue(octets, size, lmtp=lmtp)
    if messages != same or said != again:
        raise AssertionError(("the cuts change what is said", said, again))


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
