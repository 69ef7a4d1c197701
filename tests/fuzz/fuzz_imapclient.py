"""Fuzz the IMAP client against a server that says anything.

It was given commands of every kind, so that literals, uploads, AUTHENTICATE, IDLE and compression wait for the server. Cuts change
neither the events nor what we send; no response is more than came; what the events mean can be told, or is refused with one error.
"""

from __future__ import annotations

import contextlib

from moxtwisted.imap.client import (
    BodyData,
    BodyStarted,
    Challenge,
    Client,
    ClientEvent,
    Completed,
    Data,
    Failed,
    Idling,
    Upload,
)
from moxtwisted.imap.client.notices import notice
from moxtwisted.imap.client.requests import UploadPart, append, plain
from moxtwisted.imap.client.results import ResultError, members, message, search_result, threads
from moxtwisted.imap.client.session import Selected
from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire.fetchattributes import Envelope, Flags
from moxtwisted.imap.wire.responses import ResponseLimits
from moxtwisted.imap.wire.sequence import SequenceSet
from tests.fuzz.run import alone
from tests.fuzz.watching import within

LIMITS = ResponseLimits(line_octets=700, literal_octets=300, response_octets=1000)
STREAM_OCTETS = 20
UPLOAD_OCTETS = 10


def given(choice: int) -> Client:
    """A client with commands to be sent."""
    client = Client(LIMITS)
    if choice & 1:
        client.authenticate("PLAIN")
    if choice & 2:
        client.login("al\u00efce", 'se"cret')
    if choice & 4:
        client.send(c.Enable(client.new_tag(), ("IMAP4REV2",)))
    if choice & 128:
        client.request(plain("COMPRESS", b"DEFLATE"))
    client.select("Entw\u00fcrfe")
    client.fetch(SequenceSet.parse(b"1:*"), (Flags(), Envelope()))
    client.request(plain("FETCH", b"1:* BODY[]"), deliver=True, stream_octets=STREAM_OCTETS)
    if choice & 8:
        client.append("INBOX", b"Subject: x\r\n\r\n\xe9\r\n", ("\\Seen",))
        client.request(append("x", [((), None, [UploadPart(UPLOAD_OCTETS)])]))
    if choice & 16:
        client.idle()
    if choice & 32:
        client.done()
    client.logout()
    return client


def session(choice: int, octets: bytes, size: int) -> tuple[list[ClientEvent], bytes]:
    """The events of one session, pieces of bodies joined, and what was sent."""
    client = given(choice)
    events: list[ClientEvent] = []
    sent = []
    for i in range(0, len(octets), size):
        client.receive(octets[i : i + size])
        while (event := client.next_event()) is not None:
            if isinstance(event, BodyData) and isinstance(events[-1], BodyData):
                events[-1] = BodyData(events[-1].octets + event.octets)
                continue
            events.append(event)
            if isinstance(event, Challenge):
                client.respond(None if len(event.data) % 2 else event.data)
            elif isinstance(event, Idling) and choice & 64:
                client.done()
            elif isinstance(event, Upload):
                client.feed(b"x" * event.size_octets)
        sent.append(client.data_to_send())
    return events, b"".join(sent)


def understand(response: r.Response) -> None:
    """Make everything of a response that can be made of it."""
    notice(response)
    Selected("x").take(response)
    with contextlib.suppress(ResultError):
        if isinstance(response, r.Fetched):
            message(response)
        elif isinstance(response, (r.SearchData, r.SortData, r.EsearchData)):
            list(members(search_result(response).numbers, 1000))
        elif isinstance(response, r.ThreadData):
            for thread in threads(response):
                list(thread.walk())


def one(data: bytes) -> None:
    """Try one input: an octet for the commands, one for the cuts, and what the server says."""
    if len(data) < 2:
        return
    choice, size, octets = data[0], data[1] % 64 + 1, data[2:]
    events, sent = within(10_000 + 100 * len(octets), data, lambda: session(choice, octets, len(octets) or 1))
    compressed = choice & 128 and any(isinstance(event, Completed) and event.ok for event in events)
    said = sum(
        len(event.responses) + 1 if isinstance(event, Completed) else 1
        for event in events
        if not isinstance(event, Upload)
    )
    # A streamed body is three events for one response, and stands on two lines.
    said -= 2 * sum(isinstance(event, BodyStarted) for event in events)
    if not compressed and said > octets.count(b"\n") + 1:
        raise AssertionError("more events than lines")
    if any(isinstance(event, Failed) for event in events[:-1]):
        raise AssertionError("went on after it failed")
    # Of a damaged compressed stream, zlib gives more or less before it says so, as it is cut.
    if session(choice, octets, size) != (events, sent) and not compressed:
        raise AssertionError("the cuts change what is heard")
    for event in events:
        if isinstance(event, Completed):
            for response in event.responses:
                understand(response)
        elif isinstance(event, Data):
            understand(event.response)


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
