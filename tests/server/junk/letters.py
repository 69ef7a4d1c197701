"""Mail that is easy to tell apart."""

from __future__ import annotations

from tests.junk.messages import message

NAMES = ("anna", "berta", "carla", "dora", "emma", "frida", "gerda", "hanna", "ida", "jutta")


def wanted(number: int) -> bytes:
    """A letter from somebody."""
    name = NAMES[number % 10]
    text = f"Dear {name}, the meeting of chapter {number} is on Monday, bring the minutes"
    return message(text, f"Subject: minutes {name}")


def junk(number: int) -> bytes:
    """No letter."""
    text = f"Buy cheap pills {NAMES[number % 10]}, no prescription, order {number} today"
    return message(text, "Subject: CHEAP pills!!!")
