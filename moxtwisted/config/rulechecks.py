"""How the keys about judging mail must fit together; see ``moxtwisted.config.checks``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moxtwisted.config.patterns import PatternError, compile_pattern
from moxtwisted.config.reading import Path, Problems, quoted
from moxtwisted.config.schema import Account, Destination, Judgement, Ruleset
from moxtwisted.identifiers import Domain, IdentifierError, is_inbox, parse_mailbox_name

__all__ = ["check_account_rules", "check_destination_rules", "check_judgement"]


def _check(parse: Callable[[str], Any], text: str, path: Path, expected: str, problems: Problems) -> None:
    """An empty text, or one that can be parsed."""
    if not text:
        return
    try:
        parse(text)
    except IdentifierError as e:
        problems.add(path, f"{quoted(text)} found, {expected} expected: {e.detail}")
    except PatternError as e:
        problems.add(path, f"{quoted(text)} found, {expected} expected: {e}")


def check_judgement(settings: Judgement, problems: Problems) -> None:
    """Of ``mox.conf``."""
    for key in ("dns_block_lists", "dns_allow_lists"):
        for i, zone in enumerate(getattr(settings, key)):
            _check(Domain.parse, zone, ("judgement", key, i), "a domain name", problems)


def check_account_rules(account: Account, path: Path, problems: Problems) -> None:
    """Of one account; ``path`` leads to it."""
    names: dict[str, str] = {}
    for key in ("rejects_mailbox", "introbox"):
        mailbox = getattr(account, key)
        _check(parse_mailbox_name, mailbox, (*path, key), "a mailbox", problems)
        if is_inbox(mailbox):
            problems.add((*path, key), f"{quoted(mailbox)} found, another mailbox than INBOX expected")
        elif mailbox and mailbox in names:
            problems.add((*path, key), f"{quoted(mailbox)} found, which is {names[mailbox]} already")
        names[mailbox] = key


def check_destination_rules(destination: Destination, path: Path, problems: Problems) -> None:
    """Of one address; ``path`` leads to it."""
    for i, ruleset in enumerate(destination.rulesets):
        _check_ruleset(ruleset, (*path, "rulesets", i), problems)


def _check_ruleset(ruleset: Ruleset, path: Path, problems: Problems) -> None:
    for key in ("smtp_mail_from_regexp", "msg_from_regexp"):
        _check(compile_pattern, getattr(ruleset, key), (*path, key), "a regular expression", problems)
    for name, value in ruleset.headers_regexp.items():
        at = (*path, "headers_regexp", name)
        _check(compile_pattern, name, at, "a regular expression as name", problems)
        _check(compile_pattern, value, at, "a regular expression", problems)
    for key in ("verified_domain", "list_allow_domain"):
        _check(Domain.parse, getattr(ruleset, key), (*path, key), "a domain name", problems)
    for key in ("mailbox", "accept_rejects_to_mailbox"):
        _check(parse_mailbox_name, getattr(ruleset, key), (*path, key), "a mailbox", problems)
    if problems.spoiled_below(path):
        return
    conditions = ("smtp_mail_from_regexp", "msg_from_regexp", "verified_domain", "headers_regexp")
    if not any(getattr(ruleset, key) for key in conditions):
        problems.add(path, "no condition found, one or more of " + ", ".join(conditions) + " expected")
    if ruleset.is_forward and not (ruleset.smtp_mail_from_regexp and ruleset.verified_domain):
        problems.add(
            (*path, "is_forward"), "true found, smtp_mail_from_regexp and verified_domain expected as well"
        )
    if ruleset.is_forward and ruleset.list_allow_domain:
        problems.add((*path, "list_allow_domain"), "is_forward found as well, one of them expected")
    if is_inbox(ruleset.accept_rejects_to_mailbox):
        problems.add(
            (*path, "accept_rejects_to_mailbox"),
            f"{quoted(ruleset.accept_rejects_to_mailbox)} found, another mailbox than INBOX expected",
        )
