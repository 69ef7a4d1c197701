"""The commands of ``dkim`` and ``arc`` with their arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moxtwisted.cli.consent import add_yes

if TYPE_CHECKING:
    from moxtwisted.cli.arguments import Commands

__all__ = ["add_arc", "add_dkim"]

#: Adds ``--json``, or ``--resolver``.
Option = Callable[[Callable[..., Any]], None]


def add_dkim(dkim: Commands, json: Option, resolver: Option) -> None:
    """All that is below ``dkim``."""
    _keys_of_domains(dkim, json, resolver)
    _key_files(dkim)
    _messages(dkim, json, resolver)


def _keys_of_domains(dkim: Commands, json: Option, resolver: Option) -> None:
    add = dkim.command(
        "gen",
        "signingkeys:dkim_gen",
        "make keys for a domain here, RSA and Ed25519, and print their DNS records; in standby when others sign already",
        "example.org\nexample.org --algorithm ed25519 --standby",
    )
    add("domain", metavar="DOMAIN")
    add("--algorithm", action="append", choices=("rsa", "ed25519"), help="only this one; may be repeated")
    add("--standby", action="store_true", help="do not sign with them before `moxmail dkim rotate`")
    add("--active", action="store_true", help="sign with them at once, beside those that sign already")
    add = dkim.command("list", "signingkeys:dkim_list", "list the keys of domains here", "\nexample.org")
    add("domain", metavar="DOMAIN", nargs="?", default="", help="only of this one")
    json(add)
    add = dkim.command(
        "records",
        "signingkeys:dkim_records",
        "print the DNS records of a domain's keys, as zone files have them",
        "example.org",
    )
    add("domain", metavar="DOMAIN")
    add = dkim.command(
        "rotate",
        "signingkeys:dkim_rotate",
        "sign with the keys in standby, once their records are in the DNS, and retire those that did until now",
        "example.org",
    )
    add("domain", metavar="DOMAIN")
    add("--unchecked", action="store_true", help="do not look into the DNS first")
    resolver(add)
    add = dkim.command(
        "state", "signingkeys:dkim_state", "say what is done with a key", "example.org 2026a retired"
    )
    add("domain", metavar="DOMAIN")
    add("selector", metavar="SELECTOR")
    add(
        "state",
        metavar="STATE",
        choices=("active", "standby", "retired"),
        help="active (it signs), standby (not yet) or retired (no more)",
    )
    add = dkim.command("rm", "signingkeys:dkim_rm", "take a key away; its file stays", "example.org 2025a")
    add("domain", metavar="DOMAIN")
    add("selector", metavar="SELECTOR")
    add_yes(add)


def _key_files(dkim: Commands) -> None:
    for kind in ("rsa", "ed25519"):
        add = dkim.command(
            f"gen{kind}",
            f"signatures:dkim_gen{kind}",
            f"make a private key ({'RSA' if kind == 'rsa' else 'Ed25519'})",
            f"2026a._domainkey.example.org.{kind}.pem\n- > key.pem",
        )
        add("file", metavar="FILE", help="where it is written, readable by you alone; - is standard output")
        if kind == "rsa":
            add("--bits", type=int, choices=(2048, 3072, 4096), default=2048, help="size (default: 2048)")
    add = dkim.command(
        "txt",
        "signatures:dkim_txt",
        "print the TXT record that belongs to a private key",
        "key.pem\n- < key.pem",
    )
    add("key", metavar="KEY", help="private key in PEM; - is standard input")


def _messages(dkim: Commands, json: Option, resolver: Option) -> None:
    add = dkim.command(
        "sign",
        "signatures:dkim_sign",
        "print the signature for a message, to be put in front of it",
        "message.eml --domain example.org --selector 2026a --key key.pem | cat - message.eml > signed.eml",
    )
    add("message", metavar="FILE", help="the message; - is standard input")
    add("--domain", metavar="DOMAIN", required=True, help="the domain that signs")
    add("--selector", metavar="SELECTOR", required=True, help="the name of its key")
    add("--key", metavar="KEY", required=True, help="private key in PEM")
    add("--simple", action="store_true", help="let nothing change on the way (default: relaxed)")
    add("--no-seal", action="store_true", help="do not sign that fields are missing")
    add("--expires-hours", metavar="HOURS", type=int, default=0, help="how long it holds (default: for ever)")
    add = dkim.command(
        "verify",
        "signatures:dkim_verify",
        "verify the signatures of a message",
        "message.eml\n- < message.eml",
    )
    add("message", metavar="FILE", help="the message; - is standard input")
    resolver(add)
    json(add)
    add = dkim.command(
        "lookup",
        "signatures:dkim_lookup",
        "look a key up, and say whether it can be used",
        "2026a example.org",
    )
    add("selector", metavar="SELECTOR")
    add("domain", metavar="DOMAIN")
    resolver(add)
    json(add)


def add_arc(arc: Commands, json: Option, resolver: Option) -> None:
    """All that is below ``arc``."""
    add = arc.command(
        "verify", "signatures:arc_verify", "verify the ARC chain of a message", "message.eml\n- < message.eml"
    )
    add("message", metavar="FILE", help="the message; - is standard input")
    resolver(add)
    json(add)
