"""What is installed is what should be: the wheel is built from a copy of the sources and tried in an empty environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import moxtwisted

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = (
    *("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.rst", "NEWS.rst", "LICENSE"),
    *("moxtwisted", "twisted", "tests"),
)

#: What pip says when it cannot reach a package index; anything else it fails with is our fault.
OFFLINE = (
    "No matching distribution found",
    "NewConnectionError",
    "Temporary failure in name resolution",
    "ReadTimeoutError",
)


def plain_environment() -> dict[str, str]:
    """The environment without Python's variables: trial tells its workers our whole path in PYTHONPATH."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def pip(python: Path | str, *arguments: str) -> None:
    """Run pip, and skip the test where there is no package index."""
    done = subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", *arguments],
        env=plain_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        if any(phrase in done.stderr for phrase in OFFLINE):
            raise SkipTest("needs a package index that pip can reach")
        raise AssertionError(done.stdout + done.stderr)


def build(where: Path) -> Path:
    """Build a wheel from a copy of the sources, so that the tree gets no build folder; its path."""
    copy = where / "sources"
    copy.mkdir(parents=True)
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
        elif source.exists():
            shutil.copy(source, copy / name)
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(where), str(copy))
    (wheel,) = where.glob("moxtwisted-*.whl")
    return wheel


class WheelTests(SynchronousTestCase):
    """The wheel, as files and as a program."""

    timeout = 600

    def setUp(self) -> None:
        """Build the wheel in this test's folder."""
        self.folder = Path(self.mktemp()).resolve()
        self.wheel = build(self.folder)

    def test_has_all_of_the_package_and_nothing_else(self) -> None:
        """The wheel has every module, data file and the plugin, and neither tests nor anything outside its two packages."""
        with zipfile.ZipFile(self.wheel) as archive:
            shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
        wanted = {
            str(path.relative_to(self.folder / "sources"))
            for folder in ("moxtwisted", "twisted")
            for path in (self.folder / "sources" / folder).rglob("*")
            if path.suffix in {".py", ".sql", ".zdict", ".typed", ".html", ".css", ".js", ".svg"}
        }
        self.assertEqual(shipped, wanted)
        self.assertIn("twisted/plugins/moxmail_plugin.py", shipped)
        self.assertNotIn("twisted/plugins/__init__.py", shipped)

    def test_works_in_an_empty_environment(self) -> None:
        """Installed where nothing else is, twistd lists both servers, the command works, and there are no tests."""
        # a short name: the first line of a script names its interpreter, and has a limit
        home = Path(tempfile.mkdtemp(prefix="moxtwisted-"))
        self.addCleanup(shutil.rmtree, home)
        venv.create(home, with_pip=True)
        pip(home / "bin/python", "install", str(self.wheel))

        def says(*command: str) -> str:
            done = subprocess.run(
                [home / "bin" / command[0], *command[1:]],
                cwd=self.folder,
                env=plain_environment(),
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            return done.stdout

        listed = says("twistd", "--help")
        self.assertRegex(listed, r"(?m)^\s+moxmail\s+An all-in-one mail server")
        self.assertRegex(listed, r"(?m)^\s+badsmtp\s+A mail server that misbehaves")
        self.assertIn(moxtwisted.__version__, says("moxmail", "version"))
        self.assertEqual(says("moxmail", "badsmtp", "--free-ports", "--exec", "echo", "up"), "up\n")
        found = says(
            "python",
            "-c",
            "import importlib.util as u; print(u.find_spec('tests'), u.find_spec('moxtwisted').origin)",
        )
        self.assertIn("None", found)
        self.assertIn(str(home), found)
