"""By what SORT sorts and how THREAD threads (RFC 5256 section 3, RFC 5957)."""

from __future__ import annotations

from enum import Enum

from attrs import frozen

__all__ = ["SortCriterion", "SortKey", "ThreadAlgorithm"]


class SortKey(Enum):
    """What is compared; the value is the wire's word."""

    ARRIVAL = "ARRIVAL"
    CC = "CC"
    DATE = "DATE"
    FROM = "FROM"
    SIZE = "SIZE"
    SUBJECT = "SUBJECT"
    TO = "TO"
    DISPLAYFROM = "DISPLAYFROM"
    DISPLAYTO = "DISPLAYTO"
    RELEVANCY = "RELEVANCY"


@frozen
class SortCriterion:
    """One criterion.

    :ivar reverse: whether the order is descending.
    """

    key: SortKey
    reverse: bool = False


class ThreadAlgorithm(Enum):
    """How messages become threads; the value is the wire's word."""

    ORDEREDSUBJECT = "ORDEREDSUBJECT"
    REFERENCES = "REFERENCES"
