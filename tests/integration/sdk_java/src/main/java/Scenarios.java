import com.azure.cosmos.CosmosClient;
import com.azure.cosmos.CosmosContainer;
import com.azure.cosmos.CosmosDatabase;
import com.azure.cosmos.CosmosException;
import com.azure.cosmos.models.CosmosBatch;
import com.azure.cosmos.models.CosmosBatchOperationResult;
import com.azure.cosmos.models.CosmosBatchResponse;
import com.azure.cosmos.models.CosmosBulkOperations;
import com.azure.cosmos.models.CosmosBulkOperationResponse;
import com.azure.cosmos.models.CosmosChangeFeedRequestOptions;
import com.azure.cosmos.models.CosmosContainerProperties;
import com.azure.cosmos.models.CosmosContainerResponse;
import com.azure.cosmos.models.CosmosItemOperation;
import com.azure.cosmos.models.CosmosItemRequestOptions;
import com.azure.cosmos.models.CosmosItemResponse;
import com.azure.cosmos.models.CosmosPatchItemRequestOptions;
import com.azure.cosmos.models.CosmosPatchOperations;
import com.azure.cosmos.models.FeedRange;
import com.azure.cosmos.models.FeedResponse;
import com.azure.cosmos.models.PartitionKey;
import com.azure.cosmos.models.PartitionKeyBuilder;
import com.azure.cosmos.models.PartitionKeyDefinition;
import com.azure.cosmos.models.PartitionKeyDefinitionVersion;
import com.azure.cosmos.models.PartitionKind;
import com.azure.cosmos.models.ThroughputProperties;
import com.azure.cosmos.models.UniqueKey;
import com.azure.cosmos.models.UniqueKeyPolicy;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;

/** One method per scenario. */
final class Scenarios {
    private CosmosClient client;
    private CosmosDatabase database;
    private CosmosContainer items;

    Map<String, Suite.Work> all() {
        Map<String, Suite.Work> all = new LinkedHashMap<>();
        all.put("client_init", this::clientInit);
        all.put("database_create_if_not_exists", this::databaseCreate);
        all.put("container_hash_v1", () -> container("v1", hash("/pk", PartitionKeyDefinitionVersion.V1),
            "{\"id\":\"1\",\"pk\":\"a\"}", new PartitionKey("a")));
        all.put("container_hash_v2", () -> container("v2", hash("/pk", PartitionKeyDefinitionVersion.V2),
            "{\"id\":\"1\",\"pk\":\"a\"}", new PartitionKey("a")));
        all.put("container_hierarchical_2", () -> container("h2", multiHash("/a", "/b"),
            "{\"id\":\"1\",\"a\":\"x\",\"b\":2}", new PartitionKeyBuilder().add("x").add(2).build()));
        all.put("container_hierarchical_3", () -> container("h3", multiHash("/a", "/b", "/c/d"),
            "{\"id\":\"1\",\"a\":\"x\",\"b\":true,\"c\":{\"d\":\"é\"}}",
            new PartitionKeyBuilder().add("x").add(true).add("é").build()));
        all.put("container_nested_path", () -> container("nested", hash("/address/city", PartitionKeyDefinitionVersion.V2),
            "{\"id\":\"1\",\"address\":{\"city\":\"Zürich\"}}", new PartitionKey("Zürich")));
        all.put("key_values", this::keyValues);
        all.put("item_crud", this::itemCrud);
        all.put("if_match", this::ifMatch);
        all.put("if_none_match", this::ifNoneMatch);
        all.put("upsert", this::upsert);
        all.put("patch_operations", this::patchOperations);
        all.put("patch_condition", this::patchCondition);
        all.put("batch_success", this::batchSuccess);
        all.put("batch_failure", this::batchFailure);
        all.put("bulk_1000", this::bulk);
        all.put("feed", this::feed);
        all.put("throughput", this::throughput);
        all.put("ttl", this::ttl);
        all.put("unique_keys", this::uniqueKeys);
        all.put("error_400", this::error400);
        all.put("error_404", this::error404);
        all.put("error_409", this::error409);
        all.put("error_412", this::error412);
        all.put("error_413", this::error413);
        all.put("special_ids", this::specialIds);
        all.put("delete_by_key", this::deleteByKey);
        all.put("session", this::session);
        all.put("change_feed", this::changeFeed);
        return all;
    }

    // Helpers

    private static ObjectNode object(String json) throws Exception {
        return (ObjectNode) Suite.JSON.readTree(json);
    }

    private static ObjectNode item(String id, String pk) {
        return Suite.JSON.createObjectNode().put("id", id).put("pk", pk);
    }

    private static void same(Object found, Object wanted) {
        if (!Objects.equals(found, wanted)) {
            throw new AssertionError(found + ", wanted " + wanted);
        }
    }

    private static CosmosException fails(int status, Suite.Work work) throws Exception {
        try {
            work.run();
        } catch (CosmosException answer) {
            if (answer.getStatusCode() != status) {
                throw answer;
            }
            return answer;
        }
        throw new AssertionError("was not refused with " + status);
    }

    private ObjectNode read(CosmosContainer container, String id, PartitionKey key) {
        return container.readItem(id, key, ObjectNode.class).getItem();
    }

    private ObjectNode read(String id, String pk) {
        return read(items, id, new PartitionKey(pk));
    }

    private ObjectNode create(ObjectNode item) {
        return items.createItem(item).getItem();
    }

    private static PartitionKeyDefinition hash(String path, PartitionKeyDefinitionVersion version) {
        return new PartitionKeyDefinition().setPaths(List.of(path)).setKind(PartitionKind.HASH).setVersion(version);
    }

    private static PartitionKeyDefinition multiHash(String... paths) {
        return new PartitionKeyDefinition().setPaths(Arrays.asList(paths)).setKind(PartitionKind.MULTI_HASH)
            .setVersion(PartitionKeyDefinitionVersion.V2);
    }

    private CosmosContainer make(CosmosContainerProperties properties, int ru) {
        if (ru == 0) {
            database.createContainerIfNotExists(properties);
        } else {
            database.createContainerIfNotExists(properties, ThroughputProperties.createManualThroughput(ru));
        }
        return database.getContainer(properties.getId());
    }

    private void container(String id, PartitionKeyDefinition definition, String json, PartitionKey key) throws Exception {
        CosmosContainerProperties wanted = new CosmosContainerProperties(id, definition);
        CosmosContainerResponse first = database.createContainerIfNotExists(wanted);
        same(first.getStatusCode(), 201);
        CosmosContainerResponse second = database.createContainerIfNotExists(wanted);
        same(second.getStatusCode(), 200);
        same(second.getProperties().getResourceId(), first.getProperties().getResourceId());
        PartitionKeyDefinition found = second.getProperties().getPartitionKeyDefinition();
        same(found.getPaths(), definition.getPaths());
        same(found.getVersion(), definition.getVersion());
        same(found.getKind(), definition.getKind());
        CosmosContainer container = database.getContainer(id);
        ObjectNode item = object(json);
        same(container.createItem(item, key, null).getStatusCode(), 201);
        ObjectNode again = read(container, item.get("id").asText(), key);
        item.fields().forEachRemaining(field -> same(again.get(field.getKey()), field.getValue()));
    }

    // Scenarios

    private void clientInit() {
        client = Suite.client();
    }

    private void databaseCreate() {
        same(client.createDatabaseIfNotExists(Suite.DATABASE).getStatusCode(), 201);
        same(client.createDatabaseIfNotExists(Suite.DATABASE).getStatusCode(), 200);
        database = client.getDatabase(Suite.DATABASE);
        items = make(new CosmosContainerProperties("items", hash("/pk", PartitionKeyDefinitionVersion.V2)), 0);
    }

    private void keyValues() throws Exception {
        Map<String, PartitionKey> keys = new LinkedHashMap<>();
        keys.put("{\"id\":\"text\",\"pk\":\"\"}", new PartitionKey(""));
        keys.put("{\"id\":\"number\",\"pk\":5.5}", new PartitionKey(5.5));
        keys.put("{\"id\":\"integer\",\"pk\":5}", new PartitionKey(5));
        keys.put("{\"id\":\"true\",\"pk\":true}", new PartitionKey(true));
        keys.put("{\"id\":\"null\",\"pk\":null}", new PartitionKeyBuilder().addNullValue().build());
        keys.put("{\"id\":\"absent\"}", PartitionKey.NONE);
        for (Map.Entry<String, PartitionKey> each : keys.entrySet()) {
            ObjectNode item = object(each.getKey());
            items.createItem(item, each.getValue(), null);
            same(read(items, item.get("id").asText(), each.getValue()).get("pk"), item.get("pk"));
        }
        // The key is found in the body when none is given.
        items.createItem(item("extracted", "from-the-body"));
        read("extracted", "from-the-body");
    }

    private void itemCrud() throws Exception {
        ObjectNode item = object("{\"id\":\"crud\",\"pk\":\"p\",\"n\":1,\"text\":\"☃\\u2028\\\"\\\\\",\"deep\":{\"list\":[1,[2],{}]}}");
        CosmosItemResponse<ObjectNode> created = items.createItem(item);
        same(created.getStatusCode(), 201);
        if (created.getRequestCharge() <= 0 || created.getETag() == null || created.getActivityId() == null) {
            throw new AssertionError("a header is missing: " + created.getResponseHeaders());
        }
        same(read("crud", "p"), created.getItem());
        CosmosItemResponse<ObjectNode> replaced =
            items.replaceItem(item("crud", "p").put("n", 2), "crud", new PartitionKey("p"), null);
        same(replaced.getStatusCode(), 200);
        same(replaced.getItem().get("_rid"), created.getItem().get("_rid"));
        same(replaced.getItem().has("text"), false);
        CosmosItemRequestOptions quiet = new CosmosItemRequestOptions().setContentResponseOnWriteEnabled(false);
        CosmosItemResponse<ObjectNode> silent =
            items.replaceItem(item("crud", "p").put("n", 3), "crud", new PartitionKey("p"), quiet);
        same(silent.getItem(), null);
        same(read("crud", "p").get("n").asInt(), 3);
        same(items.deleteItem("crud", new PartitionKey("p"), null).getStatusCode(), 204);
        fails(404, () -> read("crud", "p"));
    }

    private void ifMatch() throws Exception {
        String etag = create(item("if-match", "p").put("n", 1)).get("_etag").asText();
        CosmosItemRequestOptions options = new CosmosItemRequestOptions().setIfMatchETag(etag);
        PartitionKey key = new PartitionKey("p");
        items.replaceItem(item("if-match", "p").put("n", 2), "if-match", key, options);
        fails(412, () -> items.replaceItem(item("if-match", "p").put("n", 3), "if-match", key, options));
        fails(412, () -> items.deleteItem("if-match", key, options));
        same(read("if-match", "p").get("n").asInt(), 2);
    }

    private void ifNoneMatch() throws Exception {
        String etag = create(item("if-none-match", "p")).get("_etag").asText();
        CosmosItemRequestOptions options = new CosmosItemRequestOptions().setIfNoneMatchETag(etag);
        PartitionKey key = new PartitionKey("p");
        try {
            same(items.readItem("if-none-match", key, options, ObjectNode.class).getStatusCode(), 304);
        } catch (CosmosException answer) {
            same(answer.getStatusCode(), 304);
        }
        items.upsertItem(item("if-none-match", "p").put("n", 2));
        same(items.readItem("if-none-match", key, options, ObjectNode.class).getItem().get("n").asInt(), 2);
    }

    private void upsert() {
        same(items.upsertItem(item("upsert", "p").put("n", 1)).getStatusCode(), 201);
        same(items.upsertItem(item("upsert", "p").put("n", 2)).getStatusCode(), 200);
        same(read("upsert", "p").get("n").asInt(), 2);
    }

    private void patchOperations() throws Exception {
        create(object("{\"id\":\"patch\",\"pk\":\"p\",\"n\":1,\"list\":[1,3],\"gone\":1,\"old\":\"x\",\"from\":9}"));
        PartitionKey key = new PartitionKey("p");
        CosmosPatchOperations patch = CosmosPatchOperations.create()
            .add("/list/1", 2).add("/list/-", 4).set("/new", object("{\"a\":[]}")).replace("/old", "y").remove("/gone")
            .increment("/n", 5).increment("/counter", 1.5).move("/from", "/to");
        ObjectNode found = items.patchItem("patch", key, patch, ObjectNode.class).getItem();
        ObjectNode wanted = object(
            "{\"list\":[1,2,3,4],\"new\":{\"a\":[]},\"old\":\"y\",\"n\":6,\"counter\":1.5,\"to\":9}");
        wanted.fields().forEachRemaining(field -> same(found.get(field.getKey()), field.getValue()));
        same(found.has("gone") || found.has("from"), false);
        fails(400, () -> items.patchItem("patch", key, CosmosPatchOperations.create().replace("/absent", 1), ObjectNode.class));
        fails(400, () -> items.patchItem("patch", key, CosmosPatchOperations.create().set("/pk", 1), ObjectNode.class));
    }

    private void patchCondition() throws Exception {
        create(item("patch-condition", "p").put("n", 1));
        PartitionKey key = new PartitionKey("p");
        CosmosPatchItemRequestOptions options = new CosmosPatchItemRequestOptions();
        options.setFilterPredicate("from c where c.n = 1");
        CosmosPatchOperations patch = CosmosPatchOperations.create().increment("/n", 1);
        items.patchItem("patch-condition", key, patch, options, ObjectNode.class);
        CosmosException answer =
            fails(412, () -> items.patchItem("patch-condition", key, patch, options, ObjectNode.class));
        same(answer.getSubStatusCode(), 1110);
    }

    private static List<Integer> statuses(CosmosBatchResponse response) {
        List<Integer> found = new ArrayList<>();
        for (CosmosBatchOperationResult result : response.getResults()) {
            found.add(result.getStatusCode());
        }
        return found;
    }

    private void batchSuccess() throws Exception {
        create(item("b0", "batch").put("n", 0));
        create(item("b9", "batch"));
        CosmosBatch batch = CosmosBatch.createCosmosBatch(new PartitionKey("batch"));
        batch.createItemOperation(item("b1", "batch").put("n", 1));
        batch.upsertItemOperation(item("b2", "batch").put("n", 2));
        batch.readItemOperation("b0");
        batch.replaceItemOperation("b0", item("b0", "batch").put("n", 10));
        batch.patchItemOperation("b1", CosmosPatchOperations.create().increment("/n", 1));
        batch.deleteItemOperation("b9");
        CosmosBatchResponse response = items.executeCosmosBatch(batch);
        same(response.getStatusCode(), 200);
        same(statuses(response), List.of(201, 201, 200, 200, 200, 204));
        same(response.getResults().get(4).getItem(ObjectNode.class).get("n").asInt(), 2);
        same(read("b0", "batch").get("n").asInt(), 10);
        fails(404, () -> read("b9", "batch"));
    }

    private void batchFailure() throws Exception {
        create(item("f0", "fail"));
        CosmosBatch batch = CosmosBatch.createCosmosBatch(new PartitionKey("fail"));
        batch.createItemOperation(item("f1", "fail"));
        batch.createItemOperation(item("f0", "fail"));
        batch.deleteItemOperation("f0");
        CosmosBatchResponse response = items.executeCosmosBatch(batch);
        same(response.isSuccessStatusCode(), false);
        same(response.getStatusCode(), 409);
        same(statuses(response), List.of(424, 409, 424));
        read("f0", "fail");
        fails(404, () -> read("f1", "fail"));
    }

    private void bulk() {
        CosmosContainer container = make(
            new CosmosContainerProperties("bulk", hash("/pk", PartitionKeyDefinitionVersion.V2)), 20000);
        List<CosmosItemOperation> operations = new ArrayList<>();
        for (int n = 0; n < 1000; n++) {
            String pk = "p" + n % 50;
            operations.add(CosmosBulkOperations.getUpsertItemOperation(item("i" + n, pk).put("n", n), new PartitionKey(pk)));
        }
        int count = 0;
        for (CosmosBulkOperationResponse<Object> response : container.executeBulkOperations(operations)) {
            if (response.getException() != null) {
                throw new AssertionError(response.getException());
            }
            same(response.getResponse().getStatusCode(), 201);
            count++;
        }
        same(count, 1000);
        for (int n : new int[] {0, 499, 999}) {
            same(read(container, "i" + n, new PartitionKey("p" + n % 50)).get("n").asInt(), n);
        }
    }

    private void feed() {
        List<FeedRange> ranges = items.getFeedRanges();
        same(ranges.size(), 1);
        List<String> names = new ArrayList<>();
        client.readAllDatabases().forEach(found -> names.add(found.getId()));
        same(names.contains(Suite.DATABASE), true);
        names.clear();
        database.readAllContainers().forEach(found -> names.add(found.getId()));
        same(names.contains("items"), true);
    }

    private void throughput() {
        CosmosContainer container = make(
            new CosmosContainerProperties("throughput", hash("/pk", PartitionKeyDefinitionVersion.V2)), 500);
        same(container.readThroughput().getProperties().getManualThroughput(), 500);
        container.replaceThroughput(ThroughputProperties.createManualThroughput(700));
        same(container.readThroughput().getProperties().getManualThroughput(), 700);
        database.createContainerIfNotExists(
            new CosmosContainerProperties("autoscale", hash("/pk", PartitionKeyDefinitionVersion.V2)),
            ThroughputProperties.createAutoscaledThroughput(4000));
        same(database.getContainer("autoscale").readThroughput().getProperties().getAutoscaleMaxThroughput(), 4000);
    }

    private void ttl() throws Exception {
        CosmosContainerProperties properties =
            new CosmosContainerProperties("ttl", hash("/pk", PartitionKeyDefinitionVersion.V2));
        properties.setDefaultTimeToLiveInSeconds(1);
        CosmosContainer container = make(properties, 0);
        container.createItem(item("default", "p"));
        container.createItem(item("long", "p").put("ttl", 3600));
        container.createItem(item("forever", "p").put("ttl", -1));
        Thread.sleep(2500);
        fails(404, () -> read(container, "default", new PartitionKey("p")));
        read(container, "long", new PartitionKey("p"));
        read(container, "forever", new PartitionKey("p"));
    }

    private void uniqueKeys() throws Exception {
        CosmosContainerProperties properties =
            new CosmosContainerProperties("unique", hash("/pk", PartitionKeyDefinitionVersion.V2));
        properties.setUniqueKeyPolicy(new UniqueKeyPolicy().setUniqueKeys(List.of(new UniqueKey(List.of("/email")))));
        CosmosContainer container = make(properties, 0);
        container.createItem(item("1", "p").put("email", "x"));
        fails(409, () -> container.createItem(item("2", "p").put("email", "x")));
        container.createItem(item("2", "q").put("email", "x"));
        container.deleteItem("1", new PartitionKey("p"), null);
        container.createItem(item("2", "p").put("email", "x"));
    }

    private void error400() throws Exception {
        fails(400, () -> create(item("", "p")));
        fails(400, () -> client.createDatabase("x".repeat(256)));
        CosmosException answer = fails(400, () -> items.createItem(item("mismatch", "p"), new PartitionKey("q"), null));
        same(answer.getSubStatusCode(), 1001);
    }

    private void error404() throws Exception {
        fails(404, () -> client.getDatabase("no-such-database").read());
        fails(404, () -> database.getContainer("no-such-container").read());
        fails(404, () -> read("none", "p"));
        fails(404, () -> items.replaceItem(item("none", "p"), "none", new PartitionKey("p"), null));
        fails(404, () -> items.deleteItem("none", new PartitionKey("p"), null));
    }

    private void error409() throws Exception {
        create(item("conflict", "p"));
        fails(409, () -> create(item("conflict", "p")));
        create(item("conflict", "q"));
        fails(409, () -> client.createDatabase(Suite.DATABASE));
    }

    private void error412() throws Exception {
        create(item("precondition", "p"));
        CosmosItemRequestOptions options =
            new CosmosItemRequestOptions().setIfMatchETag("\"00000000-0000-0000-0000-000000000000\"");
        fails(412, () -> items.upsertItem(item("precondition", "p"), options));
    }

    private void error413() throws Exception {
        fails(413, () -> create(item("large", "p").put("text", "x".repeat(2 * 1024 * 1024))));
        create(item("nearly", "p").put("text", "x".repeat(2 * 1024 * 1024 - 100)));
        same(read("nearly", "p").get("text").asText().length(), 2 * 1024 * 1024 - 100);
    }

    private void specialIds() throws Exception {
        String[] ids = {"日本語 😀", "a b  c", "a+b", "a%2Fb", "100%", "a&b=c;d,e:@$!*'()", "\"quoted\"", "é",
            "x".repeat(1000)}; // java.net.URI composes what is decomposed after it was signed
        for (String id : ids) {
            create(item(id, id));
            JsonNode found = read(id, id);
            same(found.get("id").asText(), id);
            items.replaceItem(item(id, id).put("n", 1), id, new PartitionKey(id), null);
            items.deleteItem(id, new PartitionKey(id), null);
            fails(404, () -> read(id, id));
        }
    }

    private void deleteByKey() throws Exception {
        for (String id : List.of("1", "2", "3")) {
            create(item(id, "delete-me"));
        }
        create(item("1", "keep-me"));
        items.deleteAllItemsByPartitionKey(new PartitionKey("delete-me"), null);
        fails(404, () -> read("1", "delete-me"));
        fails(404, () -> read("3", "delete-me"));
        read("1", "keep-me");
    }

    private void session() {
        for (int n = 0; n < 20; n++) {
            CosmosItemResponse<ObjectNode> written = items.upsertItem(item("session", "s").put("n", n));
            if (written.getSessionToken() == null || written.getSessionToken().isEmpty()) {
                throw new AssertionError("a write without a session token");
            }
            same(read("session", "s").get("n").asInt(), n);
        }
    }

    /** What there is up to the end, and where that is. */
    private static String follow(CosmosContainer container, CosmosChangeFeedRequestOptions options, List<JsonNode> found) {
        String token = null;
        for (FeedResponse<JsonNode> page
                : container.queryChangeFeed(options.setMaxItemCount(7), JsonNode.class).iterableByPage()) {
            found.addAll(page.getResults());
            token = page.getContinuationToken();
            if (page.getResults().isEmpty()) {
                break;
            }
        }
        return token;
    }

    private void changeFeed() {
        CosmosContainer container =
            make(new CosmosContainerProperties("changes", hash("/pk", PartitionKeyDefinitionVersion.V2)), 25000);
        FeedRange all = FeedRange.forFullRange();
        List<JsonNode> none = new ArrayList<>(), latest = new ArrayList<>(), ofKey = new ArrayList<>();
        String now = follow(container,
            CosmosChangeFeedRequestOptions.createForProcessingFromNow(all).allVersionsAndDeletes(), none);
        same(none.size(), 0);
        for (int n = 0; n < 40; n++) {
            container.createItem(item("" + n, "" + n % 8).put("n", n));
        }
        container.upsertItem(item("3", "3").put("n", 300));
        container.deleteItem("4", new PartitionKey("4"), null);
        String end = follow(container, CosmosChangeFeedRequestOptions.createForProcessingFromBeginning(all), latest);
        same(latest.size(), 39);
        same(latest.stream().mapToInt(one -> one.get("n").asInt()).sum(), 780 - 3 - 4 + 300);
        follow(container, CosmosChangeFeedRequestOptions.createForProcessingFromBeginning(
            FeedRange.forLogicalPartition(new PartitionKey("3"))), ofKey);
        same(ofKey.stream().map(one -> one.get("n").asInt()).collect(Collectors.toList()), List.of(11, 19, 27, 35, 300));
        List<JsonNode> versions = new ArrayList<>(), late = new ArrayList<>();
        follow(container,
            CosmosChangeFeedRequestOptions.createForProcessingFromContinuation(now).allVersionsAndDeletes(), versions);
        same(versions.size(), 42);
        same(versions.stream().filter(one -> one.get("metadata").get("operationType").asText().equals("delete"))
            .map(one -> one.get("previous").get("n").asInt()).collect(Collectors.toList()), List.of(4));
        container.createItem(item("late", "1").put("n", 1000));
        follow(container, CosmosChangeFeedRequestOptions.createForProcessingFromContinuation(end), late);
        same(late.stream().map(one -> one.get("n").asInt()).collect(Collectors.toList()), List.of(1000));
    }
}
