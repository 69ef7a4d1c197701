"""Fuzz Authentication-Results: what is read and written again is read the same, and claims are removed for good."""

from __future__ import annotations

from moxtwisted.mailauth.authres import authserv_id, claims, parse_results, without_claims
from moxtwisted.message.headers import Header
from tests.fuzz.run import alone
from tests.fuzz.watching import within

NAMES = {"mx.example.org"}


def one(data: bytes) -> None:
    """Read octets as a value and as a header; raises when something does not hold."""
    results = within(2000 + 50 * len(data), data, lambda: parse_results(data))
    if results is not None:
        if authserv_id(data) is None:
            raise RuntimeError("results of nobody")
        field = results.field(utf8=True)
        again = parse_results(field.partition(b":")[2])
        if again is None or [(r.method, r.result) for r in again.results] != [
            (r.method, r.result) for r in results.results
        ]:
            raise RuntimeError("what was written is not what was read")
        if b"\r\n" in field[:-2].replace(b"\r\n\t", b"") or not field.endswith(b"\r\n"):
            raise RuntimeError("a line within the field is not folded")
    left = Header.parse(without_claims(Header.parse(data), NAMES))
    for value in left.values.get(b"authentication-results", []):
        if claims(value, NAMES):
            raise RuntimeError("a claim is left")


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
