"""Say clearly why a Python cannot be used, before anything fails unclearly; runs on any Python, even 2.7."""

import sys

NEEDED = (3, 11)


def problem():
    """What keeps this Python from making our virtual environment, or an empty string."""
    if sys.version_info < NEEDED:
        return (
            "moxtwisted needs Python %d.%d or newer, and this is %s (%s).\nName another one:  make PYTHON=python3.12 serve"
            % (NEEDED + (sys.version.split()[0], sys.executable))
        )
    try:
        import ensurepip
        import venv
    except ImportError:
        return (
            "%s has no venv module. On Debian and Ubuntu it is a package of its own, once, as root:\n"
            "    apt install python3-venv" % sys.executable
        )
    return "" if ensurepip and venv else "no venv"


if __name__ == "__main__":
    sys.exit(problem() or 0)
