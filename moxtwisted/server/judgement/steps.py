"""The procedure: what is looked at, in which order, and what it comes to.

::

    decision = await decide(case)

``STEPS`` is the table. Each step looks at the case and either ends it with a decision or returns None, having noted what later ones
want to know. Nothing is asked before a step needs it. Only what the sender's side asked for itself (DMARC), or the recipient, is refused
for good; the rest is "not now", which a real sender tries again and its people can ask about.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from moxtwisted.dns.names import BadNameError, normalise
from moxtwisted.mailauth.dkim.verify import Status as DKIMStatus
from moxtwisted.mailauth.dmarc.author import MAX_OCTETS
from moxtwisted.mailauth.dmarc.evaluation import DMARCResult
from moxtwisted.mailauth.dmarc.evaluation import Verdict as DMARCVerdict
from moxtwisted.mailauth.dmarc.record import Policy
from moxtwisted.mailauth.dnsbl import Listing
from moxtwisted.mailauth.iprev import Verdict as IPRevVerdict
from moxtwisted.mailauth.spf.evaluation import Identity
from moxtwisted.mailauth.spf.evaluation import Verdict as SPFVerdict
from moxtwisted.message.addresslist import mailboxes
from moxtwisted.message.headers import unfold
from moxtwisted.server.judgement.case import INBOX, Case, Content, SourceError
from moxtwisted.server.judgement.interfaces import Decision, JunkScore
from moxtwisted.server.judgement.reasons import Reason
from moxtwisted.server.judgement.reports import look_for_report, take_report
from moxtwisted.server.judgement.reputation import UNKNOWN, Question, reputation
from moxtwisted.server.judgement.subjectpass import INSTRUCTION, has_pass, make_pass, might_have_pass
from moxtwisted.smtp.replies import Reply

__all__ = ["STEPS", "Step", "decide"]

Step = Callable[[Case], Decision | Awaitable[Decision | None] | None]

#: The author is known by From, so that how the mail came matters less.
_BY_FROM: Final = frozenset(
    (
        Reason.MSGFROMFULL, Reason.MSGTOFULL, Reason.MSGFROMDOMAIN, Reason.MSGTODOMAIN, Reason.MSGFROMORGDOMAIN,
        Reason.MSGTOORGDOMAIN,
    )
)  # fmt: skip
#: A sender is told a pass when its mail was so much better than the limit.
_NEARLY: Final = 0.2
_MEMBERS_ONLY: Final = "only members may write to this address"
_WORDS_SHOWN: Final = 10
_MAX_RECIPIENTS: Final = 1000
_MAX_TO_OCTETS: Final = 32 * 1024


def rate(case: Case) -> Decision | None:
    """Step 1: One network must not fill an account."""
    if case.sources.within_rates():
        return None
    # RFC 3463 section 3.3: X.2.2, the mailbox has no room for it, now.
    return case.turn_away(Reason.HIGH_RATE, Reply(452, "4.2.2", "too much mail from your network"))


def membership(case: Case) -> Decision | None:
    """Step 2: To some lists only members may write."""
    may = case.sources.may_post(case.author.address)
    if may is None:
        return None
    if may and case.incoming.verified.from_validated:
        return None
    if may and _not_checked(case):
        case.say("Whether From is the sender's could not be checked now.")
        return case.turn_away(Reason.MEMBERS_ONLY, Reply(451, "4.7.2", _MEMBERS_ONLY))
    # RFC 3463 section 3.8: X.7.2, mailing list expansion prohibited.
    return case.turn_away(Reason.MEMBERS_ONLY, Reply(550, "5.7.2", _MEMBERS_ONLY))


def mailing_list(case: Case) -> Decision | None:
    """Step 3: A rule of the recipient lets a list in: it did its own filtering, and breaks DMARC by what lists do."""
    wanted = case.ruleset.list_allow_domain if case.ruleset is not None else ""
    if not wanted or wanted not in (case.domains.sender, *case.domains.dkim):
        return None
    if _dmarc_asks(case) is not None:
        case.overridden = "mailing_list"
    case.say(f"It comes from {wanted}.")
    return case.accept(Reason.LIST_ALLOW)


def forwarder(case: Case) -> None:
    """Step 4: What was forwarded here is not judged by who forwarded it."""
    if case.forwarded:
        case.sender = case.without_forwarder()
        case.say("It was forwarded.")


def one_author(case: Case) -> Decision | None:
    """Step 5: Whoever names two authors could show people one, and prove the other."""
    # RFC 7489 section 6.6.1: what has no single author is mostly refused. Without any address in From nobody is named.
    problem = case.incoming.verified.author.problem
    if not problem or case.forwarded or case.strictness.dmarc == "ignore":
        return None
    fields = case.incoming.header.values.get(b"from", ())
    if not any(len(v) > MAX_OCTETS or any(one.domain for one in mailboxes(unfold(v))) for v in fields):
        return None
    case.say(f"{problem[:1].upper()}{problem[1:]}.")
    # RFC 3463 section 3.7: X.6.0, an error in the message itself.
    return case.refuse(Reason.NO_AUTHOR, Reply(550, "5.6.0", "From must be one field with one author"))


def _dmarc_asks(case: Case) -> DMARCResult | None:
    """The result, when DMARC failed and its owner wants something done."""
    result = case.incoming.verified.dmarc
    if result is None or result.verdict is not DMARCVerdict.FAIL or result.disposition is Policy.NONE:
        return None
    return result


def _dmarc_override(case: Case) -> tuple[str, str]:
    """Why the policy is not applied: in the words of RFC 7489 appendix C, and for people; empty if it is."""
    verified = case.incoming.verified
    if case.forwarded:
        return "forwarded", "A rule of the recipient says that it is forwarded, which breaks DMARC."
    if case.strictness.dmarc == "ignore":
        return "local_policy", "The recipient does not want DMARC applied."
    if verified.sealed is not None and verified.sealed.dmarc_pass:
        # RFC 8617 section 7.2.1: a receiver may take a trusted sealer's word.
        return "trusted_forwarder", f"{verified.sealed.sealer} saw it pass DMARC, and is believed."
    if "dkim" in verified.unconfirmed:
        # SPF by itself is another matter: where it would have made DMARC pass, there is no disposition any more.
        return "local_policy", "The second opinion does not find that DKIM failed."
    return "", ""


def dmarc(case: Case) -> Decision | None:
    """Step 6: What the owner of the domain in From wants done with mail that is not provably from there."""
    result = case.incoming.verified.dmarc
    if result is not None and result.sampled_out:
        # RFC 7489 section 6.6.4: what is not in the sample gets the next milder policy.
        case.overridden = "sampled_out"
    asks = _dmarc_asks(case)
    if asks is None:
        return None
    case.say(f"DMARC failed: {asks.why}.")
    overridden, why = _dmarc_override(case)
    if overridden:
        case.overridden = overridden
        case.say(why)
        return None
    if asks.disposition is Policy.REJECT or case.strictness.dmarc == "strict":
        # RFC 7372 section 3.4: X.7.26, several ways to prove the origin failed.
        return case.refuse(
            Reason.DMARC_POLICY, Reply(550, "5.7.26", f"refused by the DMARC policy of {asks.record_domain}")
        )
    if case.strictness.dmarc == "reject-only":
        case.overridden = "local_policy"
        case.say("The recipient applies only policies that refuse.")
        return None
    case.quarantined = True
    return None


def spf_for_all(case: Case) -> Decision | None:
    """Step 7: For recipients who want it: SPF holds whoever the author is."""
    spf = case.incoming.verified.spf
    if case.strictness.spf != "strict" or spf is None or case.forwarded or case.local_client:
        return None
    if spf.verdict is not SPFVerdict.FAIL or "spf" in case.incoming.verified.unconfirmed:
        return None
    case.say(f"{spf.domain} does not let {spf.ip} send for it.")
    # RFC 7372 section 3.2: X.7.23, SPF validation failed.
    return case.refuse(Reason.SPF_POLICY, Reply(550, "5.7.23", f"refused by the SPF record of {spf.domain}"))


def required_authentication(case: Case) -> Decision | None:
    """Step 9: An address may take only mail whose From is proved."""
    text = case.destination.authentication_required
    verified = case.incoming.verified
    if not text or verified.from_validated:
        return None
    if _not_checked(case):
        case.say("Something could not be checked now.")
        return case.turn_away(Reason.MSG_AUTH_REQUIRED, Reply(451, "4.7.26", text))
    return case.refuse(Reason.MSG_AUTH_REQUIRED, Reply(550, "5.7.26", text))


def _not_checked(case: Case) -> bool:
    verified = case.incoming.verified
    return (
        bool(verified.unconfirmed)
        or (verified.dmarc is not None and verified.dmarc.verdict is DMARCVerdict.TEMPERROR)
        or (verified.spf is not None and verified.spf.verdict is SPFVerdict.TEMPERROR)
        or any(v.status is DKIMStatus.TEMPERROR for v in verified.dkim)
    )


def standing(case: Case) -> Decision | None:
    """Step 10: What the account knows of the sender."""
    try:
        known = case.sources.reputation()
        if known is not None:
            question = Question(case.origin, case.sender, case.incoming.seconds)
            case.standing = reputation(known, question)
    except SourceError as e:
        return case.trouble(Reason.REPUTATION_ERROR, e)
    why = case.standing.why
    case.say(f"{why[:1].upper()}{why[1:]}.")
    return None


def introduction(case: Case) -> None:
    """Step 11: Mail of strangers goes into a mailbox of its own, for those who want that."""
    known = case.standing.method in (Reason.MSGFROMFULL, Reason.MSGTOFULL)
    if (
        case.rules.introbox
        and case.mailbox == INBOX
        and not known
        and not case.forwarded
        and case.report is None
    ):
        case.mailbox = case.rules.introbox
        case.say(f"The author is new, so it goes into {case.rules.introbox}.")


def known_sender(case: Case) -> Decision | None:
    """Step 12: A past that is clear decides."""
    found = case.standing
    if not found.conclusive or found.junk is None:
        return None
    return case.refuse(found.method) if found.junk else case.accept(found.method)


def spf_for_strangers(case: Case) -> Decision | None:
    """Step 14: Who is not known by From needs the consent of the domain in MAIL FROM."""
    verified = case.incoming.verified
    spf = verified.spf
    if case.standing.method in _BY_FROM or case.strictness.spf == "ignore":
        return None
    # The address of a forwarder is not the sender's, and 127.0.0.1 is in nobody's record.
    if case.forwarded or case.local_client:
        return None
    # The name in EHLO, which is what is checked of a null sender, proves too little either way.
    if spf is None or spf.identity is not Identity.MAIL_FROM or "spf" in verified.unconfirmed:
        return None
    if spf.verdict not in (SPFVerdict.FAIL, SPFVerdict.SOFTFAIL):
        return None
    case.say(f"SPF of {spf.domain} says {spf.verdict.value} for {spf.ip}.")
    return case.refuse(
        Reason.SPF_POLICY,
        Reply(451, "4.7.23", f"SPF of {spf.domain} says {spf.verdict.value}, and you are new here"),
    )


def reverse_name(case: Case) -> Decision | None:
    """Step 15: A client without a name is suspicious, and with a mild sign of junk that is enough."""
    iprev = case.incoming.verified.iprev
    if case.standing.method in _BY_FROM or iprev is None or case.forwarded or case.local_client:
        return None
    # We do not hold it against the client that our resolver has no answer.
    if iprev.verdict in (IPRevVerdict.PASS, IPRevVerdict.TEMPERROR):
        return None
    case.suspicious = True
    case.say(f"{iprev.ip} has no name that leads back to it.")
    if not case.standing.junk:
        return None
    # RFC 7372 section 3.3: X.7.25, reverse DNS failed.
    return case.refuse(Reason.IPREV, Reply(451, "4.7.25", f"{iprev.ip} has no name that leads back to it"))


def subject_pass(case: Case) -> Awaitable[Decision | None] | None:
    """Step 16: A sender who was told a pass may use it."""
    if not case.rules.subject_pass_seconds or not case.author.address:
        return None
    subject = case.incoming.header.text(b"subject")
    return _check_pass(case, subject) if might_have_pass(subject) else None


async def _check_pass(case: Case, subject: str) -> Decision | None:
    try:
        key = await case.sources.subject_key()
    except SourceError as e:
        return case.trouble(Reason.SUBJECTPASS_ERROR, e)
    good = has_pass(
        subject,
        key,
        case.author.address,
        case.recipient.destination,
        case.incoming.seconds,
        case.rules.subject_pass_seconds,
    )
    return case.accept(Reason.SUBJECTPASS) if good else None


async def content(case: Case) -> Decision | None:
    """Step 17: What the content filter thinks, by a limit that depends on how the mail came."""
    try:
        score = await case.sources.score()
    except SourceError as e:
        return case.trouble(Reason.JUNK_FILTER_ERROR, e)
    if score is None:
        return None
    limit = case.rules.junk_threshold + case.sources.jitter()
    reason = Reason.JUNK_CONTENT
    strict = _suspicion(case) if limit > case.rules.strict_threshold else ""
    asked = case.sources.allow_list() if strict else None
    listing = await asked if asked is not None else None
    if listing is not None:
        case.say(f"The client is in {listing.zone}, a list of those to let in.")
        strict = ""
    if strict:
        limit, reason = case.rules.strict_threshold, Reason.JUNK_CONTENT_STRICT
    good = score.probability <= limit or not (score.significant or case.suspicious)
    case.content = Content(good, reason, score.probability < limit - _NEARLY)
    _say_score(case, score, limit, strict)
    return None


def _suspicion(case: Case) -> str:
    """Why the limit is to be stricter; empty when it is not."""
    if case.suspicious:
        return "the client has no name"
    if not case.incoming.tls and not case.local_client:
        return "it came without TLS"
    if not case.forwarded and not _addressed(case):
        return "the recipient is neither in To nor in Cc"
    return ""


def _addressed(case: Case) -> bool:
    """Whether To or Cc has the address that the mail was sent to."""
    address = case.recipient.path.address
    if address is None:
        return True
    localpart, domain = address.localpart.lower(), address.domain.ascii
    header = case.incoming.header
    left = _MAX_RECIPIENTS
    values = (*header.values.get(b"to", ()), *header.values.get(b"cc", ()))
    # Mostly it stands there as it is; each recipient has its own look.
    plain = f"{localpart}@{domain}".encode("utf-8", "replace")
    if any(plain in value.lower() for value in values):
        return True
    for value in values:
        found = mailboxes(value[:_MAX_TO_OCTETS])[:left]
        left -= len(found)
        for one in found:
            if one.local.decode("utf-8", "replace").lower() == localpart and _same_domain(one.domain, domain):
                return True
    return False


def _same_domain(octets: bytes, domain: str) -> bool:
    text = octets.decode("utf-8", "replace").lower()
    if text == domain or text.isascii():
        return text == domain
    try:
        return normalise(text) == domain
    except BadNameError:
        return False


def _say_score(case: Case, score: JunkScore, limit: float, strict: str) -> None:
    why = f", because {strict}" if strict else ""
    case.say(f"The content filter says {score.probability:.3f}, the limit is {limit:.3f}{why}.")
    if not score.significant:
        case.say("It has not learned enough yet for its word to count.")
    if score.words:
        words = [f"{word} {probability:.2f}" for word, probability, _ in score.words[:_WORDS_SHOWN]]
        case.say(f"What weighed most: {', '.join(words)}.")


def block_lists(case: Case) -> Awaitable[None] | None:
    """Step 18: If nothing else speaks against it, the lists of clients to block are asked."""
    asked = case.sources.block_list() if case.content.good else None
    return None if asked is None else _ask_block_lists(case, asked)


async def _ask_block_lists(case: Case, asked: Awaitable[Listing | None]) -> None:
    listing = await asked
    if listing is not None:
        case.blocked = listing
        text = f": {listing.text}" if listing.text else ""
        case.say(f"{case.incoming.verified.ip} is in {listing.zone} ({', '.join(listing.codes)}){text}.")


def no_bad_signals(case: Case) -> Decision | None:
    """Step 19: Nothing speaks against it. Strangers wait a moment: who sends to millions does not like that."""
    if not case.content.good or case.blocked is not None:
        return None
    waits = case.rules.first_time_delay and not case.forwarded and not case.local_client
    return case.accept(Reason.NO_BAD_SIGNALS, case.server.first_time_delay_seconds if waits else 0.0)


async def tell_pass(case: Case) -> Decision | None:
    """Step 20: An author whom we could answer is told how to get through."""
    result = case.incoming.verified.dmarc
    if (
        not case.rules.subject_pass_seconds
        or not case.author.address
        or case.standing.method is not UNKNOWN.method
    ):
        return None
    if result is None or result.verdict is not DMARCVerdict.PASS:
        return None
    if case.blocked is None and not case.content.nearly:
        return None
    try:
        key = await case.sources.subject_key()
    except SourceError as e:
        return case.trouble(Reason.SUBJECTPASS_ERROR, e)
    token = make_pass(key, case.author.address, case.recipient.destination, case.incoming.seconds)
    # RFC 3463 section 3.8: X.7.1, delivery not authorized.
    return case.refuse(Reason.GIVE_SUBJECTPASS, Reply(550, "5.7.1", INSTRUCTION.format(token=token)))


def refused(case: Case) -> Decision:
    """Step 21: Something speaks against it."""
    if case.blocked is None:
        return case.refuse(case.content.reason)
    zone, ip = case.blocked.zone, case.incoming.verified.ip
    # RFC 5782 section 2.1 has texts for senders in the list itself; its name is enough to find it.
    return case.refuse(
        Reason.DNS_BLOCKLISTED, Reply(451, "4.7.1", f"{ip} is in {zone}, a list of clients to block")
    )


#: In this order; the last always decides.
STEPS: Final[tuple[Step, ...]] = (
    rate,
    membership,
    mailing_list,
    forwarder,
    one_author,
    dmarc,
    spf_for_all,
    look_for_report,
    required_authentication,
    standing,
    introduction,
    known_sender,
    take_report,
    spf_for_strangers,
    reverse_name,
    subject_pass,
    content,
    block_lists,
    no_bad_signals,
    tell_pass,
    refused,
)


async def decide(case: Case) -> Decision:
    """Go through the steps."""
    for step in STEPS:
        outcome = step(case)
        if outcome is None:
            continue
        if not isinstance(outcome, Decision):
            outcome = await outcome
        if outcome is not None:
            return outcome
    return refused(case)
