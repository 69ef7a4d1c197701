"""The fuzz target runs without atheris, and finds nothing in a moment."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.config.describe import annotated_example
from moxtwisted.config.schema import DomainsConfig, StaticConfig
from tests.config.test_edit import DOMAINS
from tests.fuzz.fuzz_config import one


class FuzzTests(SynchronousTestCase):
    def test_mutations(self) -> None:
        """Files with octets changed, cut out and doubled are read, refused or edited, and nothing else happens."""
        dice = random.Random(2)
        seeds = [
            b"\x02" + annotated_example(StaticConfig).encode(),
            b"\x03" + annotated_example(DomainsConfig).encode(),
            b"\x01" + DOMAINS.encode(),
            b"\x01" + DOMAINS.encode(),
            b"\x00" + b"ABCD-" * 14,
        ]
        tokens = [
            b"[",
            b"]",
            b"=",
            b'"',
            b"'",
            b"\n",
            b".",
            b"{",
            b"}",
            b"#",
            b"1979-05-27",
            b"nan",
            b"true",
            b"\xff",
            b"+",
        ]
        for _ in range(400):
            data = bytearray(dice.choice(seeds))
            for _ in range(dice.randrange(1, 6)):
                at = dice.randrange(1, len(data))
                kind = dice.randrange(3)
                if kind == 0:
                    data[at:at] = dice.choice(tokens)
                elif kind == 1:
                    del data[at : at + dice.randrange(1, 30)]
                else:
                    data[at:at] = data[at : at + dice.randrange(1, 60)]
            one(bytes(data))
