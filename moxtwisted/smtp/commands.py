"""The commands of the server machine: a method for each verb, from argument to event.

Each ``on_verb`` is called only where ``moxtwisted.smtp.states.ALLOWED`` allows the verb. It reads the argument, applies what the
settings say, and returns the event to be answered; ``SyntaxRefused`` that it raises becomes a refusal.
``moxtwisted.smtp.server.ServerMachine`` completes this with what the answers lead to.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeAlias

from moxtwisted.address import AddressError, parse_path
from moxtwisted.smtp.envelope import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    MailParameters,
    RcptParameters,
)
from moxtwisted.smtp.events import (
    AuthResponse,
    AuthStart,
    BodyData,
    BodyStart,
    Event,
    ExtensionCommand,
    Hello,
    Mail,
    Plain,
    Quit,
    Rcpt,
    Refused,
    Reset,
    StartTLS,
)
from moxtwisted.smtp.extensions import (
    NOTHING_OFFERED,
    Facts,
    Offer,
    Offers,
    standard_extensions,
)
from moxtwisted.smtp.grammar import (
    SyntaxRefused,
    decode_base64,
    parse_chunk_size,
    parse_parameters,
    split_command,
    split_path,
    valid_hello_name,
)
from moxtwisted.smtp.peer import TLSInfo
from moxtwisted.smtp.replies import Reply, StandardReplies
from moxtwisted.smtp.settings import Mode, ServerSettings
from moxtwisted.smtp.states import ALLOWED, State
from moxtwisted.smtp.transfer import Transfer

__all__ = ["Commands", "Step"]

_HELLOS = frozenset({"EHLO", "HELO", "LHLO"})

#: Verb to the method that reads its argument.
_METHODS = {verb: "on_" + verb.lower() for verb in ALLOWED}

#: What reading on may yield: nothing yet, octets of a message, or something to answer.
Step: TypeAlias = "Event | BodyData | None"


class Commands(Transfer):
    """Command lines to events.

    :ivar offers: what EHLO may say.
    :ivar tls_available: whether STARTTLS can be done here.
    :ivar tls: TLS of the connection, or None.
    :ivar authenticated: whether AUTH succeeded.
    :ivar hello_name: the argument of the last EHLO/HELO/LHLO, empty before.
    :ivar esmtp: whether it was EHLO or LHLO.
    :ivar auth_failures: failed AUTH commands since the last success.
    """

    def __init__(
        self,
        settings: ServerSettings,
        *,
        utc_now: Callable[[], datetime],
        offers: Offers | None = None,
        replies: StandardReplies | None = None,
        tls_available: bool = False,
    ) -> None:
        super().__init__(settings, replies if replies is not None else StandardReplies())
        self.offers = offers if offers is not None else Offers(standard_extensions(settings))
        self.tls_available = tls_available
        self._utc_now = utc_now
        self.tls: TLSInfo | None = None
        self.authenticated = False
        self.hello_name = ""
        self.esmtp = False
        self.auth_failures = 0
        self._offer: Offer = NOTHING_OFFERED
        self._next_offer: Offer = NOTHING_OFFERED
        self._pending: Event | None = None
        self._commands = 0
        self._bad_commands = 0
        self._bad_transactions = 0

    @property
    def misbehaved(self) -> bool:
        """Whether the client made more errors than are borne: we hang up, or would at its next command."""
        limits = self.settings.limits
        return self._bad_commands > limits.bad_commands or self._bad_transactions > limits.bad_transactions

    def on_line(self, line: bytes) -> Step:
        """A command line: which verb it is, whether the state allows it, and then the verb's own method."""
        self._commands += 1
        if self._bad_commands > self.settings.limits.bad_commands:
            return Refused("", self.replies.too_many_bad_commands)
        verb, argument = split_command(line)
        allowed = ALLOWED.get(verb)
        if verb in _HELLOS and (verb == "LHLO") is not (self.settings.mode is Mode.LMTP):
            allowed = None  # RFC 2033 section 4.1: LHLO in LMTP, and only there
        if allowed is None:
            allowed = self._offer.commands.get(verb)
            if allowed is None:
                return self.on_unknown(verb, argument)
            if self.state not in allowed:
                return self.out_of_sequence(verb, argument)
            return ExtensionCommand(verb, self.replies.ok, argument.decode("utf-8", "surrogateescape"))
        if self.state not in allowed:
            return self.out_of_sequence(verb, argument)
        on_verb: Callable[[bytes], Step] = getattr(self, _METHODS[verb])
        try:
            return on_verb(argument)
        except SyntaxRefused as e:
            return Refused(verb, Reply(e.reply_code, e.enhanced_code, e.public_text))

    @property
    def offer(self) -> Offer:
        """What the last EHLO was offered."""
        return self._offer

    @property
    def pending(self) -> Event | None:
        """The event that is to be answered, or None."""
        return self._pending

    # -- commands, one method each ---------------------------------------------------------------------------------------

    def on_unknown(self, verb: str, argument: bytes) -> Event:
        """A line that is no command."""
        first = self._commands == 1 and self.settings.mode is Mode.MX
        if first and self.settings.close_on_first_unknown_command:
            return Refused(verb, self.replies.unknown_command.closing())
        return Refused(verb, self.replies.unknown_command)

    def out_of_sequence(self, verb: str, argument: bytes) -> Step:
        """A command that the state does not allow."""
        if verb == "BDAT":
            return self.refuse_chunk(argument, self.replies.bad_sequence)
        if verb in {"DATA", "RCPT", "MAIL"} and self.state is State.GREETED:
            return Refused(verb, self.replies.hello_first)
        lmtp, transaction = self.settings.mode is Mode.LMTP, self.transaction
        if (
            verb == "DATA"
            and not lmtp
            and transaction is not None
            and not transaction.recipients
            and transaction.rejected
        ):
            # RFC 5321 section 3.3: 503 or 554 when there is no valid recipient; RFC 2033 section 4.2 wants 503 in LMTP.
            return Refused(verb, self.replies.no_recipients)
        return Refused(verb, self.replies.bad_sequence)

    def _on_hello(self, verb: str, argument: bytes) -> Event:
        if not valid_hello_name(argument, lenient=self.settings.mode is not Mode.MX):
            return Refused(verb, self.replies.bad_hello)
        name = argument.decode("ascii")
        if verb == "HELO":
            return Hello(verb, Reply(250, "", self.settings.hostname), name, False)
        facts = Facts(
            tls=self.tls,
            tls_available=self.tls_available,
            authenticated=self.authenticated,
            name=name,
            now=self._utc_now(),
        )
        self._next_offer = self.offers.offer(facts)
        return Hello(verb, Reply(250, "", (self.settings.hostname, *self._next_offer.lines)), name, True)

    def on_ehlo(self, argument: bytes) -> Event:
        """EHLO (RFC 5321 section 4.1.1.1)."""
        return self._on_hello("EHLO", argument)

    def on_helo(self, argument: bytes) -> Event:
        """HELO."""
        return self._on_hello("HELO", argument)

    def on_lhlo(self, argument: bytes) -> Event:
        """LHLO (RFC 2033 section 4.1)."""
        return self._on_hello("LHLO", argument)

    def on_starttls(self, argument: bytes) -> Event:
        """STARTTLS (RFC 3207)."""
        if self.tls is not None:
            return Refused("STARTTLS", self.replies.tls_active)
        if not self.tls_available:
            return Refused("STARTTLS", self.replies.not_implemented)
        if argument:
            return Refused("STARTTLS", self.replies.no_argument)
        if self.buffered:
            # What came in clear behind STARTTLS must not be taken for something said under TLS (CVE-2011-0411).
            return Refused("STARTTLS", self.replies.starttls_injection)
        return StartTLS("STARTTLS", self.replies.starttls)

    def on_auth(self, argument: bytes) -> Event:
        """AUTH (RFC 4954 section 4)."""
        settings, replies = self.settings, self.replies
        if not settings.mechanisms:
            return Refused("AUTH", replies.not_implemented)
        if self.authenticated:
            return Refused("AUTH", replies.already_authenticated)
        if self.auth_failures > settings.limits.auth_failures:
            return Refused("AUTH", replies.too_many_auth_failures)
        if self.tls is None and not settings.auth_without_tls:
            return Refused("AUTH", replies.auth_needs_tls)
        word, _, initial = argument.partition(b" ")
        mechanism = word.upper().decode("latin-1")
        if not word or b" " in initial:
            return Refused("AUTH", replies.bad_argument)
        if mechanism not in self._offer.keywords.get("AUTH", "").split(" "):
            return Refused("AUTH", replies.unknown_mechanism)
        if not initial:
            return AuthStart("AUTH", replies.auth_unavailable, mechanism, None)
        data = b"" if initial == b"=" else decode_base64(initial)
        if data is None:
            return Refused("AUTH", replies.bad_base64)
        return AuthStart("AUTH", replies.auth_unavailable, mechanism, data)

    def _auth_line(self, line: bytes) -> Event:
        if line == b"*":
            return Refused("AUTH", self.replies.auth_cancelled)
        data = decode_base64(line)
        if data is None:
            return Refused("AUTH", self.replies.bad_base64)
        return AuthResponse("AUTH", self.replies.auth_unavailable, data)

    def on_mail(self, argument: bytes) -> Event:
        """MAIL FROM (RFC 5321 section 4.1.1.2)."""
        settings, replies = self.settings, self.replies
        if self._bad_transactions > settings.limits.bad_transactions:
            return Refused("MAIL", replies.too_many_bad_transactions)
        if settings.require_starttls and self.tls is None:
            return Refused("MAIL", replies.starttls_first)
        if settings.needs_auth and not self.authenticated:
            return Refused("MAIL", replies.auth_first)
        octets, words = split_path(argument, b"FROM:")
        parameters = NO_MAIL_PARAMETERS
        if words:
            parameters = MailParameters(**parse_parameters(words, self._offer.mail_parameters))
        try:
            path = parse_path(octets, smtputf8=parameters.smtputf8)
        except AddressError as e:
            return Refused("MAIL", Reply(553 if not octets.isascii() else 501, "5.1.7", e.public_text))
        if path.postmaster:
            return Refused("MAIL", Reply(501, "5.1.7", "a sender needs a domain"))
        refusal = self.check_mail(parameters)
        if refusal is not None:
            return Refused("MAIL", refusal)
        return Mail("MAIL", replies.mail_ok, path, parameters)

    def check_mail(self, parameters: MailParameters) -> Reply | None:
        """What the settings say about the parameters of MAIL: a refusal or None."""
        settings = self.settings
        if settings.size_limit and parameters.size is not None and parameters.size > settings.size_limit:
            return self.replies.too_big  # RFC 1870 section 6.1
        if (
            parameters.hold_for_seconds is not None
            and parameters.hold_for_seconds > settings.future_release_seconds
        ):
            return self.replies.held_too_long
        if parameters.hold_until is not None:
            # RFC 4865 section 4.2 items 8 and 10.
            latest = self._utc_now() + timedelta(seconds=settings.future_release_seconds)
            if parameters.hold_until > latest:
                return self.replies.held_too_long
        return None

    def on_rcpt(self, argument: bytes) -> Event:
        """RCPT TO (RFC 5321 section 4.1.1.3)."""
        transaction = self._open_transaction()
        if len(transaction.recipients) >= self.settings.limits.recipients:
            return Refused("RCPT", self.replies.too_many_recipients)
        octets, words = split_path(argument, b"TO:")
        parameters = NO_RCPT_PARAMETERS
        if words:
            parameters = RcptParameters(**parse_parameters(words, self._offer.rcpt_parameters))
        try:
            path = parse_path(octets, smtputf8=transaction.parameters.smtputf8)
        except AddressError as e:
            # RFC 6531 section 3.5: 553 for an address that would need SMTPUTF8.
            return Refused(
                "RCPT", Reply(553 if not octets.isascii() else 501, e.enhanced_code, e.public_text)
            )
        if path.is_null:
            return Refused("RCPT", Reply(501, "5.1.3", "a recipient is needed"))
        return Rcpt("RCPT", self.replies.rcpt_ok, path, parameters)

    def on_data(self, argument: bytes) -> Event:
        """DATA (RFC 5321 section 4.1.1.4)."""
        transaction = self._open_transaction()
        if argument:
            return Refused("DATA", self.replies.no_argument)
        if transaction.parameters.body == "BINARYMIME":
            return Refused("DATA", self.replies.binary_needs_bdat)  # RFC 3030 section 3
        return BodyStart("DATA", self.replies.start_mail, transaction)

    def on_bdat(self, argument: bytes) -> Step:
        """BDAT (RFC 3030 section 2)."""
        if "CHUNKING" not in self._offer.keywords:
            return Refused("BDAT", self.replies.not_implemented.closing())
        size = parse_chunk_size(argument)
        if size is None:
            return Refused(
                "BDAT", self.replies.bad_argument.closing()
            )  # where the next command begins is not known
        transaction = self._open_transaction()
        limit = self.settings.size_limit
        if limit and transaction.octets + size[0] > limit:
            return self.refuse_chunk(argument, self.replies.too_big, body=True)
        self._left, self._last_chunk = size
        if self.state is State.RCPT:
            return BodyStart("BDAT", self.replies.chunk_ok, transaction)
        self.state = State.CHUNK
        return self._next_chunk()

    def on_rset(self, argument: bytes) -> Event:
        """RSET (RFC 5321 section 4.1.1.5)."""
        if argument:
            return Refused("RSET", self.replies.no_argument)
        return Reset("RSET", self.replies.ok)

    def on_noop(self, argument: bytes) -> Event:
        """NOOP; its argument means nothing (RFC 5321 section 4.1.1.9)."""
        return Plain("NOOP", self.replies.ok, argument.decode("utf-8", "surrogateescape"))

    def on_help(self, argument: bytes) -> Event:
        """HELP."""
        return Plain("HELP", self.replies.help, argument.decode("utf-8", "surrogateescape"))

    def on_vrfy(self, argument: bytes) -> Event:
        """VRFY: we tell strangers nothing (RFC 5321 section 7.3)."""
        return self._ask_about("VRFY", argument)

    def on_expn(self, argument: bytes) -> Event:
        """EXPN: likewise."""
        return self._ask_about("EXPN", argument)

    def _ask_about(self, verb: str, argument: bytes) -> Event:
        if not argument:
            return Refused(verb, self.replies.bad_argument)
        return Plain(verb, self.replies.cannot_verify, argument.decode("utf-8", "surrogateescape"))

    def on_quit(self, argument: bytes) -> Event:
        """QUIT (RFC 5321 section 4.1.1.10)."""
        if argument:
            return Refused("QUIT", self.replies.no_argument)
        return Quit("QUIT", self.replies.goodbye)
