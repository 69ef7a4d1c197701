"""``[verification]`` of ``mox.conf``: finding out where messages really come from."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from moxtwisted.config.schema.structure import ConfigStruct, Seconds

__all__ = ["Verification"]


class Verification(ConfigStruct, frozen=True, kw_only=True):
    """What is checked of mail from other servers (SMTP, not submission): SPF, DKIM, DMARC, ARC and the client's reverse name."""

    enabled: Annotated[
        bool,
        Meta(
            description="Whether anything is. Without it no message can be told from a forged one, and "
            "Authentication-Results of others are left as they are."
        ),
    ] = True
    lmtp: Annotated[
        bool,
        Meta(
            description="Check what comes by LMTP over TCP, too. The client of LMTP is mostly another mail server that did so "
            "already, and its address is not the sender's."
        ),
    ] = False
    method_seconds: Annotated[
        Seconds,
        Meta(
            ge=1,
            le=300,
            description="How long each check may take; what is not known by then counts as a temporary error.",
        ),
    ] = 20.0
    total_seconds: Annotated[
        Seconds, Meta(ge=1, le=600, description="How long all checks of a message may take together.")
    ] = 30.0
    authserv_id: Annotated[
        str,
        Meta(
            description="Our name in Authentication-Results, if not the hostname. Fields that came with this name, or with the "
            "hostname of any listener, are forged and removed.",
            examples=["example.org"],
        ),
    ] = ""
    removed_fields: Annotated[
        tuple[
            Annotated[str, Meta(pattern=r"^[Xx]-[!-9;-~]{1,75}$", title="the beginning of a name as X-Spam")],
            ...,
        ],
        Meta(
            max_length=100,
            description="Header fields that strangers may not write: those whose names begin so are removed, since people and programs "
            "here filter by what our own scanners write. Those of X-Moxtwisted- are removed in any case.",
        ),
    ] = ("X-Spam", "X-Rspamd-", "X-Virus-")
    trusted_arc_sealers: Annotated[
        tuple[str, ...],
        Meta(
            description="Domains of mailing lists and forwarders that are believed when they say (by ARC) that a message had "
            "passed DMARC before they changed it. Each must be named itself, as in d= of its ARC-Seal.",
            examples=[["lists.example.net"]],
        ),
    ] = ()
    dmarc_tree_walk: Annotated[
        bool,
        Meta(
            description="Find DMARC records by asking for each parent domain, as the successor of RFC 7489 does, and not by the "
            "list of public suffixes."
        ),
    ] = False
    second_opinion: Annotated[
        bool,
        Meta(
            description="Before a failure of SPF or DKIM is held against a message, ask other libraries (pyspf, dkimpy); when "
            "they disagree, it is not, and the log has the evidence."
        ),
    ] = True
    sender_must_receive: Annotated[
        bool,
        Meta(
            description="Refuse senders (MAIL FROM) whose domain has neither MX nor address records, or says that it takes no "
            "mail (null MX)."
        ),
    ] = True
    several_recipients_need_spf: Annotated[
        bool,
        Meta(
            description="Take more than one recipient for a message only when SPF passes for its sender; the others are asked to "
            "send it for each recipient."
        ),
    ] = True
