/* Container definitions: what is refused and by which name, what is completed, what may not change.
 */
#include "model/container.h"

#include "model/json.h"

#include <stdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define KEY "\"partitionKey\":{\"paths\":[\"/pk\"]}"
#define INDEXING                                                                                \
    "\"indexingPolicy\":{\"indexingMode\":\"consistent\",\"automatic\":true,\"includedPaths\":" \
    "[{\"path\":\"/*\"}],\"excludedPaths\":[{\"path\":\"/\\\"_etag\\\"/?\"}]}"
#define CONFLICTS                                                                           \
    "\"conflictResolutionPolicy\":{\"mode\":\"LastWriterWins\",\"conflictResolutionPath\":" \
    "\"/_ts\",\"conflictResolutionProcedure\":\"\"},\"geospatialConfig\":{\"type\":\"Geography\"}"

static struct arena arena;
static struct fault fault;
static struct container_settings settings;
static struct slice definition;

static int setup(void **state)
{
    (void) state;
    arena_init(&arena, 1 << 22);
    fault = (struct fault){0};
    return 0;
}

static int teardown(void **state)
{
    (void) state;
    arena_finish(&arena);
    return 0;
}

static bool parse(const char *body)
{
    fault = (struct fault){0};
    return container_parse(&settings, &definition, slice_from_text(body), &arena, &fault);
}

static bool replace(const char *body, const char *stored)
{
    fault = (struct fault){0};
    return container_parse_replacement(&settings, &definition, slice_from_text(body),
                                       slice_from_text(stored), &arena, &fault);
}

/* Refused, with the culprit in the message. */
static void assert_refused(const char *body, const char *culprit)
{
    if (parse(body))
        fail_msg("accepted: %s", body);
    assert_int_equal(fault.status, 400);
    if (strstr(fault.message, culprit) == NULL)
        fail_msg("%s: %s", body, fault.message);
}

static void bodies_that_are_no_definition_are_refused(void **state)
{
    (void) state;
    assert_refused("", "");
    assert_refused("[]", "object");
    assert_refused("null", "object");
    assert_refused("{", "");
    assert_refused("{}", "id");
    assert_refused("{\"id\":null," KEY "}", "id");
    assert_refused("{\"id\":5," KEY "}", "id");
    assert_refused("{\"id\":\"a/b\"," KEY "}", "a/b");
    assert_refused("{\"id\":\"c\"}", "partitionKey");
    assert_refused("{\"id\":\"c\"," KEY ",\"id\":\"d\"}", "id");
}

static void unknown_and_unsupported_members_are_refused_by_name(void **state)
{
    static const struct {
        const char *member, *culprit;
    } cases[] = {
        {"\"createMode\":\"Default\"", "createMode"},
        {"\"materializedViewDefinition\":{}", "materializedViewDefinition"},
        {"\"DefaultTtl\":5", "DefaultTtl"},
        {"\"_lsn\":5", "_lsn"},
        {"\"analyticalStorageTtl\":-1", "analyticalStorageTtl"},
        {"\"defaultTtl\":0", "defaultTtl"},
        {"\"defaultTtl\":-2", "defaultTtl"},
        {"\"defaultTtl\":2147483648", "defaultTtl"},
        {"\"defaultTtl\":1.5", "defaultTtl"},
        {"\"defaultTtl\":\"5\"", "defaultTtl"},
        {"\"geospatialConfig\":{\"type\":\"Flat\"}", "Flat"},
        {"\"geospatialConfig\":[]", "geospatialConfig"},
        {"\"conflictResolutionPolicy\":{\"mode\":\"Mine\"}", "Mine"},
        {"\"conflictResolutionPolicy\":{\"conflictResolutionPath\":\"x\"}", "\"x\""},
        {"\"conflictResolutionPolicy\":{\"conflictResolutionProcedure\":\"p\"}", "Procedure"},
        {"\"indexingPolicy\":{\"mode\":\"none\"}", "\"mode\" of indexingPolicy"},
        {"\"indexingPolicy\":{\"indexingMode\":\"eager\"}", "eager"},
        {"\"indexingPolicy\":{\"automatic\":1}", "automatic"},
        {"\"indexingPolicy\":{\"includedPaths\":{}}", "includedPaths"},
        {"\"indexingPolicy\":{\"includedPaths\":[{}]}", "includedPaths"},
        {"\"indexingPolicy\":{\"includedPaths\":[{\"path\":\"/*\"},{\"path\":\"/a\"}]}", "/a"},
        {"\"indexingPolicy\":{\"includedPaths\":[{\"path\":\"/a/?\"}]}", "/*"},
        {"\"indexingPolicy\":{\"includedPaths\":[{\"path\":\"/*\"}],\"excludedPaths\":[{\"path\":"
         "\"/*\"}]}",
         "/*"},
        {"\"indexingPolicy\":{\"includedPaths\":[{\"path\":\"/*\",\"x\":1}]}", "\"x\""},
        {"\"indexingPolicy\":{\"compositeIndexes\":[[{\"path\":\"/a\"}]]}", "compositeIndexes"},
        {"\"indexingPolicy\":{\"compositeIndexes\":[[{\"path\":\"/a\"},{\"path\":\"/b\",\"order\":"
         "\"up\"}]]}",
         "up"},
        {"\"indexingPolicy\":{\"spatialIndexes\":[{\"path\":\"/a\",\"types\":[\"Cube\"]}]}",
         "Cube"},
        {"\"indexingPolicy\":{\"vectorIndexes\":[{\"path\":\"/a\",\"type\":\"x\"}]}", "\"x\""},
        {"\"indexingPolicy\":{\"fullTextIndexes\":[{\"path\":\"/a\",\"type\":1}]}", "type"},
        {"\"uniqueKeyPolicy\":{\"uniqueKeys\":[{}]}", "uniqueKeys"},
        {"\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[]}]}", "1 to 16"},
        {"\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/a/*\"]}]}", "/a/*"},
        {"\"uniqueKeyPolicy\":{\"keys\":[]}", "keys"},
        {"\"computedProperties\":[{\"name\":\"\",\"query\":\"SELECT\"}]", "name"},
        {"\"computedProperties\":[{\"name\":\"x\"}]", "query"},
        {"\"vectorEmbeddingPolicy\":{\"vectorEmbeddings\":[{\"path\":\"/v\",\"dataType\":\"int64\","
         "\"dimensions\":3,\"distanceFunction\":\"cosine\"}]}",
         "int64"},
        {"\"vectorEmbeddingPolicy\":{\"vectorEmbeddings\":[{\"path\":\"/v\",\"dataType\":\"int8\","
         "\"dimensions\":0,\"distanceFunction\":\"cosine\"}]}",
         "dimensions"},
        {"\"fullTextPolicy\":{\"language\":\"en\"}", "language"},
        {"\"changeFeedPolicy\":{}", "retentionDuration"},
        {"\"changeFeedPolicy\":{\"retentionDuration\":-1}", "retentionDuration"},
        {"\"clientEncryptionPolicy\":{\"includedPaths\":[],\"policyFormatVersion\":3}",
         "policyFormatVersion"},
        {"\"ttlPropertyPath\":\"ttl\"", "ttl"},
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char body[512];
        snprintf(body, sizeof(body), "{\"id\":\"c\"," KEY ",%s}", cases[i].member);
        assert_refused(body, cases[i].culprit);
    }
}

static void wrong_partition_keys_are_refused(void **state)
{
    static const char *const keys[] = {
        "\"/pk\"",
        "[]",
        "{}",
        "{\"paths\":\"/pk\"}",
        "{\"paths\":[]}",
        "{\"paths\":[5]}",
        "{\"paths\":[\"pk\"]}",
        "{\"paths\":[\"/\"]}",
        "{\"paths\":[\"/a/*\"]}",
        "{\"paths\":[\"/_ts\"]}",
        "{\"paths\":[\"/a\",\"/b\"]}",
        "{\"paths\":[\"/a\",\"/b\"],\"kind\":\"Hash\"}",
        "{\"paths\":[\"/a\",\"/b\",\"/c\",\"/d\"],\"kind\":\"MultiHash\"}",
        "{\"paths\":[\"/a\",\"/a\"],\"kind\":\"MultiHash\"}",
        "{\"paths\":[\"/a\"],\"kind\":\"Range\"}",
        "{\"paths\":[\"/a\"],\"version\":0}",
        "{\"paths\":[\"/a\"],\"version\":3}",
        "{\"paths\":[\"/a\"],\"version\":\"2\"}",
        "{\"paths\":[\"/a\"],\"kind\":\"MultiHash\",\"version\":1}",
        "{\"paths\":[\"/a\"],\"systemKey\":1}",
        "{\"paths\":[\"/a\"],\"other\":1}",
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        char body[256];
        snprintf(body, sizeof(body), "{\"id\":\"c\",\"partitionKey\":%s}", keys[i]);
        assert_refused(body, "");
    }
}

static void too_many_unique_keys_are_refused(void **state)
{
    struct buf body = {0};

    (void) state;
    buf_append_text(&body, "{\"id\":\"c\"," KEY ",\"uniqueKeyPolicy\":{\"uniqueKeys\":[");
    for (int i = 0; i < CONTAINER_UNIQUE_KEYS_MAX + 1; i++)
        buf_append_text(&body, i > 0 ? ",{\"paths\":[\"/a\"]}" : "{\"paths\":[\"/a\"]}");
    buf_append_text(&body, "]}}");
    assert_refused(buf_text(&body), "10");
    body.len = 0;
    buf_append_text(&body,
                    "{\"id\":\"c\"," KEY ",\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[");
    for (int i = 0; i < CONTAINER_UNIQUE_PATHS_MAX + 1; i++)
        buf_append_text(&body, i > 0 ? ",\"/a\"" : "\"/a\"");
    buf_append_text(&body, "]}]}}");
    assert_refused(buf_text(&body), "16");
    buf_finish(&body);
}

static void assert_definition(const char *body, const char *expected)
{
    if (!parse(body))
        fail_msg("%s: %s", body, fault.message);
    char *first = arena_copy(&arena, definition.ptr, definition.len);
    if (expected != NULL)
        assert_string_equal(first, expected);
    if (!parse(first)) /* what is stored is read again as itself */
        fail_msg("%s: %s", first, fault.message);
    assert_string_equal(arena_copy(&arena, definition.ptr, definition.len), first);
}

static void defaults_are_filled_in(void **state)
{
    (void) state;
    assert_definition("{\"id\":\"c\"," KEY "}",
                      "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\","
                      "\"version\":1}," INDEXING "," CONFLICTS "}");
    assert_true(settings.indexing.is_indexed);
    assert_false(settings.has_default_ttl);
    assert_int_equal(settings.unique_key_count, 0);
    assert_int_equal(settings.partition_key.version, 1);
    assert_true(slice_equals_text(settings.partition_key.paths[0].names[0], "pk"));
    assert_true(slice_equals_text(settings.conflict_path, "/_ts"));
    assert_definition(
        "{\"_rid\":\"x\",\"_ts\":1,\"_docs\":\"docs/\",\"defaultTtl\":null,\"id\":\"c\","
        "\"analyticalStorageTtl\":0,\"uniqueKeyPolicy\":{\"uniqueKeys\":[]}," KEY "}",
        "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\","
        "\"version\":1}," INDEXING "," CONFLICTS "}");
}

static void assert_rank(const char *policy, const char *body, bool has_rank, double expected)
{
    struct json_text text;
    double rank = 0;

    assert_definition(arena_printf(&arena, "{\"id\":\"c\"," KEY "%s}", policy), NULL);
    assert_true(json_validate(slice_from_text(body), JSON_DEPTH_MAX, &text, &fault));
    assert_int_equal(container_conflict_rank(&settings, text.root, &rank), has_rank);
    assert_true(rank == expected);
}

static void items_rank_by_the_number_at_the_path(void **state)
{
    static const char *const nested =
        ",\"conflictResolutionPolicy\":{\"conflictResolutionPath\":\"/a/b\"}";

    (void) state;
    assert_rank(nested, "{\"a\":{\"b\":-1.5e3}}", true, -1500);
    assert_rank(nested, "{\"a\":{\"b\":0}}", true, 0);
    assert_rank(nested, "{\"a\":{\"b\":\"7\"}}", false, 0);
    assert_rank(nested, "{\"a\":{\"b\":null}}", false, 0);
    assert_rank(nested, "{\"a\":7}", false, 0);
    assert_rank(nested, "{}", false, 0);
    assert_rank("", "{\"_ts\":7}", false, 0);
    assert_rank(",\"conflictResolutionPolicy\":{\"mode\":\"Custom\",\"conflictResolutionPath\":"
                "\"/a\"}",
                "{\"a\":7}", false, 0);
}

static void every_setting_is_kept(void **state)
{
    (void) state;
    assert_definition(
        "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/a\",\"/b/c\",\"/\\\"d e\\\"\"],\"kind\":"
        "\"MultiHash\"},\"defaultTtl\":60,\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/"
        "x\",\"/y/z\"]},"
        "{\"paths\":[\"/w\"]}]},\"indexingPolicy\":{\"indexingMode\":\"Lazy\",\"automatic\":false,"
        "\"includedPaths\":[{\"path\":\"/a/"
        "?\",\"indexes\":[{\"kind\":\"Range\"}]}],\"excludedPaths\":"
        "[{\"path\":\"/*\"}],\"compositeIndexes\":[[{\"path\":\"/a\"},{\"path\":\"/b\",\"order\":"
        "\"Descending\"}]],\"spatialIndexes\":[{\"path\":\"/p/"
        "*\",\"types\":[\"Point\"]}],\"vectorIndexes\":"
        "[{\"path\":\"/v\",\"type\":\"flat\"}],\"fullTextIndexes\":[{\"path\":\"/t\"}]},"
        "\"conflictResolutionPolicy\":{\"mode\":\"custom\",\"conflictResolutionProcedure\":\"dbs/"
        "d\"},"
        "\"geospatialConfig\":{\"type\":\"Geometry\"},\"ttlPropertyPath\":\"/"
        "life\",\"computedProperties\":"
        "[{\"name\":\"l\",\"query\":\"SELECT VALUE "
        "1\"}],\"vectorEmbeddingPolicy\":{\"vectorEmbeddings\":"
        "[{\"path\":\"/"
        "v\",\"dataType\":\"float32\",\"dimensions\":3,\"distanceFunction\":\"cosine\"}]},"
        "\"fullTextPolicy\":{\"defaultLanguage\":\"en-US\",\"fullTextPaths\":[{\"path\":\"/t\"}]},"
        "\"changeFeedPolicy\":{\"retentionDuration\":10},\"clientEncryptionPolicy\":{"
        "\"includedPaths\":"
        "[{\"path\":\"/ssn\",\"clientEncryptionKeyId\":\"k\",\"encryptionType\":\"Randomized\","
        "\"encryptionAlgorithm\":\"AEAD_AES_256_CBC_HMAC_SHA256\"}],\"policyFormatVersion\":1}}",
        "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/a\",\"/b/c\",\"/\\\"d e\\\"\"],\"kind\":"
        "\"MultiHash\",\"version\":2},\"indexingPolicy\":{\"indexingMode\":\"consistent\","
        "\"automatic\":"
        "false,\"includedPaths\":[{\"path\":\"/a/?\"}],\"excludedPaths\":[{\"path\":\"/*\"}],"
        "\"compositeIndexes\":[[{\"path\":\"/a\",\"order\":\"ascending\"},{\"path\":\"/"
        "b\",\"order\":"
        "\"descending\"}]],\"spatialIndexes\":[{\"path\":\"/p/*\",\"types\":[\"Point\"]}],"
        "\"vectorIndexes\":[{\"path\":\"/v\",\"type\":\"flat\"}],\"fullTextIndexes\":[{\"path\":\"/"
        "t\"}]},"
        "\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/x\",\"/y/z\"]},{\"paths\":[\"/w\"]}]},"
        "\"conflictResolutionPolicy\":{\"mode\":\"Custom\",\"conflictResolutionPath\":\"\","
        "\"conflictResolutionProcedure\":\"dbs/d\"},\"geospatialConfig\":{\"type\":\"Geometry\"},"
        "\"defaultTtl\":60,\"ttlPropertyPath\":\"/life\",\"computedProperties\":[{\"name\":\"l\","
        "\"query\":\"SELECT VALUE "
        "1\"}],\"vectorEmbeddingPolicy\":{\"vectorEmbeddings\":[{\"path\":\"/v\","
        "\"dataType\":\"float32\",\"dimensions\":3,\"distanceFunction\":\"cosine\"}]},"
        "\"fullTextPolicy\":"
        "{\"defaultLanguage\":\"en-US\",\"fullTextPaths\":[{\"path\":\"/"
        "t\"}]},\"changeFeedPolicy\":"
        "{\"retentionDuration\":10},\"clientEncryptionPolicy\":{\"includedPaths\":[{\"path\":\"/"
        "ssn\","
        "\"clientEncryptionKeyId\":\"k\",\"encryptionType\":\"Randomized\",\"encryptionAlgorithm\":"
        "\"AEAD_AES_256_CBC_HMAC_SHA256\"}],\"policyFormatVersion\":1}}");
    assert_int_equal(settings.partition_key.path_count, 3);
    assert_true(slice_equals_text(settings.partition_key.paths[2].names[0], "d e"));
    assert_int_equal(settings.default_ttl_s, 60);
    assert_int_equal(settings.unique_key_count, 2);
    assert_int_equal(settings.unique_keys[0].path_count, 2);
    assert_int_equal(settings.conflict_mode, CONTAINER_CUSTOM);
    assert_definition("{\"id\":\"c\"," KEY ",\"indexingPolicy\":{\"indexingMode\":\"none\"}}",
                      NULL);
    assert_false(settings.indexing.is_indexed);
    assert_definition("{\"id\":\"c\"," KEY ",\"defaultTtl\":-1}", NULL);
    assert_true(settings.has_default_ttl);
    assert_int_equal(settings.default_ttl_s, CONTAINER_TTL_NO_DEFAULT);
    assert_definition("{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/p\"],\"systemKey\":true}}",
                      NULL);
    assert_true(settings.partition_key.is_system_key);
    assert_definition("{\"id\":\"c\"," KEY
                      ",\"conflictResolutionPolicy\":{\"conflictResolutionPath\":"
                      "\"/rank\"}}",
                      NULL);
    assert_true(slice_equals_text(settings.conflict_path, "/rank"));
}

static void replacements_keep_what_lasts(void **state)
{
    static const char *const body =
        "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/a\",\"/"
        "b\"],\"kind\":\"MultiHash\",\"version\":2},"
        "\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/x\"]}]},\"defaultTtl\":5}";
    static const char *const wrong[] = {
        "{\"id\":\"d\"}",
        "{\"id\":\"C\"}",
        "{}",
        "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/a\"],\"kind\":\"MultiHash\",\"version\":2}}",
        "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/b\",\"/a\"]}}",
        "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/a\",\"/b\"],\"systemKey\":true}}",
        "{\"id\":\"c\",\"uniqueKeyPolicy\":{\"uniqueKeys\":[]}}",
        "{\"id\":\"c\",\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/y\"]}]}}",
        "{\"id\":\"c\",\"conflictResolutionPolicy\":{\"mode\":\"Custom\"}}",
        "{\"id\":\"c\",\"conflictResolutionPolicy\":{\"conflictResolutionPath\":\"/x\"}}",
    };

    (void) state;
    assert_true(parse(body));
    const char *stored = arena_copy(&arena, definition.ptr, definition.len);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        if (replace(wrong[i], stored))
            fail_msg("accepted: %s", wrong[i]);
        assert_int_equal(fault.status, 400);
    }
    assert_true(replace(stored, stored));
    assert_true(slice_equals_text(definition, stored));
    assert_true(replace("{\"id\":\"c\"}", stored));
    assert_false(settings.has_default_ttl);
    assert_int_equal(settings.unique_key_count, 1);
    assert_int_equal(settings.partition_key.path_count, 2);
    assert_true(replace("{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/a\",\"/b\"]},"
                        "\"conflictResolutionPolicy\":{\"mode\":\"lastWriterWins\"}}",
                        stored));
    assert_int_equal(settings.partition_key.version, 2);
}

static void damaged_definitions_are_a_fault_of_the_server(void **state)
{
    (void) state;
    assert_false(container_load(&settings, SLICE_LITERAL("{}"), &arena, &fault));
    assert_int_equal(fault.status, 500);
}

/* The only claim of an item under the definition read last. */
static struct container_claim claim_of(const char *body)
{
    struct container_claim claims[CONTAINER_UNIQUE_KEYS_MAX];
    struct json_text text;

    if (!json_validate(slice_from_text(body), JSON_DEPTH_MAX, &text, &fault) ||
        !container_unique_claims(&settings, text.root, claims, &arena, &fault))
        fail_msg("%s", fault.message);
    return claims[settings.unique_key_count - 1];
}

static void claims_differ_when_values_do(void **state)
{
    static const char *const bodies[] = {
        "{}",
        "{\"a\":\"\"}",
        "{\"a\":\"x\"}",
        "{\"b\":\"x\"}",
        "{\"a\":\"x\",\"b\":\"\"}",
        "{\"a\":true}",
        "{\"a\":false}",
        "{\"a\":1}",
        "{\"a\":\"1\"}",
        "{\"a\":{}}",
        "{\"a\":[]}",
        "{\"a\":\"x\",\"b\":\"y\"}",
        "{\"a\":\"xy\"}",
        "{\"a\":\"null\"}",
        "{\"a\":\"b\"}",
    };
    struct container_claim claims[ARRAY_LEN(bodies)];

    (void) state;
    assert_true(parse("{\"id\":\"c\"," KEY
                      ",\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/z\"]},"
                      "{\"paths\":[\"/a\",\"/b\"]}]}}"));
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        claims[i] = claim_of(bodies[i]);
        assert_int_equal(claims[i].key_number, 1);
        for (size_t j = 0; j < i; j++) {
            if (memcmp(claims[i].value, claims[j].value, sizeof(claims[i].value)) == 0)
                fail_msg("%s = %s", bodies[i], bodies[j]);
        }
    }
    struct container_claim same = claim_of("{\"a\":null,\"b\":null,\"pk\":5}");
    assert_memory_equal(same.value, claims[0].value, sizeof(same.value));
    same = claim_of("{\"a\":1.0}");
    assert_memory_equal(same.value, claims[7].value, sizeof(same.value));
    same = claim_of("{\"a\":\"\\u0078\"}");
    assert_memory_equal(same.value, claims[2].value, sizeof(same.value));
}

/* With every ceiling on memory the answer is right or a 503, never something in between. */
static void exhausted_memory_is_a_503(void **state)
{
    static const char *const body =
        "{\"id\":\"c\"," KEY
        ",\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/\\\"z\\\"\"]}]}}";

    (void) state;
    for (size_t max_bytes = 0; max_bytes < 40000; max_bytes += 512) {
        struct arena small;
        fault = (struct fault){0};
        arena_init(&small, max_bytes);
        if (!container_parse(&settings, &definition, slice_from_text(body), &small, &fault))
            assert_int_equal(fault.status, 503);
        arena_finish(&small);
    }
    assert_int_equal(fault.status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bodies_that_are_no_definition_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_and_unsupported_members_are_refused_by_name, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(wrong_partition_keys_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_unique_keys_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_definitions_are_a_fault_of_the_server, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(exhausted_memory_is_a_503, setup, teardown),
        cmocka_unit_test_setup_teardown(defaults_are_filled_in, setup, teardown),
        cmocka_unit_test_setup_teardown(every_setting_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(items_rank_by_the_number_at_the_path, setup, teardown),
        cmocka_unit_test_setup_teardown(replacements_keep_what_lasts, setup, teardown),
        cmocka_unit_test_setup_teardown(claims_differ_when_values_do, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
