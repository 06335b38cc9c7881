"""The network between the regions of a test: one relay for each direction of asking, which can be cut and slowed.

    network = Network()
    link = network.link(targets)           # targets(): addresses (host, port) of the region that is asked
    link.url                               # what the asking region is told
    link.cut(); link.delay(0.05, jitter_s=0.02); link.heal()

A link that is cut is silent, as a cable that was pulled: connections stay, nothing moves, new ones are taken and hear
nothing. `back` cuts the answers alone: what was asked arrives, and the asker never learns of it. Healed, it goes on with
the bytes that waited. `drop_connections` ends those that there are.

The relays run on one event loop in a thread of their own, so that nothing of the program that is tested takes part.
"""

import asyncio
import random
import threading

CHUNK_BYTES = 65536
BUFFER_BYTES = 1 << 20  # of a direction that waits; beyond, the sender feels it


class Link:
    """What one region asks of another goes through here."""

    def __init__(self, network, targets, seed=0):
        self.network, self.targets = network, targets
        self.chance = random.Random(seed)
        self.delay_s = self.jitter_s = 0.0
        self.is_cut = {"there": False, "back": False}
        self.moved = None  # set whenever a cut ends
        self.server = None
        self.connections = set()
        self.turn = 0
        self.bytes = 0

    # From any thread

    @property
    def port(self):
        return self.server.sockets[0].getsockname()[1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def cut(self, direction="both"):
        """there: nothing that is asked arrives; back: no answer does."""
        self.network.call(self.cut_now, True, direction)

    def heal(self):
        """Neither cut nor delayed."""
        self.network.call(self.cut_now, False, "both")
        self.network.call(self.delay_now, 0.0, 0.0)

    def delay(self, seconds, jitter_s=0.0):
        """Each way; a jitter never changes the order of bytes."""
        self.network.call(self.delay_now, seconds, jitter_s)

    def drop_connections(self):
        self.network.call(self.drop_now)

    # On the loop

    def cut_now(self, is_cut, direction):
        for one in self.is_cut:
            if direction in (one, "both"):
                self.is_cut[one] = is_cut
        self.moved.set()
        self.moved.clear()  # those that wait look again

    def delay_now(self, seconds, jitter_s):
        self.delay_s, self.jitter_s = seconds, jitter_s

    def drop_now(self):
        for writer in list(self.connections):
            writer.transport.abort()

    async def open(self, port):
        self.moved = asyncio.Event()
        self.server = await asyncio.start_server(self.relay, "127.0.0.1", port, limit=CHUNK_BYTES)

    async def relay(self, reader, writer):
        self.connections.add(writer)
        far = None
        try:
            while self.is_cut["there"]:
                await self.moved.wait()
            far = await self.reach()
            if far is None:
                return
            self.connections.add(far[1])
            # Either end closes both: HTTP needs no half-open connections.
            ways = [asyncio.ensure_future(self.move(reader, far[1], "there")),
                    asyncio.ensure_future(self.move(far[0], writer, "back"))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for one in (writer, far and far[1]):
                if one:
                    self.connections.discard(one)
                    one.transport.abort() if one.is_closing() else one.close()

    async def reach(self):
        """The next gateway that takes a connection; None when none does."""
        addresses = list(self.targets())
        for _ in addresses:
            self.turn += 1
            try:
                return await asyncio.open_connection(*addresses[self.turn % len(addresses)], limit=CHUNK_BYTES)
            except OSError:
                continue
        return None

    async def move(self, reader, writer, direction):
        """Bytes of one direction, each chunk when its time has come."""
        loop = asyncio.get_running_loop()
        waiting = asyncio.Queue(BUFFER_BYTES // CHUNK_BYTES)

        async def take():
            last = 0.0
            try:
                while data := await reader.read(CHUNK_BYTES):
                    late = self.delay_s + self.jitter_s * self.chance.random()
                    last = max(last, loop.time() + late)
                    await waiting.put((last, data))
            except OSError:
                pass
            await waiting.put((last, b""))

        taking = asyncio.ensure_future(take())
        try:
            while True:
                due, data = await waiting.get()
                if (wait := due - loop.time()) > 0:
                    await asyncio.sleep(wait)
                while self.is_cut[direction]:
                    await self.moved.wait()
                if not data:
                    return
                self.bytes += len(data)
                writer.write(data)
                await writer.drain()
        finally:
            taking.cancel()


class Network:
    """The loop that all links of an account share."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.links = []
        self.thread = threading.Thread(target=self.loop.run_forever, name="links", daemon=True)
        self.thread.start()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def call(self, function, *arguments):
        async def called():
            function(*arguments)
        self.run(called())

    def link(self, targets, port=0):
        """port: of the relay, where the address is to be a certain one."""
        made = Link(self, targets, seed=len(self.links))
        self.run(made.open(port))
        self.links.append(made)
        return made

    def heal(self):
        for link in self.links:
            link.heal()

    def close(self):
        async def end():
            for link in self.links:
                link.server.close()
                link.drop_now()
            rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        self.run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()
