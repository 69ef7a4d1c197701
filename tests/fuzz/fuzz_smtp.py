"""Fuzz the SMTP machines: C{one(data)} for a harness, C{main()} under atheris.

The first octet chooses mode and cuts; the rest goes to the server machine as a client's octets, and to the client machine as
a server's. Allowed are events, replies and L{ServerRefused}; nothing else may be raised, a machine must not stop making progress,
and what is accepted as a message has proper line ends.
"""

from __future__ import annotations

import contextlib
import sys

from moxtwisted.smtp.client import ClientMachine, ServerRefused
from moxtwisted.smtp.clientcommands import hello
from moxtwisted.smtp.proxyheader import ProxyHeaderError, parse_proxy_header
from moxtwisted.smtp.settings import BareLineEnds, Limits, Mode, ServerSettings
from moxtwisted.smtp.states import State
from moxtwisted.smtp.testing import MemoryHandlers, MemoryLink

_LIMITS = Limits(bad_commands=10000, bad_transactions=10000, recipients=5)
_MODES = [
    ServerSettings(
        hostname="mx.example",
        mode=mode,
        mechanisms=("PLAIN",),
        auth_without_tls=True,
        auth_required=False,
        bare_line_ends=bare,
        close_on_first_unknown_command=False,
        size_limit=1000,
        limits=_LIMITS,
    )
    for mode in Mode
    for bare in BareLineEnds
]
_PREFIXES = (
    b"",
    b"EHLO c.example\r\n",
    b"LHLO c.example\r\n",
    b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n",
    b"EHLO c.example\r\nMAIL FROM:<a@b.example> BODY=BINARYMIME\r\nRCPT TO:<c@d.example>\r\n",
    b"LHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n",
)


def _server(settings: ServerSettings, octets: bytes, size: int) -> tuple[bytes, list[bytes], str | None]:
    link = MemoryLink(settings, handlers := MemoryHandlers())
    link.machine.tls_available = True
    said = link.say_each([octets[i : i + size] for i in range(0, len(octets), size)])
    if link.failures:
        raise AssertionError(link.failures)
    if link.ended is not None and link.machine.state is not State.CLOSED:
        raise AssertionError("ended, and still open")
    for message in handlers.messages:
        if message.transaction.parameters.body != "BINARYMIME" and b"\n" in message.octets.replace(
            b"\r\n", b""
        ):
            raise AssertionError("a lone LF came through")
    return said, [m.octets for m in handlers.messages], link.ended


def one(data: bytes) -> None:
    """Try one input."""
    if not data:
        return
    settings = _MODES[data[0] % len(_MODES)]
    octets = _PREFIXES[data[0] // len(_MODES) % len(_PREFIXES)] + data[1:]
    whole = _server(settings, octets, len(octets) or 1)
    # STARTTLS with something behind it in the same segment is refused, so cuts decide there and only there.
    if b"STARTTLS" not in octets.upper() and whole != _server(settings, octets, 1 + data[0] % 7):
        raise AssertionError("cuts matter")
    client = ClientMachine()
    client.extensions = {"PIPELINING": ""}
    client.receive(data)
    try:
        while client.next_event() is not None:
            if not client.outstanding:
                client.send(hello("EHLO", "c.example"))
    except ServerRefused:
        pass
    with contextlib.suppress(ProxyHeaderError):
        parse_proxy_header(data, 4096)


def main() -> None:
    """Run atheris with the arguments of the command line."""
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

    atheris.instrument_all()
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
