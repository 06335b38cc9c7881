// The cases of tests/query with @azure/cosmos: as the server answers them, and through the SDK's own pipelines, which take the
// query's plan and ask each partition key range. One JSON line per case and way on stdout.

import fs from "node:fs";
import { CosmosClient } from "@azure/cosmos";

const { ORRERY_ENDPOINT: endpoint, ORRERY_KEY: key, ORRERY_DATABASE: databaseId, ORRERY_CASES: casesPath } = process.env;
const client = new CosmosClient({ endpoint, key });
const database = client.database(databaseId);
const AT_ONCE = 6;
const PAGES_MAX = 200;

/** Page after page; after one with rows that tells where it ended, the next may be asked of a new iterator. */
async function rowsOf(items, query, options, isResumed) {
  const rows = [];
  let iterator = items.query(query, options);
  for (let page = 0; iterator.hasMoreResults(); page++) {
    if (page === PAGES_MAX) {
      throw new Error(`still not at the end after ${PAGES_MAX} pages`);
    }
    const { resources, continuationToken } = await iterator.fetchNext();
    rows.push(...(resources ?? []));
    if (isResumed && resources?.length > 0 && continuationToken && iterator.hasMoreResults()) {
      iterator = items.query(query, { ...options, continuationToken });
    }
  }
  return rows;
}

const planned = { forceQueryPlan: true, maxDegreeOfParallelism: 8 };
const ways = {
  whole: async (items, query) => (await items.query(query).fetchAll()).resources,
  resumed: (items, query) => rowsOf(items, query, { maxItemCount: 4 }, true),
  planned: (items, query) => rowsOf(items, query, { ...planned, maxItemCount: 3 }, false),
  planned_resumed: (items, query) => rowsOf(items, query, { ...planned, maxItemCount: 4, enableQueryControl: true }, true),
};

async function run({ name, container, direct, query, parameters }) {
  for (const [way, ask] of Object.entries(ways)) {
    if (direct && way.startsWith("planned")) {
      continue;
    }
    const line = { case: name, way };
    try {
      line.rows = await ask(database.container(container).items, { query, parameters });
    } catch (error) {
      line.status = typeof error.code === "number" ? error.code : 0;
      line.message = error.body?.message ?? error.message ?? String(error);
    }
    console.log(JSON.stringify(line));
  }
}

const cases = JSON.parse(fs.readFileSync(casesPath, "utf8")).reverse();
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    while (cases.length > 0) {
      await run(cases.pop());
    }
  }),
);
