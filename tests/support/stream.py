"""What regions say to each other (gateway/regions/stream.h), for tests that speak as one: requests, and answers without their entries."""

import collections
import struct

FIRST, ACK, WATCH = 1, 2, 4
UNKNOWN = -1

Part = collections.namedtuple("Part", "range_id start to head vector committed count")


def vector(numbers):
    return struct.pack(f"<B{len(numbers)}q", len(numbers), *numbers)


def request(ordinal, schema, wants=(), flags=0, account="orrery", epoch=257, declined=()):
    """declined: ordinals whose entries need not be relayed. wants: (range, held, received, what is applied, what is known to be committed), the last two vectors."""
    payload = struct.pack("<I", len(account)) + account.encode() + struct.pack("<BIqBB", ordinal, schema, epoch, flags, len(declined))
    payload += bytes(declined) + struct.pack("<qI", 0, len(wants))
    for range_id, held, received, acked, committed in wants:
        payload += struct.pack("<qqq", range_id, held, received) + vector(acked) + vector(committed)
    return b"ORY1Q\0" + struct.pack("<I", len(payload)) + payload


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, format):
        found = struct.unpack_from("<" + format, self.data, self.at)
        self.at += struct.calcsize("<" + format)
        return found

    def text(self):
        return self.take(f"{self.take('I')[0]}s")[0]

    def vector(self):
        return list(self.take(f"{self.take('B')[0]}q"))


def parts(message):
    """The parts of an answer that is not compressed."""
    assert message[:6] == b"ORY1A\0", message[:6]
    reader = Reader(message[10:])
    reader.text()  # the account
    *_, count = reader.take("BIqI")
    found = []
    for _ in range(count):
        places = reader.take("qqqq")
        vectors = reader.vector(), reader.vector()
        *_, entries, size = reader.take("BqII")
        found.append(Part(*places, *vectors, entries))
        reader.take(f"{size}s")
    assert reader.at == len(reader.data)
    return found
