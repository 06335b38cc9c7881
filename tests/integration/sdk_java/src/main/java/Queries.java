import com.azure.cosmos.CosmosContainer;
import com.azure.cosmos.CosmosDatabase;
import com.azure.cosmos.CosmosException;
import com.azure.cosmos.models.CompositePath;
import com.azure.cosmos.models.CompositePathSortOrder;
import com.azure.cosmos.models.CosmosContainerProperties;
import com.azure.cosmos.models.CosmosItemOperation;
import com.azure.cosmos.models.CosmosBulkOperations;
import com.azure.cosmos.models.CosmosQueryRequestOptions;
import com.azure.cosmos.models.FeedRange;
import com.azure.cosmos.models.FeedResponse;
import com.azure.cosmos.models.IndexingPolicy;
import com.azure.cosmos.models.PartitionKey;
import com.azure.cosmos.models.PartitionKeyBuilder;
import com.azure.cosmos.models.PartitionKeyDefinition;
import com.azure.cosmos.models.PartitionKeyDefinitionVersion;
import com.azure.cosmos.models.PartitionKind;
import com.azure.cosmos.models.SqlParameter;
import com.azure.cosmos.models.SqlQuerySpec;
import com.azure.cosmos.models.ThroughputProperties;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Queries over five ranges, which this SDK plans and merges itself. One method per scenario. */
final class Queries {
    private static final int ITEMS = 40;
    private static final String[] KINDS = {"red", "green", "blue"};
    private CosmosDatabase database;
    private CosmosContainer items;

    Map<String, Suite.Work> all() {
        Map<String, Suite.Work> all = new LinkedHashMap<>();
        all.put("query_filters", this::filters);
        all.put("query_one_key", this::oneKey);
        all.put("query_order", this::order);
        all.put("query_order_of_several", this::orderOfSeveral);
        all.put("query_aggregates", this::aggregates);
        all.put("query_groups", this::groups);
        all.put("query_distinct", this::distinct);
        all.put("query_windows", this::windows);
        all.put("query_pages", this::pages);
        all.put("query_ordered_pages", this::orderedPages);
        all.put("query_key_prefix", this::keyPrefix);
        all.put("query_feed_ranges", this::feedRanges);
        all.put("query_refused", this::refused);
        return all;
    }

    private static void same(Object found, Object wanted) {
        if (!found.equals(wanted)) {
            throw new AssertionError(found + ", wanted " + wanted);
        }
    }

    private static List<Integer> numbers(int from, int to) {
        return IntStream.range(from, to).boxed().collect(Collectors.toList());
    }

    private static List<Integer> reversed(List<Integer> list) {
        List<Integer> copy = new ArrayList<>(list);
        Collections.reverse(copy);
        return copy;
    }

    private static <T extends Comparable<T>> List<T> sorted(List<T> list) {
        return list.stream().sorted().collect(Collectors.toList());
    }

    /** n from 0; ten keys, three kinds; v has every type, and sometimes is not there. */
    private static ObjectNode item(int n) throws Exception {
        String[] values = {"null", "true", "2", "-1.5", "\"text\"", "\"\""};
        ObjectNode item = Suite.JSON.createObjectNode();
        item.put("id", "i" + n).put("pk", "p" + n % 10).put("n", n).put("kind", KINDS[n % 3]);
        item.set("tags", Suite.JSON.readTree("[" + n % 2 + "," + n % 5 + "]"));
        if (n % 7 != 6) {
            item.set("v", Suite.JSON.readTree(values[n % 7 % 6]));
        }
        return item;
    }

    private static PartitionKeyDefinition key(String... paths) {
        return new PartitionKeyDefinition().setPaths(Arrays.asList(paths)).setVersion(PartitionKeyDefinitionVersion.V2)
            .setKind(paths.length > 1 ? PartitionKind.MULTI_HASH : PartitionKind.HASH);
    }

    private CosmosDatabase database() {
        if (database == null) {
            database = Suite.client().getDatabase(Suite.DATABASE);
        }
        return database;
    }

    private CosmosContainer items() throws Exception {
        if (items != null) {
            return items;
        }
        CompositePath kind = new CompositePath().setPath("/kind").setOrder(CompositePathSortOrder.ASCENDING);
        CompositePath n = new CompositePath().setPath("/n").setOrder(CompositePathSortOrder.DESCENDING);
        CosmosContainerProperties properties = new CosmosContainerProperties("queries", key("/pk"));
        properties.setIndexingPolicy(new IndexingPolicy().setCompositeIndexes(List.of(List.of(kind, n))));
        database().createContainer(properties, ThroughputProperties.createManualThroughput(50000));
        items = database().getContainer("queries");
        List<CosmosItemOperation> operations = new ArrayList<>();
        for (int i = 0; i < ITEMS; i++) {
            ObjectNode item = item(i);
            operations.add(CosmosBulkOperations.getCreateItemOperation(item, new PartitionKey(item.get("pk").asText())));
        }
        items.executeBulkOperations(operations).forEach(done -> same(done.getResponse().getStatusCode(), 201));
        same(items.getFeedRanges().size(), 5);
        return items;
    }

    private static <T> List<T> ask(CosmosContainer container, String text, Class<T> type, CosmosQueryRequestOptions options,
            Object... parameters) {
        List<SqlParameter> given = new ArrayList<>();
        for (int i = 0; i < parameters.length; i += 2) {
            given.add(new SqlParameter((String) parameters[i], parameters[i + 1]));
        }
        return container.queryItems(new SqlQuerySpec(text, given), options, type).stream().collect(Collectors.toList());
    }

    private <T> List<T> ask(String text, Class<T> type, Object... parameters) throws Exception {
        return ask(items(), text, type, new CosmosQueryRequestOptions(), parameters);
    }

    private List<Integer> numbersOf(String text, Object... parameters) throws Exception {
        return ask(text, Integer.class, parameters);
    }

    /** Page after page, each asked for anew by what the last one told. */
    private List<Integer> resumed(String text, int size) throws Exception {
        List<Integer> rows = new ArrayList<>();
        String token = null;
        do {
            FeedResponse<Integer> page = items().queryItems(text, new CosmosQueryRequestOptions(), Integer.class)
                .iterableByPage(token, size).iterator().next();
            rows.addAll(page.getResults());
            token = page.getContinuationToken();
            same(page.getResults().size() <= size, true);
        } while (token != null && rows.size() <= ITEMS);
        return rows;
    }

    // Scenarios

    private void filters() throws Exception {
        same(sorted(numbersOf("SELECT VALUE c.n FROM c")), numbers(0, ITEMS));
        same(sorted(numbersOf("SELECT VALUE c.n FROM c WHERE c.n >= @low AND c.kind IN (@kind, 'none') AND ARRAY_CONTAINS(c.tags, @tag)",
            "@low", 9, "@kind", "red", "@tag", 4)), List.of(9, 24, 39));
        same(numbersOf("SELECT VALUE c.n FROM c WHERE c.v = @v AND c.n < 3", "@v", null), List.of(0));
        same(numbersOf("SELECT VALUE c.n FROM c WHERE c.none > 1"), List.of());
        ObjectNode item = ask("SELECT * FROM c WHERE c.id = 'i7'", ObjectNode.class).get(0);
        same(item.get("n").asInt(), 7);
        same(item.get("_rid").asText().isEmpty(), false);
        same(sorted(numbersOf("SELECT VALUE t FROM c JOIN t IN c.tags WHERE c.n < 3")), List.of(0, 0, 0, 1, 1, 2));
    }

    private void oneKey() throws Exception {
        CosmosQueryRequestOptions options = new CosmosQueryRequestOptions().setPartitionKey(new PartitionKey("p3"));
        same(ask(items(), "SELECT VALUE c.n FROM c ORDER BY c.n DESC", Integer.class, options), List.of(33, 23, 13, 3));
        same(ask(items(), "SELECT VALUE COUNT(1) FROM c", Integer.class, options), List.of(4));
        same(ask(items(), "SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 1 LIMIT 2", Integer.class, options), List.of(13, 23));
        same(numbersOf("SELECT VALUE c.n FROM c WHERE c.pk = 'p3' ORDER BY c.n"), List.of(3, 13, 23, 33));
    }

    private void order() throws Exception {
        same(numbersOf("SELECT VALUE c.n FROM c ORDER BY c.n"), numbers(0, ITEMS));
        same(numbersOf("SELECT VALUE c.n FROM c ORDER BY c.n DESC"), reversed(numbers(0, ITEMS)));
        List<String> found = ask("SELECT c.v FROM c WHERE c.n < 7 ORDER BY c.v", ObjectNode.class).stream()
            .map(row -> row.has("v") ? row.get("v").toString() : "undefined").collect(Collectors.toList());
        same(found, List.of("undefined", "null", "true", "-1.5", "2", "\"\"", "\"text\""));
    }

    private void orderOfSeveral() throws Exception {
        List<Integer> wanted = new ArrayList<>();
        for (String kind : List.of("blue", "green", "red")) {
            for (int n = ITEMS - 1; n >= 0; n--) {
                if (KINDS[n % 3].equals(kind)) {
                    wanted.add(n);
                }
            }
        }
        same(numbersOf("SELECT VALUE c.n FROM c ORDER BY c.kind, c.n DESC"), wanted);
        same(numbersOf("SELECT VALUE c.n FROM c ORDER BY c.kind DESC, c.n ASC"), reversed(wanted));
    }

    private void aggregates() throws Exception {
        same(numbersOf("SELECT VALUE COUNT(1) FROM c"), List.of(ITEMS));
        same(numbersOf("SELECT VALUE COUNT(1) FROM c WHERE c.none"), List.of(0));
        same(ask("SELECT VALUE SUM(c.n) FROM c", Double.class), List.of(780.0));
        same(ask("SELECT VALUE AVG(c.n) FROM c WHERE c.n < 4", Double.class), List.of(1.5));
        same(numbersOf("SELECT VALUE MIN(c.n) FROM c WHERE c.n > 5"), List.of(6));
        same(numbersOf("SELECT VALUE MAX(c.n) FROM c"), List.of(ITEMS - 1));
        same(ask("SELECT VALUE MAX(c.kind) FROM c", String.class), List.of("red"));
        ObjectNode row = ask("SELECT COUNT(1) AS n, MIN(c.n) AS low, AVG(c.n) AS mean FROM c WHERE c.n < 3", ObjectNode.class).get(0);
        same(row.get("n").asInt() * 100 + row.get("low").asInt() * 10 + row.get("mean").asDouble(), 301.0);
        same(numbersOf("SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.kind FROM c)"), List.of(3));
    }

    private void groups() throws Exception {
        List<String> found = ask("SELECT c.kind, COUNT(1) AS n, SUM(c.n) AS sum, MAX(c.n) AS high FROM c WHERE c.n < 10 GROUP BY c.kind",
            ObjectNode.class).stream().map(row -> row.get("kind").asText() + row.get("n").asInt() + "/" + row.get("sum").asInt() + "/"
                + row.get("high").asInt()).collect(Collectors.toList());
        same(sorted(found), List.of("blue3/15/8", "green3/12/7", "red4/18/9"));
        same(sorted(ask("SELECT c.kind FROM c GROUP BY c.kind", JsonNode.class).stream().map(row -> row.get("kind").asText())
            .collect(Collectors.toList())), List.of("blue", "green", "red"));
    }

    private void distinct() throws Exception {
        same(sorted(ask("SELECT DISTINCT VALUE c.kind FROM c", String.class)), List.of("blue", "green", "red"));
        same(ask("SELECT DISTINCT VALUE c.kind FROM c ORDER BY c.kind DESC", String.class), List.of("red", "green", "blue"));
        same(ask("SELECT DISTINCT c.kind, c.pk FROM c", ObjectNode.class).size(), 30);
        same(ask("SELECT DISTINCT TOP 2 VALUE c.kind FROM c", String.class).size(), 2);
    }

    private void windows() throws Exception {
        same(numbersOf("SELECT TOP 7 VALUE c.n FROM c ORDER BY c.n DESC"), reversed(numbers(33, 40)));
        same(numbersOf("SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 11 LIMIT 12"), numbers(11, 23));
        same(numbersOf("SELECT VALUE c.n FROM c ORDER BY c.n OFFSET @o LIMIT @l", "@o", 38, "@l", 9), List.of(38, 39));
        same(numbersOf("SELECT TOP @top VALUE c.n FROM c", "@top", 9).size(), 9);
        same(numbersOf("SELECT VALUE c.n FROM c OFFSET 30 LIMIT 20").size(), 10);
        same(numbersOf("SELECT TOP 0 VALUE c.n FROM c"), List.of());
    }

    private void pages() throws Exception {
        same(sorted(resumed("SELECT VALUE c.n FROM c", 3)), numbers(0, ITEMS));
        same(sorted(resumed("SELECT VALUE c.n FROM c WHERE c.kind = 'red'", 1)).size(), 14);
        same(resumed("SELECT TOP 7 VALUE c.n FROM c", 2).size(), 7);
    }

    private void orderedPages() throws Exception {
        same(resumed("SELECT VALUE c.n FROM c ORDER BY c.n", 3), numbers(0, ITEMS));
        same(resumed("SELECT VALUE c.n FROM c ORDER BY c.n DESC", 7), reversed(numbers(0, ITEMS)));
        same(sorted(resumed("SELECT VALUE c.n FROM c ORDER BY c.kind", 3)), numbers(0, ITEMS));
        same(sorted(resumed("SELECT VALUE c.n FROM c ORDER BY c.v DESC", 3)), numbers(0, ITEMS));
    }

    private void keyPrefix() throws Exception {
        database().createContainer(new CosmosContainerProperties("tenants", key("/tenant", "/user", "/session")),
            ThroughputProperties.createManualThroughput(50000));
        CosmosContainer tenants = database().getContainer("tenants");
        for (int n = 0; n < 12; n++) {
            ObjectNode item = Suite.JSON.createObjectNode().put("id", "i" + n).put("tenant", "t" + n % 2).put("user", "u" + n % 3)
                .put("session", n).put("n", n);
            tenants.createItem(item);
        }
        CosmosQueryRequestOptions tenant = new CosmosQueryRequestOptions().setPartitionKey(new PartitionKeyBuilder().add("t1").build());
        CosmosQueryRequestOptions user =
            new CosmosQueryRequestOptions().setPartitionKey(new PartitionKeyBuilder().add("t1").add("u0").build());
        same(ask(tenants, "SELECT VALUE c.n FROM c ORDER BY c.n", Integer.class, tenant), List.of(1, 3, 5, 7, 9, 11));
        same(ask(tenants, "SELECT VALUE COUNT(1) FROM c", Integer.class, tenant), List.of(6));
        same(sorted(ask(tenants, "SELECT VALUE c.n FROM c", Integer.class, user)), List.of(3, 9));
        CosmosQueryRequestOptions none = new CosmosQueryRequestOptions();
        same(sorted(ask(tenants, "SELECT VALUE c.n FROM c WHERE c.tenant = 't0' AND c.user = 'u1'", Integer.class, none)), List.of(4, 10));
    }

    private void feedRanges() throws Exception {
        List<Integer> found = new ArrayList<>(), count = new ArrayList<>();
        for (FeedRange range : items().getFeedRanges()) {
            CosmosQueryRequestOptions options = new CosmosQueryRequestOptions().setFeedRange(range);
            List<Integer> rows = ask(items(), "SELECT VALUE c.n FROM c ORDER BY c.n", Integer.class, options);
            same(rows, sorted(rows));
            found.addAll(rows);
            count.addAll(ask(items(), "SELECT VALUE COUNT(1) FROM c", Integer.class, options));
        }
        same(sorted(found), numbers(0, ITEMS));
        same(count.stream().mapToInt(Integer::intValue).sum(), ITEMS);
    }

    private void refused() throws Exception {
        for (String text : List.of("SELECT * FROM", "SELECT NOSUCH(c.n) FROM c", "SELECT * FROM c ORDER BY c.n, c.pk",
                "SELECT VALUE 1 + COUNT(1) FROM c")) {
            try {
                ask(text, ObjectNode.class);
            } catch (CosmosException answer) {
                same(answer.getStatusCode(), 400);
                continue;
            }
            throw new AssertionError(text + " was not refused");
        }
    }
}
