"""One client of a submission listener: a user who sends mail.

Recipients here get it at once; for others it is safe in the queue before the client reads 250.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from attrs import Factory, field, frozen
from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.address import Address, AddressError, Path, quote_localpart
from moxtwisted.errors import LimitError, StoreUnavailableError
from moxtwisted.identifiers import Domain
from moxtwisted.mailauth.authres import AuthenticationResults, MethodResult, Property
from moxtwisted.message.compose import Completion
from moxtwisted.sasl.outcome import Success
from moxtwisted.sasl.server import begin
from moxtwisted.server.authentication import Authenticator, Origin
from moxtwisted.server.delivery import LocalDelivery
from moxtwisted.server.directory import Delivery, DirectoryHolder, Refused
from moxtwisted.server.inbound.provocation import Provocation
from moxtwisted.server.intake import Intake, Trouble, admission
from moxtwisted.server.lending.interfaces import AllHere, IPlaces
from moxtwisted.server.ratelimit import ConnectionLimiter
from moxtwisted.server.submission.authors import authors
from moxtwisted.server.submission.correspondents import remember
from moxtwisted.server.submission.header import RefusedHeaderError, SubmittedMessage
from moxtwisted.server.trace import TracedSession, attempt, copies
from moxtwisted.smtp.envelope import MailParameters, RcptParameters, Recipient, Transaction
from moxtwisted.smtp.interfaces import Answer, ISMTPHandler, ISMTPHandlerFactory
from moxtwisted.smtp.peer import Peer, TLSInfo
from moxtwisted.smtp.replies import Reply, reply_for_error
from moxtwisted.store.interfaces import IStagedMessage, IStore
from moxtwisted.store.queue import Outgoing, Queue, QueuedRecipient, SendingLimits

if TYPE_CHECKING:
    from moxtwisted.message.headers import Header
    from moxtwisted.server.submission.signing import MessageSigner, Signing

__all__ = ["Submission", "SubmissionFactory", "SubmissionHandler", "SubmissionSettings"]

_log = Logger()

# RFC 6409 section 6.1 and RFC 3463 section 3.8: 5.7.1, not allowed by policy.
_NOT_YOURS: Final = Reply(550, "5.7.1", "you may not send with this address")
#: Fields that say who wrote or sent a message; an older resending by others cannot be there, as From is the user's own.
_IDENTITIES: Final = ("From", "Sender", "Resent-From", "Resent-Sender")
#: All of them together; mail in the wild stays below 1 KB.
_AUTHORS_OCTETS: Final = 16 * 1024
_DOMAIN_DISABLED: Final = Reply(451, "4.3.0", "sender domain temporarily disabled")


@frozen(kw_only=True)
class SubmissionSettings:
    """What a submission service needs to know.

    :ivar mechanisms: SASL mechanisms on offer.
    :ivar limits: for each account.
    """

    hostname: str
    mechanisms: tuple[str, ...]
    limits: SendingLimits = field(factory=SendingLimits)


@frozen(kw_only=True)
class Submission:
    """What all connections of a service share.

    :ivar signing: what domains sign with, asked for with each message; None where no domain does.
    """

    settings: SubmissionSettings
    store: IStore
    queue: Queue
    directory: DirectoryHolder
    delivery: LocalDelivery
    authenticator: Authenticator
    clock: IReactorTime
    connections: ConnectionLimiter
    provocation: Provocation = field(factory=Provocation)
    signing: Callable[[], Signing | None] = lambda: None
    seconds: Callable[[], float] = time.time
    places: IPlaces = field(factory=AllHere)
    trouble: Trouble = Factory(lambda self: Trouble(self.clock.seconds), takes_self=True)


@implementer(ISMTPHandlerFactory)
@frozen
class SubmissionFactory:
    """Makes the handlers of a listener."""

    _submission: Submission

    def connected(self, peer: Peer) -> ISMTPHandler | Reply:
        """See ``ISMTPHandlerFactory``: refuse who connects too often."""
        turned_away = admission(self._submission.connections, peer.ip)
        if turned_away is not None:
            return turned_away
        handler: ISMTPHandler = SubmissionHandler(self._submission, peer)
        return handler


@implementer(ISMTPHandler)
class SubmissionHandler:
    """One connection."""

    def __init__(self, submission: Submission, peer: Peer) -> None:
        self._submission = submission
        self._session = TracedSession(submission.settings.hostname, peer, lmtp=False)
        ip = str(peer.ip) if peer.ip is not None else ""
        self._login = submission.authenticator.session(Origin(ip, "submission", self._session.id))
        self._account = ""
        self._deliveries: dict[Path, tuple[Delivery, ...]] = {}
        self._transaction: Transaction | None = None
        # Of the message that is coming in, by its From field.
        self._authors: list[Address] = []

    # -- ISMTPHandler --------------------------------------------------------------------------------------------

    def hello(self, name: str, esmtp: bool) -> Answer:
        """Take note."""
        self._session.name, self._session.esmtp = name, esmtp
        return None

    def tls_started(self, tls: TLSInfo) -> None:
        """Take note; who logged in before does not count (RFC 3207 section 4.2)."""
        self._session.tls = tls
        self._account, self._session.authenticated = "", False
        key = tls.client_key_sha256
        self._login.update(tls=f"{tls.version} {tls.cipher}", fingerprint=key.hex() if key else "")

    def sasl_start(self, mechanism: str, tls: TLSInfo | None) -> Any:
        """Begin an exchange with the one authenticator of the server."""
        mechanisms = self._submission.settings.mechanisms
        context = self._login.context(
            bindings=tls.channel_bindings if tls else None,
            plus_offered=tls is not None and any(m.endswith("-PLUS") for m in mechanisms),
            hostname=self._submission.settings.hostname,
        )
        # RFC 4954 section 4: 504 5.5.4 for a mechanism that is not there.
        return begin(mechanism, mechanisms, context) or Reply(504, "5.5.4", "mechanism not available")

    def authenticated(self, identity: Success) -> Answer:
        """Somebody is here."""
        self._account, self._session.authenticated = identity.account, True
        return None

    def mail(self, reverse_path: Path, parameters: MailParameters) -> Answer:
        """The sender must be the user (or ``<>``: a receipt, RFC 8098 section 3)."""
        self.reset()
        directory = self._submission.directory.current
        entry = directory.accounts.get(self._account)
        if entry is None or entry.disabled:
            # The operator took the account away, or switched it off, after the user had logged in.
            return Reply(550, "5.7.1", entry.disabled if entry else "account is not available", close=True)
        address = reverse_path.address
        if address is not None:
            if not directory.may_send_as(self._account, address):
                return _NOT_YOURS
            if directory.sender_domain_disabled(address):
                return _DOMAIN_DISABLED
        return self._submission.provocation.at_mail(reverse_path)

    def rcpt(self, forward_path: Path, parameters: RcptParameters) -> Answer:
        """An address here must exist; any other may."""
        provoked = self._submission.provocation.at_rcpt(forward_path)
        if provoked is not None:
            return provoked
        found = self._submission.directory.current.resolve(forward_path)
        if not isinstance(found, Refused):
            if not found.public and not any(d.account == self._account for d in found.deliveries):
                return Reply(550, "5.7.2", "only members may write to this address")
            self._deliveries[forward_path] = found.deliveries
        elif found.local or not isinstance(getattr(forward_path.address, "domain", None), Domain):
            return Reply(found.reply_code, found.enhanced_code, found.text)
        return None

    def data_started(self, transaction: Transaction) -> SubmittedMessage:
        """A place for the message, that puts its header right."""
        self._transaction = transaction
        submission = self._submission
        return SubmittedMessage(
            Intake(submission.store.stage(transaction.parameters.size or 0), submission.trouble),
            self._check_identities,
            Completion(int(submission.seconds()), submission.settings.hostname, os.urandom),
            self._begin_signing,
        )

    def data_done(self, sink: SubmittedMessage) -> Awaitable[Reply | None]:
        """Deliver here, queue for elsewhere; the answer comes when all is safe."""
        transaction, self._transaction = self._transaction, None
        deliveries, self._deliveries = self._deliveries, {}
        if transaction is None:
            raise StoreUnavailableError("a message ended that never began")
        return self._take(transaction, deliveries, sink)

    def reset(self) -> None:
        """The transaction is void."""
        self._transaction = None
        self._deliveries = {}

    def disconnected(self, reason: str) -> None:
        """The client is gone."""
        if self._session.peer.ip is not None:
            self._submission.connections.release(str(self._session.peer.ip), errors=reason == "errors")

    # -- decisions -----------------------------------------------------------------------------------------------

    def _check_identities(self, values: Mapping[bytes, list[bytes]]) -> None:
        """RFC 6409 section 6.1: what the message says of who wrote and sent it is the user's own."""
        if len(values.get(b"from", ())) != 1:
            raise RefusedHeaderError(
                f"{len(values.get(b'from', ()))} From fields",
                public_text="the message must have one From field",
            )
        if len(values.get(b"sender", ())) > 1:
            raise RefusedHeaderError(
                f"{len(values[b'sender'])} Sender fields", public_text="the message has two Sender fields"
            )
        if (
            sum(len(value) for name in _IDENTITIES for value in values.get(name.lower().encode(), ()))
            > _AUTHORS_OCTETS
        ):
            raise LimitError(
                f"over {_AUTHORS_OCTETS} octets of authors", public_text="the From field is too long"
            )
        for name in _IDENTITIES:
            for value in values.get(name.lower().encode(), ()):
                found = self._check_identity(name, value)
                if name == "From":
                    self._authors = found

    def _begin_signing(self, header: Header) -> MessageSigner | None:
        signing = self._submission.signing()
        if signing is None:
            return None
        from moxtwisted.server.submission.signing import Author

        directory = self._submission.directory.current
        return signing.begin(
            header,
            [
                Author(directory.canonical_login(str(author)).rpartition("@")[0], author.domain.ascii)
                for author in self._authors
            ],
        )

    def _check_identity(self, name: str, value: bytes) -> list[Address]:
        """The addresses of a field, all of them the user's own."""
        directory = self._submission.directory.current
        found = authors(value)
        if found is None:
            # Other programs may see another author in it than we do.
            raise RefusedHeaderError(f"{name} is ambiguous", public_text=f"the {name} field cannot be read")
        if not found:
            raise RefusedHeaderError(f"empty {name}", public_text=f"the {name} field has no address")
        if name.endswith("Sender") and len(found) > 1:
            # RFC 5322 section 3.6.2: one mailbox.
            raise RefusedHeaderError(
                f"{len(found)} in {name}", public_text=f"the {name} field has more than one address"
            )
        addresses = []
        for local, domain in found:
            try:
                address = Address.parse(_quoted(local, domain))
            except AddressError as e:
                raise RefusedHeaderError(
                    e.detail, public_text=f"the {name} field has no usable address"
                ) from e
            if not directory.may_send_as(self._account, address):
                error = RefusedHeaderError(
                    f"{name} {address}", public_text=f"you may not send with the address of the {name} field"
                )
                error.enhanced_code = "5.7.1"
                raise error
            addresses.append(address)
        return addresses

    async def _take(
        self, transaction: Transaction, deliveries: dict[Path, tuple[Delivery, ...]], sink: SubmittedMessage
    ) -> Reply | None:
        provoked = self._submission.provocation.at_data([r.path for r in transaction.recipients])
        if provoked is not None:
            sink.abort()
            return await provoked if isinstance(provoked, Awaitable) else provoked
        staged = sink.finish().finish()
        try:
            return await self._keep(transaction, deliveries, staged, sink)
        finally:
            staged.close()

    async def _keep(
        self,
        transaction: Transaction,
        deliveries: dict[Path, tuple[Delivery, ...]],
        staged: IStagedMessage,
        sink: SubmittedMessage,
    ) -> Reply | None:
        submission = self._submission
        now = submission.seconds()
        trace = self._results(transaction) + self._session.trace(transaction, now, show_client=False)
        if sink.signer is not None:
            # RFC 6376 section 5.6: above everything else. Nothing below is changed any more, in no copy.
            trace = await sink.signer.sign(now) + trace
        if _held_until(transaction, now) > now:
            # RFC 4865 section 4.1: nobody gets it before that time, here neither.
            deliveries = {}
        elsewhere = [r for r in transaction.recipients if r.path not in deliveries]
        queued = await submission.queue.submit(
            self._outgoing(transaction, elsewhere, staged, trace, sink.identifier, now),
            [str(r.path) for r in transaction.recipients],
            submission.settings.limits,
            int(now),
        )
        outcome = await submission.delivery.deliver(
            staged,
            copies(transaction.reverse_path, deliveries, trace),
            int(now),
            # The header was completed with what is random.
            attempt=attempt(transaction, sink.digest()),
        )
        failed = [error for error in outcome.values() if error is not None]
        if not failed:
            recipients = [recipient.path for recipient in transaction.recipients]
            ensureDeferred(remember(submission.store, submission.places, self._account, recipients, int(now)))
        if failed and queued:
            # The client will send all of it again; those elsewhere must not get it twice.
            await submission.queue.withdraw(queued)
        _log.info(
            "submission by {account}: {octets} octets, {local} copies here, {queued} recipients queued, {failed} failed",
            session=self._session.id,
            account=self._account,
            octets=staged.size,
            local=len(outcome) - len(failed),
            queued=len(elsewhere),
            failed=len(failed),
        )
        return reply_for_error(failed[0]) if failed else None

    def _results(self, transaction: Transaction) -> bytes:
        """That the client logged in (RFC 8601 section 2.7.4); who it is says the sender that it may use, not the account."""
        sender = _text(transaction.reverse_path)
        properties = (Property("smtp", "mailfrom", sender),) if sender else ()
        results = AuthenticationResults(
            self._submission.settings.hostname, (MethodResult("auth", "pass", properties=properties),)
        )
        return results.field(utf8=transaction.parameters.smtputf8)

    def _outgoing(
        self,
        transaction: Transaction,
        recipients: Sequence[Recipient],
        staged: IStagedMessage,
        trace: bytes,
        identifier: str,
        now: float,
    ) -> Outgoing:
        parameters = transaction.parameters
        return Outgoing(
            account=self._account,
            sender=_text(transaction.reverse_path),
            recipients=[_queued(r) for r in recipients],
            staged=staged,
            prefix=trace,
            message_id=identifier,
            body=parameters.body,
            smtputf8=parameters.smtputf8,
            require_tls=parameters.require_tls,
            ret=parameters.ret or "",
            envid=parameters.envid or "",
            not_before=_held_until(transaction, now),
        )


def _held_until(transaction: Transaction, now: float) -> int:
    """Seconds since 1970 (RFC 4865), or 0."""
    parameters = transaction.parameters
    if parameters.hold_until is not None:
        return math.ceil(parameters.hold_until.astimezone(UTC).timestamp())
    return math.ceil(now) + parameters.hold_for_seconds if parameters.hold_for_seconds else 0


def _queued(recipient: Recipient) -> QueuedRecipient:
    parameters = recipient.parameters
    orcpt_type, orcpt = parameters.orcpt or ("", "")
    return QueuedRecipient(
        _text(recipient.path), ",".join(sorted(parameters.notify or ())), orcpt_type, orcpt
    )


def _text(path: Path) -> str:
    return path.address.wire(smtputf8=True).decode() if path.address else ""


def _quoted(local: bytes, domain: bytes) -> str:
    """An address of a header field as text that can be parsed again."""
    return f"{quote_localpart(local.decode('utf-8', 'replace'))}@{domain.decode('utf-8', 'replace')}"
