"""Run the fuzz targets: each ``fuzz_<name>.py`` beside this file has ``one(data)``, which raises when something is wrong.

::

    python -m tests.fuzz.run                            all, five seconds each, two at a time: what ``make test`` does
    python -m tests.fuzz.run --seconds 600 smtp imap    some, for longer
    python -m tests.fuzz.run --seed 0                   by chance; else the order of attempts is the same in every run
    python -m tests.fuzz.fuzz_smtp crash-…              one input again, with its traceback; libFuzzer's options, too

What is fed first lies in ``corpus/<name>/``, tokens that are spliced in come from ``dictionaries/<name>.dict``. Each run has a limit of
memory, of time and of time for one input. A crash is printed in hexadecimal and kept in ``crashes/``; then the exit code is 1.

Without atheris nothing is run; that is said, and is a failure when the environment has ``CI=true``.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CRASHES = HERE / "crashes"

SECONDS = 5
SEED = 1
AT_ONCE = 2
MEMORY_MB = 1024
INPUT_SECONDS = 10
INPUT_OCTETS = 2048
#: What a run may need besides: importing under instrumentation, the corpus, and one input that hangs.
MORE_SECONDS = 120


def names() -> list[str]:
    """All targets."""
    return sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py"))


def corpus(name: str) -> list[Path]:
    """The inputs that we wrote for a target."""
    return sorted(path for path in (HERE / "corpus" / name).glob("*") if path.is_file())


def alone(module: str) -> None:
    """Become the fuzzer of one target; ``sys.argv`` has libFuzzer's options.

    A new process, since what was imported before cannot be instrumented any more.
    """
    name = module.rpartition(".")[2].removeprefix("fuzz_")
    if name == "__main__":
        name = Path(sys.argv[0]).stem.removeprefix("fuzz_")
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "tests.fuzz.run", "--in-process", name, *sys.argv[1:]])


def in_process(name: str, options: Sequence[str]) -> None:
    """Fuzz one target until libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["moxtwisted"]):
        target = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    dictionary = HERE / "dictionaries" / f"{name}.dict"
    known = [f"-dict={dictionary}"] if dictionary.exists() else []
    atheris.Setup([sys.argv[0], *known, *options], target.one)
    atheris.Fuzz()


def fuzz(name: str, seconds: int, seed: int) -> tuple[bool, str]:
    """Run one target in a process of its own.

    :return: whether nothing was found, and what is to be said.
    """
    CRASHES.mkdir(exist_ok=True)
    before = set(CRASHES.glob(f"{name}-*"))
    with tempfile.TemporaryDirectory(prefix="moxtwisted-fuzz-") as grown:
        command = [
            *(sys.executable, "-m", "tests.fuzz.run", "--in-process", name),
            *(grown, str(HERE / "corpus" / name)),
            *(
                f"-seed={seed}",
                f"-max_total_time={seconds}",
                f"-max_len={INPUT_OCTETS}",
                f"-timeout={INPUT_SECONDS}",
            ),
            *(f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={CRASHES}/{name}-"),
            *("-print_final_stats=1", "-verbosity=0", "-close_fd_mask=0"),
        ]
        (HERE / "corpus" / name).mkdir(parents=True, exist_ok=True)
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=os.environ | {"PYTHONHASHSEED": str(seed)} if seed else None,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=seconds + MORE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False, f"{name}: did not end in {seconds + MORE_SECONDS} seconds"
    text = done.stdout.decode("utf-8", "replace")
    found = sorted(set(CRASHES.glob(f"{name}-*")) - before)
    if done.returncode == 0 and not found:
        runs = next((x.split()[-1] for x in text.splitlines() if "number_of_executed_units" in x), "no")
        return True, f"{name}: {runs} inputs"
    lines = [f"{name}: FAILED (exit code {done.returncode})", *text.splitlines()[-60:]]
    lines += [f"{path.relative_to(ROOT)}: {path.read_bytes().hex()}" for path in found]
    return False, "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Run the targets that are named, or all; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for each target")
    parser.add_argument(
        "--seed", type=int, default=SEED, help="of the order of attempts; 0: another in each run"
    )
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    parser.add_argument("names", nargs="*", metavar="target", help=", ".join(names()))
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(names()):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    if importlib.util.find_spec("atheris") is None:
        print("fuzzing: not run, since atheris is not installed (it has wheels for CPython on Linux x86-64)")
        return 1 if os.environ.get("CI") == "true" else 0
    good = True
    with ThreadPoolExecutor(options.at_once) as pool:
        for fine, text in pool.map(
            lambda name: fuzz(name, options.seconds, options.seed), options.names or names()
        ):
            good = good and fine
            print(text, flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in-process"]:
        in_process(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main(sys.argv[1:]))
