"""What those need to know who take mail in: the server itself, or its receivers.

Apart from ``translation``, whose users do not import what takes mail in.
"""

from __future__ import annotations

from moxtwisted.config.schema import StaticConfig
from moxtwisted.server.inbound.handler import InboundSettings
from moxtwisted.smtp.settings import Mode
from moxtwisted.smtp.settings import ServerSettings as SMTPSettings

__all__ = ["inbound_settings"]


def inbound_settings(static: StaticConfig, hostname: str, settings: SMTPSettings) -> InboundSettings:
    """For whom takes mail in at an MX or LMTP listener."""
    limits = static.limits.smtp
    return InboundSettings(
        hostname=hostname,
        lmtp=settings.mode is Mode.LMTP,
        null_sender_recipients=limits.recipients_of_null_sender,
        received_fields=limits.received_fields,
        unknown_recipients_delay_seconds=limits.unknown_recipients_delay_seconds,
        starttls_first=settings.require_starttls,
    )
