"""What is said of a message that is no report."""

from __future__ import annotations

from moxtwisted.errors import MailError

__all__ = ["ReportError"]


class ReportError(MailError):
    """It is no report, or not one that can be read; ``detail`` says why."""

    public_text = "not a report"
