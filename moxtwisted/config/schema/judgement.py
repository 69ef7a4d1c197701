"""Whether mail from others is taken: what the server, domains, accounts and addresses want."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from moxtwisted.config.schema.structure import ConfigStruct, Seconds

__all__ = ["DMARCStrictness", "Judgement", "JunkFilter", "Pattern", "Ruleset", "SPFStrictness"]

DMARCStrictness = Literal["strict", "enforce", "reject-only", "ignore"]
SPFStrictness = Literal["strict", "strangers", "ignore"]
#: A regular expression of RE2: its time is linear in the text.
Pattern = Annotated[str, Meta(max_length=1000)]
_Probability = Annotated[float, Meta(ge=0, le=1)]

DMARC_DESCRIPTION = (
    "What becomes of mail that fails DMARC. enforce: what the owner of the domain in From wants; a policy of reject refuses it, one of "
    "quarantine puts it into the junk mailbox. strict: quarantine refuses it as well. reject-only: quarantine counts as no "
    "policy. ignore: no policy "
    "counts."
)
SPF_DESCRIPTION = (
    "What becomes of mail that fails SPF. strangers: it is refused for now (fail and softfail) unless its author is known by "
    "earlier mail or "
    "was written to. strict: besides, a fail is refused for good whoever the author is. ignore: nothing."
)
GREYLISTING_DESCRIPTION = (
    "Whether senders of whom nothing at all is known are asked once to come "
    "again later; programs that send junk often do not."
)


class Ruleset(ConfigStruct, frozen=True, kw_only=True):
    """Something special for a part of an address's mail. All conditions that are set must match; at least one must be set. The first
    rule set that matches counts. Patterns are regular expressions (RE2), searched for; case does not matter."""

    smtp_mail_from_regexp: Annotated[
        Pattern,
        Meta(
            description="Condition: the sender of the envelope (MAIL FROM), without brackets.",
            examples=[r"@lists\.example\.net$"],
        ),
    ] = ""
    msg_from_regexp: Annotated[
        Pattern,
        Meta(description="Condition: the one address in From.", examples=[r"^news@shop\.example$"]),
    ] = ""
    verified_domain: Annotated[
        str,
        Meta(
            description="Condition: this domain, or one below it, passed SPF or DKIM.",
            examples=["lists.example.net"],
        ),
    ] = ""
    headers_regexp: Annotated[
        dict[str, Pattern],
        Meta(
            description="Conditions: for each of these patterns of names there is a header field whose value has the pattern beside it.",
            examples=[{"^list-id$": r"<fans\.lists\.example\.net>"}],
        ),
    ] = field(default_factory=dict)
    is_forward: Annotated[
        bool,
        Meta(
            description="The mail is forwarded by a server that you trust: it is judged by its author and not by that server, "
            "and DMARC, which forwarding "
            "breaks, is not applied. Needs smtp_mail_from_regexp and verified_domain."
        ),
    ] = False
    list_allow_domain: Annotated[
        str,
        Meta(
            description="When exactly this domain passed SPF or DKIM, take the mail without further questions: for mailing lists, which "
            "do their own filtering.",
            examples=["lists.example.net"],
        ),
    ] = ""
    accept_rejects_to_mailbox: Annotated[
        str,
        Meta(
            description="Take what would be refused into this mailbox, marked as seen. What is our own trouble is still refused for now.",
            examples=["Refused"],
        ),
    ] = ""
    mailbox: Annotated[
        str,
        Meta(description="Where the mail goes; empty: where the address's mail goes.", examples=["Lists"]),
    ] = ""
    comment: Annotated[str, Meta(description="A note for yourself.")] = ""


class JunkFilter(ConfigStruct, frozen=True, kw_only=True):
    """The filter that learns from what the account calls junk and not junk."""

    enabled: Annotated[bool, Meta(description="Whether the content of mail is looked at.")] = True
    threshold: Annotated[
        _Probability,
        Meta(description="Probability of junk, 0 to 1, above which mail of strangers is refused."),
    ] = 0.95
    strict_threshold: Annotated[
        _Probability,
        Meta(
            description="The same for mail that comes in a suspicious way: the client has no name that leads back to it, or "
            "used no TLS, or the "
            "recipient is neither in To nor in Cc."
        ),
    ] = 0.25


class Judgement(ConfigStruct, frozen=True, kw_only=True):
    """Whether mail from other servers (SMTP, not submission) is taken."""

    enabled: Annotated[
        bool,
        Meta(
            description="Whether mail is judged. Without it, or without verification, all mail for addresses that exist is taken."
        ),
    ] = True
    dns_block_lists: Annotated[
        tuple[str, ...],
        Meta(
            max_length=20,
            description="Lists in the DNS of clients to block. They are asked in this order, and only about mail of strangers "
            "against which "
            "nothing else speaks.",
            examples=[["bl.example.net"]],
        ),
    ] = ()
    dns_allow_lists: Annotated[
        tuple[str, ...],
        Meta(
            max_length=20,
            description="Lists in the DNS of clients to let in: for these the stricter threshold of the junk filter does not hold.",
            examples=[["wl.example.net"]],
        ),
    ] = ()
    dns_list_seconds: Annotated[
        Seconds,
        Meta(ge=1, le=300, description="How long such lists may take together; those left then are skipped."),
    ] = 30.0
    first_time_sender_delay_seconds: Annotated[
        Seconds,
        Meta(
            ge=0,
            le=300,
            description="How long strangers wait until their mail is taken. Clients on this machine do not wait.",
        ),
    ] = 15.0
    contact: Annotated[
        str,
        Meta(
            max_length=200,
            pattern=r"^[ -~]*$",
            title="a text in ASCII of at most 200 characters",
            description="Said with every refusal, for people: where to ask (ASCII).",
            examples=["see https://example.org/mail"],
        ),
    ] = ""
