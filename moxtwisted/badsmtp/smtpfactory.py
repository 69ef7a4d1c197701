"""The connections of one SMTP or LMTP port of a BadSMTP server.

::

    factory = BadSMTPFactory(surroundings, Listener(name="smtp"), ServerTLS(contexts.ordinary()))
    reactor.listenTCP(2525, factory, interface="127.0.0.1")
"""

from __future__ import annotations

from zope.interface import implementer

from moxtwisted.badsmtp.machine import HOSTNAME, BadMachine, replies_with_limit
from moxtwisted.badsmtp.mechanisms import ALL_MECHANISMS
from moxtwisted.badsmtp.session import Session
from moxtwisted.badsmtp.surroundings import Listener, Surroundings
from moxtwisted.smtp.interfaces import ISMTPHandlerFactory
from moxtwisted.smtp.peer import Peer
from moxtwisted.smtp.protocol import ServerTLS, SMTPServerFactory
from moxtwisted.smtp.settings import Limits, Mode, ServerSettings, Timeouts

__all__ = ["SHUTDOWN_SECONDS", "BadSMTPFactory"]

#: How long the end of the service may take (BadSMTP: 10 s).
SHUTDOWN_SECONDS = 10.0

#: A test server does not tire of errors; memory and time are bounded all the same.
_LIMITS = Limits(
    line_octets=4096,
    recipients=10_000,
    bad_transactions=1_000_000,
    bad_commands=1_000_000,
    auth_failures=1_000_000,
    auth_failures_slow=1_000_000,
)
# Who is in the middle of a message hears 421 before all are cut off.
_TIMEOUTS = Timeouts(handler=4000.0, shutdown=SHUTDOWN_SECONDS - 1)


@implementer(ISMTPHandlerFactory)
class _Sessions:
    """Makes the sessions of one port."""

    def __init__(self, surroundings: Surroundings, listener: Listener) -> None:
        self._surroundings = surroundings
        self.listener = listener

    def connected(self, peer: Peer) -> Session:
        """See ``ISMTPHandlerFactory.connected``."""
        return Session(self._surroundings, self.listener.at(peer.local_port), peer)


class BadSMTPFactory(SMTPServerFactory):
    """The connections of one port: ``BadSMTPFactory(surroundings, listener, tls)``."""

    # There are a hundred of us: the log of twistd need not name each.
    noisy = False

    def __init__(self, surroundings: Surroundings, listener: Listener, tls: ServerTLS | None = None) -> None:
        settings = ServerSettings(
            hostname=HOSTNAME,
            mode=Mode.LMTP if listener.lmtp else Mode.MX,
            size_limit=surroundings.settings.message_octets,
            auth_without_tls=True,
            mechanisms=tuple(ALL_MECHANISMS),
            close_on_first_unknown_command=False,
            limits=_LIMITS,
            timeouts=_TIMEOUTS,
        )
        super().__init__(
            settings,
            _Sessions(surroundings, listener),
            surroundings.clock,
            tls,
            replies=replies_with_limit(settings.size_limit),
        )
        extensions = surroundings.hooks.extensions
        self._lines = [line for extension in extensions if (line := extension.capability())]
        self._commands = {
            verb.upper(): frozenset(states) for e in extensions for verb, states in e.commands().items()
        }

    def make_machine(self) -> BadMachine:
        """The machine of a new connection."""
        return BadMachine(
            self.settings,
            utc_now=self.utc_now,
            lines=self._lines,
            extra_commands=self._commands,
            tls_available=self.tls is not None and not self.tls.implicit,
        )
