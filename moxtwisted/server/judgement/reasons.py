"""Why a message was taken or refused, in a word.

The word stands in ``X-Moxtwisted-Reason``, in the log and in metrics; the sentence is for people::

    Reason.SPF_POLICY, SENTENCES[Reason.SPF_POLICY]       # "spf-policy", "The sender is not known here, and …"

Those from ``msgfromfull`` to ``none`` are what a reputation was found by (``judgement.reputation``). Lists of senders, greylisting, traps
and scanners have words of their own, where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

__all__ = ["SENTENCES", "Reason"]


class Reason(StrEnum):
    """All of the judge's."""

    HIGH_RATE = "high-rate"
    LIST_ALLOW = "list-allow"
    NO_AUTHOR = "no-author"
    DMARC_POLICY = "dmarc-policy"
    DMARC_QUARANTINE = "dmarc-quarantine"
    REPORTING = "reporting"
    REPORT_ERROR = "report-error"
    MSG_AUTH_REQUIRED = "msg-auth-required"
    REPUTATION_ERROR = "reputation-error"
    SPF_POLICY = "spf-policy"
    IPREV = "iprev"
    SUBJECTPASS = "subjectpass"
    SUBJECTPASS_ERROR = "subjectpass-error"
    JUNK_FILTER_ERROR = "junk-filter-error"
    JUNK_CONTENT = "junk-content"
    JUNK_CONTENT_STRICT = "junk-content-strict"
    DNS_BLOCKLISTED = "dns-blocklisted"
    NO_BAD_SIGNALS = "no-bad-signals"
    GIVE_SUBJECTPASS = "give-subjectpass"
    JUDGEMENT_ERROR = "judgement-error"
    MEMBERS_ONLY = "members-only"

    MSGFROMFULL = "msgfromfull"
    MSGTOFULL = "msgtofull"
    MSGFROMDOMAIN = "msgfromdomain"
    MSGTODOMAIN = "msgtodomain"
    MSGFROMORGDOMAIN = "msgfromorgdomain"
    MSGTOORGDOMAIN = "msgtoorgdomain"
    DKIMSPF = "dkimspf"
    IP1 = "ip1"
    IP2 = "ip2"
    IP3 = "ip3"
    NONE = "none"


SENTENCES: Final[Mapping[Reason, str]] = {
    Reason.HIGH_RATE: "The client's network sends more to this account than it may.",
    Reason.LIST_ALLOW: "A rule of the recipient lets this mailing list in.",
    Reason.NO_AUTHOR: "From is there twice, or names several domains or none that can be one: any program may show any of them.",
    Reason.DMARC_POLICY: "The owner of the domain in From wants mail refused that is not provably from there.",
    Reason.DMARC_QUARANTINE: "The owner of the domain in From wants mail set aside that is not provably from there.",
    Reason.REPORTING: "It is a report about a domain here, at the address for such reports.",
    Reason.REPORT_ERROR: "It could not be looked whether it is a report.",
    Reason.MSG_AUTH_REQUIRED: "This address takes mail only from senders whose From is proved.",
    Reason.REPUTATION_ERROR: "What the account knows of senders could not be read.",
    Reason.SPF_POLICY: "The sender is not known here, and SPF says that the client may not send for its domain.",
    Reason.IPREV: "The client has no name that leads back to it, and what is known of the sender is not good.",
    Reason.SUBJECTPASS: "The subject has the pass that the sender was given.",
    Reason.SUBJECTPASS_ERROR: "The key for passes could not be read.",
    Reason.JUNK_FILTER_ERROR: "The content filter could not be asked.",
    Reason.JUNK_CONTENT: "The content looks like junk.",
    Reason.JUNK_CONTENT_STRICT: "The content looks like junk by the stricter limit for suspicious ways of sending.",
    Reason.DNS_BLOCKLISTED: "The client is in a list of addresses to block.",
    Reason.NO_BAD_SIGNALS: "The sender is not known well enough, and nothing speaks against the message.",
    Reason.GIVE_SUBJECTPASS: "The message looks like junk, but its From is proved: the sender is told a pass.",
    Reason.JUDGEMENT_ERROR: "The message could not be judged.",
    Reason.MEMBERS_ONLY: "Only members may write to this list, and From is not provably one's.",
    Reason.MSGFROMFULL: "Judged by earlier mail from the address in From.",
    Reason.MSGTOFULL: "The account wrote to the address in From.",
    Reason.MSGFROMDOMAIN: "Judged by earlier mail from the domain in From.",
    Reason.MSGTODOMAIN: "The account wrote to the domain in From.",
    Reason.MSGFROMORGDOMAIN: "Judged by earlier mail from the organizational domain of From.",
    Reason.MSGTOORGDOMAIN: "The account wrote to the organizational domain of From.",
    Reason.DKIMSPF: "Judged by earlier mail with the same DKIM and SPF domains.",
    Reason.IP1: "Judged by earlier mail from the same address of a client.",
    Reason.IP2: "Judged by earlier mail from the client's network.",
    Reason.IP3: "Judged by earlier mail from the client's wider network.",
    Reason.NONE: "Nothing is known of the sender.",
}
