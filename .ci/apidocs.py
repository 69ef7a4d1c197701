"""Build the API pages with pydoctor and fail on its warnings, but for those that are its own mistakes."""

from __future__ import annotations

import re
import subprocess
import sys

#: It reads every text inside an annotation as code, also the descriptions in ``Annotated[str, Meta(description="…")]``, and it does not
#: know possessive quantifiers and atomic groups, which regular expressions have since 3.11.
MISTAKES = re.compile(
    r"syntax error in annotation|Cannot colorize regular expression, error: (multiple repeat|unknown extension \?>)"
)


def main() -> int:
    """Run it; the exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "pydoctor", "--quiet"], capture_output=True, text=True, check=False
    )
    output = (done.stdout + done.stderr).splitlines()
    warnings = [line for line in output if re.match(r"\S+:(\d+|\?+): ", line) and not MISTAKES.search(line)]
    print("\n".join(warnings or (output if done.returncode not in {0, 2, 3} else [])))
    return 1 if warnings or done.returncode not in {0, 2, 3} else 0


if __name__ == "__main__":
    sys.exit(main())
