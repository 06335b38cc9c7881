/*
 * Every function of the language: it exists, takes the arguments that it should, has the value that
 * the reference gives; and is undefined when an argument is undefined or of a wrong type.
 */
#include "query/functions.h"
#include "support/query_runner.h"

#include "base/buf.h"
#include "model/rid.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define ANY FUNCTION_ARGS_ANY
#define ARGS_MAX 8

/* 2026-01-02T03:04:05.678901Z */
#define NOW_US INT64_C(1767323045678901)

#define POINT "{'type':'Point','coordinates':[1,2]}"
#define BOX "{'type':'Polygon','coordinates':[[[0,0],[3,0],[3,3],[0,3],[0,0]]]}"

/*
 * A call and its value. The types say what each argument may be; everything else makes the call
 * undefined, and so does undefined itself:
 *
 *     n number    i whole number    s string    b boolean    a array    o object
 *     t array of numbers    w array of strings
 *     g geometry   D date   P part of a date    x item
 *     v any value  u any value, undefined too
 */
struct example {
    const char *name;
    unsigned args_min, args_max;
    const char *args;  /* apart by '|' */
    const char *types; /* one letter each */
    const char *value; /* JSON; NULL: only that it exists */
};

/* In the order of the reference's sections 6 and 7. */
static const struct example examples[] = {
    {"COUNT", 1, 1, "c.n", "u", "1"},
    {"SUM", 1, 1, "c.n", NULL, "2.5"},
    {"AVG", 1, 1, "c.n", NULL, "2.5"},
    {"MIN", 1, 1, "c.n", NULL, "2.5"},
    {"MAX", 1, 1, "c.n", NULL, "2.5"},
    {"COUNTIF", 1, 1, "c.n > 2", NULL, "1"},
    {"MAKELIST", 1, 1, "c.n", NULL, "[2.5]"},
    {"MAKESET", 1, 1, "c.n", NULL, "[2.5]"},

    {"CONCAT", 2, ANY, "'a'|'b'|'c'", "sss", "\"abc\""},
    {"CONTAINS", 2, 3, "'abc'|'B'|true", "ssb", "true"},
    {"STARTSWITH", 2, 3, "'abc'|'A'|true", "ssb", "true"},
    {"ENDSWITH", 2, 3, "'abc'|'C'|true", "ssb", "true"},
    {"STRINGEQUALS", 2, 3, "'abc'|'ABC'|false", "ssb", "false"},
    {"INDEX_OF", 2, 3, "'abcabc'|'c'|3", "ssi", "5"},
    {"LastIndexOf", 2, 3, "'abcabc'|'c'", "ss", "5"},
    {"LEFT", 2, 2, "'abc'|2", "si", "\"ab\""},
    {"RIGHT", 2, 2, "'abc'|2", "si", "\"bc\""},
    {"SUBSTRING", 3, 3, "'abc'|1|5", "sii", "\"bc\""},
    {"LENGTH", 1, 1, "'a\\uD83D\\uDE00'", "s", "3"},
    {"LOWER", 1, 1, "'AbC'", "s", "\"abc\""},
    {"UPPER", 1, 1, "'AbC'", "s", "\"ABC\""},
    {"LTRIM", 1, 2, "'AdventureWorks'|'Adventure'", "ss", "\"Works\""},
    {"RTRIM", 1, 2, "'a  '", "s", "\"a\""},
    {"TRIM", 1, 2, "'-_a_-'|'-_'", "ss", "\"a\""},
    {"REPLACE", 3, 3, "'aba'|'a'|'xy'", "sss", "\"xybxy\""},
    {"REPLICATE", 2, 2, "'ab'|2", "si", "\"abab\""},
    {"REVERSE", 1, 1, "'abc'", "s", "\"cba\""},
    {"SubstringBefore", 2, 2, "'a-b-c'|'-'", "ss", "\"a\""},
    {"SubstringAfter", 2, 2, "'a-b-c'|'-'", "ss", "\"b-c\""},
    {"LastSubstringBefore", 2, 2, "'a-b-c'|'-'", "ss", "\"a-b\""},
    {"LastSubstringAfter", 2, 2, "'a-b-c'|'-'", "ss", "\"c\""},
    {"StringJoin", 2, 2, "['a','b']|'-'", "ws", "\"a-b\""},
    {"StringSplit", 2, 2, "'a-b'|'-'", "ss", "[\"a\",\"b\"]"},
    {"ToString", 1, 1, "{'a':[1,true,null]}", "v", "\"{\\\"a\\\":[1,true,null]}\""},
    {"StringToArray", 1, 1, "' [1,2] '", "s", "[1,2]"},
    {"StringToObject", 1, 1, "'{\"a\":1}'", "s", "{\"a\":1}"},
    {"StringToNumber", 1, 1, "' -1.5e1 '", "s", "-15"},
    {"StringToBoolean", 1, 1, "'true'", "s", "true"},
    {"StringToNull", 1, 1, "'null'", "s", "null"},
    {"RegexMatch", 2, 3, "'ABC'|'^a.c$'|'i'", "sss", "true"},
    {"RegexExtract", 2, 4, "'a12b34'|'[0-9]+'", "ss", "\"12\""},
    {"RegexExtractAll", 2, 4, "'a12b34'|'[0-9]+'", "ss", "[\"12\",\"34\"]"},
    {"ContainsAllCs", 2, ANY, "'abc'|'a'|'c'", "sss", "true"},
    {"ContainsAllCi", 2, ANY, "'abc'|'A'|'C'", "sss", "true"},
    {"ContainsAnyCs", 2, ANY, "'abc'|'x'|'C'", "sss", "false"},
    {"ContainsAnyCi", 2, ANY, "'abc'|'x'|'C'", "sss", "true"},

    {"ARRAY_CONCAT", 2, ANY, "[1]|[2]|[3]", "aaa", "[1,2,3]"},
    {"ARRAY_CONTAINS", 2, 3, "[{'a':1,'b':2}]|{'a':1}|true", "avb", "true"},
    {"ARRAY_CONTAINS_ANY", 2, ANY, "[1,2]|3|2", "auu", "true"},
    {"ARRAY_CONTAINS_ALL", 2, ANY, "[1,2]|1|3", "auu", "false"},
    {"ARRAY_LENGTH", 1, 1, "[1,2]", "a", "2"},
    {"ARRAY_SLICE", 2, 3, "[1,2,3]|-2|1", "aii", "[2]"},
    {"ARRAY_AVG", 1, 1, "[1,2]", "t", "1.5"},
    {"ARRAY_SUM", 1, 1, "[1,2]", "t", "3"},
    {"ARRAY_MIN", 1, 1, "[2,1]", "t", "1"},
    {"ARRAY_MAX", 1, 1, "[1,2]", "t", "2"},
    {"ARRAY_MEDIAN", 1, 1, "[9,1,2,4]", "t", "3"},
    {"CHOOSE", 2, ANY, "2|'a'|'b'", "iuu", "\"b\""},
    {"ObjectToArray", 1, 3, "{'a':1}|'name'|'value'", "oss", "[{\"name\":\"a\",\"value\":1}]"},
    {"SetIntersect", 2, 2, "[1,2,2,'A']|['A',2]", "aa", "[2,\"A\"]"},
    {"SetUnion", 2, 2, "[1,2]|[2,3]", "aa", "[1,2,3]"},
    {"SetDifference", 2, 2, "[1,2]|[2,3]", "aa", "[1]"},
    {"SetEqual", 2, 2, "[1,2]|[2,1,1.0]", "aa", "true"},

    {"IS_ARRAY", 1, 1, "[]", "u", "true"},
    {"IS_BOOL", 1, 1, "false", "u", "true"},
    {"IS_BOOLEAN", 1, 1, "false", "u", "true"},
    {"IS_DEFINED", 1, 1, "null", "u", "true"},
    {"IS_NULL", 1, 1, "null", "u", "true"},
    {"IS_NUMBER", 1, 1, "1", "u", "true"},
    {"IS_OBJECT", 1, 1, "{}", "u", "true"},
    {"IS_STRING", 1, 1, "''", "u", "true"},
    {"IS_PRIMITIVE", 1, 1, "[]", "u", "false"},
    {"IS_INTEGER", 1, 1, "1.5", "u", "false"},
    {"IS_FINITE_NUMBER", 1, 1, "8.9/0.0", "u", "false"},
    {"IS_DATETIME", 1, 1, "'2020-01-03T17:35:20Z'", "u", "true"},

    {"ABS", 1, 1, "-1.5", "n", "1.5"},
    {"ACOS", 1, 1, "-1", "n", "3.1415926535897931"},
    {"ASIN", 1, 1, "0.5", "n", "0.52359877559829893"},
    {"ATAN", 1, 1, "1", "n", "0.78539816339744828"},
    {"ATN2", 2, 2, "35.175643|129.44", "nn", "0.265344532064832"},
    {"CEILING", 1, 1, "-1.5", "n", "-1"},
    {"COS", 1, 1, "14.78", "n", "-0.5994654261946543"},
    {"COT", 1, 1, "124.1332", "n", "-0.040311998371148884"},
    {"DEGREES", 1, 1, "PI() / 2", "n", "90"},
    {"EXP", 1, 1, "10", "n", "22026.465794806718"},
    {"FLOOR", 1, 1, "-1.5", "n", "-2"},
    {"LOG", 1, 2, "8|2", "nn", "3"},
    {"LOG10", 1, 1, "100", "n", "2"},
    {"PI", 0, 0, "", "", "3.1415926535897931"},
    {"POWER", 2, 2, "2.5|2", "nn", "6.25"},
    {"RADIANS", 1, 1, "180", "n", "3.1415926535897931"},
    {"RAND", 0, 0, NULL, NULL, NULL},
    {"ROUND", 1, 1, "-2.5", "n", "-3"},
    {"SIGN", 1, 1, "-2.5", "n", "-1"},
    {"SIN", 1, 1, "45.175643", "n", "0.929607286611012"},
    {"SQRT", 1, 1, "16", "n", "4"},
    {"SQUARE", 1, 1, "-3", "n", "9"},
    {"TAN", 1, 1, "1", "n", "1.5574077246549023"},
    {"TRUNC", 1, 1, "-2.9", "n", "-2"},
    {"NumberBin", 1, 2, "37.752|-100", "nn", "100"},
    {"IntAdd", 2, 2, "20|-5", "ii", "15"},
    {"IntSub", 2, 2, "20|5", "ii", "15"},
    {"IntMul", 2, 2, "-4|3", "ii", "-12"},
    {"IntDiv", 2, 2, "-7|2", "ii", "-3"},
    {"IntMod", 2, 2, "-7|2", "ii", "-1"},
    {"IntBitAnd", 2, 2, "12|10", "ii", "8"},
    {"IntBitOr", 2, 2, "12|10", "ii", "14"},
    {"IntBitXor", 2, 2, "12|10", "ii", "6"},
    {"IntBitNot", 1, 1, "12", "i", "-13"},
    {"IntBitLeftShift", 2, 2, "1|40", "ii", "1099511627776"},
    {"IntBitRightShift", 2, 2, "-16|2", "ii", "-4"},
    {"IntBitwiseAnd", 2, 2, "12|10", "ii", "8"},
    {"IntBitwiseOr", 2, 2, "12|10", "ii", "14"},
    {"IntBitwiseXor", 2, 2, "12|10", "ii", "6"},
    {"IntBitwiseNot", 1, 1, "12", "i", "-13"},
    {"IntBitwiseLeftShift", 2, 2, "1|40", "ii", "1099511627776"},
    {"IntBitwiseRightShift", 2, 2, "-16|2", "ii", "-4"},

    {"GetCurrentDateTime", 0, 0, "", "", "\"2026-01-02T03:04:05.6789010Z\""},
    {"GetCurrentDateTimeStatic", 0, 0, "", "", "\"2026-01-02T03:04:05.6789010Z\""},
    {"GetCurrentTicks", 0, 0, "", "", "17673230456789010"},
    {"GetCurrentTicksStatic", 0, 0, "", "", "17673230456789010"},
    {"GetCurrentTimestamp", 0, 0, "", "", "1767323045678"},
    {"GetCurrentTimestampStatic", 0, 0, "", "", "1767323045678"},
    {"DateTimeAdd", 3, 3, "'mm'|1|'2020-01-31T00:00:00.0000000Z'", "PiD",
     "\"2020-02-29T00:00:00.0000000Z\""},
    {"DateTimeDiff", 3, 3, "'yyyy'|'2019-02-04T16:00:00.0000000Z'|'2018-03-05T05:00:00.0000000Z'",
     "PDD", "-1"},
    {"DateTimePart", 2, 2, "'mcs'|'2020-01-02T03:04:05.1301617Z'", "PD", "130161"},
    {"DateTimeFromParts", 3, 7, "2020|9|4|10|52|12|3456789", "iiiiiii",
     "\"2020-09-04T10:52:12.3456789Z\""},
    {"DateTimeBin", 2, 4, "'2021-01-08T18:35:00.0000000Z'|'hh'|5|'1970-01-01T00:00:00.0000000Z'",
     "DPiD", "\"2021-01-08T15:00:00.0000000Z\""},
    {"DateTimeToTicks", 1, 1, "'2020-01-02T03:04:05.6789123Z'", "D", "15779342456789123"},
    {"DateTimeToTimestamp", 1, 1, "'2020-01-02T03:04:05.6789123Z'", "D", "1577934245678"},
    {"TicksToDateTime", 1, 1, "-10000000", "i", "\"1969-12-31T23:59:59.0000000Z\""},
    {"TimestampToDateTime", 1, 1, "1577934245678", "i", "\"2020-01-02T03:04:05.6780000Z\""},
    {"DateTimeFormat", 2, 2, "'2020-01-02T03:04:05Z'|'yyyy/MM'", "Ds", "\"2020/01\""},
    {"DAY", 1, 1, "'2020-01-02T03:04:05Z'", "D", "2"},
    {"MONTH", 1, 1, "'2020-01-02T03:04:05Z'", "D", "1"},
    {"YEAR", 1, 1, "'2020-01-02T03:04:05Z'", "D", "2020"},

    {"ST_DISTANCE", 2, 2, POINT "|" POINT, "gg", "0"},
    {"ST_WITHIN", 2, 2, POINT "|" BOX, "gg", "true"},
    {"ST_INTERSECTS", 2, 2, POINT "|" BOX, "gg", "true"},
    {"ST_ISVALID", 1, 1, BOX, "v", "true"},
    {"ST_ISVALIDDETAILED", 1, 1, BOX, "v", "{\"valid\":true}"},
    {"ST_AREA", 1, 1,
     "{'type':'Polygon','coordinates':[[[31.8,-5],[32,-5],[32,-4.7],[31.8,-4.7],[31.8,-5]]]}", "g",
     "735970283.0522614"},

    {"IIF", 3, 3, "true|'a'|'b'", "uuu", "\"a\""},
    {"DOCUMENTID", 1, 1, "c", "x", "345"},
    {"HASH", 1, 1, NULL, NULL, NULL},

    {"FullTextContains", 2, 2, "c.text|'runner'", "ss", "true"},
    {"FullTextContainsAll", 2, ANY, "c.text|'runner'|'mountains'", "sss", "true"},
    {"FullTextContainsAny", 2, ANY, "c.text|'sea'|'mountains'", "sss", "true"},
    {"FullTextScore", 2, ANY, NULL, NULL, NULL},
    {"RRF", 1, ANY, NULL, NULL, NULL},
    {"VectorDistance", 2, 4, "[3,0]|[0,4]|true|{'distanceFunction':'euclidean'}", NULL, "5"},
    {"_FullTextScore", 5, 5, NULL, NULL, NULL},
    {"_FullTextWordCount", 1, 1, "c.text", "s", NULL},
    {"_VectorScore", 2, 4, NULL, NULL, NULL},
};

/* What the examples call c, but for its _rid. */
static const char document[] = "[{\"id\":\"1\",\"n\":2.5,\"text\":\"A runner in the mountains\"}]";
static const struct rid rid = {.type = RID_ITEM, .database = 1, .owner = 2, .number = 345};

/* A literal of each type, and which letters take it. */
static const struct {
    const char *literal, *fits;
} literals[] = {
    {"null", "vu"}, {"true", "vub"},    {"1.5", "vun"},
    {"'x'", "vus"}, {"['x',1]", "vua"}, {"{'x':1}", "vuo"},
};

/* ---- Asking ---- */

static cJSON *documents;

static int begin(void **state)
{
    char text[RID_TEXT_BYTES];

    (void) state;
    rid_format(&rid, text);
    documents = cJSON_Parse(document);
    return documents != NULL && cJSON_AddStringToObject(documents->child, "_rid", text) ? 0 : -1;
}

static int finish(void **state)
{
    (void) state;
    cJSON_Delete(documents);
    return 0;
}

/* The value of an expression over the document; NULL for undefined. */
static cJSON *value_of(const char *expression)
{
    struct buf text = {0};
    struct fault fault = {0};
    struct query_run run = {.documents = documents, .now_us = NOW_US};

    buf_append_text(&text, "SELECT VALUE ");
    buf_append_text(&text, expression);
    buf_append_text(&text, " FROM c");
    buf_append_char(&text, '\0');
    run.text = text.ptr;
    cJSON *rows = query_run(&run, &fault);
    if (rows == NULL)
        fail_msg("%s: %s", expression, fault.message);
    assert_true(cJSON_GetArraySize(rows) <= 1);
    cJSON *value = cJSON_DetachItemFromArray(rows, 0);
    cJSON_Delete(rows);
    buf_finish(&text);
    return value;
}

/* The call with one argument replaced; `at` past the end for none. */
static char *call_text(const struct example *example, size_t at, const char *instead)
{
    struct buf text = {0};
    const char *next = example->args;
    size_t len;

    buf_append_text(&text, example->name);
    buf_append_char(&text, '(');
    for (size_t i = 0; *next != '\0'; i++) {
        const char *end = strchr(next, '|');
        size_t arg_len = end != NULL ? (size_t) (end - next) : strlen(next);

        if (i > 0)
            buf_append_char(&text, ',');
        if (i == at)
            buf_append_text(&text, instead);
        else
            buf_append(&text, next, arg_len);
        next += arg_len + (end != NULL);
    }
    buf_append_text(&text, ")");
    return buf_take(&text, &len);
}

/* Fractions may differ in their last digits. */
static bool is_near(const cJSON *value, const cJSON *wanted)
{
    return cJSON_IsNumber(value) && cJSON_IsNumber(wanted) &&
           wanted->valuedouble != trunc(wanted->valuedouble) &&
           fabs(value->valuedouble - wanted->valuedouble) <= 1e-9 * fabs(wanted->valuedouble);
}

static void has_value(const char *call, const char *expected)
{
    cJSON *value = value_of(call), *wanted = cJSON_Parse(expected);

    assert_non_null(wanted);
    if (value == NULL)
        fail_msg("%s is undefined, not %s", call, expected);
    bool is_equal = is_near(value, wanted) || cJSON_Compare(value, wanted, true);
    if (!is_equal)
        fail_msg("%s is %s, not %s", call, cJSON_PrintUnformatted(value), expected);
    cJSON_Delete(value);
    cJSON_Delete(wanted);
}

static void is_undefined(const char *call)
{
    cJSON *value = value_of(call);

    if (value != NULL)
        fail_msg("%s is %s, not undefined", call, cJSON_PrintUnformatted(value));
}

/* ---- Tests ---- */

static void each_exists_and_takes_its_arguments(void **state)
{
    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        const struct example *example = &examples[i];
        const struct function *function = function_find(slice_from_text(example->name));

        if (function == NULL)
            fail_msg("there is no %s", example->name);
        assert_string_equal(function->name, example->name);
        assert_true(function->evaluate != NULL || function->aggregate != AGGREGATE_NONE);
        if (example->args_min > 0)
            assert_false(function_takes(function, example->args_min - 1));
        assert_true(function_takes(function, example->args_min));
        assert_true(function_takes(function, example->args_max == ANY ? 100 : example->args_max));
        if (example->args_max != ANY)
            assert_false(function_takes(function, example->args_max + 1));
    }
    assert_null(function_find(SLICE_LITERAL("BADFUNC")));
    assert_null(function_find(SLICE_LITERAL("AB")));
    assert_non_null(function_find(SLICE_LITERAL("array_Length")));
}

/* What the table has and this list has not would go untested. */
static void there_are_no_others(void **state)
{
    (void) state;
    for (size_t i = 0; function_at(i) != NULL; i++) {
        const char *name = function_at(i)->name;
        size_t at = 0;

        while (at < ARRAY_LEN(examples) && strcmp(examples[at].name, name) != 0)
            at++;
        if (at == ARRAY_LEN(examples))
            fail_msg("%s has no example", name);
    }
}

static void each_has_its_value(void **state)
{
    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        if (examples[i].value == NULL)
            continue;
        char *call = call_text(&examples[i], SIZE_MAX, NULL);
        has_value(call, examples[i].value);
        free(call);
    }
}

static void undefined_arguments_make_undefined(void **state)
{
    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        const char *types = examples[i].types;

        for (size_t at = 0; types != NULL && types[at] != '\0'; at++) {
            if (types[at] == 'u')
                continue;
            char *call = call_text(&examples[i], at, "c.missing");
            is_undefined(call);
            free(call);
        }
    }
}

static void wrong_types_make_undefined(void **state)
{
    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        const char *types = examples[i].types;

        for (size_t at = 0; types != NULL && types[at] != '\0'; at++) {
            for (size_t k = 0; k < ARRAY_LEN(literals); k++) {
                if (strchr(literals[k].fits, types[at]) != NULL)
                    continue;
                char *call = call_text(&examples[i], at, literals[k].literal);
                is_undefined(call);
                free(call);
            }
        }
    }
}

static void chance_stays_in_its_range_and_moves_on(void **state)
{
    cJSON *pair = value_of("[RAND(), RAND()]");

    (void) state;
    for (const cJSON *number = pair->child; number != NULL; number = number->next)
        assert_true(number->valuedouble >= 0 && number->valuedouble < 1);
    assert_true(pair->child->valuedouble != pair->child->next->valuedouble);
    cJSON_Delete(pair);
}

static void equal_values_have_equal_hashes(void **state)
{
    (void) state;
    has_value("[HASH(1) = HASH(1.0), HASH(-0.0) = HASH(0), HASH({'a':1,'b':2}) = "
              "HASH({'b':2,'a':1}), HASH([1,2]) = HASH([2,1]), HASH(null) = HASH(false), "
              "IS_INTEGER(HASH('x'))]",
              "[true,true,true,false,false,true]");
    is_undefined("HASH(c.missing)");
}

/* Arrays and objects of a large item: what it takes grows with their length, not its square. */
static void large_sets_and_objects_are_compared(void **state)
{
    enum { LENGTH = 50000 };
    cJSON *item = documents->child, *up = cJSON_AddArrayToObject(item, "up"),
          *down = cJSON_AddArrayToObject(item, "down"), *one = cJSON_AddObjectToObject(item, "one"),
          *two = cJSON_AddObjectToObject(item, "two");
    char name[16];

    (void) state;
    for (int i = 0; i < LENGTH; i++) {
        cJSON_AddItemToArray(up, cJSON_CreateNumber(i));
        cJSON_AddItemToArray(down, cJSON_CreateNumber(LENGTH - i));
    }
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof(name), "%d", i);
        cJSON_AddItemToObject(one, name, cJSON_CreateNumber(i));
        snprintf(name, sizeof(name), "%d", 4999 - i);
        cJSON_AddItemToObject(two, name, cJSON_CreateNumber(4999 - i));
    }
    has_value("[ARRAY_LENGTH(SetUnion(c.up, c.down)), ARRAY_LENGTH(SetIntersect(c.up, c.down))]",
              "[50001,49999]");
    has_value("[SetDifference(c.up, c.down), SetEqual(c.up, c.down), c.one = c.two]",
              "[[0],false,true]");
    cJSON_DeleteItemFromObject(two, "0");
    cJSON_AddNumberToObject(two, "0", 1);
    has_value("c.one = c.two", "false");
    for (const char *const *at = (const char *const[]){"up", "down", "one", "two", NULL};
         *at != NULL; at++)
        cJSON_DeleteItemFromObject(item, *at);
}

/* What looks at all of a long value pays for it, or a query asks it again and again for nothing. */
static void looking_at_long_values_is_paid_for(void **state)
{
    enum { LENGTH = 60000 };
    static const char *const conditions[] = {
        "LENGTH(c.long) < 0",
        "ARRAY_LENGTH(c.list) < 0",
        "SUBSTRING(c.long, 59999, 5) = 'x'",
        "RIGHT(c.long, 1) = 'x'",
        "STARTSWITH(c.long, 'x')",
        "c.long LIKE 'x%'",
        "{'a': 1} = c.many",
        "c.many = {'a': 1}",
        "ST_ISVALID(c.many)",
        "c.list = []",
        "ARRAY_SLICE(c.list, -1) = []",
        "YEAR(c.long) = 1",
    };
    cJSON *item = documents->child, *list = cJSON_AddArrayToObject(item, "list"),
          *many = cJSON_AddObjectToObject(item, "many");
    char *text = calloc(1, LENGTH + 1), name[16], query[256];

    (void) state;
    assert_non_null(text);
    memset(text, 'a', LENGTH);
    cJSON_AddStringToObject(item, "long", text);
    free(text);
    for (int i = 0; i < LENGTH; i++) {
        cJSON_AddItemToArray(list, cJSON_CreateNull());
        snprintf(name, sizeof(name), "%d", i);
        cJSON_AddItemToObject(many, name, cJSON_CreateNull());
    }
    for (size_t i = 0; i < ARRAY_LEN(conditions); i++) {
        struct fault fault = {0};
        struct query_run run = {.text = query, .documents = documents};

        snprintf(query, sizeof(query),
                 "SELECT VALUE 1 FROM c JOIN x IN c.list JOIN y IN c.list WHERE %s", conditions[i]);
        assert_null(query_run(&run, &fault));
        if (fault.status != 400 || strstr(fault.message, "more work") == NULL)
            fail_msg("%s: %u %s", query, fault.status, fault.message);
    }
    cJSON_DeleteItemFromObject(item, "list");
    cJSON_DeleteItemFromObject(item, "many");
    cJSON_DeleteItemFromObject(item, "long");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_exists_and_takes_its_arguments),
        cmocka_unit_test(there_are_no_others),
        cmocka_unit_test(each_has_its_value),
        cmocka_unit_test(undefined_arguments_make_undefined),
        cmocka_unit_test(wrong_types_make_undefined),
        cmocka_unit_test(chance_stays_in_its_range_and_moves_on),
        cmocka_unit_test(equal_values_have_equal_hashes),
        cmocka_unit_test(large_sets_and_objects_are_compared),
        cmocka_unit_test(looking_at_long_values_is_paid_for),
    };

    return cmocka_run_group_tests(tests, begin, finish);
}
