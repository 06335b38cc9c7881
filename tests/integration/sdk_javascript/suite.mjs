// The scenarios of tests/support/sdk.py with @azure/cosmos. One JSON line per scenario on stdout.

import assert from "node:assert/strict";
import fs from "node:fs";
import https from "node:https";
import { BulkOperationType, ChangeFeedMode, ChangeFeedStartFrom, CosmosClient, PartitionKeyKind, PatchOperationType, StatusCodes } from "@azure/cosmos";

const { ORRERY_ENDPOINT: endpoint, ORRERY_KEY: key, ORRERY_CA: ca, ORRERY_DATABASE: databaseId } = process.env;
const agent = endpoint.startsWith("https:") ? new https.Agent({ ca: fs.readFileSync(ca), keepAlive: true }) : undefined;
const client = new CosmosClient({ endpoint, key, agent });
const sessionClient = new CosmosClient({ endpoint, key, agent, consistencyLevel: "Session" });
const database = client.database(databaseId);

/** The items' container that most scenarios share. */
const items = database.container("items");

async function fails(code, work) {
  try {
    await work();
  } catch (error) {
    assert.equal(error.code, code, `${error.code} ${error.message}`);
    return error;
  }
  assert.fail(`was not refused with ${code}`);
}

async function makeContainer(definition, item, keyValue) {
  const first = await database.containers.createIfNotExists(definition);
  assert.equal(first.statusCode, 201);
  const second = await database.containers.createIfNotExists(definition);
  assert.equal(second.statusCode, 200);
  const { resource } = await first.container.read();
  assert.equal(resource.id, definition.id);
  assert.deepEqual(resource.partitionKey.paths, definition.partitionKey.paths);
  assert.equal(resource.partitionKey.version, definition.partitionKey.version);
  assert.equal(resource._self, second.resource._self);
  await first.container.items.create(item);
  const read = await first.container.item(item.id, keyValue).read();
  assert.equal(read.statusCode, 200);
  for (const [name, value] of Object.entries(item)) {
    assert.deepEqual(read.resource[name], value);
  }
  return first.container;
}

function multiHash(paths) {
  return { paths, kind: PartitionKeyKind.MultiHash, version: 2 };
}

const scenarios = {
  async client_init() {
    const { resource } = await client.getDatabaseAccount();
    assert.ok(resource.writableLocations.length >= 1);
    assert.equal(resource.consistencyPolicy, "Session");
    assert.ok((await client.getWriteEndpoint()).startsWith(endpoint.split(":")[0]));
  },

  async database_create_if_not_exists() {
    const first = await client.databases.createIfNotExists({ id: databaseId });
    assert.equal(first.statusCode, 201);
    const second = await client.databases.createIfNotExists({ id: databaseId });
    assert.equal(second.statusCode, 200);
    assert.equal(first.resource._rid, second.resource._rid);
    await database.containers.createIfNotExists({ id: "items", partitionKey: { paths: ["/pk"], version: 2 } });
  },

  container_hash_v1: () =>
    makeContainer({ id: "v1", partitionKey: { paths: ["/pk"], kind: "Hash", version: 1 } }, { id: "1", pk: "a" }, "a"),

  container_hash_v2: () =>
    makeContainer({ id: "v2", partitionKey: { paths: ["/pk"], kind: "Hash", version: 2 } }, { id: "1", pk: "a" }, "a"),

  container_hierarchical_2: () =>
    makeContainer({ id: "h2", partitionKey: multiHash(["/a", "/b"]) }, { id: "1", a: "x", b: 2 }, ["x", 2]),

  container_hierarchical_3: () =>
    makeContainer(
      { id: "h3", partitionKey: multiHash(["/a", "/b", "/c/d"]) },
      { id: "1", a: "x", b: true, c: { d: "é" } },
      ["x", true, "é"],
    ),

  container_nested_path: () =>
    makeContainer(
      { id: "nested", partitionKey: { paths: ["/address/city"], kind: "Hash", version: 2 } },
      { id: "1", address: { city: "Zürich" } },
      "Zürich",
    ),

  async key_values() {
    for (const [id, pk] of [["text", ""], ["number", 5.5], ["negative", -0], ["true", true], ["false", false], ["null", null]]) {
      await items.items.create({ id, pk });
      const { statusCode, resource } = await items.item(id, pk).read();
      assert.equal(statusCode, 200, `${id}`);
      assert.equal(resource.id, id);
    }
    await items.items.create({ id: "absent" });
    const { statusCode } = await items.item("absent").read();
    assert.equal(statusCode, 200);
    // The same id under another key is another item.
    assert.equal((await items.item("absent", null).read()).statusCode, 404);
  },

  async item_crud() {
    const created = await items.items.create({ id: "crud", pk: "p", n: 1, text: "☃\u2028\"\\", deep: { list: [1, [2], {}] } });
    assert.equal(created.statusCode, 201);
    assert.ok(created.resource._etag && created.resource._ts && created.resource._rid && created.resource._self);
    assert.ok(created.requestCharge > 0);
    const read = await items.item("crud", "p").read();
    assert.deepEqual(read.resource, created.resource);
    const replaced = await items.item("crud", "p").replace({ id: "crud", pk: "p", n: 2 });
    assert.equal(replaced.statusCode, 200);
    assert.equal(replaced.resource._rid, created.resource._rid);
    assert.notEqual(replaced.resource._etag, created.resource._etag);
    assert.equal(replaced.resource.text, undefined);
    assert.equal((await items.item("crud", "p").delete()).statusCode, 204);
    assert.equal((await items.item("crud", "p").read()).statusCode, 404);
  },

  async if_match() {
    const { resource } = await items.items.create({ id: "if-match", pk: "p", n: 1 });
    const condition = { accessCondition: { type: "IfMatch", condition: resource._etag } };
    const { resource: second } = await items.item("if-match", "p").replace({ ...resource, n: 2 }, condition);
    assert.equal(second.n, 2);
    await fails(412, () => items.item("if-match", "p").replace({ ...resource, n: 3 }, condition));
    await fails(412, () => items.item("if-match", "p").delete(condition));
    assert.equal((await items.item("if-match", "p").read()).resource.n, 2);
  },

  async if_none_match() {
    const { resource } = await items.items.create({ id: "if-none-match", pk: "p", n: 1 });
    const options = { accessCondition: { type: "IfNoneMatch", condition: resource._etag } };
    // This SDK takes a 304 for an error.
    let status;
    try {
      status = (await items.item("if-none-match", "p").read(options)).statusCode;
    } catch (error) {
      status = error.code;
    }
    assert.equal(status, 304);
    await items.items.upsert({ id: "if-none-match", pk: "p", n: 2 });
    assert.equal((await items.item("if-none-match", "p").read(options)).resource.n, 2);
  },

  async upsert() {
    const first = await items.items.upsert({ id: "upsert", pk: "p", n: 1 });
    assert.equal(first.statusCode, 201);
    const second = await items.items.upsert({ id: "upsert", pk: "p", n: 2 });
    assert.equal(second.statusCode, 200);
    assert.equal(second.resource.n, 2);
    assert.equal(second.resource._rid, first.resource._rid);
  },

  async patch_operations() {
    await items.items.create({ id: "patch", pk: "p", n: 1, list: [1, 3], gone: 1, old: "x", from: 9 });
    const { resource, statusCode } = await items.item("patch", "p").patch([
      { op: PatchOperationType.add, path: "/list/1", value: 2 },
      { op: PatchOperationType.add, path: "/list/-", value: 4 },
      { op: PatchOperationType.set, path: "/new", value: { a: [] } },
      { op: PatchOperationType.replace, path: "/old", value: "y" },
      { op: PatchOperationType.remove, path: "/gone" },
      { op: PatchOperationType.incr, path: "/n", value: 5 },
      { op: PatchOperationType.incr, path: "/counter", value: 1.5 },
      { op: "move", from: "/from", path: "/to" },
    ]);
    assert.equal(statusCode, 200);
    const { list, gone, old, n, counter, to, from } = resource;
    assert.deepEqual({ list, gone, old, n, counter, to, from, new: resource.new },
      { list: [1, 2, 3, 4], gone: undefined, old: "y", n: 6, counter: 1.5, to: 9, from: undefined, new: { a: [] } });
    await fails(400, () => items.item("patch", "p").patch([{ op: "replace", path: "/absent", value: 1 }]));
    await fails(400, () => items.item("patch", "p").patch([{ op: "set", path: "/pk", value: 1 }]));
    await fails(400, () => items.item("patch", "p").patch(Array.from({ length: 11 }, () => ({ op: "incr", path: "/n", value: 1 }))));
    assert.equal((await items.item("patch", "p").read()).resource.n, 6);
  },

  async patch_condition() {
    await items.items.create({ id: "patch-condition", pk: "p", n: 1 });
    const operations = [{ op: "incr", path: "/n", value: 1 }];
    const { resource } = await items.item("patch-condition", "p").patch({ condition: "from c where c.n = 1", operations });
    assert.equal(resource.n, 2);
    const error = await fails(412, () =>
      items.item("patch-condition", "p").patch({ condition: "from c where c.n = 1", operations }));
    assert.equal(Number(error.substatus), 1110);
    assert.equal((await items.item("patch-condition", "p").read()).resource.n, 2);
  },

  async batch_success() {
    await items.items.create({ id: "b0", pk: "batch", n: 0 });
    await items.items.create({ id: "b9", pk: "batch" });
    const { code, result } = await items.items.batch([
      { operationType: BulkOperationType.Create, resourceBody: { id: "b1", pk: "batch", n: 1 } },
      { operationType: BulkOperationType.Upsert, resourceBody: { id: "b2", pk: "batch", n: 2 } },
      { operationType: BulkOperationType.Read, id: "b0" },
      { operationType: BulkOperationType.Replace, id: "b0", resourceBody: { id: "b0", pk: "batch", n: 10 } },
      { operationType: BulkOperationType.Patch, id: "b1", resourceBody: { operations: [{ op: "incr", path: "/n", value: 1 }] } },
      { operationType: BulkOperationType.Delete, id: "b9" },
    ], "batch");
    assert.equal(code, 200);
    assert.deepEqual(result.map((r) => r.statusCode), [201, 201, 200, 200, 200, 204]);
    assert.equal(result[2].resourceBody.n, 0);
    assert.equal(result[4].resourceBody.n, 2);
    assert.equal((await items.item("b0", "batch").read()).resource.n, 10);
    assert.equal((await items.item("b9", "batch").read()).statusCode, 404);
  },

  async batch_failure() {
    await items.items.create({ id: "f0", pk: "fail", n: 0 });
    const { result } = await items.items.batch([
      { operationType: BulkOperationType.Create, resourceBody: { id: "f1", pk: "fail" } },
      { operationType: BulkOperationType.Create, resourceBody: { id: "f0", pk: "fail" } },
      { operationType: BulkOperationType.Delete, id: "f0" },
    ], "fail");
    assert.deepEqual(result.map((r) => r.statusCode), [424, 409, 424]);
    assert.equal((await items.item("f1", "fail").read()).statusCode, 404);
    assert.equal((await items.item("f0", "fail").read()).statusCode, 200);
  },

  async bulk_1000() {
    const { container } = await database.containers.createIfNotExists(
      { id: "bulk", partitionKey: { paths: ["/pk"], version: 2 }, throughput: 20000 });
    const operations = Array.from({ length: 1000 }, (_, i) => ({
      operationType: BulkOperationType.Upsert,
      partitionKey: `p${i % 50}`,
      resourceBody: { id: `i${i}`, pk: `p${i % 50}`, n: i },
    }));
    const results = await container.items.executeBulkOperations(operations);
    assert.equal(results.length, 1000);
    for (const result of results) {
      assert.equal(result.error, undefined, JSON.stringify(result.error));
      assert.equal(result.response.statusCode, 201);
    }
    for (const i of [0, 499, 999]) {
      assert.equal((await container.item(`i${i}`, `p${i % 50}`).read()).resource.n, i);
    }
    // The older call, and operations that fail beside others that do not.
    const mixed = await container.items.bulk([
      { operationType: "Create", partitionKey: "p0", resourceBody: { id: "i0", pk: "p0" } },
      { operationType: "Read", partitionKey: "p1", id: "i1" },
      { operationType: "Delete", partitionKey: "p2", id: "none" },
    ], { continueOnError: true });
    assert.deepEqual(mixed.map((r) => r.statusCode), [409, 200, 404]);
  },

  async feed() {
    const { resources } = await client.databases.readAll().fetchAll();
    assert.ok(resources.some((d) => d.id === databaseId));
    const { resources: containers } = await database.containers.readAll().fetchAll();
    assert.ok(containers.some((c) => c.id === "items"));
    const ranges = (await database.container("items").readPartitionKeyRanges().fetchAll()).resources;
    assert.equal(ranges[0].minInclusive, "");
    assert.equal(ranges.at(-1).maxExclusive, "FF");
  },

  async throughput() {
    const { container } = await database.containers.createIfNotExists(
      { id: "throughput", partitionKey: { paths: ["/pk"], version: 2 }, throughput: 500 });
    const { offer, resource } = await container.readOffer();
    assert.equal(resource.content.offerThroughput, 500);
    const { resource: replaced } = await offer.replace({ ...resource, content: { ...resource.content, offerThroughput: 700 } });
    assert.equal(replaced.content.offerThroughput, 700);
    assert.equal((await container.readOffer()).resource.content.offerThroughput, 700);
    const { container: autoscale } = await database.containers.createIfNotExists(
      { id: "autoscale", partitionKey: { paths: ["/pk"], version: 2 }, maxThroughput: 4000 });
    assert.equal((await autoscale.readOffer()).resource.content.offerAutopilotSettings.maxThroughput, 4000);
  },

  async ttl() {
    const { container } = await database.containers.createIfNotExists(
      { id: "ttl", partitionKey: { paths: ["/pk"], version: 2 }, defaultTtl: -1 });
    await container.items.create({ id: "short", pk: "p", ttl: 3 });
    await container.items.create({ id: "long", pk: "p", ttl: 3600 });
    await container.items.create({ id: "forever", pk: "p" });
    assert.equal((await container.item("short", "p").read()).statusCode, 200);
    await new Promise((resolve) => setTimeout(resolve, 3500));
    assert.equal((await container.item("short", "p").read()).statusCode, 404);
    assert.equal((await container.item("long", "p").read()).statusCode, 200);
    assert.equal((await container.item("forever", "p").read()).statusCode, 200);
    assert.equal((await container.items.create({ id: "short", pk: "p" })).statusCode, 201);
  },

  async unique_keys() {
    const { container } = await database.containers.createIfNotExists({
      id: "unique",
      partitionKey: { paths: ["/pk"], version: 2 },
      uniqueKeyPolicy: { uniqueKeys: [{ paths: ["/email"] }, { paths: ["/a", "/b/c"] }] },
    });
    await container.items.create({ id: "1", pk: "p", email: "x", a: 1, b: { c: 1 } });
    await fails(409, () => container.items.create({ id: "2", pk: "p", email: "x", a: 2 }));
    await fails(409, () => container.items.create({ id: "2", pk: "p", email: "y", a: 1, b: { c: 1 } }));
    await container.items.create({ id: "2", pk: "q", email: "x", a: 1, b: { c: 1 } });
    await container.items.create({ id: "3", pk: "p", email: "z", a: 1, b: { c: 2 } });
    await fails(409, () => container.item("3", "p").replace({ id: "3", pk: "p", email: "x" }));
    await container.item("1", "p").delete();
    await container.item("3", "p").replace({ id: "3", pk: "p", email: "x" });
  },

  async error_400() {
    await fails(400, () => items.items.create({ id: "x".repeat(1024), pk: "p" }));
    await fails(400, () => client.databases.create({ id: "x".repeat(256) }));
    const error = await fails(400, () => items.item("mismatch", "other").replace({ id: "mismatch", pk: "p" }));
    assert.equal(Number(error.substatus), 1001);
  },

  async error_404() {
    await fails(404, () => client.database("no-such-database").read());
    await fails(404, () => database.container("no-such-container").read());
    await fails(404, () => items.item("none", "p").replace({ id: "none", pk: "p" }));
    await fails(404, () => items.item("none", "p").delete());
    await fails(404, () => database.container("no-such-container").item("1", "p").delete());
  },

  async error_409() {
    await items.items.create({ id: "conflict", pk: "p" });
    await fails(409, () => items.items.create({ id: "conflict", pk: "p" }));
    await items.items.create({ id: "conflict", pk: "q" });
    await fails(409, () => client.databases.create({ id: databaseId }));
    await fails(409, () => database.containers.create({ id: "items", partitionKey: { paths: ["/pk"] } }));
  },

  async error_412() {
    await items.items.create({ id: "precondition", pk: "p" });
    const accessCondition = { type: "IfMatch", condition: '"00000000-0000-0000-0000-000000000000"' };
    await fails(412, () => items.items.upsert({ id: "precondition", pk: "p" }, { accessCondition }));
    await fails(412, () => items.item("precondition", "p").delete({ accessCondition }));
  },

  async error_413() {
    await fails(413, () => items.items.create({ id: "large", pk: "p", text: "x".repeat(2 * 1024 * 1024) }));
    const { statusCode } = await items.items.create({ id: "nearly", pk: "p", text: "x".repeat(2 * 1024 * 1024 - 100) });
    assert.equal(statusCode, 201);
    assert.equal((await items.item("nearly", "p").read()).resource.text.length, 2 * 1024 * 1024 - 100);
  },

  async special_ids() {
    const ids = ["日本語 😀", "a b  c", "a+b", "a%2Fb", "100%", "a&b=c;d,e:@$!*'()", "\"quoted\"", "é", "e\u0301", ".", "x".repeat(1000)];
    for (const id of ids) {
      if (id === ".") continue; // URLs drop such a segment before it is sent
      await items.items.create({ id, pk: id });
      const { resource, statusCode } = await items.item(id, id).read();
      assert.equal(statusCode, 200, id);
      assert.equal(resource.id, id);
      await items.item(id, id).replace({ id, pk: id, n: 1 });
      await items.item(id, id).patch([{ op: "incr", path: "/n", value: 1 }]);
      assert.equal((await items.item(id, id).read()).resource.n, 2);
      assert.equal((await items.item(id, id).delete()).statusCode, 204);
    }
    const { database: other } = await client.databases.createIfNotExists({ id: `${databaseId} ü+%` });
    const { container } = await other.containers.createIfNotExists({ id: "c ö", partitionKey: { paths: ["/pk"] } });
    await container.items.create({ id: "1", pk: "p" });
    assert.equal((await container.item("1", "p").read()).statusCode, 200);
    await other.delete();
    await fails(404, () => other.read());
  },

  async delete_by_key() {
    for (const id of ["1", "2", "3"]) {
      await items.items.create({ id, pk: "delete-me" });
    }
    await items.items.create({ id: "1", pk: "keep-me" });
    const { statusCode } = await items.deleteAllItemsForPartitionKey("delete-me");
    assert.ok(statusCode >= 200 && statusCode < 300);
    assert.equal((await items.item("1", "delete-me").read()).statusCode, 404);
    assert.equal((await items.item("3", "delete-me").read()).statusCode, 404);
    assert.equal((await items.item("1", "keep-me").read()).statusCode, 200);
  },

  async session() {
    const container = sessionClient.database(databaseId).container("items");
    for (let n = 0; n < 20; n++) {
      const written = await container.items.upsert({ id: "session", pk: "s", n });
      assert.match(written.headers["x-ms-session-token"], /^\d+:/);
      const { resource } = await container.item("session", "s").read();
      assert.equal(resource.n, n);
    }
    const far = { sessionToken: "0:1#999999999#1=999999999" };
    assert.equal((await container.item("session", "s").read(far)).statusCode, 200, "the SDK drops a token that cannot be met");
  },

  async change_feed() {
    const { container } = await database.containers.create({ id: "changes", partitionKey: { paths: ["/pk"] }, throughput: 25000 });
    /** What there is up to the first 304 of every range, and where it ends. */
    async function follow(start, more = {}) {
      const iterator = container.items.getChangeFeedIterator({ changeFeedStartFrom: start, maxItemCount: 7, ...more });
      const found = [];
      for await (const page of iterator.getAsyncIterator()) {
        if (page.statusCode === StatusCodes.NotModified) return [found, page.continuationToken];
        found.push(...page.result);
      }
    }
    const allVersions = { changeFeedMode: ChangeFeedMode.AllVersionsAndDeletes };
    const [, now] = await follow(ChangeFeedStartFrom.Now(), allVersions);
    for (let n = 0; n < 40; n++) await container.items.create({ id: `${n}`, pk: `${n % 8}`, n });
    await container.items.upsert({ id: "3", pk: "3", n: 300 });
    await container.item("4", "4").delete();
    const numbers = [...Array(40).keys()].filter((n) => n !== 3 && n !== 4).concat(300);
    const [found, latest] = await follow(ChangeFeedStartFrom.Beginning());
    assert.deepEqual(found.map((item) => item.n).sort((a, b) => a - b), numbers);
    const [ofKey] = await follow(ChangeFeedStartFrom.Beginning("3"));
    assert.deepEqual(ofKey.map((item) => item.n), [11, 19, 27, 35, 300]);
    const [versions, then] = await follow(ChangeFeedStartFrom.Continuation(now), allVersions);
    assert.equal(versions.length, 42);
    const deleted = versions.filter((one) => one.metadata.operationType === "delete");
    assert.deepEqual(deleted.map((one) => one.previous.n), [4]);
    const replaced = versions.filter((one) => one.metadata.operationType === "replace");
    assert.deepEqual(replaced.map((one) => [one.previous.n, one.current.n]), [[3, 300]]);
    await container.items.create({ id: "late", pk: "1", n: 1000 });
    assert.deepEqual((await follow(ChangeFeedStartFrom.Continuation(latest)))[0].map((item) => item.n), [1000]);
    assert.deepEqual((await follow(ChangeFeedStartFrom.Continuation(then), allVersions))[0].map((one) => one.current.n), [1000]);
  },
};

for (const [scenario, work] of Object.entries(scenarios)) {
  let line;
  try {
    await work();
    line = { scenario, ok: true };
  } catch (error) {
    line = { scenario, ok: false, detail: `${error.stack ?? error} code=${error.code} body=${JSON.stringify(error.body ?? null)}` };
  }
  console.log(JSON.stringify(line));
}
process.exit(0);
