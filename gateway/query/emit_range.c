/*
 * Ranges of (rank, key), and of the column ts, as btrees have them.
 *
 * The rank fixes the type, and within a type the key orders as the language does. Of strings the
 * key is the first 200 characters only: with a shorter constant a comparison of keys is that of
 * the strings; with a longer one it says less, and the exact comparison goes with it.
 */
#include "query/emit_search.h"
#include "model/json.h"
#include "query/functions.h"
#include "query/text.h"

#include <math.h>

#include "base/banned.h"

/* As orrery.value_key. */
#define KEY_CHARACTERS 200

/* Doubles and bigints agree on whole numbers up to here. */
#define WHOLE_MAX 9007199254740992.0

/* ---- keys ---- */

/* Bytes of the first characters; text.len when there are no more. */
static size_t characters_bytes(struct slice text, size_t count)
{
    size_t at = 0;

    while (count-- > 0 && at < text.len)
        (void) text_next(text, &at);
    return at;
}

static struct slice json_of_text(struct arena *arena, struct slice text)
{
    struct buf json = {0};
    struct slice result = {0};

    buf_append_json_string(&json, text);
    char *copy = json.has_failed ? NULL : arena_copy(arena, json.ptr, json.len);
    if (copy != NULL)
        result = slice_make(copy, json.len);
    buf_finish(&json);
    return result;
}

static struct slice json_of_number(struct arena *arena, double number)
{
    char text[JSON_NUMBER_BYTES];
    size_t len = json_print_double(number, text);
    char *copy = arena_copy(arena, text, len);

    return copy != NULL ? slice_make(copy, len) : (struct slice){0};
}

bool emit_key(struct arena *arena, const cJSON *value, struct emit_key *key)
{
    *key = (struct emit_key){.rank = value_rank(value), .json = SLICE_LITERAL("null")};
    switch (key->rank) {
    case VALUE_BOOLEAN:
        key->json = cJSON_IsTrue(value) ? SLICE_LITERAL("true") : SLICE_LITERAL("false");
        break;
    case VALUE_NUMBER:
        key->json = json_of_number(arena, value->valuedouble);
        break;
    case VALUE_STRING: {
        struct slice text = value_text(value);
        size_t bytes = characters_bytes(text, KEY_CHARACTERS);

        key->is_cut = bytes < text.len || characters_bytes(text, KEY_CHARACTERS - 1) < text.len;
        key->json = json_of_text(arena, slice_make(text.ptr, bytes));
        break;
    }
    default:
        break;
    }
    return !slice_is_absent(key->json);
}

/* Of what has an order in the language: not of undefined, arrays and objects. */
static bool key_of(struct emitter *emitter, const cJSON *value, struct emit_key *key)
{
    return emit_key(emitter->emit->arena, value, key) && key->rank != VALUE_UNDEFINED &&
           key->rank < VALUE_ARRAY;
}

/* ---- places ---- */

/* A path that a btree could be on. */
static bool range_place(struct emitter *emitter, const struct ast *node, struct emit_place *place)
{
    *place = (struct emit_place){0};
    if (!emit_place(emitter, node, place) || place->has_elements)
        return false;
    struct index_path path = emit_place_path(place);
    return index_path_can_range(&path);
}

/* Is there a btree, or that of an order that a composite index begins with? Without one the exact
 * form is as good. */
static bool has_range(struct emitter *emitter, const struct emit_place *place)
{
    const struct index_set *indexes = emitter->emit->indexes;
    struct index_path path = emit_place_path(place);
    bool is_there = indexes != NULL && index_set_has_range(indexes, &path);

    for (size_t i = 0; !is_there && indexes != NULL && i < indexes->composite_count; i++)
        is_there = index_path_equals(&indexes->composites[i].keys[0].path, &path);
    emit_note_use(emitter, is_there ? EMIT_USES_RANGE : EMIT_WANTS_RANGE, place);
    return is_there;
}

static void append_rank(struct emitter *emitter, const struct emit_place *place)
{
    struct index_path path = emit_place_path(place);

    index_append_rank(&emitter->sql->text, "i", &path);
}

static void append_key(struct emitter *emitter, const struct emit_place *place)
{
    struct index_path path = emit_place_path(place);

    index_append_key(&emitter->sql->text, "i", &path);
}

static const char *operator_text(enum ast_operator op)
{
    switch (op) {
    case AST_EQUAL:
        return " = ";
    case AST_LESS:
        return " < ";
    case AST_LESS_EQUAL:
        return " <= ";
    case AST_GREATER:
        return " > ";
    default:
        return " >= ";
    }
}

/* On a cut key the bound itself belongs to what may be. */
static enum ast_operator widened(enum ast_operator op, bool is_cut)
{
    return !is_cut             ? op
           : op == AST_LESS    ? AST_LESS_EQUAL
           : op == AST_GREATER ? AST_GREATER_EQUAL
                               : op;
}

/* " and key op constant" */
static void append_bound(struct emitter *emitter, const struct emit_place *place,
                         enum ast_operator op, const struct emit_key *key)
{
    emit_raw(emitter, " and ");
    append_key(emitter, place);
    emit_raw(emitter, operator_text(widened(op, key->is_cut)));
    sql_append_jsonb(emitter->sql, key->json);
}

/* "(rank = r" */
static void append_type(struct emitter *emitter, const struct emit_place *place,
                        enum value_rank rank)
{
    emit_raw(emitter, "(");
    append_rank(emitter, place);
    buf_printf(&emitter->sql->text, " = %d", (int) rank);
}

/* The end of a range: exact by itself, or with the exact form beside it. */
static bool append_end(struct emitter *emitter, const struct ast *node, bool is_exact)
{
    if (!is_exact) {
        emit_raw(emitter, " and ");
        if (!emit_scalar(emitter, node, KIND_BOOL))
            return false;
    }
    emit_raw(emitter, ")");
    return true;
}

/* ---- the column ts ---- */

/* ts op number, the number made whole: ts > 5.5 is ts > 5, ts >= 5.5 is ts >= 6. */
static bool append_ts(struct emitter *emitter, enum ast_operator op, double number)
{
    bool is_rounded_up = op == AST_GREATER_EQUAL || op == AST_LESS;
    double whole = is_rounded_up ? ceil(number) : floor(number);

    if (!(fabs(number) < WHOLE_MAX) || (op == AST_EQUAL && whole != number))
        return false;
    emit_raw(emitter, "i.ts");
    emit_raw(emitter, operator_text(op));
    sql_append_int8(emitter->sql, (int64_t) whole);
    return true;
}

/* ---- comparisons ---- */

static enum ast_operator mirrored(enum ast_operator op)
{
    switch (op) {
    case AST_LESS:
        return AST_GREATER;
    case AST_LESS_EQUAL:
        return AST_GREATER_EQUAL;
    case AST_GREATER:
        return AST_LESS;
    case AST_GREATER_EQUAL:
        return AST_LESS_EQUAL;
    default:
        return op;
    }
}

/* A comparison of a path with a constant, the path on its left. */
struct comparison {
    const struct ast *path;
    enum ast_operator op;
    const cJSON *value;
};

static bool comparison_of(struct emitter *emitter, const struct ast *node,
                          struct comparison *comparison)
{
    const struct ast *a = node->children, *b;

    if (node->kind != AST_BINARY || node->op < AST_EQUAL || node->op > AST_GREATER_EQUAL ||
        node->op == AST_NOT_EQUAL)
        return false;
    b = a->next;
    *comparison = (struct comparison){.path = a, .op = node->op};
    if (emit_constant(emitter, b, &comparison->value))
        return comparison->value != NULL;
    *comparison = (struct comparison){.path = b, .op = mirrored(node->op)};
    return emit_constant(emitter, a, &comparison->value) && comparison->value != NULL;
}

static bool compare(struct emitter *emitter, const struct ast *node)
{
    struct comparison comparison;
    struct emit_place place;
    struct emit_key key;

    if (!comparison_of(emitter, node, &comparison))
        return false;
    if (emit_is_ts(comparison.path) && cJSON_IsNumber(comparison.value))
        return append_ts(emitter, comparison.op, comparison.value->valuedouble);
    if (!range_place(emitter, comparison.path, &place) ||
        !key_of(emitter, comparison.value, &key) || !has_range(emitter, &place))
        return false;
    append_type(emitter, &place, key.rank);
    append_bound(emitter, &place, comparison.op, &key);
    return append_end(emitter, node, !key.is_cut);
}

/* path BETWEEN two constants of one type */
static bool between(struct emitter *emitter, const struct ast *node)
{
    const struct ast *path = node->children, *low = path->next;
    const cJSON *low_value, *high_value;
    struct emit_place place;
    struct emit_key low_key, high_key;

    if (node->is_negated || !emit_constant(emitter, low, &low_value) ||
        !emit_constant(emitter, low->next, &high_value) || low_value == NULL || high_value == NULL)
        return false;
    if (emit_is_ts(path) && cJSON_IsNumber(low_value) && cJSON_IsNumber(high_value)) {
        emit_raw(emitter, "(");
        if (!append_ts(emitter, AST_GREATER_EQUAL, low_value->valuedouble))
            return false;
        emit_raw(emitter, " and ");
        bool is_sound = append_ts(emitter, AST_LESS_EQUAL, high_value->valuedouble);
        emit_raw(emitter, ")");
        return is_sound;
    }
    if (!range_place(emitter, path, &place) || !key_of(emitter, low_value, &low_key) ||
        !key_of(emitter, high_value, &high_key) || low_key.rank != high_key.rank ||
        !has_range(emitter, &place))
        return false;
    append_type(emitter, &place, low_key.rank);
    append_bound(emitter, &place, AST_GREATER_EQUAL, &low_key);
    append_bound(emitter, &place, AST_LESS_EQUAL, &high_key);
    return append_end(emitter, node, !low_key.is_cut && !high_key.is_cut);
}

/* ---- prefixes ---- */

/* The text that follows all that begin with a prefix: its last character, one greater. False when
 * there is none. The prefix is short enough for a key. */
static bool prefix_end(struct emitter *emitter, struct slice prefix, struct slice *end)
{
    struct buf text = {0};
    size_t last = prefix.len;
    uint32_t character = 0;
    bool is_found = false;

    while (!is_found && last > 0) {
        do
            last--;
        while (last > 0 && ((unsigned char) prefix.ptr[last] & 0xc0) == 0x80);
        size_t at = last;
        character = text_next(prefix, &at);
        is_found = character < 0x10ffff;
    }
    if (!is_found)
        return false;
    buf_append(&text, prefix.ptr, last);
    text_append(&text, character == 0xd7ff ? 0xe000 : character + 1);
    *end =
        text.has_failed ? (struct slice){0} : json_of_text(emitter->emit->arena, buf_slice(&text));
    buf_finish(&text);
    return !slice_is_absent(*end);
}

static bool prefix(struct emitter *emitter, const struct ast *node, const struct ast *path,
                   struct slice text, bool is_all)
{
    struct emit_place place;
    struct emit_key low = {.rank = VALUE_STRING}, high = {.rank = VALUE_STRING};
    size_t bytes = characters_bytes(text, KEY_CHARACTERS - 1);

    if (text.len == 0 || !range_place(emitter, path, &place))
        return false;
    is_all = is_all && bytes == text.len;
    text.len = bytes;
    low.json = json_of_text(emitter->emit->arena, text);
    if (slice_is_absent(low.json) || !has_range(emitter, &place))
        return false;
    append_type(emitter, &place, VALUE_STRING);
    append_bound(emitter, &place, AST_GREATER_EQUAL, &low);
    if (prefix_end(emitter, text, &high.json))
        append_bound(emitter, &place, AST_LESS, &high);
    return append_end(emitter, node, is_all);
}

/* STARTSWITH(path, constant[, false]) */
static bool startswith(struct emitter *emitter, const struct ast *node)
{
    const struct ast *sought = node->children->next;
    const cJSON *value, *ignores_case;

    if (!emit_constant(emitter, sought, &value) || value == NULL || !cJSON_IsString(value))
        return false;
    if (sought->next != NULL && (!emit_constant(emitter, sought->next, &ignores_case) ||
                                 ignores_case == NULL || !cJSON_IsFalse(ignores_case)))
        return false;
    return prefix(emitter, node, node->children, value_text(value), true);
}

/* path LIKE 'abc%…' */
static bool like(struct emitter *emitter, const struct ast *node)
{
    const cJSON *value;

    if (node->is_negated || node->escape != 0 ||
        !emit_constant(emitter, node->children->next, &value) || value == NULL ||
        !cJSON_IsString(value))
        return false;
    size_t fixed = strcspn(value->valuestring, "%_[\\");
    bool is_all = strcmp(value->valuestring + fixed, "%") == 0;
    return prefix(emitter, node, node->children, slice_make(value->valuestring, fixed), is_all);
}

bool emit_range(struct emitter *emitter, const struct ast *node)
{
    struct emit_mark mark = emit_mark(emitter);
    bool is_done = false;

    switch (node->kind) {
    case AST_BINARY:
        is_done = compare(emitter, node);
        break;
    case AST_BETWEEN:
        is_done = between(emitter, node);
        break;
    case AST_LIKE:
        is_done = like(emitter, node);
        break;
    case AST_CALL:
        is_done = !node->is_udf && node->function->evaluate == function_startswith &&
                  startswith(emitter, node);
        break;
    default:
        break;
    }
    return is_done || emit_back(emitter, mark);
}

/* ---- intervals ---- */

/* What alternatives on one path come to. */
struct interval {
    struct emit_place place;
    bool has_place;
    unsigned ranks; /* bit r: all values of rank r */
    bool has_bound;
    enum ast_operator op;
    struct emit_key key;
};

static bool same_place(struct emitter *emitter, struct interval *interval, const struct ast *node)
{
    struct emit_place place;

    if (!range_place(emitter, node, &place))
        return false;
    if (!interval->has_place) {
        interval->place = place;
        interval->has_place = true;
        return true;
    }
    struct index_path a = emit_place_path(&place), b = emit_place_path(&interval->place);
    return index_path_equals(&a, &b);
}

#define RANK(rank) (1u << (rank))

/* The ranks that a type check is true for; 0 when it is none. */
static unsigned checked_ranks(const struct ast *node)
{
    static const struct {
        function_evaluate *function;
        unsigned ranks;
    } checks[] = {
        {function_is_null, RANK(VALUE_NULL)},
        {function_is_bool, RANK(VALUE_BOOLEAN)},
        {function_is_number, RANK(VALUE_NUMBER)},
        {function_is_string, RANK(VALUE_STRING)},
        {function_is_array, RANK(VALUE_ARRAY)},
        {function_is_object, RANK(VALUE_OBJECT)},
        {function_is_primitive,
         RANK(VALUE_NULL) | RANK(VALUE_BOOLEAN) | RANK(VALUE_NUMBER) | RANK(VALUE_STRING)},
        {function_is_defined, 0x7e},
    };

    if (node->kind != AST_CALL || node->is_udf)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        if (node->function->evaluate == checks[i].function)
            return checks[i].ranks;
    }
    return 0;
}

static bool interval_add(struct emitter *emitter, struct interval *interval, const struct ast *node)
{
    struct comparison comparison;
    bool is_negated = node->kind == AST_UNARY && node->op == AST_NOT;
    unsigned ranks = checked_ranks(is_negated ? node->children : node);

    if (ranks != 0) {
        interval->ranks |= is_negated ? 0x7f & ~ranks : ranks;
        return same_place(emitter, interval,
                          is_negated ? node->children->children : node->children);
    }
    if (interval->has_bound || !comparison_of(emitter, node, &comparison) ||
        comparison.op == AST_EQUAL)
        return false;
    interval->has_bound = true;
    interval->op = comparison.op;
    return same_place(emitter, interval, comparison.path) &&
           key_of(emitter, comparison.value, &interval->key);
}

/* Ranks beside the bound's, in the direction of the bound and without a gap: the last of them. */
static bool interval_end(const struct interval *interval, unsigned *end)
{
    bool is_up = interval->op == AST_GREATER || interval->op == AST_GREATER_EQUAL;
    unsigned rank = interval->key.rank, covered = RANK(rank);

    *end = rank;
    while (is_up ? *end < VALUE_OBJECT && (interval->ranks & RANK(*end + 1)) != 0
                 : *end > 0 && (interval->ranks & RANK(*end - 1)) != 0) {
        *end += is_up ? 1 : UINT_MAX;
        covered |= RANK(*end);
    }
    return (interval->ranks & RANK(rank)) == 0 && (interval->ranks & ~covered) == 0;
}

static void append_interval(struct emitter *emitter, const struct interval *interval, unsigned end)
{
    bool is_up = interval->op == AST_GREATER || interval->op == AST_GREATER_EQUAL;

    emit_raw(emitter, "((");
    append_rank(emitter, &interval->place);
    emit_raw(emitter, ", ");
    append_key(emitter, &interval->place);
    emit_raw(emitter, ")");
    emit_raw(emitter, operator_text(widened(interval->op, interval->key.is_cut)));
    buf_printf(&emitter->sql->text, "(%d::smallint, ", (int) interval->key.rank);
    sql_append_jsonb(emitter->sql, interval->key.json);
    emit_raw(emitter, ")");
    if (end != (is_up ? VALUE_OBJECT : VALUE_UNDEFINED)) {
        emit_raw(emitter, " and ");
        append_rank(emitter, &interval->place);
        buf_printf(&emitter->sql->text, is_up ? " <= %u" : " >= %u", end);
    }
}

bool emit_interval(struct emitter *emitter, const struct ast *alternatives)
{
    struct emit_mark mark = emit_mark(emitter);
    struct interval interval = {0};
    unsigned end;

    for (const struct ast *child = alternatives->children; child != NULL; child = child->next) {
        if (!interval_add(emitter, &interval, child))
            return false;
    }
    if (!interval.has_bound || !interval_end(&interval, &end) ||
        !has_range(emitter, &interval.place))
        return false;
    append_interval(emitter, &interval, end);
    return append_end(emitter, alternatives, !interval.key.is_cut) || emit_back(emitter, mark);
}
