"""COMPRESS=DEFLATE: the layer, its sleep, and the protocol with it."""

import random
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.compression import PIECE_OCTETS, CompressionLayer, CompressionPool, DecompressionError
from moxtwisted.imap.protocol import IMAPServerProtocol
from moxtwisted.imap.testing import Driver
from tests.imap.test_protocol import ProtocolTestCase, Transport


class Peer:
    """The client's side."""

    def __init__(self, level: int = 6) -> None:
        self._out = zlib.compressobj(level, zlib.DEFLATED, -15)
        self._in = zlib.decompressobj(-15)

    def pack(self, data: bytes, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
        return self._out.compress(data) + self._out.flush(flush)

    def unpack(self, data: bytes) -> bytes:
        return self._in.decompress(data)


def everything(layer: CompressionLayer) -> bytes:
    pieces = []
    while piece := layer.read():
        pieces.append(piece)
    return b"".join(pieces)


class LayerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pool = CompressionPool(2)
        self.layer = CompressionLayer(self.pool)
        self.peer = Peer()

    def test_both_ways(self) -> None:
        """What one side compresses the other reads, write by write."""
        for n in range(50):
            text = b"a%d FETCH 1:* (FLAGS)\r\n" % n
            self.layer.feed(self.peer.pack(text))
            self.assertEqual(everything(self.layer), text)
            self.assertEqual(self.peer.unpack(self.layer.compress(text)), text)

    def test_a_bomb_comes_in_pieces(self) -> None:
        """However well the client's octets are compressed, a piece has at most PIECE_OCTETS, and the rest waits."""
        bomb = self.peer.pack(b"x" * 10_000_000)
        self.assertLess(len(bomb), 20_000)
        self.layer.feed(bomb)
        octets = 0
        while piece := self.layer.read():
            self.assertLessEqual(len(piece), PIECE_OCTETS)
            octets += len(piece)
        self.assertEqual(octets, 10_000_000)
        self.assertEqual(self.layer.pending_octets, 0)

    def test_sleep_is_not_noticed(self) -> None:
        """A layer that slept goes on where it was, in both directions, whatever it was told before."""
        dice = random.Random(7)
        for n in range(60):
            text = b"a%d LOGIN %b\r\n" % (n, dice.randbytes(dice.randrange(2000)) * dice.randrange(3))
            self.layer.feed(self.peer.pack(text))
            self.assertEqual(everything(self.layer), text)
            self.assertEqual(self.peer.unpack(self.layer.compress(text)), text)
            self.layer.sleep()
            self.assertIsNone(self.layer._decompressor)

    def test_no_sleep_within_a_block(self) -> None:
        """In the middle of a block a decompressor stays awake, even if what came last looks like a flush."""
        stored = Peer(level=0)
        text = b"1234\x00\x00\xff\xff5678"
        octets = stored.pack(text)
        at = octets.index(b"1234\x00\x00\xff\xff") + 8
        self.layer.feed(octets[:at])
        self.assertEqual(everything(self.layer), text[:8])
        self.layer.sleep()
        self.assertIsNotNone(self.layer._decompressor)
        self.layer.feed(octets[at:])
        self.assertEqual(everything(self.layer), text[8:])

    def test_few_are_awake(self) -> None:
        """The pool keeps those awake that were used last."""
        layers = [CompressionLayer(self.pool) for _ in range(10)]
        for layer in layers:
            layer.feed(Peer().pack(b"a NOOP\r\n"))
            everything(layer)
            layer.compress(b"a OK\r\n")
        self.assertEqual([layer._compressor is not None for layer in layers], [False] * 8 + [True] * 2)
        self.assertEqual([layer._decompressor is not None for layer in layers], [False] * 8 + [True] * 2)
        layers[-1].close()
        self.assertEqual(len(self.pool), 1)

    def test_nonsense(self) -> None:
        """What is no deflate stream, and what follows its end, is an error."""
        self.layer.feed(b"\xff\xff\xff\xff")
        self.assertRaises(DecompressionError, self.layer.read)
        other = CompressionLayer(self.pool)
        other.feed(self.peer.pack(b"a NOOP\r\n", zlib.Z_FINISH))
        self.assertEqual(everything(other), b"a NOOP\r\n")
        other.feed(b"more")
        self.assertRaises(DecompressionError, other.read)

    def test_end(self) -> None:
        """What follows the flush, or the end of the stream, is handed over as it is."""
        self.layer.feed(self.peer.pack(b"a UNAUTHENTICATE\r\n") + b"b NOOP\r\n")
        self.assertEqual(self.layer.read(), b"a UNAUTHENTICATE\r\n")
        self.assertEqual(self.layer.close(), b"b NOOP\r\n")
        other, peer = CompressionLayer(self.pool), Peer()
        other.feed(peer.pack(b"a UNAUTHENTICATE\r\n") + peer.pack(b"", zlib.Z_FINISH) + b"b NOOP\r\n")
        self.assertEqual(other.read(), b"a UNAUTHENTICATE\r\n")
        self.assertEqual(other.close(), b"b NOOP\r\n")

    @given(st.lists(st.binary(max_size=300), max_size=12), st.randoms(), st.integers(0, 9))
    @settings(max_examples=60)
    def test_any_cuts(self, texts: list[bytes], dice: random.Random, level: int) -> None:
        """However the client compresses, flushes and sends, and whenever the layer sleeps, the octets are the same."""
        layer, peer = CompressionLayer(CompressionPool(1)), Peer(level)
        texts = [text * dice.choice([1, 1, 500]) for text in texts]
        wire = b"".join(peer.pack(t, dice.choice([zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH])) for t in texts)
        got = []
        while wire:
            cut = dice.randrange(1, 400)
            layer.feed(wire[:cut])
            wire = wire[cut:]
            got.append(everything(layer))
            if dice.random() < 0.3:
                layer.sleep()
        self.assertEqual(b"".join(got), b"".join(texts))


class EmptyFlushTests(SynchronousTestCase):
    def test_many(self) -> None:
        """A client that sends thousands of flushes with nothing in them is read in steps, so that others have their turn."""
        layer, peer = CompressionLayer(CompressionPool()), Peer()
        command = peer.pack(b"a NOOP\r\n")
        layer.feed(b"\0\0\0\xff\xff" * 2000 + command)
        steps = 0
        while not (piece := layer.read()):
            self.assertGreater(layer.pending_octets, 0)
            steps += 1
        self.assertEqual(piece, b"a NOOP\r\n")
        self.assertEqual(steps, 4)
        self.assertEqual((layer.read(), layer.pending_octets), (b"", 0))


class MachineTests(SynchronousTestCase):
    def test_after_login_only(self) -> None:
        """COMPRESS is neither announced nor taken before login."""
        driver = Driver.of()
        self.assertNotIn(b"COMPRESS", driver.received())
        self.assertIn(b"a1 BAD", driver.command("COMPRESS DEFLATE")[0])
        self.assertIn(b"COMPRESS=DEFLATE", driver.command("LOGIN alice secret")[0])

    def test_refusals(self) -> None:
        """Another algorithm, a second COMPRESS and commands that do not wait are BAD; compression stays as it was."""
        driver = Driver.of()
        driver.login()
        self.assertEqual(driver.command("COMPRESS LZ4"), [b"a2 BAD DEFLATE is all there is"])
        driver.send(b"x COMPRESS DEFLATE\r\ny NOOP\r\n")
        self.assertEqual(
            driver.received(),
            b"x BAD commands after COMPRESS must wait for its answer\r\ny OK NOOP completed\r\n",
        )
        self.assertFalse(driver.server.connection.compressed)
        self.assertEqual(driver.command("compress deflate"), [b"a3 OK DEFLATE active"])
        self.assertEqual(
            driver.command("COMPRESS DEFLATE"), [b"a4 BAD [COMPRESSIONACTIVE] COMPRESS is active already"]
        )

    def test_unauthenticate_forgets(self) -> None:
        """After UNAUTHENTICATE nothing of the session is left, and another may log in (also in the same packet)."""
        driver = Driver.of()
        driver.login()
        driver.command("ENABLE CONDSTORE UTF8=ACCEPT")
        driver.command("SELECT INBOX")
        driver.command("SEARCH RETURN (SAVE) ALL")
        mail = driver.server.connection.session._mail  # type: ignore[union-attr]
        driver.send(b"x UNAUTHENTICATE\r\ny LOGIN alice secret\r\n")
        said = driver.received()
        self.assertTrue(said.startswith(b"x OK UNAUTHENTICATE completed\r\ny OK [CAPABILITY "), said)
        connection = driver.server.connection
        self.assertEqual(
            (connection.enabled, connection.selected, tuple(connection.saved)), (frozenset(), None, ())
        )
        self.assertFalse(connection.reader.utf8)
        self.assertEqual(mail.sessions, 1)
        driver.command("UNAUTHENTICATE")
        self.assertEqual(mail.sessions, 0)
        self.assertIn(b"AUTH=PLAIN", driver.command("CAPABILITY")[0])
        self.assertIn(b"BAD", driver.command("SELECT INBOX")[0])


class ProtocolTests(ProtocolTestCase):
    def compressed(self, room: int = 1 << 40) -> tuple[IMAPServerProtocol, Transport, Peer]:
        protocol, transport = self.selected()
        protocol.dataReceived(b"c COMPRESS DEFLATE\r\n")
        self.assertEqual(transport.read(), b"c OK DEFLATE active\r\n")
        transport.room = room
        return protocol, transport, Peer()

    def test_dialogue(self) -> None:
        """Each write is compressed and can be read at once; so can updates of an idling client, and the good-bye."""
        protocol, transport, peer = self.compressed()
        protocol.dataReceived(peer.pack(b"d NOOP\r\ne IDLE\r\n"))
        said = peer.unpack(transport.read())
        self.assertTrue(said.startswith(b"d OK NOOP completed\r\n+ "), said)
        self.fill(1)
        self.clock.advance(0)
        self.assertEqual(peer.unpack(transport.read()), b"* 1 EXISTS\r\n")
        protocol.dataReceived(peer.pack(b"DONE\r\nf LOGOUT\r\n"))
        self.assertIn(b"* BYE", peer.unpack(transport.read()))
        self.lose(protocol)
        self.assertEqual(len(self.factory.compression), 0)

    def test_empty_flushes(self) -> None:
        """What comes behind thousands of empty flushes is answered."""
        protocol, transport, peer = self.compressed()
        protocol.dataReceived(b"\0\0\0\xff\xff" * 5000 + peer.pack(b"d NOOP\r\n"))
        self.assertEqual(peer.unpack(transport.read()), b"d OK NOOP completed\r\n")

    def test_octet_by_octet(self) -> None:
        """Commands may come in any pieces."""
        protocol, transport, peer = self.compressed()
        for n in peer.pack(b"d NOOP\r\n") + peer.pack(b"e NOOP\r\n"):
            protocol.dataReceived(bytes([n]))
        self.assertEqual(peer.unpack(transport.read()), b"d OK NOOP completed\r\ne OK NOOP completed\r\n")

    def test_bomb(self) -> None:
        """A line that grows without end is refused as an uncompressed one would be, and little of it is ever in memory."""
        protocol, transport, peer = self.compressed()
        bomb = peer.pack(b"d NOOP " + b"x" * 30_000_000)
        for at in range(0, len(bomb), 1000):
            protocol.dataReceived(bomb[at : at + 1000])
            self.assertLess(protocol.machine.pending_octets, 2 * PIECE_OCTETS)
            for _ in range(100):
                self.clock.advance(0.01)
        said = peer.unpack(transport.read())
        self.assertIn(b"d BAD line is too long", said)
        self.assertIn(b"* BYE too much to read over", said)

    def test_rubbish_ends_the_connection(self) -> None:
        """Octets that are not compressed end the connection."""
        protocol, transport, _ = self.compressed()
        protocol.dataReceived(b"d NOOP\r\n" * 20)
        self.assertTrue(transport.aborted)

    def test_large_answers_wait_for_the_client(self) -> None:
        """A long answer is sent as the client reads it."""
        self.fill(40, 100_000)
        protocol, transport, peer = self.compressed(room=1000)
        protocol.dataReceived(peer.pack(b"d FETCH 1:* BODY.PEEK[]\r\n"))
        self.assertTrue(transport.stopped)
        octets = 0
        for _ in range(200):
            data = peer.unpack(transport.read())
            octets += len(data)
            if b"d OK" in data[-100:]:
                break
            self.clock.advance(0)
        self.assertGreater(octets, 4_000_000)

    def test_unauthenticate_ends_it(self) -> None:
        """Compression ends with UNAUTHENTICATE, also when the client does not wait for the answer."""
        protocol, transport, peer = self.compressed()
        protocol.dataReceived(peer.pack(b"d UNAUTHENTICATE\r\n") + b"e LOGIN alice secret\r\nf NOOP\r\n")
        said = transport.read()
        plain = said[said.index(b"e OK") :]
        self.assertEqual(peer.unpack(said[: -len(plain)]), b"d OK UNAUTHENTICATE completed\r\n")
        self.assertIn(b"f OK NOOP completed\r\n", plain)
        protocol.dataReceived(b"g COMPRESS DEFLATE\r\n")
        self.assertEqual(transport.read(), b"g OK DEFLATE active\r\n")
        peer = Peer()
        protocol.dataReceived(peer.pack(b"h UNAUTHENTICATE\r\ni NOOP\r\n"))
        self.assertIn(b"* BYE", peer.unpack(transport.read()))
