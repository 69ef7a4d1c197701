"""A backend of users in memory, for the tests of the exchanges."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from zope.interface import implementer

from moxtwisted.sasl.client import ClientExchange
from moxtwisted.sasl.credentials import Costs, PasswordVerifiers, derive, verify_password
from moxtwisted.sasl.decoys import Decoys
from moxtwisted.sasl.exchange import ServerContext
from moxtwisted.sasl.interfaces import ISASLBackend, IServerExchange
from moxtwisted.sasl.outcome import Accepted, Challenge, Failure, Outcome, Reason, ServerStep

T = TypeVar("T")

CHEAP = Costs(memory_kib=8, passes=1, lanes=1, sha256_iterations=4096, sha1_iterations=4096)


class CountingEntropy:
    """Octets that differ from call to call but not from run to run."""

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, count: int) -> bytes:
        """Give C{count} octets."""
        self._calls += 1
        return (self._calls.to_bytes(4) * (count // 4 + 1))[:count]


@implementer(ISASLBackend)
class MemoryBackend:
    """Users with cheap verifiers; remembers what it was told.

    @ivar told: (username, mechanism, refusal) of each conclusion.
    @ivar disabled: users who are refused after all.
    @ivar key_login: the user that the TLS client key belongs to.
    """

    def __init__(self, users: dict[str, str], *, cram_md5: bool = True) -> None:
        entropy = CountingEntropy()
        self.users: dict[str, PasswordVerifiers] = {
            name: derive(password, entropy, cram_md5=cram_md5, costs=CHEAP)
            for name, password in users.items()
        }
        self.told: list[tuple[str, str, Reason | None]] = []
        self.disabled: set[str] = set()
        self.key_login = ""
        self.refuse_all: Failure | None = None

    async def verifiers(self, username: str, mechanism: str) -> PasswordVerifiers | Failure | None:
        """See L{ISASLBackend}."""
        return self.refuse_all or self.users.get(username)

    async def conclude(self, username: str, mechanism: str, refusal: Reason | None) -> Outcome:
        """See L{ISASLBackend}."""
        self.told.append((username, mechanism, refusal))
        if refusal is None and username in self.disabled:
            refusal = Reason.DISABLED
        return Accepted(username, username) if refusal is None else Failure(refusal, username)

    async def check_password(self, username: str, password: str, mechanism: str) -> Outcome:
        """See L{ISASLBackend}."""
        verifiers = self.users.get(username)
        right = verifiers is not None and verify_password(verifiers.argon2id, password)
        return await self.conclude(username, mechanism, None if right else Reason.BAD_CREDENTIALS)

    async def external(self, username: str) -> Outcome:
        """See L{ISASLBackend}."""
        right = bool(self.key_login) and username in ("", self.key_login)
        return await self.conclude(self.key_login, "EXTERNAL", None if right else Reason.BAD_CREDENTIALS)


def context(
    backend: MemoryBackend, *, bindings: dict[str, list[bytes]] | None = None, plus: bool | None = None
) -> ServerContext:
    """A server context with predictable entropy."""
    return ServerContext(
        backend=backend,
        entropy=CountingEntropy(),
        decoys=Decoys(b"0123456789abcdef", CHEAP),
        bindings=bindings or {},
        plus_offered=bool(bindings) if plus is None else plus,
        hostname="mail.example.org",
    )


def now(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise RuntimeError("the coroutine waits")


def converse(client: ClientExchange, server: IServerExchange, *, initial: bool = True) -> ServerStep:
    """Let both sides talk to the end; the client's exceptions come through."""
    step = now(server.respond(client.start() if initial else None))
    for _ in range(10):
        if not isinstance(step, Challenge):
            return step
        step = now(server.respond(client.step(step.data)))
    raise RuntimeError("the exchange does not end")
