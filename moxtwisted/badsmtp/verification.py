"""VRFY, with the presets of BadSMTP: the local part says what is answered.

::

    >>> verify("exists@example.com").wire()
    b'250 <exists@example.com> User exists\\r\\n'
    >>> verify("<unknown.user@example.com>").code
    551
"""

from __future__ import annotations

import re

from moxtwisted.address import AddressError, parse_mailbox
from moxtwisted.badsmtp.grammar import TEXTS
from moxtwisted.smtp.replies import Reply

__all__ = ["verify"]

# RFC 6531 section 3.7.4.2: VRFY may be followed by SMTPUTF8.
_UTF8 = re.compile(r"\s+SMTPUTF8\s*\Z", re.IGNORECASE)


def verify(argument: str) -> Reply:
    """What VRFY says.

    :param argument: an address, with or without angle brackets, and perhaps ``SMTPUTF8``.
    """
    text = _UTF8.sub("", argument)
    smtputf8 = text != argument
    text = text.strip()
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    try:
        address = parse_mailbox(text.encode("utf-8", "surrogateescape"), smtputf8=smtputf8)
    except AddressError:
        return Reply(501, "", "Syntax error in parameters")
    local = address.localpart.lower()
    if local.startswith("exists"):
        return Reply(250, "", f"<{text}> User exists")
    if local.startswith("unknown"):
        return Reply(551, "", TEXTS[551])
    if local.startswith("ambiguous"):
        return Reply(553, "", "User ambiguous" if smtputf8 else TEXTS[553])
    return Reply(550, "", TEXTS[550])
