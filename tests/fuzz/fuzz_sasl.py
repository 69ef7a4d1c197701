"""Fuzz the SASL exchanges, both sides.

A server that hears anything at all answers in a few steps and lets nobody in who did not know the password; a client that hears
anything at all refuses or answers. Between the two of them, one octet changed on the way is enough to fail (PLAIN and LOGIN
prove nothing but the password).
"""

from __future__ import annotations

from typing import Any

from moxtwisted.imap.memory import MemoryAuthenticator, MemoryMail
from moxtwisted.imap.testing import counted_entropy, run_now
from moxtwisted.sasl.client import ClientError, ClientExchange, Credentials, choose
from moxtwisted.sasl.decoys import Decoys
from moxtwisted.sasl.exchange import MAX_MESSAGE_OCTETS, MAX_STEPS, ServerContext
from moxtwisted.sasl.outcome import Challenge, Failure, Reason, Success
from moxtwisted.sasl.server import MECHANISMS, begin
from tests.fuzz.run import alone
from tests.fuzz.watching import within

CREDENTIALS = Credentials("alice", "secret")

_USERS = MemoryAuthenticator({"alice": ("secret", MemoryMail())}, counted_entropy())
_DECOYS = Decoys(b"sixteen octets or more")
_BINDINGS = {"tls-exporter": (b"x" * 32,), "tls-server-end-point": (b"y" * 32, b"z" * 32)}


def server(mechanism: str) -> Any:
    """The server's side."""
    exchange = begin(
        mechanism,
        MECHANISMS,
        ServerContext(
            _USERS, counted_entropy(), _DECOYS, _BINDINGS, plus_offered=True, hostname="mx.example"
        ),
    )
    if exchange is None:
        raise AssertionError(mechanism)
    return exchange


def client(mechanism: str) -> ClientExchange:
    """The client's side."""
    bindings = {name: values[0] for name, values in _BINDINGS.items()}
    # It sees that -PLUS is on offer too; if it were not, the server would take it for a forged list.
    names = (mechanism, f"{mechanism}-PLUS")
    exchange = choose(names, CREDENTIALS, counted_entropy(), bindings=bindings, preference=(mechanism,))
    if exchange is None:
        raise AssertionError(mechanism)
    return exchange


def strangers(mechanism: str, messages: list[bytes]) -> None:
    """A server is told anything."""
    exchange = server(mechanism)
    steps = 0
    for data in (None, *messages) if len(messages) % 2 else messages:
        step = run_now(exchange.respond(data))
        steps += 1
        if isinstance(step, Challenge):
            if len(step.data) > 2 * MAX_MESSAGE_OCTETS + 1000:
                raise AssertionError(len(step.data))
            continue
        knew = mechanism in {"PLAIN", "LOGIN"} and any(b"secret" in m for m in messages)
        if isinstance(step, Success) and not knew:
            raise AssertionError(messages)
        again = run_now(exchange.respond(b""))
        if not isinstance(again, Failure) or steps > MAX_STEPS + 1:
            raise AssertionError(again)
        break
    if run_now(exchange.abort()).reason is not Reason.ABORTED:
        raise AssertionError(mechanism)


def impostor(mechanism: str, messages: list[bytes]) -> None:
    """A client is told anything; SCRAM knows that it was not the server."""
    exchange = client(mechanism)
    try:
        exchange.start()
        for data in messages:
            if len(exchange.step(data)) > 2 * MAX_MESSAGE_OCTETS + 1000:
                raise AssertionError(data)
        exchange.finish()
    except ClientError:
        return
    if mechanism.startswith("SCRAM"):
        raise AssertionError(messages)


#: The message of SCRAM that ends with the server's signature.
_SIGNATURE = 3


def meddled(mechanism: str, changes: bytes) -> None:
    """The two of them, with one message changed on the way."""
    ours, theirs = client(mechanism), server(mechanism)
    which = changes[0] % 4 if changes else 0
    touched = harmed = False

    def way(data: bytes | None, number: int) -> bytes | None:
        nonlocal touched, harmed
        if data is None or number != which or len(changes) < 3:
            return data
        octets = bytearray(data)
        at = changes[1] % (len(octets) + 1)
        octets[at : at + changes[2] % 8] = changes[3:]
        touched = touched or octets != data
        if mechanism == "CRAM-MD5":
            # Its digits may be of either case.
            harmed = harmed or octets.lower() != data.lower()
        else:
            # RFC 5802 section 7: behind the server's signature there may be extensions, which nothing protects and nobody knows.
            unlike = octets.partition(b",")[0] != data if number == _SIGNATURE else touched
            harmed = harmed or unlike
        return bytes(octets)

    try:
        said = way(ours.start(), 0)
        for number in range(1, 9, 2):
            step = run_now(theirs.respond(said))
            if not isinstance(step, Challenge):
                break
            said = way(ours.step(way(step.data, number) or b""), number + 1)
        ours.finish()
    except ClientError:
        if not touched and mechanism != "EXTERNAL":
            raise
        return
    if not touched and not isinstance(step, Success) and mechanism != "EXTERNAL":
        raise AssertionError(step)
    if harmed and isinstance(step, Success) and mechanism.startswith(("SCRAM", "CRAM")):
        raise AssertionError(changes)


def one(data: bytes) -> None:
    """Try one input: an octet for the mechanism, one for the side, and the messages, 0xFF between them."""
    if len(data) < 2:
        return
    mechanism = MECHANISMS[data[0] % len(MECHANISMS)]
    messages = data[2:].split(b"\xff")
    limit = 5000 + 200 * len(data)
    if data[1] % 3 == 0:
        within(limit, data, lambda: strangers(mechanism, messages))
    elif data[1] % 3 == 1:
        within(limit, data, lambda: impostor(mechanism, messages))
    else:
        within(limit, data, lambda: meddled(mechanism, data[2:]))


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
