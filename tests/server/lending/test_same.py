"""Wherever accounts are, the same becomes of mail: the tests of what becomes of it once more, with accounts that are lent."""

from __future__ import annotations

from tests.server import (
    test_authentication,
    test_delivery,
    test_greylisting,
    test_inbound,
    test_outcome,
    test_senderlists,
    test_signing,
    test_submission,
)
from tests.server.judgement import test_inbound as test_judged
from tests.server.verification import test_inbound as test_verified


class OneAnswer(test_outcome.OneAnswerTests):
    """See there."""

    lent = True


class SeparateAnswers(test_outcome.SeparateAnswersTests):
    """See there."""

    lent = True


class Copies(test_outcome.CopyTests):
    """See there."""

    lent = True


class Externals(test_outcome.ExternalTests):
    """See there."""

    lent = True


class Delays(test_outcome.DelayTests):
    """See there."""

    lent = True


class Rejects(test_outcome.RejectsTests):
    """See there."""

    lent = True


class Names(test_delivery.NamesTests):
    """See there."""

    lent = True


class AnotherMessage(test_delivery.AnotherMessageTests):
    """See there."""

    lent = True


class SameMessage(test_delivery.SameMessageTests):
    """See there."""

    lent = True


class Trouble(test_delivery.TroubleTests):
    """See there."""

    lent = True


class SubmittedOnce(test_delivery.SubmittedTests):
    """See there."""

    lent = True


class Recipients(test_inbound.RecipientTests):
    """See there."""

    lent = True


class Messages(test_inbound.MessageTests):
    """See there."""

    lent = True


class Rooms(test_inbound.RoomTests):
    """See there."""

    lent = True


class LMTP(test_inbound.LMTPTests):
    """See there."""

    lent = True


class Strangers(test_greylisting.StrangerTests):
    """See there."""

    lent = True


class Others(test_greylisting.OthersTests):
    """See there."""

    lent = True


class Blocked(test_senderlists.BlockTests):
    """See there."""

    lent = True


class Allowed(test_senderlists.AllowTests):
    """See there."""

    lent = True


class Trapped(test_senderlists.TrapTests):
    """See there."""

    lent = True


class Identities(test_submission.IdentityTests):
    """See there."""

    lent = True


class Correspondents(test_submission.CorrespondentTests):
    """See there."""

    lent = True


class Queued(test_submission.QueueTests):
    """See there."""

    lent = True


class Signed(test_signing.SubmittedTests):
    """See there."""

    lent = True


class Spellings(test_authentication.SpellingTests):
    """See there."""

    lent = True


class Delivered(test_judged.Delivered):
    """See there."""

    lent = True


class Fields(test_judged.Field):
    """See there."""

    lent = True


class Traces(test_verified.TraceTests):
    """See there."""

    lent = True


class Arrivals(test_verified.ArrivalTests):
    """See there."""

    lent = True


class FarOneAnswer(test_outcome.OneAnswerTests):
    """See there; it comes in in a receiver."""

    lent = far = True


class FarSeparateAnswers(test_outcome.SeparateAnswersTests):
    """See there; it comes in in a receiver."""

    lent = far = True


class FarCopies(test_outcome.CopyTests):
    """See there; it comes in in a receiver."""

    lent = far = True


class FarRejects(test_outcome.RejectsTests):
    """See there; it comes in in a receiver."""

    lent = far = True


class FarDelivered(test_judged.Delivered):
    """See there; it comes in in a receiver."""

    lent = far = True
