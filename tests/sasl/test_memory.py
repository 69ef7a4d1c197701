"""Users in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxtwisted.sasl.interfaces import ISASLBackend
from moxtwisted.sasl.memory import MemoryUsers
from moxtwisted.sasl.outcome import Accepted, Failure, Reason


class MemoryUsersTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Two users, one of them with an empty password."""
        self.users = MemoryUsers({"alice": "secret", "mute": ""}, bytes)

    def of(self, coroutine: Any) -> Any:
        """What it gives."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def test_passwords(self) -> None:
        """A right password lets in, a wrong one and an unknown user do not; nor does an unknown user with an empty one."""
        for username, password, right in (
            ("alice", "secret", True),
            ("alice", "", False),
            ("alice", "secret ", False),
            ("mute", "", True),
            ("bob", "", False),
        ):
            found = self.of(self.users.login(username, password, None))
            self.assertEqual(found, username if right else None, username)
            expected = Accepted(username, username) if right else Failure(Reason.BAD_CREDENTIALS, username)
            self.assertEqual(self.of(self.users.check_password(username, password, "PLAIN")), expected)

    def test_backend(self) -> None:
        """It is a backend: verifiers of who is known, made once; what an exchange came to; no log-in by certificate."""
        self.assertTrue(verifyObject(ISASLBackend, self.users))
        verifiers = self.of(self.users.verifiers("alice", "SCRAM-SHA-256"))
        self.assertIs(self.of(self.users.verifiers("alice", "CRAM-MD5")), verifiers)
        self.assertIsNone(self.of(self.users.verifiers("bob", "CRAM-MD5")))
        self.assertEqual(self.of(self.users.conclude("alice", "X", None)), Accepted("alice", "alice"))
        for username, reason in (("alice", Reason.BAD_CREDENTIALS), ("bob", None)):
            refused = Failure(Reason.BAD_CREDENTIALS, username)
            self.assertEqual(self.of(self.users.conclude(username, "X", reason)), refused)
        self.assertEqual(self.of(self.users.external("alice")), Failure(Reason.BAD_CREDENTIALS, "alice"))
