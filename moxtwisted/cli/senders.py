"""``spf``, ``dmarc``, ``dnsbl`` and ``iprev``: what a receiver would find out about a client, a domain or a message.

::

    $ moxmail spf check example.com 192.0.2.1
    pass: ip4:192.0.2.0/24
      example.com: v=spf1 ip4:192.0.2.0/24 -all
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

from moxtwisted.cli import lookup
from moxtwisted.cli.output import complain
from moxtwisted.errors import MailError

if TYPE_CHECKING:
    from moxtwisted.dns.answers import IResolver
    from moxtwisted.mailauth.spf.evaluation import SPFResult
    from moxtwisted.mailauth.spf.record import Record

__all__ = [
    "dmarc_checkreportaddrs",
    "dmarc_lookup",
    "dmarc_verify",
    "dnsbl_check",
    "dnsbl_checkhealth",
    "iprev",
    "spf_check",
    "spf_lookup",
    "spf_parse",
]

#: ``dmarc verify`` reads a message at once from standard input.
_MAX_MESSAGE_OCTETS = 100 * 1024 * 1024


class ArgumentError(MailError):
    """An argument is not what it should be."""

    public_text = "wrong argument"


class _Clock:
    """The time of the process."""

    @staticmethod
    def seconds() -> float:
        """Seconds since 1970."""
        import time

        return time.time()


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError as e:
        raise ArgumentError(f"{text}: not an IP address") from e


def _name(text: str) -> str:
    from moxtwisted.dns.names import normalise

    return normalise(text)


def _shown(text: str) -> str:
    """What a terminal would act on does not reach it."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _print(arguments: argparse.Namespace, report: dict[str, Any], lines: list[str]) -> None:
    if arguments.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        for line in lines:
            print(_shown(line))


def _spf_report(result: SPFResult) -> dict[str, Any]:
    return {
        "verdict": result.verdict.value,
        "domain": result.domain,
        "mechanism": result.mechanism,
        "problem": result.problem,
        "explanation": result.explanation,
        "chain": [{"domain": step.domain, "record": step.record, "term": step.term} for step in result.chain],
        "terms": result.terms,
        "void_lookups": result.void_lookups,
        "security": result.security.value,
    }


def _spf_lines(result: SPFResult) -> list[str]:
    lines = [f"{result.verdict.value}: {result.mechanism or result.problem or 'no record'}"]
    # Where there was no answer, nobody knows whether there is a record.
    missing = "no answer" if result.verdict.value == "temperror" else "no record"
    lines += [f"  {step.domain}: {step.record or missing}" for step in result.chain]
    if result.explanation:
        lines.append(f"  the domain explains: {result.explanation}")
    return lines


def spf_check(arguments: argparse.Namespace) -> int:
    """``spf check``: 0 for pass, 1 for all else."""
    from moxtwisted.mailauth.spf.evaluation import Evaluator, Verdict

    ip = _address(arguments.ip)
    sender = arguments.domain if "@" in arguments.domain else f"@{arguments.domain}"
    helo = arguments.helo or sender.rpartition("@")[2]

    async def work(resolver: IResolver) -> SPFResult:
        return await Evaluator(resolver, _Clock()).check_mail_from(ip, sender, helo)

    result: SPFResult = lookup.with_resolver(arguments, work)
    _print(arguments, _spf_report(result), _spf_lines(result))
    return 0 if result.verdict is Verdict.PASS else 1


def _record_report(record: Record) -> tuple[dict[str, Any], list[str]]:
    directives = [
        {"qualifier": directive.qualifier.value, "mechanism": directive.text}
        for directive in record.directives
    ]
    modifiers = {name: value.text for name, value in record.modifiers}
    for name, spec in (("redirect", record.redirect), ("exp", record.explanation)):
        if spec is not None:
            modifiers[name] = spec.text
    lines = [f"{entry['qualifier']} {entry['mechanism']}" for entry in directives]
    lines += [f"{name}={value}" for name, value in modifiers.items()]
    return {"record": record.text, "directives": directives, "modifiers": modifiers}, lines


def _parse_spf(arguments: argparse.Namespace, text: str) -> int:
    from moxtwisted.mailauth.spf.macros import SPFSyntaxError
    from moxtwisted.mailauth.spf.record import parse_record

    try:
        report, lines = _record_report(parse_record(text))
    except SPFSyntaxError as e:
        where = f"{e.term!r} at character {e.position + 1}: " if e.term else ""
        complain(f"{where}{e.detail}")
        return 1
    _print(arguments, report, lines)
    return 0


def spf_parse(arguments: argparse.Namespace) -> int:
    """``spf parse``: 1 when there is an error."""
    return _parse_spf(arguments, arguments.record)


def spf_lookup(arguments: argparse.Namespace) -> int:
    """``spf lookup``: 1 without a record, or with a wrong one."""
    from moxtwisted.mailauth.spf.record import is_spf

    domain = _name(arguments.domain)
    answer = lookup.with_resolver(arguments, lambda resolver: resolver.lookup(domain, "TXT"))
    found = [text for text in answer.records if is_spf(text)]
    if len(found) != 1:
        complain(f"{domain} has {len(found) or 'no'} SPF records")
        return 1
    text = found[0].decode("ascii", "backslashreplace")
    if not arguments.json:
        print(_shown(text))
    return _parse_spf(arguments, text)


def dmarc_lookup(arguments: argparse.Namespace) -> int:
    """``dmarc lookup``: 1 without a record."""
    from moxtwisted.mailauth.dmarc.discovery import Discovery, Found

    domain = _name(arguments.domain)

    async def work(resolver: IResolver) -> Found:
        return await Discovery(resolver, tree_walk=arguments.tree_walk).find(domain)

    found: Found = lookup.with_resolver(arguments, work)
    record = found.record
    report = {
        "domain": domain,
        "organizational_domain": found.organizational_domain,
        "record_domain": found.domain,
        "record": record.text if record else "",
        "problem": found.problem,
        "ignored": list(record.ignored) if record else [],
        "security": found.security.value,
    }
    if record is None:
        above = found.organizational_domain
        lines = [found.problem or f"{domain} has no DMARC record" + f", nor has {above}" * (above != domain)]
    else:
        lines = [f"_dmarc.{found.domain}, {found.security.value}: {record.text}"]
        lines += [f"  {tag}= has a value that it cannot have, and is ignored" for tag in record.ignored]
    _print(arguments, report, lines)
    return 0 if record else 1


def dmarc_verify(arguments: argparse.Namespace) -> int:
    """``dmarc verify``: SPF, DKIM and DMARC for a message on standard input; 0 for pass, 1 for all else."""
    from moxtwisted.mailauth.dkim.verify import Status, verify
    from moxtwisted.mailauth.dmarc.author import find_author
    from moxtwisted.mailauth.dmarc.evaluation import Authenticated, DMARCResult, Evaluator, Verdict
    from moxtwisted.mailauth.inflow import MessageHasher
    from moxtwisted.mailauth.spf import evaluation as spf

    ip = _address(arguments.ip)
    octets = sys.stdin.buffer.read(_MAX_MESSAGE_OCTETS)
    hasher = MessageHasher()
    hasher.feed(octets if b"\r\n" in octets else octets.replace(b"\n", b"\r\n"))
    hashed = hasher.finish()
    author = find_author(hashed.header)
    if author.problem:
        raise ArgumentError(author.problem)

    async def work(resolver: IResolver) -> tuple[SPFResult, tuple[Any, ...], DMARCResult]:
        sender = await spf.Evaluator(resolver, _Clock()).check_mail_from(
            ip, arguments.mail_from, arguments.helo
        )
        signatures = await verify(hashed, resolver, now=_Clock.seconds())
        found = Authenticated(
            sender.domain if sender.verdict is spf.Verdict.PASS else "",
            tuple(one.signature.domain for one in signatures if one.signature and one.authenticates),
            temporary=sender.verdict is spf.Verdict.TEMPERROR
            or any(one.status is Status.TEMPERROR for one in signatures),
        )
        return sender, signatures, await Evaluator(resolver, os.urandom).evaluate(author.domain, found)

    sender, signatures, result = lookup.with_resolver(arguments, work)
    dkim = [
        {
            "domain": one.signature.domain if one.signature else "",
            "verdict": one.status.value,
            "reason": one.reason.value if one.reason else "",
        }
        for one in signatures
    ]
    report = {
        "from": result.domain,
        "verdict": result.verdict.value,
        "policy": result.requested.value if result.requested else "",
        "disposition": result.disposition.value,
        "why": result.why,
        "record_domain": result.record_domain,
        "spf": _spf_report(sender),
        "dkim": dkim,
    }
    lines = [f"{result.verdict.value}: {result.why}"]
    if result.verdict is Verdict.FAIL:
        lines.append(f"  to be done: {result.disposition.value}")
    lines += [f"  spf {line}" for line in _spf_lines(sender)[:1]]
    lines += [f"  dkim {one['verdict']}: {one['domain']} {one['reason']}".rstrip() for one in dkim]
    _print(arguments, report, lines)
    return 0 if result.verdict is Verdict.PASS else 1


def dmarc_checkreportaddrs(arguments: argparse.Namespace) -> int:
    """``dmarc checkreportaddrs``: 1 when a report could not be sent somewhere."""
    from moxtwisted.mailauth.dmarc.destinations import Destination, check_destinations
    from moxtwisted.mailauth.dmarc.discovery import Discovery

    domain = _name(arguments.domain)

    async def work(resolver: IResolver) -> list[tuple[str, Destination]]:
        found = await Discovery(resolver).find(domain)
        if found.record is None:
            raise ArgumentError(found.problem or f"{domain} has no DMARC record")
        aggregate = await check_destinations(resolver, found.domain, found.record.aggregate)
        failure = await check_destinations(resolver, found.domain, found.record.failure, failure=True)
        return [("rua", one) for one in aggregate] + [("ruf", one) for one in failure]

    rows: list[tuple[str, Destination]] = lookup.with_resolver(arguments, work)
    report = {
        "destinations": [
            {
                "tag": tag,
                "uri": one.wanted.uri,
                "allowed": one.allowed,
                "uris": [uri.uri for uri in one.uris],
                "why": one.why,
            }
            for tag, one in rows
        ]
    }
    lines = [
        f"{tag} {one.wanted.uri}: {'allowed' if one.allowed else 'not allowed'}, {one.why}"
        for tag, one in rows
    ]
    _print(arguments, report, lines or [f"{domain} wants no reports"])
    return 0 if all(one.allowed for _, one in rows) else 1


def dnsbl_check(arguments: argparse.Namespace) -> int:
    """``dnsbl check``: 0 when the list has not got the address, 1 when it has."""
    from moxtwisted.mailauth.dnsbl import check_zone

    zone, ip = _name(arguments.zone), _address(arguments.ip)

    async def work(resolver: IResolver) -> Any:
        return await check_zone(resolver, zone, ip)

    found = lookup.with_resolver(arguments, work)
    report = {"zone": zone, "listed": found is not None}
    if found is None:
        _print(arguments, report, [f"{zone} does not list {ip}"])
        return 0
    report |= {"codes": list(found.codes), "text": found.text}
    _print(arguments, report, [f"{zone} lists {ip}: {' '.join(found.codes)} {found.text}".rstrip()])
    return 1


def dnsbl_checkhealth(arguments: argparse.Namespace) -> int:
    """``dnsbl checkhealth``: 1 when a list cannot be used."""
    from moxtwisted.mailauth.dnsbl import check_health

    zone = _name(arguments.zone)

    async def work(resolver: IResolver) -> Any:
        return await check_health(resolver, zone)

    health = lookup.with_resolver(arguments, work)
    report = {"zone": zone, "usable": health.usable, "problem": health.problem, "ipv6": health.ipv6}
    text = f"can be used{', for IPv6 too' if health.ipv6 else ''}" if health.usable else health.problem
    _print(arguments, report, [f"{zone}: {text}"])
    return 0 if health.usable else 1


def iprev(arguments: argparse.Namespace) -> int:
    """``iprev``: 0 for pass, 1 for all else."""
    from moxtwisted.mailauth.iprev import Verdict, check_iprev

    ip = _address(arguments.ip)

    async def work(resolver: IResolver) -> Any:
        return await check_iprev(resolver, ip)

    result = lookup.with_resolver(arguments, work)
    report = {
        "verdict": result.verdict.value,
        "name": result.name,
        "names": list(result.names),
        "problem": result.problem,
        "security": result.security.value,
    }
    _print(arguments, report, [f"{result.verdict.value}: {result.name or result.problem}"])
    return 0 if result.verdict is Verdict.PASS else 1
