"""The rules of the house that a machine can check: floors, purity, budgets, names (docs/design/ says why each stands).

Import-linter checks the order of the packages; what it cannot say is read from the syntax trees here. A budget may be passed where
it says why: a comment ``# budget: reason`` on the line of the ``def`` or ``class``, or on the first line of the module.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "moxtwisted"

#: The formats, policies and protocols: what they know is octets and values, never a clock, a socket or a reactor.
PURE = (
    "errors",
    "identifiers",
    "address",
    "message",
    "sasl",
    "dns",
    "sieve",
    "tlspolicy",
    "transport",
    "mailauth",
    "junk",
    "smtp",
    "imap",
    "pop3",
    "managesieve",
    "milter",
    "jmap",
    "acme",
    "dav",
)

#: The modules inside those that are the border to Twisted; ``testing`` may use Twisted's doubles.
BORDERS = {"protocol.py", "agent.py", "testing.py"}

#: What only a border imports.
INPUT_OUTPUT = {
    "twisted",
    "treq",
    "klein",
    "OpenSSL",
    "ssl",
    "socket",
    "select",
    "asyncio",
    "subprocess",
    "selectors",
}

#: What nothing in a pure package imports, borders included: clocks and entropy are handed in.
HIDDEN_INPUT = {"time", "random", "threading", "concurrent", "multiprocessing"}

#: Calls that read a clock or entropy without one of those imports.
HIDDEN_CALLS = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "os.urandom", "uuid.uuid1", "uuid.uuid4",
    "secrets.token_bytes", "secrets.token_hex", "secrets.token_urlsafe", "secrets.choice", "secrets.randbelow",
}  # fmt: skip

FUNCTION_LINES = 60
CLASS_LINES = 400
MODULE_LINES = 600
ARGUMENTS = 6

SHAPELESS_NAMES = {"util", "utils", "common", "helper", "helpers", "misc", "base", "lib", "tools"}


def modules(*parts: str) -> Iterator[Path]:
    """Every module below a package of ours, or the module of that name."""
    where = PACKAGE.joinpath(*parts)
    if where.is_dir():
        yield from sorted(where.rglob("*.py"))
    elif (module := where.with_suffix(".py")).exists():
        yield module


def pure_modules() -> Iterator[Path]:
    """Every module of the pure packages, without the borders."""
    for name in PURE:
        yield from (path for path in modules(name) if path.name not in BORDERS)


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and top-level package of every absolute import in a module, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.lineno, node.module.partition(".")[0]


def called(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and last two names of every call through an attribute, as ``datetime.now``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            name = (
                owner.id
                if isinstance(owner, ast.Name)
                else owner.attr
                if isinstance(owner, ast.Attribute)
                else ""
            )
            yield node.lineno, f"{name}.{node.func.attr}"


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body without its docstring."""
    body = node.body
    if (
        isinstance(body[0], ast.Expr)
        and isinstance(body[0].value, ast.Constant)
        and isinstance(body[0].value.value, str)
    ):
        body = body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def argument_count(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Arguments of a function, positional and by name, without ``self`` and ``cls``."""
    positional = [*node.args.posonlyargs, *node.args.args]
    own = positional[1:] if positional and positional[0].arg in {"self", "cls"} else positional
    return len(own) + len(node.args.kwonlyargs)


def over_budget(path: Path) -> Iterator[str]:
    """What in a module passes a budget and does not say why."""
    text = path.read_text()
    lines = text.splitlines()
    name = os.path.relpath(path, ROOT)
    if len(lines) > MODULE_LINES and "# budget: " not in lines[0]:
        yield f"{name}: {len(lines)} lines"
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        found = []
        if isinstance(node, ast.ClassDef):
            if (size := (node.end_lineno or 0) - node.lineno + 1) > CLASS_LINES:
                found.append(f"{size} lines")
        else:
            if (size := body_lines(node)) > FUNCTION_LINES:
                found.append(f"{size} lines")
            if (number := argument_count(node)) > ARGUMENTS:
                found.append(f"{number} arguments")
        if found and "# budget: " not in lines[node.lineno - 1]:
            yield f"{name}:{node.lineno} {node.name}: {', '.join(found)}"


class FloorTests(SynchronousTestCase):
    """The order of the packages, as import-linter has it in setup.cfg."""

    def test_contracts_are_kept(self) -> None:
        """No package imports one above it or beside it, and every top-level module has a floor."""
        program = Path(sys.executable).parent / "lint-imports"
        if not program.exists():
            self.skipTest("needs import-linter (in the extra [dev])")
        result = subprocess.run(
            [program, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_configuration_stays_above(self) -> None:
        """Only compose, the command and the plugin's module import the configuration: values arrive as arguments."""
        above = {"config", "compose", "compose.py", "cli", "tap"}
        wrong = [
            f"{path.relative_to(ROOT)}:{node.lineno}"
            for path in modules()
            if path.relative_to(PACKAGE).parts[0] not in above
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("moxtwisted.config")
        ]
        self.assertEqual(wrong, [])

    def test_the_global_reactor_stays_above(self) -> None:
        """Only the plugins and the command import the global reactor; all else is handed one."""
        wrong = [
            f"{path.relative_to(ROOT)}:{node.lineno}"
            for path in modules()
            if path.relative_to(PACKAGE).parts[0] not in {"tap", "cli"}
            for node in ast.walk(ast.parse(path.read_text()))
            if (
                isinstance(node, ast.ImportFrom)
                and node.module == "twisted.internet"
                and any(alias.name == "reactor" for alias in node.names)
            )
            or (
                isinstance(node, ast.Import)
                and any(alias.name == "twisted.internet.reactor" for alias in node.names)
            )
        ]
        self.assertEqual(wrong, [])


class PurityTests(SynchronousTestCase):
    """Formats, policies and protocols are pure."""

    def test_only_borders_do_input_and_output(self) -> None:
        """In pure packages, only protocol.py, agent.py and testing.py import Twisted, TLS or sockets."""
        wrong = [
            f"{path.relative_to(ROOT)}:{line} imports {name}"
            for path in pure_modules()
            for line, name in imported(ast.parse(path.read_text()))
            if name in INPUT_OUTPUT
        ]
        self.assertEqual(wrong, [])

    def test_time_and_chance_are_handed_in(self) -> None:
        """No module of a pure package imports or calls for a clock, dice or threads."""
        wrong = []
        for name in PURE:
            for path in modules(name):
                tree = ast.parse(path.read_text())
                where = path.relative_to(ROOT)
                wrong += [
                    f"{where}:{line} imports {what}" for line, what in imported(tree) if what in HIDDEN_INPUT
                ]
                wrong += [
                    f"{where}:{line} calls {what}" for line, what in called(tree) if what in HIDDEN_CALLS
                ]
        self.assertEqual(wrong, [])

    def test_pure_modules_do_not_load_twisted(self) -> None:
        """A fresh interpreter that imports every pure module has not loaded Twisted, by whatever way round."""
        names = [
            ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            for path in pure_modules()
        ]
        self.assertIn("moxtwisted.errors", names)
        program = (
            "import importlib, sys\n"
            f"for name in {names!r}:\n"
            "    importlib.import_module(name)\n"
            "    if 'twisted' in sys.modules: sys.exit(f'{name} loads twisted')\n"
        )
        result = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
        )
        self.assertEqual(result.returncode, 0, result.stderr)


class PatternTests(SynchronousTestCase):
    """Regular expressions."""

    def test_no_group_is_repeated_possessively(self) -> None:
        """``(?:ab?c)*+`` goes on where an attempt failed in Python before 3.11.5, Debian 12's; ``(?>(?:ab?c)*)`` is right in all."""
        repeated = re.compile(r"\)(?:[*+?]|\{[0-9,]+\})\+(?![,=])")
        wrong = [
            f"{path.relative_to(ROOT)}:{number}"
            for path in modules()
            for number, line in enumerate(path.read_text().splitlines(), 1)
            if repeated.search(line)
        ]
        self.assertEqual(wrong, [])
        self.assertTrue(
            repeated.search(r"(?:a|b)?+") and repeated.search("(a){1,3}+") and repeated.search('(a)++"')
        )
        self.assertIsNone(repeated.search("(?>(?:a++|[()])*)"))


class BudgetTests(SynchronousTestCase):
    """Sizes and names."""

    def test_budgets_are_kept(self) -> None:
        """Functions have at most 60 lines and 6 arguments, classes 400 lines, modules 600, or a written reason."""
        self.assertEqual([found for path in modules() for found in over_budget(path)], [])

    def test_names_say_what_is_inside(self) -> None:
        """No module or package is called util, common, helpers, misc, base or the like."""
        wrong = [
            str(path.relative_to(ROOT))
            for path in modules()
            if SHAPELESS_NAMES & {part.removesuffix(".py") for part in path.relative_to(PACKAGE).parts}
        ]
        self.assertEqual(wrong, [])

    def test_each_test_states_its_fact(self) -> None:
        """Every test method has a docstring, and that is one sentence on what holds."""
        wrong = [
            f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
            for path in sorted((ROOT / "tests").rglob("test_*.py"))
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name.startswith("test_")
            and not ast.get_docstring(node)
        ]
        self.assertEqual(wrong, [])

    def test_a_written_reason_lifts_a_budget(self) -> None:
        """The budget check finds a long function, and accepts it with a reason on its line."""
        body = "".join(f"    x{n} = {n}\n" for n in range(FUNCTION_LINES + 1))
        path = Path(self.mktemp()).resolve()
        path.write_text("def long():\n" + body)
        self.assertEqual(len(list(over_budget(path))), 1)
        path.write_text("def long():  # budget: a table\n" + body)
        self.assertEqual(list(over_budget(path)), [])
