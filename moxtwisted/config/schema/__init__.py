"""Every key of ``mox.conf`` and ``domains.conf``, declared once.

A file is a tree of frozen classes; a key is a field with its type, its bounds, a sentence that explains it
and, where the default says too little, an example. Reading, the annotated example, the manual's page
and the error texts all come from here, so that they cannot disagree::

    port: Annotated[int, Meta(ge=1, le=65535, description="The TCP port.")] = 25

The unit is the end of the name: ``…_octets`` and ``…_seconds``. Such keys also take a text with a
unit, ``"100 MB"`` (1 MB is 1,000,000 octets; ``MiB`` is 1,048,576) or ``"30 min"``.

Where there are three numbers in brackets they are for one address, its network and its wider network: for
IPv4 /32, /26, /21, for IPv6 /64, /48, /32.
"""

from __future__ import annotations

from moxtwisted.config.schema.authority import Authority
from moxtwisted.config.schema.bans import Bans
from moxtwisted.config.schema.domains import Account, Alias, Destination, Domain, DomainsConfig
from moxtwisted.config.schema.judgement import Judgement, JunkFilter, Ruleset
from moxtwisted.config.schema.junkflags import AutomaticJunkFlags
from moxtwisted.config.schema.keepers import Keepers
from moxtwisted.config.schema.receivers import Receivers
from moxtwisted.config.schema.reports import DMARCReports, HostTLSReports, TLSReports
from moxtwisted.config.schema.senders import Senders
from moxtwisted.config.schema.signing import DKIMSelector
from moxtwisted.config.schema.static import (
    Authentication,
    Certificate,
    IMAPLimits,
    IMAPService,
    IMAPSService,
    InitialMailboxes,
    Limits,
    Listener,
    ListenerTLS,
    LMTPService,
    Log,
    Postmaster,
    Resolver,
    SMTPLimits,
    SMTPService,
    SpecialUse,
    StaticConfig,
    Store,
    SubmissionService,
    SubmissionsService,
)
from moxtwisted.config.schema.verification import Verification

__all__ = [
    "Account",
    "Alias",
    "Authentication",
    "Authority",
    "AutomaticJunkFlags",
    "Bans",
    "Certificate",
    "DKIMSelector",
    "DMARCReports",
    "Destination",
    "Domain",
    "DomainsConfig",
    "HostTLSReports",
    "IMAPLimits",
    "IMAPSService",
    "IMAPService",
    "InitialMailboxes",
    "Judgement",
    "JunkFilter",
    "Keepers",
    "LMTPService",
    "Limits",
    "Listener",
    "ListenerTLS",
    "Log",
    "Postmaster",
    "Receivers",
    "Resolver",
    "Ruleset",
    "SMTPLimits",
    "SMTPService",
    "Senders",
    "SpecialUse",
    "StaticConfig",
    "Store",
    "SubmissionService",
    "SubmissionsService",
    "TLSReports",
    "Verification",
]
