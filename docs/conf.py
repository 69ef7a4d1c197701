"""How Sphinx builds the manual. Warnings are errors: see .ci/check.py. The API pages are made by pydoctor into the same folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import moxtwisted
from moxtwisted.config.describe import rst_pages

project = "moxtwisted"
author = "the moxtwisted contributors"
copyright = "2026, the moxtwisted contributors"
version = release = moxtwisted.__version__
extensions = ["sphinx.ext.extlinks"]
extlinks = {"rfc-page": ("https://www.rfc-editor.org/rfc/rfc%s", "RFC %s")}
exclude_patterns = ["_build", "api"]
html_theme = "alabaster"
html_theme_options = {"description": "a mail server and mail protocols for Twisted", "page_width": "1100px"}
html_show_sourcelink = False
nitpicky = True

# The pages on the two configuration files come from the declarations that check them.
for name, text in rst_pages().items():
    page = Path(__file__).parent / "configuration" / name
    if not page.exists() or page.read_text() != text:
        page.write_text(text)
