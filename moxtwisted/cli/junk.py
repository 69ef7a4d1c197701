"""Commands on junk filters."""

from __future__ import annotations

import argparse
import base64
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moxtwisted.cli.output import counted, print_report
from moxtwisted.cli.progress import ProgressBar
from moxtwisted.cli.session import call
from moxtwisted.errors import MailError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moxtwisted.server.junk.evaluation import Report, Sample

__all__ = ["junk_check", "junk_play", "junk_retrain", "junk_status", "junk_train"]

_MOST_PARTS = 100


def _say_learned(learned: Mapping[str, Any]) -> None:
    known = (
        f"{counted(learned['ham'], 'wanted message')} and {counted(learned['junk'], 'junk message')} learned"
    )
    enough = "" if learned["judges"] else "; too few for the filter's word to count"
    print(f"{known}, {counted(learned['words'], 'word')}{enough}")


def junk_status(arguments: argparse.Namespace) -> int:
    """``junk status``."""
    rows = call(arguments, lambda administration, _: administration.junk_status(arguments.account))
    print_report(rows, as_json=arguments.json, empty="there are no accounts")
    return 0


def junk_check(arguments: argparse.Namespace) -> int:
    """``junk check``."""
    from moxtwisted.junk.tokens import ENOUGH_OCTETS

    try:
        if arguments.file == "-":
            octets = sys.stdin.buffer.read(ENOUGH_OCTETS)
        else:
            with Path(arguments.file).open("rb") as file:
                octets = file.read(ENOUGH_OCTETS)
    except OSError as e:
        raise MailError(f"{arguments.file}: {e.strerror}") from e
    message = base64.b64encode(octets).decode("ascii")
    result = call(arguments, lambda administration, _: administration.junk_check(arguments.account, message))
    if arguments.json:
        print(json.dumps(result, indent=2, ensure_ascii=False))
        return 0
    print(f"probability of junk: {result['probability']:.4f} (sum of the weights {result['sum']:+.1f})")
    rows = [
        {"word": row["word"], "probability": f"{row['probability']:.3f}", "weight": f"{row['weight']:+.1f}"}
        for row in result["words"]
    ]
    print_report(rows, as_json=False, empty="no word of it was seen before")
    _say_learned(result["learned"])
    return 0


def junk_train(arguments: argparse.Namespace) -> int:
    """``junk train``."""
    wanted = [(path, True, arguments.junk_mailbox) for path in arguments.junk]
    wanted += [(path, False, arguments.ham_mailbox) for path in arguments.ham]
    if not wanted:
        raise MailError("nothing to learn: --junk PATH or --ham PATH says what")

    async def train(administration: Any, show: Any) -> list[dict[str, Any]]:
        results = []
        for path, junk, mailbox in wanted:
            absolute = str(Path(path).absolute())
            result = await administration.junk_train(arguments.account, absolute, junk, mailbox, show)
            results.append({"path": path, "junk": junk, "mailbox": mailbox, **result})
        return results

    results = call(arguments, train)
    if arguments.json:
        print(json.dumps(results, indent=2, ensure_ascii=False))
        return 0
    for result in results:
        _say_trained(result)
    _say_learned(results[-1]["learned"])
    return 0


def _say_trained(result: Mapping[str, Any]) -> None:
    label = "junk" if result["junk"] else "not junk"
    known = f", {result['known']:,} there already" if result["known"] else ""
    print(
        f"{result['path']}: {counted(result['messages'], 'message')} put into {result['mailbox']} as {label}{known}"
    )
    for line in result["left_out"]:
        print(f"left out: {line}", file=sys.stderr)


def junk_retrain(arguments: argparse.Namespace) -> int:
    """``junk retrain``."""
    rows = call(arguments, lambda administration, show: administration.junk_retrain(arguments.account, show))
    print_report(rows, as_json=arguments.json, empty="there are no accounts")
    return 0


def junk_play(arguments: argparse.Namespace) -> int:
    """``junk play``."""
    from moxtwisted.server.junk.evaluation import Report, judge_parts

    if not 2 <= arguments.parts <= _MOST_PARTS:
        raise MailError(f"--parts is a number from 2 to {_MOST_PARTS}")
    bar = ProgressBar(sys.stderr)
    try:
        ham, junk = _samples(arguments.ham, bar, junk=False), _samples(arguments.junk, bar, junk=True)
        for option, found, paths in (("--ham", ham, arguments.ham), ("--junk", junk, arguments.junk)):
            if not found:
                raise MailError(
                    f"{option} {' '.join(paths)}: no message is there; mail of both kinds is needed"
                )
        samples = ham + junk
        judged = judge_parts(
            samples, arguments.parts, lambda done: bar(done, len(samples), "messages judged")
        )
    finally:
        bar.finish()
    report = Report.of(judged)
    if arguments.json:
        print(json.dumps(report.plain(), indent=2, ensure_ascii=False))
    else:
        _print_report(report)
    return 0


def _samples(paths: Sequence[str], bar: ProgressBar, *, junk: bool) -> list[Sample]:
    from moxtwisted.server.junk.evaluation import Sample
    from moxtwisted.server.junk.labelled import count_messages, read_messages

    samples: list[Sample] = []
    for path in map(Path, paths):
        total = count_messages(path)
        for number, message in enumerate(read_messages(path), 1):
            if message.problem:
                print(f"left out: {message.name}: {message.problem}", file=sys.stderr)
            else:
                samples.append(Sample.of(message.name, message.octets, junk=junk))
            bar(number, max(total, number), "messages read")
    return samples


def _print_report(report: Report) -> None:
    print(f"{counted(report.ham, 'wanted message')}, {counted(report.junk, 'junk message')}\n")
    rows = [
        {"limit": f"{p.limit:g}", "wanted mail refused": p.false_positives, "junk caught": f"{p.caught:.1%}"}
        for p in report.limits
    ]
    print_report(rows, as_json=False)
    print("\nthe most that any limit would catch:")
    rows = [
        {"wanted mail refused": p.false_positives, "junk caught": f"{p.caught:.1%}"} for p in report.curve
    ]
    print_report(rows, as_json=False)
    for title, worst in (
        ("wanted mail most like junk", report.worst),
        ("junk most like wanted mail", report.missed),
    ):
        print(f"\n{title}:")
        rows = [
            {"probability": f"{probability:.4f}", "message": name, "words": words}
            for name, probability, words in worst
        ]
        print_report(rows, as_json=False)
