"""``python -m moxtwisted.cli`` is ``moxmail``, for service files that must not depend on a search path."""

import sys

from moxtwisted.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
