"""Fuzz key records: a record, or an error with a place in it; a key, or an error."""

from __future__ import annotations

from moxtwisted.mailauth.dkim.keys import KeyDataError
from moxtwisted.mailauth.dkim.record import parse_key_record
from moxtwisted.mailauth.dkim.tags import TagListError
from tests.fuzz.run import alone


def one(data: bytes) -> None:
    """Read octets as a record and use its key; raises when something does not hold."""
    try:
        record = parse_key_record(data)
    except TagListError as e:
        if not 0 <= e.offset <= len(data):
            raise RuntimeError("the place of an error is not in the record") from e
        return
    if record.revoked:
        return
    try:
        key = record.key()
    except KeyDataError:
        return
    if key.verify(data, data[:64]):
        raise RuntimeError("anything is a signature")


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
