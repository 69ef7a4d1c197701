"""Fuzz the IMAP client against a server that says anything.

It was given commands of every kind, so that literals, AUTHENTICATE and IDLE wait for the server. Cuts change neither the events nor what we
send; no response is more than came.
"""

from __future__ import annotations

from moxtwisted.imap.client import Challenge, Client, ClientEvent, Completed, Failed, Idling
from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire.fetchattributes import Envelope, Flags
from moxtwisted.imap.wire.responses import ResponseLimits
from moxtwisted.imap.wire.sequence import SequenceSet
from tests.fuzz.run import alone
from tests.fuzz.watching import within

LIMITS = ResponseLimits(line_octets=700, literal_octets=300, response_octets=1000)


def given(choice: int) -> Client:
    """A client with commands to be sent."""
    client = Client(LIMITS)
    if choice & 1:
        client.authenticate("PLAIN")
    if choice & 2:
        client.login("al\u00efce", 'se"cret')
    if choice & 4:
        client.send(c.Enable(client.new_tag(), ("IMAP4REV2",)))
    client.select("Entw\u00fcrfe")
    client.fetch(SequenceSet.parse(b"1:*"), (Flags(), Envelope()))
    if choice & 8:
        client.append("INBOX", b"Subject: x\r\n\r\n\xe9\r\n", ("\\Seen",))
    if choice & 16:
        client.idle()
    if choice & 32:
        client.done()
    client.logout()
    return client


def session(choice: int, octets: bytes, size: int) -> tuple[list[ClientEvent], bytes]:
    """The events of one session, and what was sent."""
    client = given(choice)
    events: list[ClientEvent] = []
    sent = []
    for i in range(0, len(octets), size):
        client.receive(octets[i : i + size])
        while (event := client.next_event()) is not None:
            events.append(event)
            if isinstance(event, Challenge):
                client.respond(None if len(event.data) % 2 else event.data)
            elif isinstance(event, Idling) and choice & 64:
                client.done()
        sent.append(client.data_to_send())
    return events, b"".join(sent)


def one(data: bytes) -> None:
    """Try one input: an octet for the commands, one for the cuts, and what the server says."""
    if len(data) < 2:
        return
    choice, size, octets = data[0], data[1] % 64 + 1, data[2:]
    events, sent = within(10_000 + 100 * len(octets), data, lambda: session(choice, octets, len(octets) or 1))
    said = sum(len(event.responses) + 1 if isinstance(event, Completed) else 1 for event in events)
    if said > octets.count(b"\n") + 1:
        raise AssertionError("more events than lines")
    if any(isinstance(event, Failed) for event in events[:-1]):
        raise AssertionError("went on after it failed")
    if session(choice, octets, size) != (events, sent):
        raise AssertionError("the cuts change what is heard")


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
