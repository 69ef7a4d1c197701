"""Who may log in: the SASL backend of the server.

One ``Authenticator`` serves all protocols; each connection gets a session of it, which knows the peer and is
the ``ISASLBackend`` of its exchanges::

    authenticator = Authenticator(source, HashPool(reactor), reactor, os.urandom)
    backend = authenticator.session(Origin(ip="192.0.2.1", protocol="imap", session="c7f3"))
    outcome = await backend.check_password("mjl@example.org", "secret", "PLAIN")

A password check is made slow on purpose (argon2id, about 20 ms). It runs in a small thread pool with a bounded
queue, a right answer is remembered for a quarter of an hour (as a keyed digest, never as the password), and
equal questions that come at the same time are answered together. Who fails too often from one network is
refused before any work is done (``moxtwisted.server.loginlimits``). An exchange that was left after a salt was shown is
such a failure too, so that salts are not handed out without limit; one that came to a good end is none.

Whoever changes a password, disables or removes an account calls ``Authenticator.forget``.
"""

from __future__ import annotations

import hmac
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from attrs import evolve, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import Interface, implementer

from moxtwisted.errors import MailError
from moxtwisted.identifiers import Domain, DomainError
from moxtwisted.sasl import prep
from moxtwisted.sasl.credentials import DEFAULT_COSTS, Costs, PasswordVerifiers, derive, verify_password
from moxtwisted.sasl.decoys import Decoys
from moxtwisted.sasl.exchange import ChannelBindings, ServerContext
from moxtwisted.sasl.interfaces import ISASLBackend
from moxtwisted.sasl.outcome import Accepted, Failure, Outcome, Reason
from moxtwisted.server.authority import Elsewhere, LoginAttempt
from moxtwisted.server.loginlimits import LoginLimits
from moxtwisted.server.passwordwork import BusyError, HashPool, IPasswordWork
from moxtwisted.server.ratelimit import AuthenticationLimits

__all__ = [
    "Attempt",
    "AuthenticationSettings",
    "Authenticator",
    "BusyError",
    "HashPool",
    "ICredentialSource",
    "IPasswordWork",
    "LoginRecord",
    "Origin",
    "Session",
    "normalise_login",
]

log = Logger()


@frozen
class LoginRecord:
    """What is known of a login name.

    :ivar account: the account it belongs to.
    :ivar login: the name as the account has it, for instance the address in its canonical form.
    :ivar verifiers: what ``PasswordVerifiers.to_bytes`` wrote; ``None`` when no password was ever set.
    :ivar disabled: when not empty, log-in is refused and the peer reads this text, after it gave the right password.
    :ivar imap_preauth: found by a TLS client key, whether that needs no command to be logged in to IMAP.
    """

    account: str
    login: str
    verifiers: bytes | None = field(repr=False)
    disabled: str = ""
    imap_preauth: bool = False


class ICredentialSource(Interface):
    """Where accounts and their verifiers come from (the directory and the store)."""

    def lookup(login: str) -> Awaitable[LoginRecord | None]:
        """The record of a login name.

        :param login: as ``normalise_login`` leaves it: the domain in lower case and A-labels, the local part as typed
            (whether its case matters is known to the domain).
        :return: ``None`` when nobody has this name.
        :raise MailError: when it cannot be told now.
        """

    def canonical(login: str) -> str:
        """One form for all login names that ``lookup`` takes for the same, also for those that nobody has.

        Made-up salts follow from it, see ``moxtwisted.sasl.decoys``. It must not depend on who exists.

        :param login: as for ``lookup``.
        """

    def lookup_key(fingerprint: str) -> Awaitable[LoginRecord | None]:
        """The record of the account that a TLS client key logs in.

        :param fingerprint: SHA-256 of the SubjectPublicKeyInfo, 64 hexadecimal digits in lower case.
        """


@frozen
class AuthenticationSettings:
    """How passwords are checked.

    :ivar cache_seconds: how long a right password is remembered; 0 = not at all.
    :ivar cache_entries: how many of them.
    :ivar costs: what new passwords are hashed with; an unknown user is made to cost the same.
    :ivar decoy_secret: 16 octets or more that outlive restarts, see ``moxtwisted.sasl.decoys``; empty = made anew.
    """

    cache_seconds: float = 900.0
    cache_entries: int = 10_000
    costs: Costs = DEFAULT_COSTS
    decoy_secret: bytes = field(default=b"", repr=False)


@frozen
class Origin:
    """Where a log-in comes from.

    :ivar ip: the peer's address; empty for a unix socket, which is not limited.
    :ivar protocol: ``"submission"``, ``"imap"``, ``"webmail"`` ...
    :ivar session: the session's name in the log.
    :ivar fingerprint: of the TLS client key, 64 hexadecimal digits; empty = none was shown.
    :ivar tls: TLS version and cipher suite; empty = in clear.
    :ivar user_agent: what the client says that it is.
    """

    ip: str
    protocol: str
    session: str = ""
    fingerprint: str = ""
    tls: str = ""
    user_agent: str = ""


@frozen
class Attempt:
    """One log-in that was tried, for the table that users and administrators look at.

    :ivar login: as typed when it failed (at most 320 characters, may hold anything), canonical when it succeeded.
    :ivar account: empty when not known.
    :ivar result: ``"ok"`` or the word of a ``Reason``.
    """

    at: float
    origin: Origin
    mechanism: str
    login: str
    account: str
    result: str


@frozen
class _Remembered:
    digest: bytes
    expires: float
    accepted: Accepted


def normalise_login(username: str) -> str:
    """A login name in one spelling: NFC, width mapped, the domain in lower case and A-labels.

    :raise moxtwisted.sasl.prep.PreparationError: when no login name can look like this.
    """
    name = prep.username_case_preserved(username)
    localpart, at, domain = name.rpartition("@")
    if not at:
        return name
    try:
        return f"{localpart}@{Domain.parse(domain).ascii}"
    except DomainError:
        return f"{localpart}@{domain.lower()}"


class Authenticator:
    """Checks who somebody is, for all protocols.

    :param source: accounts and verifiers.
    :param work: where argon2id runs.
    :param clock: gives the time.
    :param entropy: ``entropy(n)`` gives n unpredictable octets.
    :param limits: failures that are borne.
    :param settings: see there.
    :ivar limits: who failed too often.
    :ivar counts: attempts by (protocol, mechanism, result).
    :ivar elsewhere: who decides on passwords beside us; None: nobody.
    :ivar observers: functions that get every ``Attempt``; they must be quick and not raise.
    """

    def __init__(
        self,
        source: ICredentialSource,
        work: IPasswordWork,
        clock: IReactorTime,
        entropy: Callable[[int], bytes],
        *,
        limits: LoginLimits | None = None,
        settings: AuthenticationSettings | None = None,
    ) -> None:
        self.settings = settings or AuthenticationSettings()
        self.source = source
        self.limits = limits or LoginLimits(AuthenticationLimits(), clock, entropy)
        self.clock = clock
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.observers: list[Callable[[Attempt], None]] = []
        self.elsewhere: Elsewhere | None = None
        self._work = work
        self.entropy = entropy
        self._key = entropy(32)
        self._cache: OrderedDict[str, _Remembered] = OrderedDict()
        self._waiting: dict[bytes, list[Deferred[Outcome]]] = {}
        self._epoch = 0
        self._decoy = ""
        self.decoys = Decoys(self.settings.decoy_secret or entropy(32), self.settings.costs, self._canonical)

    def session(self, origin: Origin) -> Session:
        """The backend for the exchanges of one connection."""
        return Session(self, origin)

    def _canonical(self, username: str) -> str:
        try:
            return self.source.canonical(normalise_login(username))
        except prep.PreparationError:  # nobody's name, in any spelling
            return username

    @property
    def epoch(self) -> int:
        """Another number after each of the following."""
        return self._epoch

    def forget(self, account: str) -> None:
        """Forget the remembered passwords of an account, also those whose check is still running."""
        self._epoch += 1
        self.limits.forget_wrong()
        for login in [name for name, entry in self._cache.items() if entry.accepted.account == account]:
            del self._cache[login]

    def forget_all(self) -> None:
        """Forget all remembered passwords, for instance after ``domains.conf`` was read again."""
        self._epoch += 1
        self.limits.forget_wrong()
        self._cache.clear()

    def digest(self, login: str, password: str) -> bytes:
        """The form in which a right password is remembered: an HMAC under a key that dies with the process."""
        text = f"{login}\0{password}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, text, "sha256")

    def remembered(self, login: str, digest: bytes) -> Accepted | None:
        """Whether this password was right a short while ago."""
        entry = self._cache.get(login)
        if entry is None or not hmac.compare_digest(entry.digest, digest):
            return None
        if entry.expires <= self.clock.seconds():
            del self._cache[login]
            return None
        self._cache.move_to_end(login)
        return entry.accepted

    def _remember(self, login: str, digest: bytes, accepted: Accepted) -> None:
        if self.settings.cache_seconds <= 0 or self.settings.cache_entries <= 0:
            return
        expires = self.clock.seconds() + self.settings.cache_seconds
        self._cache[login] = _Remembered(digest, expires, accepted)
        self._cache.move_to_end(login)
        if len(self._cache) > self.settings.cache_entries:
            self._cache.popitem(last=False)

    async def verify(self, login: str, password: str, digest: bytes) -> Outcome:
        """Check a password with all the work it takes; equal checks under way share one answer.

        :param login: normalised; empty = it was no possible name, the work is done all the same.
        :param digest: from ``digest``.
        """
        waiting = self._waiting.get(digest)
        if waiting is not None:
            answer: Deferred[Outcome] = Deferred(waiting.remove)
            waiting.append(answer)
            return await answer
        self._waiting[digest] = []
        # what those who wait are told if this connection goes away meanwhile
        outcome: Outcome = Failure(Reason.UNAVAILABLE, login, detail="the check was cancelled")
        try:
            outcome = await self._verify(login, password, digest)
        finally:
            for answer in self._waiting.pop(digest):
                answer.callback(outcome)
        return outcome

    async def _verify(self, login: str, password: str, digest: bytes) -> Outcome:
        epoch = self._epoch
        try:
            record = await self.source.lookup(login) if login else None
            stored = record.verifiers if record is not None else None
            encoded = PasswordVerifiers.from_bytes(stored).argon2id if stored is not None else ""
            # An unknown user costs as much as a known one, so that time does not tell them apart.
            right = await self._work.run(verify_password, encoded or await self._decoy_hash(), password)
        except Exception as e:  # noqa: BLE001 a boundary: whatever fails below, the peer gets a temporary answer
            return unavailable(login, e)
        if record is None or not encoded or not right:
            return Failure(Reason.BAD_CREDENTIALS, login)
        if record.disabled:
            return Failure(Reason.DISABLED, login, record.disabled)
        accepted = Accepted(record.login, record.account)
        if epoch == self._epoch:
            self._remember(login, digest, accepted)
        return accepted

    async def _decoy_hash(self) -> str:
        if not self._decoy:
            make = partial(derive, costs=self.settings.costs)
            made = await self._work.run(make, self.entropy(16).hex(), self.entropy)
            self._decoy = made.argon2id
        return self._decoy

    def report(
        self, origin: Origin, mechanism: str, username: str, outcome: Outcome, mark: bytes = b""
    ) -> None:
        """Count an attempt, log it, tell the observers, and count a failure against the peer's network.

        :param mark: of the password, from ``LoginLimits.mark``.
        """
        if isinstance(outcome, Accepted):
            login, account, result = outcome.login, outcome.account, "ok"
            self.limits.succeeded(origin.ip)
        else:
            # lone surrogates, from octets that were no UTF-8, would stop observers that write text
            login = username[:320].encode("utf-8", "backslashreplace").decode()
            account, result = "", outcome.reason.value
            if outcome.reason in _BLAMED:
                self.limits.failed(origin.ip, username, mark)
            elif outcome.reason is Reason.LIMITED:
                self.limits.refused(origin.ip, username, mark)
        self.counts[origin.protocol, mechanism, result] += 1
        log.info(
            "login {result} for {login} by {mechanism} over {protocol} from {peer}",
            result=result,
            login=login,
            account=account,
            mechanism=mechanism,
            protocol=origin.protocol,
            peer=origin.ip,
            session=origin.session,
            detail=outcome.detail if isinstance(outcome, Failure) else "",
        )
        if self.observers:
            attempt = Attempt(self.clock.seconds(), origin, mechanism, login, account, result)
            for observer in self.observers:
                observer(attempt)


_BLAMED = frozenset(
    {Reason.BAD_CREDENTIALS, Reason.BAD_CHANNEL_BINDING, Reason.BAD_PROTOCOL, Reason.NOT_AUTHORIZED}
)


def unavailable(login: str, error: Exception) -> Failure:
    """The answer when something below failed; what it was goes to the log.

    :raise CancelledError: when it was that: the peer is gone and nobody waits for an answer.
    """
    if isinstance(error, CancelledError):
        raise error
    if isinstance(error, MailError):
        return Failure(Reason.UNAVAILABLE, login, detail=str(error))
    log.failure("login could not be checked")
    return Failure(Reason.UNAVAILABLE, login, detail=type(error).__name__)


@implementer(ISASLBackend)
class Session:
    """The log-ins of one connection; see ``ISASLBackend``.

    :ivar origin: where they come from; replace it when TLS starts or the client names itself.
    :ivar failures: failed attempts so far; the protocol slows down and hangs up by it.
    """

    def __init__(self, authenticator: Authenticator, origin: Origin) -> None:
        self.origin = origin
        self.failures = 0
        self._authenticator = authenticator
        self._record: LoginRecord | None = None
        self._shown = False

    def update(self, **changes: Any) -> None:
        """Change fields of ``origin``."""
        self.origin = evolve(self.origin, **changes)

    def context(
        self,
        *,
        bindings: ChannelBindings | None = None,
        plus_offered: bool = False,
        hostname: str = "localhost",
    ) -> ServerContext:
        """What ``moxtwisted.sasl.server.begin`` needs for an exchange of this connection.

        :param bindings: channel-binding data, see ``moxtwisted.server.certificates.binding``.
        :param plus_offered: whether -PLUS mechanisms were announced.
        """
        authenticator = self._authenticator
        return ServerContext(
            self, authenticator.entropy, authenticator.decoys, bindings or {}, plus_offered, hostname
        )

    def _limited(self) -> bool:
        return self._authenticator.limits.refuses(self.origin.ip)

    def _end(self, mechanism: str, username: str, outcome: Outcome, mark: bytes = b"") -> Outcome:
        if isinstance(outcome, Failure):
            self.failures += 1
            outcome = evolve(outcome, authcid=username)
        self._authenticator.report(self.origin, mechanism, username, outcome, mark)
        return outcome

    async def check_password(self, username: str, password: str, mechanism: str) -> Outcome:
        """See ``ISASLBackend.check_password``."""
        authenticator = self._authenticator
        try:
            login = normalise_login(username)
        except prep.PreparationError:
            login = ""
        digest = authenticator.digest(login or username, password)
        mark = authenticator.limits.mark(digest)
        if self._limited():
            return self._end(mechanism, username, Failure(Reason.LIMITED), mark)
        if authenticator.limits.known_wrong(self.origin.ip, username, mark):
            failure = Failure(Reason.BAD_CREDENTIALS, detail="the same wrong password again")
            return self._end(mechanism, username, failure, mark)

        async def here() -> Outcome:
            return authenticator.remembered(login, digest) or await authenticator.verify(
                login, password, digest
            )

        if authenticator.elsewhere is None:
            return self._end(mechanism, username, await here(), mark)
        number = self.failures + 1
        attempt = LoginAttempt(
            username=username, password=password, mechanism=mechanism, origin=self.origin, number=number
        )
        try:
            outcome = await authenticator.elsewhere.check(attempt, here, self._find)
        except Exception as e:  # noqa: BLE001 a boundary, as in Authenticator
            outcome = unavailable(login, e)
        return self._end(mechanism, username, outcome, mark)

    async def _find(self, username: str) -> LoginRecord | None:
        try:
            return await self._authenticator.source.lookup(normalise_login(username))
        except prep.PreparationError:
            return None

    async def verifiers(self, username: str, mechanism: str) -> PasswordVerifiers | Failure | None:
        """See ``ISASLBackend.verifiers``."""
        self._record, self._shown = None, False
        if self._limited():
            return self._fail(mechanism, username, Failure(Reason.LIMITED))
        found: PasswordVerifiers | None = None
        try:
            login = normalise_login(username)
            self._record = await self._authenticator.source.lookup(login)
            if self._record is not None and self._record.verifiers is not None:
                found = PasswordVerifiers.from_bytes(self._record.verifiers)
        except prep.PreparationError:
            pass  # nobody's name; the peer sees decoys
        except Exception as e:  # noqa: BLE001 a boundary, as in Authenticator
            return self._fail(mechanism, username, unavailable(username, e))
        self._shown = True
        return found

    def _fail(self, mechanism: str, username: str, failure: Failure) -> Failure:
        self._end(mechanism, username, failure)
        return evolve(failure, authcid=username)

    async def conclude(self, username: str, mechanism: str, refusal: Reason | None) -> Outcome:
        """See ``ISASLBackend.conclude``."""
        record, self._record = self._record, None
        shown, self._shown = self._shown, False
        if shown and refusal is Reason.ABORTED:
            self._authenticator.limits.failed(self.origin.ip, username)
        outcome: Outcome
        if refusal is not None:
            outcome = Failure(refusal)
        elif record is None:
            outcome = Failure(Reason.BAD_CREDENTIALS)
        elif record.disabled:
            outcome = Failure(Reason.DISABLED, text=record.disabled)
        else:
            outcome = Accepted(record.login, record.account)
        return self._end(mechanism, username, outcome)

    async def external(self, username: str) -> Outcome:
        """See ``ISASLBackend.external``."""
        if self._limited():
            return self._end("EXTERNAL", username, Failure(Reason.LIMITED))
        return self._end("EXTERNAL", username, await self._external(username))

    async def preauthenticate(self) -> str | None:
        """The login that the TLS client key of the connection stands for without being asked, or None.

        A key that nobody has, or that shall wait for EXTERNAL, is no failed log-in: browsers and mail programs show what they have.
        """
        if not self.origin.fingerprint or self._limited():
            return None
        try:
            record = await self._authenticator.source.lookup_key(self.origin.fingerprint)
        except Exception as e:  # noqa: BLE001 a boundary, as in Authenticator
            unavailable("", e)
            return None
        if record is None or record.disabled or not record.imap_preauth:
            return None
        self._end("PREAUTH", record.login, Accepted(record.login, record.account))
        return record.login

    async def _external(self, username: str) -> Outcome:
        if not self.origin.fingerprint:
            return Failure(Reason.BAD_CREDENTIALS, detail="no TLS client certificate")
        source = self._authenticator.source
        try:
            record = await source.lookup_key(self.origin.fingerprint)
            if record is not None and username:
                named = await source.lookup(normalise_login(username))
                # The identity asked for must belong to the account that the key is registered for.
                record = named if named is not None and named.account == record.account else None
        except prep.PreparationError:
            return Failure(Reason.BAD_CREDENTIALS)
        except Exception as e:  # noqa: BLE001 a boundary, as in Authenticator
            return unavailable(username, e)
        if record is None:
            return Failure(Reason.BAD_CREDENTIALS, detail="TLS client key is not registered for this login")
        if record.disabled:
            return Failure(Reason.DISABLED, text=record.disabled)
        return Accepted(record.login, record.account)
