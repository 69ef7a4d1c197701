"""What domains sign with: from ``domains.conf`` and the key files to the submission service.

Keys are read at start, when ``domains.conf`` changes and when their files do. A key that cannot be read any more stays in use as it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from moxtwisted.config.load import DOMAINS_NAME
from moxtwisted.config.reading import Problems
from moxtwisted.config.schema import DKIMSelector, DomainsConfig
from moxtwisted.config.signingkeys import KeyStamps, key_stamps, read_signing_keys
from moxtwisted.errors import ConfigurationError
from moxtwisted.identifiers import Domain

if TYPE_CHECKING:
    # They need the cryptographic library.
    from moxtwisted.mailauth.dkim.keys import SigningKey
    from moxtwisted.mailauth.dkim.sign import SigningRules
    from moxtwisted.server.submission.signing import Selector, Signing

__all__ = ["Signers", "SigningWatch"]

_log = Logger()

#: Between two looks at the key files, seconds.
INTERVAL_SECONDS: Final = 60.0


def signing_rules(settings: DKIMSelector) -> SigningRules:
    """How a selector signs."""
    from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization
    from moxtwisted.mailauth.dkim.sign import SIGNED_HEADERS, SigningRules

    return SigningRules(
        headers=tuple(name.lower().encode("ascii") for name in settings.headers) or SIGNED_HEADERS,
        seal=settings.oversign,
        header_form=Canonicalization(settings.header_canonicalization),
        body_form=BodyForm(Canonicalization(settings.body_canonicalization)),
        lifetime_seconds=int(settings.expiration_seconds),
    )


class Signers:
    """Keeps the keys of all domains.

    :param directory: where relative paths of key files start.
    """

    def __init__(self, directory: Path, domains: DomainsConfig, reactor: Any) -> None:
        self._directory = directory
        self._domains = domains
        self._reactor = reactor
        self._keys: dict[str, dict[str, SigningKey]] = {}
        self._stamps: KeyStamps = ()
        self._pool: Any = None
        self._running = False
        self._signing: Signing | None = None

    def load(self) -> None:
        """Read all keys, at start.

        :raises ConfigurationError: with every file that is missing or broken.
        """
        problems, notes = Problems(DOMAINS_NAME), Problems(DOMAINS_NAME)
        self._read(problems, notes)
        if problems.lines:
            raise ConfigurationError(tuple(problems.lines))
        for note in notes.lines:
            _log.warn("{note}", note=note)

    def current(self) -> Signing | None:
        """For the submission service: None, and nothing imported, while no domain has a key."""
        return self.signing if self._keys else None

    @property
    def signing(self) -> Signing:
        """What domains sign with; the same object as long as the server runs."""
        if self._signing is None:
            from moxtwisted.server.submission.signing import Signing, SigningPool

            self._pool = SigningPool(self._reactor)
            if self._running:
                self._pool.start()
            self._signing = Signing(self._selectors(), self._pool)
        return self._signing

    def start(self) -> None:
        """Allow threads."""
        self._running = True
        if self._pool is not None:
            self._pool.start()

    def stop(self) -> None:
        """End them."""
        self._running = False
        if self._pool is not None:
            self._pool.stop()

    def use(self, domains: DomainsConfig) -> None:
        """A new ``domains.conf`` is in force."""
        self._domains = domains
        self._reread()

    def check(self) -> None:
        """Read the files again if one has changed."""
        if key_stamps(self._directory, self._domains) != self._stamps:
            self._reread()
            _log.info("keys for signing were read again")

    def _reread(self) -> None:
        problems, notes = Problems(DOMAINS_NAME), Problems(DOMAINS_NAME)
        self._read(problems, notes)
        for problem in problems.lines:
            _log.error(
                "{problem}; mail is signed with the key that was there before, if any", problem=problem
            )
        for note in notes.lines:
            _log.warn("{note}", note=note)
        if self._signing is not None:
            self._signing.current = self._selectors()

    def _read(self, problems: Problems, notes: Problems) -> None:
        self._stamps = key_stamps(self._directory, self._domains)
        if not self._stamps:
            self._keys = {}
            return
        found = read_signing_keys(self._directory, self._domains, problems, notes)
        for name, domain in self._domains.domains.items():
            before, now = self._keys.get(name, {}), found.setdefault(name, {})
            for selector in domain.dkim:
                if selector not in now and selector in before:
                    now[selector] = before[selector]
        self._keys = found

    def _selectors(self) -> dict[str, tuple[Selector, ...]]:
        """By domain, the keys that sign."""
        from moxtwisted.server.submission.signing import Selector

        signing: dict[str, tuple[Selector, ...]] = {}
        for name, domain in self._domains.domains.items():
            keys = self._keys.get(name, {})
            active = [
                Selector(keys[selector], signing_rules(settings))
                for selector, settings in domain.dkim.items()
                if settings.state == "active" and selector in keys
            ]
            if active:
                # RFC 8463 section 3: there are verifiers that know no Ed25519; some look at one signature only.
                active.sort(key=lambda selector: selector.key.kind != "rsa")
                signing[Domain.parse(name).ascii] = tuple(active)
        return signing


class SigningWatch(Service):
    """Looks at the key files again and again while it runs."""

    def __init__(self, signers: Signers, clock: Any) -> None:
        self._signers = signers
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    def startService(self) -> None:
        """Begin to look, the first time after one interval."""
        Service.startService(self)
        self._loop.start(INTERVAL_SECONDS, now=False)

    def stopService(self) -> None:
        """Look no more."""
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()

    def _look(self) -> None:
        try:
            self._signers.check()
        except Exception:  # noqa: BLE001  a boundary: the loop must go on
            _log.failure("looking at the keys for signing failed")
