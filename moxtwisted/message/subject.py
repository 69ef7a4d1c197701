"""Base subjects, by which replies are put beside what they answer (RFC 5256 section 2.1).

::

    base_subject("Re: [list] Fwd: Hello (fwd)")      # ('Hello', True)
"""

from __future__ import annotations

import re

__all__ = ["MAX_SUBJECT_CHARACTERS", "base_subject"]

MAX_SUBJECT_CHARACTERS = 1000
"""What is looked at of a subject; a line of RFC 5322 has 998."""

_BLOB = r"\[[^\[\]]*\]\s*"
_LEADER = re.compile(rf"(?:{_BLOB})*(?:re|fwd?)\s*(?:{_BLOB})?:\s*", re.IGNORECASE)
_LEADING_BLOB = re.compile(_BLOB)


def base_subject(subject: str) -> tuple[str, bool]:
    """Strip a decoded subject of what replying and forwarding add.

    :return: the base subject in its own case (threads compare without case), and whether something said that it is a
        reply or a forward.
    """
    text = " ".join(subject[:MAX_SUBJECT_CHARACTERS].split())
    if ":" not in text and "]" not in text and text[-1:] != ")":
        # There is neither a leader nor a blob nor a trailer.
        return text, False
    start, end = 0, len(text)
    is_reply = False
    while True:
        # Step 2: trailers.
        while text[end - 5 : end].lower() == "(fwd)" and end - 5 >= start:
            end -= 5
            is_reply = True
            while end > start and text[end - 1] == " ":
                end -= 1
        # Steps 3 to 5: leaders, and blobs as long as something remains.
        while start < end:
            leader = _LEADER.match(text, start, end)
            if leader is not None:
                start = leader.end()
                is_reply = True
                continue
            blob = _LEADING_BLOB.match(text, start, end)
            if blob is None or blob.end() >= end:
                break
            start = blob.end()
        # Step 6: a forward in brackets.
        if end - start >= 6 and text[start : start + 5].lower() == "[fwd:" and text[end - 1] == "]":
            start, end = start + 5, end - 1
            is_reply = True
            while start < end and text[start] == " ":
                start += 1
            while end > start and text[end - 1] == " ":
                end -= 1
            continue
        return text[start:end], is_reply
