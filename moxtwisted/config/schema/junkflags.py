"""Flags that messages get from the mailbox they are put into, in ``domains.conf``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from moxtwisted.config.schema.structure import ConfigStruct

_Pattern = Annotated[str, Meta(max_length=1000)]


class AutomaticJunkFlags(ConfigStruct, frozen=True, kw_only=True):
    """What a message's place says: whoever moves a message to Junk says that it is junk, and the account learns from it.

    When a message comes into a mailbox (delivered, appended, copied, moved), the keywords $Junk and $NotJunk are set and cleared by the
    first pattern found in the mailbox's name in lower case, in the order junk, neutral, not junk. When two of the three are set, the
    third is for all mailboxes that the two do not match. The mailbox with the special use \\Junk is for junk whatever its name. Unless a
    pattern matches them, rejects_mailbox and introbox are neutral, and in the mailbox with the special use \\Trash messages stay what
    they were. Who takes a message out of a mailbox for junk, or a neutral one, back into INBOX says that it is not junk.
    """

    enabled: Annotated[bool, Meta(description="Whether this is done.")] = True
    junk_mailboxes: Annotated[
        _Pattern,
        Meta(description="Regular expression: what is put there is $Junk. Empty: not set."),
    ] = "^(junk|spam)"
    neutral_mailboxes: Annotated[
        _Pattern,
        Meta(description="Regular expression: what is put there is neither. Empty: not set."),
    ] = "^(inbox|introbox|neutral|postmaster|dmarc|tlsrpt|rejects)"
    not_junk_mailboxes: Annotated[
        _Pattern,
        Meta(description="Regular expression: what is put there is $NotJunk. Empty: not set."),
    ] = ""
