"""``dns lookup``, and the resolver of all commands that ask the DNS.

::

    $ moxmail dns lookup MX example.org
    example.org MX, 300 seconds, secure
      10 mail.example.org
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from moxtwisted.cli.output import complain
from moxtwisted.cli.session import load_for, run_reactor
from moxtwisted.errors import ConfigurationError, MailError

if TYPE_CHECKING:
    from moxtwisted.dns.agent import DNSResolver
    from moxtwisted.dns.answers import Answer
    from moxtwisted.dns.servers import ResolverSettings

__all__ = ["lookup", "own_resolver", "settings_for", "with_resolver"]


class ResolverAddressError(MailError):
    """What stands behind ``--resolver`` is no address."""

    public_text = "--resolver wants ADDRESS or ADDRESS:PORT"


def settings_for(arguments: argparse.Namespace) -> ResolverSettings:
    """Whom a command asks: ``--resolver``, else what ``mox.conf`` says, else, without one, the resolvers of this machine.

    :raises MailError: when ``--resolver`` is no address.
    """
    from moxtwisted.config.resolver import resolver_settings
    from moxtwisted.config.schema import Resolver

    if arguments.resolver:
        try:
            return resolver_settings(Resolver(servers=(arguments.resolver,)))
        except ValueError as e:
            raise ResolverAddressError(str(e)) from e
    try:
        resolver = load_for(arguments).static.resolver
    except ConfigurationError:
        if arguments.config:
            raise
        resolver = Resolver()
    return resolver_settings(resolver)


def with_resolver(arguments: argparse.Namespace, work: Callable[[DNSResolver], Awaitable[Any]]) -> Any:
    """Run something that asks the DNS, to its end."""

    async def run(reactor: Any) -> Any:
        from moxtwisted.dns.agent import DNSResolver

        return await work(DNSResolver(reactor, settings, entropy=os.urandom))

    settings = settings_for(arguments)
    return run_reactor(run)


def own_resolver(arguments: argparse.Namespace) -> DNSResolver:
    """Somebody to ask where a reactor runs already."""
    from twisted.internet import reactor

    from moxtwisted.dns.agent import DNSResolver

    return DNSResolver(reactor, settings_for(arguments), entropy=os.urandom)


def lookup(arguments: argparse.Namespace) -> int:
    """``dns lookup``: 0 with records, 1 without."""
    from moxtwisted.dns.answers import BogusError
    from moxtwisted.dns.names import BadNameError, normalise, reverse_name
    from moxtwisted.dns.records import type_code, type_name

    try:
        rrtype = type_name(type_code(arguments.type))
        name = arguments.name
        if rrtype == "PTR" and not name.lower().rstrip(".").endswith(".arpa"):
            name = reverse_name(name)
        name = normalise(name)
    except (BadNameError, ValueError) as e:
        complain(str(e))
        return 2
    try:
        answer: Answer = with_resolver(arguments, lambda resolver: resolver.lookup(name, rrtype))
    except BogusError as e:
        if arguments.json:
            print(json.dumps({"name": name, "type": rrtype, "security": "bogus", "detail": e.reason}))
        else:
            complain(f"{name} {rrtype}: bogus: {e.reason}")
        return 1
    if arguments.json:
        print(json.dumps(as_json(answer), indent=2, ensure_ascii=False))
    else:
        print_answer(answer)
    return 0 if answer.records else 1


def print_answer(answer: Answer) -> None:
    """For people."""
    print(f"{answer.name} {answer.rrtype}, {answer.ttl_seconds} seconds, {answer.security.value}")
    if answer.canonical_name != answer.name:
        print(f"  is an alias of {answer.canonical_name}")
    for line in sorted(map(_text, answer.records)):
        print(f"  {line}")
    if not answer.exists:
        print("  there is no such name")
    elif not answer.records:
        print("  the name exists, and has no such records")


def as_json(answer: Answer) -> dict[str, Any]:
    """For programs; octets in records are in hexadecimal, those of TXT records text."""
    return {
        "name": answer.name,
        "type": answer.rrtype,
        "canonical_name": answer.canonical_name,
        "exists": answer.exists,
        "security": answer.security.value,
        "ttl_seconds": answer.ttl_seconds,
        "records": [_value(record) for record in answer.records],
    }


def _fields(record: Any) -> dict[str, Any]:
    from attrs import asdict

    return asdict(record, recurse=False)


def _text(record: Any) -> str:
    if isinstance(record, str):
        return record
    if isinstance(record, bytes):
        return _quoted(record)
    return " ".join(
        _quoted(value)
        if name == "value"
        else value.hex()
        if isinstance(value, bytes)
        else " ".join(_types(value))
        if isinstance(value, frozenset)
        else str(value)
        for name, value in _fields(record).items()
    )


def _quoted(octets: bytes) -> str:
    """As zone files have it; what a terminal would act on does not reach it."""
    shown = "".join(
        f"\\{octet:03d}" if not 32 <= octet < 127 else f"\\{chr(octet)}" if octet in b'"\\' else chr(octet)
        for octet in octets
    )
    return f'"{shown}"'


def _types(codes: frozenset[int]) -> list[str]:
    from moxtwisted.dns.records import type_name

    return [type_name(code) for code in sorted(codes)]


def _value(record: Any) -> Any:
    if isinstance(record, str):
        return record
    if isinstance(record, bytes):
        return record.decode("utf-8", "backslashreplace")
    return {
        name: value.decode("utf-8", "backslashreplace")
        if name == "value"
        else value.hex()
        if isinstance(value, bytes)
        else _types(value)
        if isinstance(value, frozenset)
        else value
        for name, value in _fields(record).items()
    }
