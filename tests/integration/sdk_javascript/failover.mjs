// A client that goes on writing and reading, with session consistency, while regions fail over.
//
// ORRERY_ENDPOINT, ORRERY_KEY, ORRERY_DATABASE, ORRERY_CONTAINER; ORRERY_PREFERRED: names of regions, comma between, or
// nothing. It prints {"event":"started"} after its first round. A line on its input names what has happened: when ROUNDS
// rounds have gone well since, it prints {"event":"phase"} with that name and what there was since the line before:
// operations, those that failed as the application saw it, the longest times from one that went well to the next, by
// kind, and reads that did not show what had been acknowledged. It ends with its input.
import { createInterface } from "node:readline";
import { CosmosClient } from "@azure/cosmos";

const ITEMS = 5; // each client its own
const ROUNDS = 10;
const PAUSE_MS = 30;

const preferred = process.env.ORRERY_PREFERRED;
const client = new CosmosClient({
  endpoint: process.env.ORRERY_ENDPOINT,
  key: process.env.ORRERY_KEY,
  consistencyLevel: "Session",
  // Asked for as often, the account tells of a new hub when the old one can no longer say 403/3.
  connectionPolicy: { endpointRefreshRateInMs: 2000, ...(preferred ? { preferredLocations: preferred.split(",") } : {}) },
});
const container = client.database(process.env.ORRERY_DATABASE).container(process.env.ORRERY_CONTAINER);
const idOf = (number) => `javascript-${process.pid}-${number % ITEMS}`;
const last = {}; // when each kind last went well
const confirmed = {}; // number last acknowledged, by id
const tell = (event) => console.log(JSON.stringify(event));
const nothing = () => ({ operations: 0, failures: [], stale: [], longest_ms: { read: 0, write: 0 } });

let told = nothing();
let good = 0; // rounds in a row

async function attempt(kind, id, work) {
  const began = performance.now();
  told.operations++;
  try {
    const found = await work();
    const ended = performance.now();
    told.longest_ms[kind] = Math.max(told.longest_ms[kind], ended - (last[kind] ?? began));
    last[kind] = ended;
    return found;
  } catch (error) {
    told.failures.push({
      kind, id, code: String(error.code), substatus: error.substatus ?? 0, ms: Math.round(performance.now() - began),
      message: String(error.message).slice(0, 200),
    });
    good = -1;
    return undefined;
  }
}

async function read(id) {
  const wanted = confirmed[id];
  if (wanted === undefined) return;
  const found = await attempt("read", id, () => container.item(id, id).read());
  if (found !== undefined && (found.resource?.number ?? 0) < wanted) {
    told.stale.push({ id, confirmed: wanted, found: found.resource?.number ?? 0 });
  }
}

const names = [];
let over = false;
const input = createInterface({ input: process.stdin });
input.on("line", (name) => { names.push(name); good = 0; });
input.on("close", () => { over = true; });

for (let number = 1; !over; number++) {
  // What was written some rounds ago is looked at before it is written again: that would hide its loss.
  await read(idOf(number + 2));
  const id = idOf(number);
  if ((await attempt("write", id, () => container.items.upsert({ id, pk: id, number }))) !== undefined) confirmed[id] = number;
  await read(id);
  if (number === 1) tell({ event: "started" });
  if (++good >= ROUNDS && names.length > 0) {
    tell({ event: "phase", phase: names.shift(), ...told });
    told = nothing();
    good = 0;
  }
  await new Promise((done) => setTimeout(done, PAUSE_MS));
}
tell({ event: "ended" });
client.dispose();
process.exit(0);
