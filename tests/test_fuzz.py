"""The fuzz targets without a fuzzer: they run, and find nothing in a moment."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz import run

#: Splices that turn one written input into another: where, how many octets go, and what comes instead.
_CHANGES = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 9), st.binary(max_size=6)), max_size=4)


def one(name: str) -> Callable[[bytes], None]:
    """A target's function."""
    function: Callable[[bytes], None] = importlib.import_module(f"tests.fuzz.fuzz_{name}").one
    return function


class TargetTests(SynchronousTestCase):
    def test_corpora(self) -> None:
        """Each target has inputs that we wrote, and finds nothing in them."""
        for name in run.names():
            with self.subTest(name):
                function, inputs = one(name), run.corpus(name)
                self.assertNotEqual(inputs, [])
                for path in inputs:
                    function(path.read_bytes())

    def test_corpora_are_small(self) -> None:
        """What we wrote is a few kilobytes, and belongs to targets that are there."""
        sizes = {name: sum(path.stat().st_size for path in run.corpus(name)) for name in run.names()}
        self.assertEqual({name: size for name, size in sizes.items() if size > 10_000}, {})
        for folder in ("corpus", "dictionaries"):
            self.assertLessEqual({path.stem for path in (run.HERE / folder).iterdir()}, set(run.names()))

    def attempt(self, name: str) -> None:
        """Feed a target what Hypothesis makes of its corpus."""
        function, inputs = one(name), [path.read_bytes() for path in run.corpus(name)]

        @given(st.sampled_from(inputs), _CHANGES, st.binary(max_size=40))
        @settings(
            max_examples=200,
            database=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        )
        def changed(written: bytes, changes: list[tuple[int, int, bytes]], more: bytes) -> None:
            data = bytearray(written)
            for place, gone, octets in changes:
                at = place % (len(data) + 1)
                data[at : at + gone] = octets
            function(bytes(data) + more)

        changed()


def _add(name: str) -> None:
    def test(self: TargetTests) -> None:
        self.attempt(name)

    test.__doc__ = f"The target {name} finds nothing in 200 inputs."
    setattr(TargetTests, f"test_{name}", test)


for _name in run.names():
    _add(_name)


class RunTests(SynchronousTestCase):
    def test_without_atheris(self) -> None:
        """Without atheris the step says so, and fails only where CI=true."""
        for environment, code in (({}, 0), ({"CI": "false"}, 0), ({"CI": "true"}, 1)):
            with (
                patch("importlib.util.find_spec", return_value=None),
                patch.dict(os.environ, environment, clear=True),
                patch("builtins.print") as said,
            ):
                self.assertEqual(run.main(["facts"]), code)
            self.assertIn("atheris is not installed", said.call_args[0][0])

    def test_unknown_target(self) -> None:
        """A target that is not there is an error."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.run", "nonsense"],
            cwd=run.ROOT,
            capture_output=True,
            check=False,
        )
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"there are address, ", done.stderr)
