"""``python -m moxtwisted …`` is ``moxmail …``: ``python -m moxtwisted badsmtp``."""

import sys

from moxtwisted.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
