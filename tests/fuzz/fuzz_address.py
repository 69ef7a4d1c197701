"""Fuzz addresses: C{python tests/fuzz/fuzz_address.py} with atheris, or call L{one} with octets."""

from __future__ import annotations

import contextlib
import sys

from moxtwisted.address import AddressError, parse_path, path_end
from moxtwisted.identifiers import IdentifierError, parse_account_name, parse_mailbox_name
from moxtwisted.message.addresslist import parse_address_list
from moxtwisted.message.dates import parse_date, parse_imap_datetime
from moxtwisted.message.headers import decode_words, parse_content_type, parse_disposition


def one(data: bytes) -> None:
    """Read octets as everything that has the syntax of a name or a field; raises when anything but a refusal comes."""
    for smtputf8 in (False, True):
        for octets in (data, b"<" + data + b">", b"<" + data + b"@example.org>"):
            try:
                path = parse_path(octets, smtputf8=smtputf8)
            except AddressError:
                continue
            if parse_path(path.wire(smtputf8=smtputf8), smtputf8=smtputf8) != path:
                raise RuntimeError("a path changes when it is written and read again")
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


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
