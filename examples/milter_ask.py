"""Show a message to a milter, and print what it says::

python examples/milter_ask.py 127.0.0.1:8891 message.eml
"""

from __future__ import annotations

import sys
from ipaddress import ip_address
from pathlib import Path

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint

from moxtwisted.milter.agent import ask
from moxtwisted.milter.client import MilterMessage


def as_received(octets):
    """The message as if it had come from a client at 192.0.2.1."""
    header, _, body = octets.partition(b"\r\n\r\n")
    unfolded = header.replace(b"\r\n ", b"\n ").replace(b"\r\n\t", b"\n\t").split(b"\r\n")
    fields = [line.replace(b"\n", b"\r\n").partition(b":") for line in unfolded]
    return MilterMessage(
        hostname="client.example",
        ip=ip_address("192.0.2.1"),
        hello="client.example",
        reverse_path=b"<sender@client.example>",
        recipients=(b"<you@example.org>",),
        fields=tuple((name, value) for name, _, value in fields),
        body=[body],
        macros={b"j": b"mx.example.org", b"i": b"example"},
    )


async def main(reactor, where, path):
    """Ask, for ten seconds at most."""
    octets = Path(path).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    host, _, port = where.rpartition(":")
    message = as_received(octets)
    verdict = await ask(HostnameEndpoint(reactor, host, int(port)), message, reactor, 10.0)
    print(verdict.decision.value, *(verdict.reply or ()))
    for name, value in verdict.fields:
        print(f"to be added: {name.decode()}: {value.decode('utf-8', 'replace')}")
    for place, other in verdict.changes:
        name = message.fields[place][0].decode()
        print(
            f"to be removed: {name}"
            if other is None
            else f"to be changed: {name}: {other.decode('utf-8', 'replace')}"
        )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    task.react(lambda reactor, *words: Deferred.fromCoroutine(main(reactor, *words)), sys.argv[1:])
