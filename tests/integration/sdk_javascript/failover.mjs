// A client that goes on writing and reading, with session consistency, while regions fail over.
//
// ORRERY_ENDPOINT, ORRERY_KEY, ORRERY_DATABASE, ORRERY_CONTAINER; ORRERY_PREFERRED: names of regions, comma between. It
// prints {"event":"started"} after its first round, goes on until its input ends, and prints what came of it: counts of
// operations, those that failed as the application saw it, and reads that did not show the session's own write.
import { CosmosClient } from "@azure/cosmos";

const client = new CosmosClient({
  endpoint: process.env.ORRERY_ENDPOINT,
  key: process.env.ORRERY_KEY,
  consistencyLevel: "Session",
  connectionPolicy: {
    preferredLocations: process.env.ORRERY_PREFERRED.split(","),
    endpointRefreshRateInMs: 1000,
    requestTimeout: 5000,
  },
});
const container = client.database(process.env.ORRERY_DATABASE).container(process.env.ORRERY_CONTAINER);
const told = { operations: 0, failures: [], stale: [], longest_ms: { read: 0, write: 0 } };
const last = {}; // when each kind last went well
const confirmed = {}; // number last acknowledged, by id

const now = () => performance.now();

async function attempt(kind, id, work) {
  const began = now();
  told.operations++;
  try {
    const found = await work();
    const ended = now();
    told.longest_ms[kind] = Math.max(told.longest_ms[kind], ended - (last[kind] ?? began));
    last[kind] = ended;
    return found;
  } catch (error) {
    told.failures.push({
      kind, id, code: String(error.code), substatus: error.substatus ?? 0, ms: Math.round(now() - began),
      message: String(error.message).slice(0, 200),
    });
    return undefined;
  }
}

let over = false;
process.stdin.resume();
process.stdin.on("end", () => { over = true; });

for (let number = 1; !over; number++) {
  const id = `item-${number % 5}`;
  const written = await attempt("write", id, () => container.items.upsert({ id, pk: id, number }));
  if (written !== undefined) confirmed[id] = number;
  const read = await attempt("read", id, () => container.item(id, id).read());
  if (read !== undefined && confirmed[id] !== undefined) {
    const found = read.resource?.number ?? 0;
    if (found < confirmed[id]) told.stale.push({ id, confirmed: confirmed[id], found });
  }
  if (number === 1) console.log(JSON.stringify({ event: "started" }));
  await new Promise((done) => setTimeout(done, 20));
}
console.log(JSON.stringify({ event: "ended", confirmed, ...told }));
client.dispose();
process.exit(0);
