"""The certificates of the server: chosen by the name a client asks for, exchanged while the server runs.

::

    store = CertificateStore(files, reactor)
    store.load()                         # at start: everything must be right
    creator = store.server(profile)      # give it to startTLS or TLSMemoryBIOFactory; it stays valid
    watch = CertificateWatch(store, reactor)
    watch.setServiceParent(services)     # looks at the files every minute

A client without a name, or with one that no certificate has, gets the first certificate: a sending mail server
mostly does not check it anyway. When new files are broken the old certificates stay in use and the log says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.errors import ConfigurationError
from moxtwisted.server.certificates.contexts import TLSProfile, build_context
from moxtwisted.server.certificates.files import CertificateFiles, Pair, Signature, load_pair, signature

if TYPE_CHECKING:
    from OpenSSL import SSL
    from twisted.protocols.tls import TLSMemoryBIOProtocol

__all__ = ["CertificateStore", "CertificateWatch", "Described", "ServerTLS"]

log = Logger()

DAY = 86400.0


@frozen
class Described:
    """A certificate in use, for the status command and metrics.

    :ivar warning: why peers may not accept it, or empty.
    """

    certificate: str
    names: tuple[str, ...]
    kind: str
    not_after: float
    warning: str


@define
class _Contexts:
    """The contexts of one profile: by group of pairs, and the one a connection begins with."""

    initial: SSL.Context
    by_group: dict[tuple[int, ...], SSL.Context] = field(factory=dict)


class _Choice:
    """Which pairs answer to which name; never changes.

    :param pairs: in the operator's order.
    :param now: of several pairs of one kind, one that is valid at this time is preferred.
    """

    def __init__(self, pairs: Sequence[Pair], now: float) -> None:
        self.pairs = tuple(pairs)
        self._now = now
        names = dict.fromkeys(name for pair in self.pairs for name in pair.names)
        self._groups = {name: self._group(name) for name in names}
        first = self.pairs[0]
        self.fallback = self._groups[first.names[0]] if first.names else (0,)

    def _group(self, name: str) -> tuple[int, ...]:
        best: dict[str, int] = {}
        for index, pair in enumerate(self.pairs):
            if name not in pair.names:
                continue
            have = best.get(pair.kind)
            if have is None or self._rank(pair) > self._rank(self.pairs[have]):
                best[pair.kind] = index
        return tuple(best.values())

    def _rank(self, pair: Pair) -> tuple[bool, float]:
        return not pair.warning(self._now), pair.not_after

    def groups(self) -> set[tuple[int, ...]]:
        """All groups of pairs that a name can lead to."""
        return {*self._groups.values(), self.fallback}

    def of_name(self, name: str | None) -> tuple[int, ...]:
        """The pairs for a name: that of an exact certificate, else of a wildcard, else the fallback."""
        if not name:
            return self.fallback
        name = name.lower().rstrip(".")
        exact = self._groups.get(name)
        if exact is not None:
            return exact
        # RFC 6125 section 6.4.3: the star stands for one whole label, the leftmost.
        parent = name.partition(".")[2]
        return self._groups.get("*." + parent, self.fallback) if parent else self.fallback


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """What Twisted asks for a TLS connection; looks into the store each time, so it never gets old."""

    def __init__(self, store: CertificateStore, profile: TLSProfile) -> None:
        self._store = store
        self.profile = profile

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """A connection that begins with the first certificate; the name the client asks for may change it."""
        from OpenSSL import SSL

        return SSL.Connection(self._store.initial_context(self.profile), None)


class CertificateStore:
    """All certificates, and the OpenSSL contexts made of them.

    :param files: pairs of files in the operator's order; the first is the fallback.
    :param clock: ``seconds()`` is the time since 1970, as the reactor's.
    :param ticket_seconds: session-ticket keys are renewed after this time (looked at by ``check``).
    :ivar adopted: called whenever certificates came into use: those at start, and new ones; not for new ticket keys.
    """

    def __init__(
        self, files: Sequence[CertificateFiles], clock: IReactorTime, *, ticket_seconds: float = DAY
    ) -> None:
        self._files = tuple(files)
        self._clock = clock
        self._ticket_seconds = ticket_seconds
        self._choice: _Choice | None = None
        self._contexts: dict[TLSProfile, _Contexts] = {}
        self._made_at = 0.0
        self._seen: tuple[Signature, ...] = ()
        self.adopted: list[Callable[[], object]] = []

    def load(self) -> None:
        """Read all files, at start.

        :raise ConfigurationError: with every file that is missing, broken, or does not belong to its key. A certificate
            that has expired is used, with a warning in the log: mail over port 25 goes on with it.
        """
        self._seen = tuple(signature(files) for files in self._files)
        self._adopt(self._read())
        for described in self.describe():
            if described.warning:
                log.warn("TLS certificate: {problem}", problem=described.warning)
        self._tell()

    def check(self) -> bool:
        """Read the files again if one has changed, and renew the ticket keys if it is time.

        :return: whether new certificates came into use. What is wrong with new files is logged, once for each change
            of them, and the old certificates stay.
        """
        seen = tuple(signature(files) for files in self._files)
        if seen == self._seen:
            self._renew_tickets_in_time()
            return False
        self._seen = seen
        try:
            choice = self._read()
            self._refuse_worse(choice)
            self._adopt(choice)
        except ConfigurationError as e:
            for problem in e.problems:
                log.error(
                    "TLS certificates not reloaded, the old ones stay in use: {problem}", problem=problem
                )
            return False
        log.info("TLS certificates reloaded", count=len(choice.pairs))
        self._tell()
        return True

    def server(self, profile: TLSProfile) -> ServerTLS:
        """The connection creator for a kind of listener. Call ``load`` before.

        :raise ConfigurationError: when OpenSSL does not take the certificates or ciphers.
        """
        if profile not in self._contexts:
            self._contexts[profile] = self._build(self._loaded(), profile)
        return ServerTLS(self, profile)

    def initial_context(self, profile: TLSProfile) -> SSL.Context:
        """The context a connection begins with."""
        return self._contexts[profile].initial

    def describe(self) -> tuple[Described, ...]:
        """The certificates in use."""
        if self._choice is None:
            return ()
        now = self._clock.seconds()
        return tuple(
            Described(pair.files.certificate, pair.names, pair.kind, pair.not_after, pair.warning(now))
            for pair in self._choice.pairs
        )

    def handed(self) -> list[tuple[str, str, bytes, bytes]]:
        """What a process of ours that cannot read the files needs for ``HandedCertificates``, in the operator's order: the paths of
        certificate and key, the certificate with its chain and the private key, both PEM. The key is not encrypted.

        :raise ConfigurationError: before ``load``.
        """
        return [
            (pair.files.certificate, pair.files.key, pair.certificate_pem(), pair.key_pem())
            for pair in self._loaded().pairs
        ]

    def _loaded(self) -> _Choice:
        if self._choice is None:
            raise ConfigurationError(("TLS certificates were not loaded",))
        return self._choice

    def _read(self) -> _Choice:
        return self._chosen(partial(load_pair, files) for files in self._files)

    def _chosen(self, makers: Iterable[Callable[[], Pair]]) -> _Choice:
        """Make all pairs.

        :raise ConfigurationError: with the problems of all of them.
        """
        problems: list[str] = []
        pairs = []
        for make in makers:
            try:
                pairs.append(make())
            except ConfigurationError as e:
                problems.extend(e.problems)
        if not pairs and not problems:
            problems.append("TLS is wanted, but no certificate files are configured")
        if problems:
            raise ConfigurationError(tuple(dict.fromkeys(problems)))
        return _Choice(pairs, self._clock.seconds())

    def _refuse_worse(self, new: _Choice) -> None:
        """Do not exchange valid certificates for expired ones."""
        now = self._clock.seconds()
        old = {pair.files: pair for pair in self._loaded().pairs}
        problems = tuple(
            pair.warning(now)
            for pair in new.pairs
            if pair.warning(now) and pair.files in old and not old[pair.files].warning(now)
        )
        if problems:
            raise ConfigurationError(problems)

    def _tell(self) -> None:
        for listener in tuple(self.adopted):
            listener()

    def _adopt(self, choice: _Choice) -> None:
        # all contexts first: nothing is exchanged when one of them fails
        contexts = {profile: self._build(choice, profile) for profile in self._contexts}
        self._choice = choice
        self._contexts = contexts
        self._made_at = self._clock.seconds()

    def _renew_tickets_in_time(self) -> None:
        if self._choice is None or self._clock.seconds() - self._made_at < self._ticket_seconds:
            return
        try:
            self._adopt(_Choice(self._choice.pairs, self._clock.seconds()))
        except ConfigurationError as e:
            self._made_at = self._clock.seconds()
            log.error("TLS session-ticket keys not renewed: {problem}", problem=str(e))

    def _build(self, choice: _Choice, profile: TLSProfile) -> _Contexts:
        contexts: dict[tuple[int, ...], SSL.Context] = {}

        def on_name(connection: SSL.Connection) -> None:
            wanted = connection.get_servername()
            group = choice.of_name(wanted.decode("ascii", "replace") if wanted else None)
            # The connection keeps the ticket keys of the context it began with.
            if group != choice.fallback:
                connection.set_context(contexts[group])

        for group in choice.groups():
            pairs = [choice.pairs[index] for index in group]
            contexts[group] = build_context(pairs, profile, on_name if group == choice.fallback else None)
        return _Contexts(contexts[choice.fallback], contexts)


class CertificateWatch(Service):
    """Looks at the files again and again while it runs.

    :param store: what to look after.
    :param clock: the reactor.
    :param interval_seconds: between two looks; one look is a ``stat`` for each file.
    """

    name = "certificates"

    def __init__(
        self, store: CertificateStore, clock: IReactorTime, *, interval_seconds: float = 60.0
    ) -> None:
        self._store = store
        self._interval = interval_seconds
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    def startService(self) -> None:
        """Begin to look, the first time after one interval."""
        Service.startService(self)
        self._loop.start(self._interval, now=False)

    def stopService(self) -> None:
        """Look no more."""
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()

    def _look(self) -> None:
        try:
            self._store.check()
        except Exception:  # noqa: BLE001 a boundary: the loop must go on
            log.failure("looking at the TLS certificates failed")
