"""Where the mailboxes of another server go."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import MailError
from moxtwisted.imap.client.mailboxcommands import ListedMailbox
from moxtwisted.server.importing.folders import Folder, plan
from moxtwisted.store.mailboxes import canonical_name

OURS = {"INBOX": (), "Sent": ("\\Sent",), "Spam": ("\\Junk",)}


class PlanTests(SynchronousTestCase):
    def test_courier(self) -> None:
        """The prefix INBOX. goes, levels are separated by a slash, names are guessed."""
        listed = [
            ListedMailbox(name, ".")
            for name in ("INBOX", "INBOX.Sent Items", "INBOX.Work.2024", "INBOX.a/b", "INBOX.Junk E-mail")
        ]
        made = plan(listed, {"INBOX.Work.2024"}, prefixes=(("INBOX.",), ()), ours=OURS)
        self.assertEqual(
            set(made.folders),
            {
                Folder("INBOX", "INBOX"),
                Folder("INBOX.Sent Items", "Sent", "\\Sent"),
                Folder("INBOX.Work.2024", "Work/2024", subscribed=True),
                Folder("INBOX.a/b", "a_b"),
                Folder("INBOX.Junk E-mail", "Spam", "\\Junk"),
            },
        )

    def test_dotless(self) -> None:
        """A name with a dotless i is not that of INBOX."""
        made = plan([ListedMailbox("inbox", "/"), ListedMailbox("\u0131nbox", "/")], (), ours=OURS)
        self.assertEqual(made.folders, (Folder("inbox", "INBOX"), Folder("\u0131nbox", "\u0131nbox")))

    def test_special_use_wins(self) -> None:
        """What the server says is believed before any guess, and no two mailboxes become one."""
        listed = [
            ListedMailbox("Sent", "/"),
            ListedMailbox("Gesendet", "/", ("\\HasNoChildren", "\\Sent")),
            ListedMailbox("Trash", "/"),
            ListedMailbox("Deleted Items", "/"),
        ]
        made = plan(listed, (), ours=OURS)
        self.assertEqual(
            {(one.remote, one.local, one.use) for one in made.folders},
            {
                ("Gesendet", "Sent", "\\Sent"),
                ("Sent", "Sent 2", ""),
                ("Trash", "Trash", "\\Trash"),
                ("Deleted Items", "Deleted Items", ""),
            },
        )

    def test_left_out(self) -> None:
        """Containers, other people's mailboxes and views of others are not fetched, nor what is not wanted."""
        listed = [
            ListedMailbox("[Gmail]", "/", ("\\Noselect",)),
            ListedMailbox("[Gmail]/Starred", "/", ("\\Flagged",)),
            ListedMailbox("user/bob", "/"),
            ListedMailbox("Old", "/"),
            ListedMailbox("New", "/"),
        ]
        made = plan(listed, (), prefixes=(("",), ("user/",)), ours=OURS, wanted=((), ("Old",)))
        self.assertEqual([one.remote for one in made.folders], ["New"])
        self.assertEqual({name for name, _ in made.left_out}, {"[Gmail]/Starred", "user/bob", "Old"})

    def test_no_such_mailbox(self) -> None:
        """Who asks for one mailbox alone, or for all but one, is told that it is not there."""
        listed = [ListedMailbox("INBOX", "/"), ListedMailbox("Old", "/")]
        for wanted in ((("Odl", "Old"), ()), ((), ("Odl",))):
            with self.assertRaisesRegex(MailError, "no mailbox Odl;"):
                plan(listed, (), ours=OURS, wanted=wanted)

    @given(
        st.lists(
            st.builds(
                ListedMailbox, st.text(max_size=30), st.sampled_from(["/", ".", None]), st.just(("\\Sent",))
            ),
            max_size=20,
            unique_by=lambda one: one.name,
        )
    )
    @settings(max_examples=100)
    def test_any_names(self, listed: list[ListedMailbox]) -> None:
        """Whatever they are called, each goes into a mailbox of its own whose name can be."""
        made = plan(listed, (), ours=OURS)
        names = [one.local for one in made.folders]
        self.assertEqual(len(names), len(listed))
        self.assertEqual(len({canonical_name(name) for name in names}), len(names))
