"""``dkim`` and ``arc``: keys, their records, and signatures on messages in files.

::

    $ moxmail dkim genrsa 2026a.example.org.pem
    $ moxmail dkim txt 2026a.example.org.pem
    "v=DKIM1;h=sha256;k=rsa;p=MIIBIjAN..." "..."
    $ moxmail dkim verify message.eml
    pass: example.org, selector 2026a, rsa-sha256 with 2048 bits, secure
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from moxtwisted.cli import lookup
from moxtwisted.config.dnsrecords import txt_strings
from moxtwisted.errors import MailError

if TYPE_CHECKING:
    from moxtwisted.dns.answers import Answer, IResolver
    from moxtwisted.mailauth.arc import Chain
    from moxtwisted.mailauth.dkim.canonical import BodyForm
    from moxtwisted.mailauth.dkim.keys import SigningKey
    from moxtwisted.mailauth.dkim.verify import Verification
    from moxtwisted.mailauth.inflow import HashedMessage

__all__ = [
    "arc_verify",
    "dkim_gened25519",
    "dkim_genrsa",
    "dkim_lookup",
    "dkim_sign",
    "dkim_txt",
    "dkim_verify",
]

_MAX_MESSAGE_OCTETS: Final = 200 * 1024 * 1024
_MAX_KEY_OCTETS: Final = 64 * 1024
_PIECE: Final = 64 * 1024


def _shown(text: str) -> str:
    """What a terminal would act on does not reach it."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _read(path: str, limit: int) -> bytes:
    try:
        if path == "-":
            return sys.stdin.buffer.read(limit)
        with Path(path).open("rb") as file:
            return file.read(limit)
    except OSError as e:
        raise MailError(f"{path}: {e.strerror}") from e


def _message(path: str) -> bytes:
    """A message with the line ends that it has on the way; files have those of the system."""
    octets = _read(path, _MAX_MESSAGE_OCTETS)
    return octets if b"\r\n" in octets else octets.replace(b"\n", b"\r\n")


def _hashed(octets: bytes, *also: BodyForm) -> HashedMessage:
    from moxtwisted.mailauth.inflow import MessageHasher

    hasher = MessageHasher(also=also)
    for start in range(0, len(octets), _PIECE):
        hasher.feed(octets[start : start + _PIECE])
    return hasher.finish()


def _generate(path: str, kind: str, bits: int) -> int:
    from moxtwisted.config.atomic import create_file
    from moxtwisted.mailauth.dkim.keys import new_private_key

    pem = new_private_key(kind, bits=bits)
    if path == "-":
        print(pem.decode("ascii"), end="")
        return 0
    try:
        create_file(Path(path), pem, mode=0o600)
    except OSError as e:
        raise MailError(f"{path}: {e.strerror}") from e
    return 0


def dkim_genrsa(arguments: argparse.Namespace) -> int:
    """``dkim genrsa``."""
    return _generate(arguments.file, "rsa", arguments.bits)


def dkim_gened25519(arguments: argparse.Namespace) -> int:
    """``dkim gened25519``."""
    return _generate(arguments.file, "ed25519", 0)


def _key(arguments: argparse.Namespace, path: str) -> SigningKey:
    from moxtwisted.mailauth.dkim.keys import SigningKey

    domain, selector = getattr(arguments, "domain", "example.org"), getattr(arguments, "selector", "selector")
    return SigningKey.from_pem(domain, selector, _read(path, _MAX_KEY_OCTETS))


def dkim_txt(arguments: argparse.Namespace) -> int:
    """``dkim txt``: the strings of the record as a zone file has them, at most 255 octets each (RFC 1035 section 3.3)."""
    text = _key(arguments, arguments.key).record_text()
    print(txt_strings(text))
    return 0


def dkim_sign(arguments: argparse.Namespace) -> int:
    """``dkim sign``: the header field on standard output."""
    from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization
    from moxtwisted.mailauth.dkim.sign import SigningRules, sign

    form = Canonicalization.SIMPLE if arguments.simple else Canonicalization.RELAXED
    rules = SigningRules(
        seal=not arguments.no_seal,
        header_form=form,
        body_form=BodyForm(form),
        lifetime_seconds=arguments.expires_hours * 3600,
    )
    hashed = _hashed(_message(arguments.message), rules.body_form)
    field = sign(hashed, _key(arguments, arguments.key), rules, now=time.time())
    print(field.decode("ascii").replace("\r\n", "\n"), end="")
    return 0


def _verification_report(found: Verification) -> dict[str, Any]:
    signature = found.signature
    return {
        "verdict": found.status.value,
        "reason": found.reason.value if found.reason else "",
        "detail": found.detail,
        "domain": signature.domain if signature else "",
        "selector": signature.selector if signature else "",
        "identity": signature.identity if signature else "",
        "algorithm": signature.algorithm if signature else "",
        "key_bits": found.key_bits,
        "testing": found.testing,
        "unsigned_octets": found.unsigned_octets,
        "risks": sorted(risk.value for risk in found.risks),
        "security": found.security.value,
    }


def _verification_line(found: Verification) -> str:
    words = [f"{found.status.value}: "]
    if found.signature is not None:
        words.append(
            f"{found.signature.domain}, selector {found.signature.selector}, {found.signature.algorithm}"
        )
    if found.key_bits:
        words.append(f" with {found.key_bits} bits, {found.security.value}")
    if found.reason is not None:
        words.append(f": {found.reason.value}" if found.signature is not None else found.reason.value)
    if found.detail:
        words.append(f" ({found.detail})")
    notes = [risk.value for risk in found.risks] + ["the domain is only testing"] * found.testing
    words += [f"; {note}" for note in sorted(notes)]
    return "".join(words)


def dkim_verify(arguments: argparse.Namespace) -> int:
    """``dkim verify``: 0 when a signature passes, 1 when none does."""
    from moxtwisted.mailauth.dkim.verify import Status, verify

    hashed = _hashed(_message(arguments.message))

    async def work(resolver: IResolver) -> tuple[Verification, ...]:
        return await verify(hashed, resolver, now=time.time())

    found: tuple[Verification, ...] = lookup.with_resolver(arguments, work) if hashed.found else ()
    if arguments.json:
        report = {"signatures": [_verification_report(one) for one in found], "skipped": hashed.skipped}
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        for one in found:
            print(_shown(_verification_line(one)))
        if hashed.skipped:
            print(f"{hashed.skipped} more signatures were not looked at")
        if not found:
            print("none: the message has no signature")
    return 0 if any(one.status is Status.PASS for one in found) else 1


def dkim_lookup(arguments: argparse.Namespace) -> int:
    """``dkim lookup``: 0 for a key that can be used, 1 for all else."""
    from moxtwisted.dns.names import normalise
    from moxtwisted.mailauth.dkim.record import parse_key_record
    from moxtwisted.mailauth.dkim.tags import TagListError

    name = normalise(f"{arguments.selector}._domainkey.{arguments.domain}")
    answer: Answer = lookup.with_resolver(arguments, lambda resolver: resolver.lookup(name, "TXT"))
    rows: list[dict[str, Any]] = []
    for text in answer.records:
        row: dict[str, Any] = {"record": text.decode("utf-8", "backslashreplace"), "problem": ""}
        rows.append(row)
        try:
            record = parse_key_record(text)
            row |= {"kind": record.kind, "testing": record.testing, "revoked": record.revoked}
            row["bits"] = 0 if record.revoked else record.key().bits
        except MailError as e:
            row["problem"] = e.detail if isinstance(e, TagListError) else e.explanation
    if arguments.json:
        print(
            json.dumps(
                {"name": name, "security": answer.security.value, "records": rows},
                indent=2,
                ensure_ascii=False,
            )
        )
    else:
        print(f"{name}, {answer.security.value}: {len(rows) or 'no'} record{'' if len(rows) == 1 else 's'}")
        for row in rows:
            print(_shown(f"  {row['record']}"))
            print(_shown(f"    {_record_words(row)}"))
    return 0 if any(row.get("bits") for row in rows) else 1


def _record_words(row: dict[str, Any]) -> str:
    if row["problem"]:
        return f"cannot be used: {row['problem']}"
    if row["revoked"]:
        return "revoked"
    return f"{row['kind']}, {row['bits']} bits{', only testing' if row['testing'] else ''}"


def _chain_report(chain: Chain) -> dict[str, Any]:
    return {
        "verdict": chain.status.value,
        "reason": chain.reason.value if chain.reason else "",
        "instance": chain.instance,
        "detail": chain.detail,
        "oldest_pass": chain.oldest_pass,
        "sets": [
            {
                "instance": found.instance,
                "sealer": found.seal.domain,
                "selector": found.seal.selector,
                "chain_status": found.seal.chain_status,
                "results": " ".join(found.results.decode("utf-8", "replace").split()),
            }
            for found in chain.sets
        ],
    }


def arc_verify(arguments: argparse.Namespace) -> int:
    """``arc verify``: 0 for pass, 1 for all else."""
    from moxtwisted.mailauth.arc import ChainStatus, validate

    hashed = _hashed(_message(arguments.message))

    async def work(resolver: IResolver) -> Chain:
        return await validate(hashed, resolver)

    chain: Chain = lookup.with_resolver(arguments, work)
    report = _chain_report(chain)
    if arguments.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        where = f" at instance {chain.instance}" if chain.instance else ""
        reason = f": {chain.reason.value}{where}" if chain.reason else ""
        print(_shown(f"{chain.status.value}{reason}" + (f" ({chain.detail})" if chain.detail else "")))
        for row in report["sets"]:
            print(_shown(f"  {row['instance']}. {row['sealer']}, cv={row['chain_status']}: {row['results']}"))
    return 0 if chain.status is ChainStatus.PASS else 1
