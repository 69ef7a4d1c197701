"""Regular expressions of the configuration.

::

    pattern = compile_pattern(r"@lists\\.example\\.net$")      # PatternError: missing ), …
    pattern.search("bounce@lists.example.net")

They are matched against text that strangers wrote, by the process that serves everybody. Python's ``re`` can take longer than the
age of the universe for some of them (``(a+)+$``), so RE2 does it, whose time is linear in the text and whose memory is bounded. It has
no back-references and no look-around. Case does not matter.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

__all__ = ["CompiledPattern", "PatternError", "compile_pattern"]

#: Of one compiled pattern.
_MAX_MEMORY_OCTETS: Final = 1 << 20


class PatternError(ValueError):
    """The text is no such expression; the argument says why."""


class CompiledPattern(Protocol):
    """What is compiled."""

    def search(self, text: str, /) -> Any:
        """Something true when a part of the text matches."""


def compile_pattern(text: str) -> CompiledPattern:
    """Compile it. :raises PatternError:"""
    # 6 ms, and few configurations have patterns.
    import re2

    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    options.max_mem = _MAX_MEMORY_OCTETS
    try:
        compiled: CompiledPattern = re2.compile(text, options)
    except re2.error as e:
        reason = e.args[0] if e.args else ""
        raise PatternError(
            reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        ) from None
    except UnicodeError:
        raise PatternError("not Unicode text") from None
    return compiled
