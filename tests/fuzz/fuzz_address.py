"""Fuzz addresses, names, dates, encoded words and parameters: everything that is a few octets with a syntax.

Each is read or refused. A path that was read is the same when it is written and read again.
"""

from __future__ import annotations

import contextlib

from moxtwisted.address import AddressError, parse_path, path_end
from moxtwisted.identifiers import IdentifierError, parse_account_name, parse_mailbox_name
from moxtwisted.message.addresslist import parse_address_list
from moxtwisted.message.dates import parse_date, parse_imap_datetime
from moxtwisted.message.headers import decode_words, parse_content_type, parse_disposition
from tests.fuzz.run import alone
from tests.fuzz.watching import within


def paths(data: bytes) -> None:
    """Octets as a path, in clear and in brackets."""
    for smtputf8 in (False, True):
        for octets in (data, b"<" + data + b">", b"<" + data + b"@example.org>"):
            try:
                path = parse_path(octets, smtputf8=smtputf8)
            except AddressError:
                continue
            if parse_path(path.wire(smtputf8=smtputf8), smtputf8=smtputf8) != path:
                raise RuntimeError("a path changes when it is written and read again")


def names(data: bytes) -> None:
    """Octets as anything else that has a syntax."""
    with contextlib.suppress(AddressError):
        path_end(data)
    text = data.decode("utf-8", "replace")
    for parse in (parse_account_name, parse_mailbox_name):
        try:
            parse(text)
        except IdentifierError:
            continue
    parse_address_list(data)
    parse_date(data)
    parse_imap_datetime(data)
    decode_words(data)
    parse_content_type(data)
    parse_disposition(data)


def one(data: bytes) -> None:
    """Try one input."""
    within(1500 + 100 * len(data), data, lambda: paths(data))
    within(1500 + 100 * len(data), data, lambda: names(data))


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
