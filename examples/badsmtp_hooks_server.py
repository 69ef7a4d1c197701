"""A BadSMTP server with a hook of every kind, each of them a few lines::

python examples/badsmtp_hooks_server.py 2525
swaks --server 127.0.0.1:2525 --from alice@example.org --to bob@example.org --auth-user alice --auth-password secret

What to try: ``EHLO bstk42.example.org`` then ``BANA``; RCPT TO:<nobody@example.org>; NOOP three times; a message with the word "spam".
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from moxtwisted.badsmtp.hooks import Observer, SimpleRateLimiter
from moxtwisted.badsmtp.interfaces import (
    Hooks,
    IAuthenticator,
    IAuthorizer,
    ICapabilityParser,
    IErrorSimulator,
    IJournal,
    IMessageStore,
    ISMTPExtension,
    StorageError,
)
from moxtwisted.badsmtp.service import BadSMTPService
from moxtwisted.badsmtp.settings import Settings
from moxtwisted.badsmtp.tokens import Wishes
from moxtwisted.smtp.replies import RawReply, Reply
from moxtwisted.smtp.states import State


@implementer(IMessageStore)
class NoSpam:
    """A store: keeps what it likes."""

    def __init__(self):
        self.kept = []

    def store(self, message):
        """Raise to refuse; "quota" in the text makes the reply 452."""
        if b"spam" in message.content:
            raise StorageError("over quota for spam")
        self.kept.append(message.content)


@implementer(IAuthenticator)
class OnlyAlice:
    """Log-ins."""

    def authenticate(self, mechanism, username, secret, session):
        """Whether it succeeds; an awaitable will do as well."""
        return username == "alice"


@implementer(ICapabilityParser)
class Stickers:
    """Tokens of one's own: a name that begins with ``bstk`` gets no SIZE and AUTH LOGIN alone."""

    def parse(self, hello_name):
        """None: it says nothing to us."""
        if not hello_name.startswith("bstk"):
            return None
        return Wishes(left_out=frozenset({"SIZE"}), mechanisms=("LOGIN",))


@implementer(ISMTPExtension)
class Bananas:
    """An extension: a line in the reply to EHLO, and a verb."""

    def capability(self):
        """The line."""
        return "GOBANANAS"

    def commands(self):
        """The verb, and where it may be said: after EHLO, outside of a transaction."""
        return {"BANA": frozenset({State.READY})}

    def handle(self, verb, argument, session):
        """The reply; the session remembers what we like."""
        eaten = (session.metadata("bananas") or 0) + 1
        session.set_metadata("bananas", eaten)
        return Reply(250, "", "OK NA" if eaten == 1 else f"OK NA, the {eaten}th")


class Printer(Observer):
    """An observer: says what happens."""

    def connected(self, session):
        """Somebody came."""
        print(f"{session.client_ip} is here")

    def authenticated(self, session, mechanism, username, success):
        """Somebody logged in, or not."""
        print(f"{username} {'may' if success else 'may not'} come in by {mechanism}")

    def message(self, session, message):
        """A message was kept."""
        print(f"message {message.number} from {message.reverse_path}")

    def error(self, session, verb, reply):
        """We said no."""
        print(f"{verb or 'the greeting'}: {reply.code}")

    def disconnected(self, session, reason):
        """Somebody went."""
        print(f"gone: {reason}")


@implementer(IAuthorizer)
class House:
    """Who may send what."""

    def can_send_from(self, username, reverse_path):
        """Senders."""
        return reverse_path != "mallory@example.org"

    def can_send_to(self, username, forward_path):
        """Recipients."""
        return forward_path != "nobody@example.org"

    def quota_octets(self, username):
        """The largest message."""
        return 100_000 if username else 1_000


@implementer(IErrorSimulator)
class Tired:
    """Errors by one's own rule: from the third NOOP on the reply is half a line."""

    def fault(self, verb, argument, session):
        """None: nothing goes wrong."""
        if verb != "NOOP":
            return None
        said = (session.metadata("noops") or 0) + 1
        session.set_metadata("noops", said)
        return RawReply(250, octets=b"250 yaw", close=True) if said >= 3 else None


@implementer(IJournal)
class Counter:
    """A log: counts sentences."""

    def __init__(self):
        self.counts = {}

    def write(self, level, message, fields, error=""):
        """One line."""
        self.counts[message] = self.counts.get(message, 0) + 1


def make_hooks(reactor: Any) -> Hooks:
    """All of them."""
    return Hooks(
        store=NoSpam(),
        authenticator=OnlyAlice(),
        capability_parsers=[Stickers()],
        extensions=[Bananas()],
        observers=[Printer()],
        rate_limiter=SimpleRateLimiter(reactor.seconds, connections_per_minute=600),
        authorizer=House(),
        error_simulators=[Tired()],
        journal=Counter(),
    )


def main(reactor: Any, port: str = "2525") -> BadSMTPService:
    """Start a server with one port."""
    service = BadSMTPService(reactor, Settings.only(port=int(port)), make_hooks(reactor))
    service.startService()
    return service


def announce(service: BadSMTPService) -> Deferred[None]:
    """Say where it serves, until it is interrupted."""
    print(f"BadSMTP at 127.0.0.1 port {service.ports['smtp']}", flush=True)
    return Deferred()


if __name__ == "__main__":
    from twisted.internet.task import react

    react(lambda reactor, *words: announce(main(reactor, *words)), sys.argv[1:])
