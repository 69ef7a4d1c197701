"""The script behind ``make test`` counts what trial says, and is not fooled."""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent.parent


def load(name: str) -> ModuleType:
    """Import a module of .ci, which is no package."""
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / ".ci" / f"{name}.py")
    if spec is None or spec.loader is None:
        raise LookupError(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


check = load("check")
python_fits = load("python_fits")

ENDING = """\
===============================================================================
[SKIPPED]
needs swaks (Debian package swaks;
"make peers" adds it)

tests.integration.test_swaks.PlainTests.test_a
tests.integration.test_swaks.PlainTests.test_b
===============================================================================
[SKIPPED]
needs root, for postfix

tests.integration.test_postfix.PostfixTests.test_c
-------------------------------------------------------------------------------
Ran 9 tests in 1.250s

FAILED (skips=3, failures=1, errors=2, expectedFailures=1, successes=2)
""".splitlines()


class TallyTests(SynchronousTestCase):
    """Counting."""

    def test_counts_by_kind(self) -> None:
        """Failures and errors are failed; successes and expected failures are passed; skips stand apart."""
        self.assertEqual(str(check.tally(ENDING)), "3 passed, 3 failed, 3 skipped")

    def test_only_the_end_counts(self) -> None:
        """What a test prints, even a whole summary, does not count once the real one follows."""
        fake = ["Ran 99 tests in 1.000s", "", "PASSED (successes=99)"]
        self.assertEqual(str(check.tally([*fake, *ENDING])), "3 passed, 3 failed, 3 skipped")

    def test_an_unfinished_run_has_no_count(self) -> None:
        """Without both closing lines there is no count, whatever stood before."""
        self.assertIsNone(check.tally([]))
        self.assertIsNone(check.tally(["Ran 3 tests in 0.1s"]))
        self.assertIsNone(check.tally(["PASSED (successes=3)"]))

    def test_nothing_run_is_nothing_passed(self) -> None:
        """Trial's bare verdict over zero tests is a count of zeros, which the caller takes for a failure."""
        self.assertEqual(check.tally(["Ran 0 tests in 0.000s", "", "PASSED"]), (0, 0, 0))

    def test_reasons_of_skips(self) -> None:
        """Skipped tests are counted by their reason, joined where it is wrapped."""
        self.assertEqual(
            check.skip_reasons(ENDING),
            {'needs swaks (Debian package swaks; "make peers" adds it)': 2, "needs root, for postfix": 1},
        )


class PythonTests(SynchronousTestCase):
    """The first check of all."""

    def test_this_python_fits(self) -> None:
        """The Python that runs the tests is fit to run them."""
        self.assertEqual(python_fits.problem(), "")

    def test_an_old_python_is_named(self) -> None:
        """An older Python is told which one is needed, which one it is, and what to type."""
        self.patch(python_fits, "NEEDED", (99, 0))
        self.assertIn("needs Python 99.0 or newer", python_fits.problem())
        self.assertIn("make PYTHON=", python_fits.problem())


class CloseTests(SynchronousTestCase):
    """The verdict over a run of the suite."""

    def verdict(self, *lines: str, code: int = 0, strict: bool = False) -> list[str]:
        """What is wrong with a run that printed these lines."""
        self.patch(check.os, "environ", {check.NO_SKIP: "1"} if strict else {})
        self.patch(sys, "stdout", io.StringIO())
        problems: list[str] = check.close(code, lines)
        return problems

    def test_good(self) -> None:
        """A run that passed is good."""
        self.assertEqual(self.verdict("Ran 2 tests in 0.1s", "PASSED (successes=2)", strict=True), [])

    def test_nothing_run(self) -> None:
        """A run of no tests is not."""
        self.assertEqual(self.verdict("Ran 0 tests in 0.0s", "PASSED"), ["no test was run"])

    def test_cut_short(self) -> None:
        """A run without a verdict is not, whatever its exit code."""
        self.assertEqual(self.verdict("Ran 2 tests in 0.1s"), ["trial did not finish"])

    def test_exit_code_counts(self) -> None:
        """A run that ended badly after a good verdict is not."""
        self.assertEqual(
            self.verdict("Ran 1 tests in 0.1s", "PASSED (successes=1)", code=1), ["tests failed"]
        )

    def test_skips(self) -> None:
        """A skip is a failure only where skipping is forbidden, and never for what lies beside the repository."""
        ending = ("-----", "Ran 1 tests in 0.1s", "PASSED (skips=1)")
        missing = ("[SKIPPED]", "needs swaks", "", "tests.a", *ending)
        beside = ("[SKIPPED]", "needs ../shared/rfc beside the repository", "", "tests.a", *ending)
        self.assertEqual(self.verdict(*missing), [])
        self.assertEqual(len(self.verdict(*missing, strict=True)), 1)
        self.assertEqual(self.verdict(*beside, strict=True), [])
