"""Whoever takes mail in, here or in a receiver, the same becomes of it: the tests of what becomes of mail once more, by way of one."""

from __future__ import annotations

from tests.server import test_greylisting, test_outcome
from tests.server.judgement import test_inbound as test_judged
from tests.server.verification import test_inbound as test_verified


class OneAnswer(test_outcome.OneAnswerTests):
    """See there."""

    far = True


class SeparateAnswers(test_outcome.SeparateAnswersTests):
    """See there."""

    far = True


class Copies(test_outcome.CopyTests):
    """See there."""

    far = True


class Externals(test_outcome.ExternalTests):
    """See there."""

    far = True


class Delays(test_outcome.DelayTests):
    """See there."""

    far = True


class Rejects(test_outcome.RejectsTests):
    """See there."""

    far = True


class Strangers(test_greylisting.StrangerTests):
    """See there."""

    far = True


class Others(test_greylisting.OthersTests):
    """See there."""

    far = True


class Delivered(test_judged.Delivered):
    """See there."""

    far = True


class Fields(test_judged.Field):
    """See there."""

    far = True


class Traces(test_verified.TraceTests):
    """See there."""

    far = True


class Arrivals(test_verified.ArrivalTests):
    """See there."""

    far = True
