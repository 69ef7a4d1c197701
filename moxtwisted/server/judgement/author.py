"""Who wrote a message, as From says.

::

    author = find_author(header, verified.author.domain)
    author.localpart, author.domain, author.address          # "mary", "a.example", "mary@a.example"
"""

from __future__ import annotations

from attrs import frozen

from moxtwisted.message.addresslist import mailboxes
from moxtwisted.message.headers import Header

__all__ = ["Author", "find_author"]


@frozen
class Author:
    """The one address in From, in lower case; the local part is empty when there are several addresses, both when it names
    several domains or none.

    :ivar domain: A-labels.
    """

    localpart: str = ""
    domain: str = ""

    @property
    def address(self) -> str:
        """``local@domain``, or empty."""
        return f"{self.localpart}@{self.domain}" if self.localpart and self.domain else ""


def find_author(header: Header, domain: str) -> Author:
    """Look for the address.

    :param domain: what was found to be the domain of From.
    """
    if not domain:
        return Author()
    found = mailboxes(header.unfolded(b"from"))
    if len(found) != 1:
        return Author("", domain)
    return Author(found[0].local.decode("utf-8", "replace").lower(), domain)
