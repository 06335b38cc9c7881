#include "query/emit_scalar.h"

#include "model/json.h"
#include "query/eval.h"
#include "query/functions.h"
#include "query/text.h"

#include <math.h>

#include "base/banned.h"

static const char *const kind_types[] = {[KIND_JSONB] = "jsonb",
                                         [KIND_BOOL] = "boolean",
                                         [KIND_NUMBER] = "float8",
                                         [KIND_TEXT] = "text"};

/* ---- the emitter ---- */

/* Slots are counted over the whole statement. */
static unsigned slot_count(const struct ast_query *query)
{
    while (query->outer != NULL)
        query = query->outer;
    return query->slot_count > 0 ? query->slot_count : 1;
}

bool emitter_init(struct emitter *emitter, struct emit *emit, const struct ast_query *query,
                  struct sql *sql)
{
    *emitter = (struct emitter){.emit = emit,
                                .sql = sql,
                                .steps_left = EMIT_STEPS_MAX,
                                .joins_left = EMIT_JOINS_MAX,
                                .selects_left = EMIT_SELECTS_MAX};
    emitter->slots = arena_alloc(emit->arena, slot_count(query) * sizeof(*emitter->slots));
    if (emitter->slots == NULL)
        sql->has_failed = true;
    return emitter->slots != NULL;
}

struct emit_mark emit_mark(const struct emitter *emitter)
{
    return (struct emit_mark){emitter->sql->text.len, emitter->sql->param_count,
                              emitter->joins_left, emitter->selects_left};
}

bool emit_back(struct emitter *emitter, struct emit_mark mark)
{
    emitter->sql->text.len = mark.len;
    emitter->sql->param_count = mark.param_count;
    emitter->joins_left = mark.joins_left;
    emitter->selects_left = mark.selects_left;
    return false;
}

void emit_raw(struct emitter *emitter, const char *text)
{
    buf_append_text(&emitter->sql->text, text);
}

bool emit_spend(struct emitter *emitter)
{
    if (emitter->steps_left == 0 || emitter->sql->text.len > EMIT_TEXT_MAX ||
        !sql_is_whole(emitter->sql))
        return false;
    emitter->steps_left--;
    return true;
}

bool emit_join(struct emitter *emitter, size_t count)
{
    if (count > emitter->joins_left)
        return false;
    emitter->joins_left -= count;
    return true;
}

bool emit_select(struct emitter *emitter, const char *text)
{
    if (emitter->selects_left == 0)
        return false;
    emitter->selects_left--;
    emit_raw(emitter, text);
    return true;
}

/* ---- constants ---- */

static bool is_constant(struct emitter *emitter, const struct ast *node)
{
    if (!emit_spend(emitter))
        return false;
    switch (node->kind) {
    case AST_UNDEFINED:
    case AST_CONSTANT:
    case AST_PARAMETER:
        return true;
    case AST_ALIAS:
    case AST_SUBQUERY:
    case AST_EXISTS:
    case AST_ARRAY_QUERY:
    case AST_ALL:
    case AST_FIRST:
    case AST_LAST:
        return false;
    case AST_CALL:
        /* What looks at policies of the container is no constant here; chance is none at all. */
        if (node->is_udf || node->function->evaluate == NULL ||
            node->function->evaluate == function_rand ||
            (node->function->kind != FUNCTION_SCALAR && node->function->kind != FUNCTION_VOLATILE))
            return false;
        break;
    default:
        break;
    }
    for (const struct ast *child = node->children; child != NULL; child = child->next) {
        if (!is_constant(emitter, child))
            return false;
    }
    return true;
}

/* Compute it. False when that takes too much work: then it is no constant here, and the evaluator
 * meets the same fault with the first row. */
static bool fold(struct emitter *emitter, const struct ast *node, const cJSON **value)
{
    struct fault fault = {0};
    struct eval eval;

    eval_init(&eval, emitter->emit->arena, NULL, &fault);
    eval.now_us = emitter->emit->now_us;
    *value = eval_expression(&eval, node);
    return !eval.has_failed;
}

bool emit_constant(struct emitter *emitter, const struct ast *node, const cJSON **value)
{
    *value = node->value;
    switch (node->kind) {
    case AST_UNDEFINED:
    case AST_CONSTANT:
    case AST_PARAMETER:
        return true;
    case AST_ALIAS:
    case AST_MEMBER:
        return false;
    default:
        break;
    }
    for (unsigned i = 0; i < emitter->folded_count && i < EMIT_MEMO; i++) {
        if (emitter->folded[i].node == node) {
            *value = emitter->folded[i].value;
            return true;
        }
    }
    if (!is_constant(emitter, node) || !fold(emitter, node, value))
        return false;
    emitter->folded[emitter->folded_count++ % EMIT_MEMO] = (struct emit_folded){node, *value};
    return true;
}

/* Compact JSON; false when a number is not finite. Depth is limited by the tree's or the
 * parameters'. */
static bool print(struct buf *out, const cJSON *value)
{
    char number[JSON_NUMBER_BYTES];
    bool is_array = cJSON_IsArray(value);

    if (cJSON_IsNumber(value)) {
        if (!isfinite(value->valuedouble))
            return false;
        buf_append(out, number, json_print_double(value->valuedouble, number));
    } else if (cJSON_IsString(value)) {
        buf_append_json_string(out, slice_from_text(value->valuestring));
    } else if (is_array || cJSON_IsObject(value)) {
        buf_append_char(out, is_array ? '[' : '{');
        for (const cJSON *child = value->child; child != NULL; child = child->next) {
            if (child != value->child)
                buf_append_char(out, ',');
            if (!is_array) {
                buf_append_json_string(out, slice_from_text(child->string));
                buf_append_char(out, ':');
            }
            if (!print(out, child))
                return false;
        }
        buf_append_char(out, is_array ? ']' : '}');
    } else {
        buf_append_text(out, cJSON_IsNull(value) ? "null" : cJSON_IsTrue(value) ? "true" : "false");
    }
    return true;
}

struct slice emit_json(struct emitter *emitter, const cJSON *value)
{
    struct buf text = {0};
    struct slice json = {0};

    for (unsigned i = 0; i < emitter->printed_count && i < EMIT_MEMO; i++) {
        if (emitter->printed[i].value == value)
            return emitter->printed[i].json;
    }
    if (print(&text, value)) {
        char *copy = text.has_failed ? NULL : arena_copy(emitter->emit->arena, text.ptr, text.len);

        emitter->sql->has_failed |= copy == NULL;
        if (copy != NULL)
            json = slice_make(copy, text.len);
    }
    buf_finish(&text);
    emitter->printed[emitter->printed_count++ % EMIT_MEMO] = (struct emit_printed){value, json};
    return json;
}

static bool emit_null(struct emitter *emitter, enum emit_kind kind)
{
    emit_raw(emitter, "null::");
    emit_raw(emitter, kind_types[kind]);
    return true;
}

static enum emit_kind value_kind(const cJSON *value)
{
    if (value == NULL)
        return KIND_JSONB;
    return cJSON_IsNumber(value)   ? KIND_NUMBER
           : cJSON_IsString(value) ? KIND_TEXT
           : cJSON_IsBool(value)   ? KIND_BOOL
                                   : KIND_JSONB;
}

bool emit_value(struct emitter *emitter, const cJSON *value, enum emit_kind kind)
{
    if (value == NULL || (kind != KIND_JSONB && kind != value_kind(value)))
        return emit_null(emitter, kind);
    if (kind == KIND_BOOL) {
        emit_raw(emitter, cJSON_IsTrue(value) ? "true" : "false");
    } else if (kind == KIND_TEXT) {
        sql_append_text(emitter->sql, slice_from_text(value->valuestring));
    } else if (kind == KIND_NUMBER) {
        if (!isfinite(value->valuedouble))
            return false;
        sql_append_float8(emitter->sql, value->valuedouble);
    } else {
        struct slice json = emit_json(emitter, value);

        if (slice_is_absent(json))
            return false;
        sql_append_jsonb(emitter->sql, json);
    }
    return true;
}

/* ---- paths ---- */

bool emit_member_name(const struct ast *node, struct slice *name)
{
    if (node->kind == AST_MEMBER) {
        *name = node->name;
        return true;
    }
    if (node->kind != AST_INDEX)
        return false;
    const struct ast *index = node->children->next;
    bool is_constant = index->kind == AST_CONSTANT || index->kind == AST_PARAMETER;
    if (!is_constant || index->value == NULL || !cJSON_IsString(index->value))
        return false;
    *name = slice_from_text(index->value->valuestring);
    return true;
}

bool emit_is_item(const struct emitter *emitter, const struct ast *node)
{
    while (node->kind == AST_ALIAS && node->slot != 0 &&
           emitter->slots[node->slot].kind == SLOT_PATH)
        node = emitter->slots[node->slot].path;
    return node->kind == AST_ALIAS && node->slot == 0;
}

static bool system_name(const struct ast *node, struct slice *name)
{
    return emit_member_name(node, name) && node->computed == NULL &&
           node->children->kind == AST_ALIAS && node->children->slot == 0 && name->len > 0 &&
           name->ptr[0] == '_';
}

bool emit_is_system(const struct ast *node)
{
    static const char *const names[] = {"_ts", "_rid", "_etag", "_self", "_attachments"};
    struct slice name;

    if (!system_name(node, &name))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_equals_text(name, names[i]))
            return true;
    }
    return false;
}

bool emit_is_ts(const struct ast *node)
{
    struct slice name;

    return system_name(node, &name) && slice_equals_text(name, "_ts");
}

/* The eight bytes of a resource id that an item has from its container. */
static bool rid_container_append(struct emitter *emitter)
{
    const struct rid *rid = emitter->emit->container;
    uint8_t *bytes = rid != NULL ? arena_alloc(emitter->emit->arena, 8) : NULL;

    if (bytes == NULL)
        return false;
    rid_container_bytes(rid, bytes);
    emit_raw(emitter, "orrery.rid_text(");
    sql_append_bytea(emitter->sql, slice_make((const char *) bytes, 8));
    emit_raw(emitter, ", i.rid)");
    return true;
}

static bool self_append(struct emitter *emitter)
{
    struct buf text = {0};

    if (emitter->emit->container == NULL)
        return false;
    rid_append_self(&text, emitter->emit->container);
    buf_append_text(&text, "docs/");
    char *path = text.has_failed ? NULL : arena_copy(emitter->emit->arena, text.ptr, text.len);
    size_t len = text.len;
    buf_finish(&text);
    if (path == NULL)
        return false;
    emit_raw(emitter, "(");
    sql_append_text(emitter->sql, slice_make(path, len));
    emit_raw(emitter, " || ");
    bool is_known = rid_container_append(emitter);
    emit_raw(emitter, " || '/')");
    return is_known;
}

static bool system_append(struct emitter *emitter, const struct ast *node)
{
    struct slice name;

    if (!system_name(node, &name))
        return false;
    if (slice_equals_text(name, "_ts"))
        emit_raw(emitter, "i.ts::float8");
    else if (slice_equals_text(name, "_etag"))
        emit_raw(emitter, "('\"' || i.etag::text || '\"')");
    else if (slice_equals_text(name, "_attachments"))
        emit_raw(emitter, "'attachments/'::text");
    else if (slice_equals_text(name, "_rid"))
        return rid_container_append(emitter);
    else
        return self_append(emitter);
    return true;
}

static bool chain_append(struct emitter *emitter, const struct ast *node);

/* What a step starts from. */
static bool base_append(struct emitter *emitter, const struct ast *base)
{
    bool is_chain = base->kind == AST_ALIAS || base->kind == AST_MEMBER || base->kind == AST_INDEX;

    if (is_chain && base->computed == NULL && !emit_is_system(base))
        return chain_append(emitter, base);
    return emit_scalar(emitter, base, KIND_JSONB);
}

static bool alias_append(struct emitter *emitter, const struct ast *node)
{
    const struct emit_slot *slot = &emitter->slots[node->slot];

    if (node->slot == 0) {
        emit_raw(emitter, "i.doc");
        return true;
    }
    if (slot->kind == SLOT_PATH)
        return base_append(emitter, slot->path);
    if (slot->kind != SLOT_COLUMN)
        return false;
    buf_printf(&emitter->sql->text, "s%u.v", node->slot);
    return true;
}

/* base[n] */
static bool element_append(struct emitter *emitter, const struct ast *node)
{
    const cJSON *index;

    if (!emit_constant(emitter, node->children->next, &index))
        return false;
    double wanted = index != NULL && cJSON_IsNumber(index) ? index->valuedouble : -1;
    if (!(wanted >= 0 && wanted <= INT32_MAX && wanted == floor(wanted)))
        return emit_null(emitter, KIND_JSONB);
    emit_raw(emitter, "orrery.value_at(");
    if (!base_append(emitter, node->children))
        return false;
    buf_printf(&emitter->sql->text, ", %d)", (int) wanted);
    return true;
}

/* "i.doc->'a'->'b'", without parentheses: as an index's expression has it. The item itself is
 * "i.doc", which lacks what the system adds; see emit_is_item. */
static bool chain_append(struct emitter *emitter, const struct ast *node)
{
    struct slice name;

    if (!emit_spend(emitter))
        return false;
    if (node->kind == AST_ALIAS)
        return alias_append(emitter, node);
    if (!emit_member_name(node, &name))
        return element_append(emitter, node);
    if (!base_append(emitter, node->children))
        return false;
    emit_raw(emitter, "->");
    sql_append_quoted(emitter->sql, name);
    return true;
}

static bool path_append(struct emitter *emitter, const struct ast *node)
{
    if (emit_is_item(emitter, node))
        return false;
    emit_raw(emitter, "(");
    bool is_sound = chain_append(emitter, node);
    emit_raw(emitter, ")");
    return is_sound;
}

/* A path as text, its last step ->> where it can. */
static bool path_text_append(struct emitter *emitter, const struct ast *node)
{
    struct slice name;

    if (!emit_member_name(node, &name)) {
        bool is_sound = path_append(emitter, node);
        emit_raw(emitter, " #>> '{}'");
        return is_sound;
    }
    emit_raw(emitter, "(");
    if (!base_append(emitter, node->children))
        return false;
    emit_raw(emitter, "->>");
    sql_append_quoted(emitter->sql, name);
    emit_raw(emitter, ")");
    return true;
}

/* ---- conversions ---- */

static bool jsonb_to_bool(struct emitter *emitter, const struct ast *node, emit_append_fn *append)
{
    emit_raw(emitter, "(case ");
    bool is_sound = append(emitter, node);
    emit_raw(emitter, " when 'true'::jsonb then true when 'false'::jsonb then false end)");
    return is_sound;
}

static bool jsonb_to_number(struct emitter *emitter, const struct ast *node, emit_append_fn *append)
{
    emit_raw(emitter, "(case when jsonb_typeof(");
    if (!append(emitter, node))
        return false;
    emit_raw(emitter, ") = 'number' then ");
    bool is_sound = append(emitter, node);
    emit_raw(emitter, "::float8 end)");
    return is_sound;
}

static bool jsonb_to_text(struct emitter *emitter, const struct ast *node, emit_append_fn *append)
{
    emit_raw(emitter, "(case when jsonb_typeof(");
    if (!append(emitter, node))
        return false;
    emit_raw(emitter, ") = 'string' then ");
    bool is_sound;
    if (append == path_append) {
        is_sound = path_text_append(emitter, node);
    } else {
        is_sound = append(emitter, node);
        emit_raw(emitter, " #>> '{}'");
    }
    emit_raw(emitter, " end)");
    return is_sound;
}

bool emit_converted(struct emitter *emitter, const struct ast *node, enum emit_kind from,
                    enum emit_kind to, emit_append_fn *append)
{
    if (!emit_spend(emitter))
        return false;
    if (from == to)
        return append(emitter, node);
    if (from == KIND_JSONB)
        return to == KIND_BOOL     ? jsonb_to_bool(emitter, node, append)
               : to == KIND_NUMBER ? jsonb_to_number(emitter, node, append)
                                   : jsonb_to_text(emitter, node, append);
    if (to != KIND_JSONB)
        return emit_null(emitter, to); /* of another type */
    if (from == KIND_NUMBER && emit_may_overflow(emitter, node))
        return false;
    emit_raw(emitter, "to_jsonb(");
    bool is_sound = append(emitter, node);
    emit_raw(emitter, ")");
    return is_sound;
}

/* ---- operators ---- */

static bool is_comparison(enum ast_operator op)
{
    return op >= AST_EQUAL && op <= AST_GREATER_EQUAL;
}

/* Of two branches, either of which may give the value. */
static enum emit_kind common_kind(struct emitter *emitter, const struct ast *a, const struct ast *b)
{
    enum emit_kind kind = emit_kind_of(emitter, a);

    return kind == emit_kind_of(emitter, b) ? kind : KIND_JSONB;
}

enum emit_kind emit_kind_of(struct emitter *emitter, const struct ast *node)
{
    const cJSON *value;

    if (!emit_spend(emitter))
        return KIND_JSONB;
    if (emit_constant(emitter, node, &value))
        return value_kind(value);
    switch (node->kind) {
    case AST_MEMBER:
    case AST_INDEX:
        if (node->computed != NULL)
            return emit_kind_of(emitter, node->computed);
        return !emit_is_system(node) ? KIND_JSONB : emit_is_ts(node) ? KIND_NUMBER : KIND_TEXT;
    case AST_ALIAS:
        if (node->slot != 0 && emitter->slots[node->slot].kind == SLOT_PATH)
            return emit_kind_of(emitter, emitter->slots[node->slot].path);
        return KIND_JSONB;
    case AST_UNARY:
        return node->op == AST_NOT ? KIND_BOOL : KIND_NUMBER;
    case AST_BINARY:
        return is_comparison(node->op)  ? KIND_BOOL
               : node->op == AST_CONCAT ? KIND_TEXT
                                        : KIND_NUMBER;
    case AST_AND:
    case AST_OR:
    case AST_BETWEEN:
    case AST_IN:
    case AST_LIKE:
    case AST_EXISTS:
    case AST_ALL:
        return KIND_BOOL;
    case AST_COALESCE:
        return common_kind(emitter, node->children, node->children->next);
    case AST_CONDITIONAL:
        return common_kind(emitter, node->children->next, node->children->next->next);
    case AST_CALL:
        return emit_call_kind(emitter, node);
    default:
        return KIND_JSONB;
    }
}

bool emit_may_overflow(const struct emitter *emitter, const struct ast *node)
{
    if (node->computed != NULL)
        return emit_may_overflow(emitter, node->computed);
    switch (node->kind) {
    case AST_ALIAS:
        return node->slot != 0 && emitter->slots[node->slot].kind == SLOT_PATH &&
               emit_may_overflow(emitter, emitter->slots[node->slot].path);
    case AST_BINARY:
        return !is_comparison(node->op);
    case AST_UNARY:
    case AST_COALESCE:
    case AST_CONDITIONAL:
    case AST_CALL:
        for (const struct ast *child = node->children; child != NULL; child = child->next) {
            if (emit_may_overflow(emitter, child))
                return true;
        }
        return false;
    default:
        return false; /* what is stored is finite */
    }
}

static bool two(struct emitter *emitter, const struct ast *a, const char *op, const struct ast *b,
                enum emit_kind kind)
{
    emit_raw(emitter, "(");
    if (!emit_scalar(emitter, a, kind))
        return false;
    emit_raw(emitter, op);
    bool is_sound = emit_scalar(emitter, b, kind);
    emit_raw(emitter, ")");
    return is_sound;
}

/* "a is not null and b is not null" */
static bool both_defined(struct emitter *emitter, const struct ast *a, enum emit_kind a_kind,
                         const struct ast *b, enum emit_kind b_kind)
{
    if (!emit_scalar(emitter, a, a_kind))
        return false;
    emit_raw(emitter, " is not null and ");
    bool is_sound = emit_scalar(emitter, b, b_kind);
    emit_raw(emitter, " is not null");
    return is_sound;
}

/* A computed number with any value: one that is no number differs from it, as does each from NaN.
 */
static bool number_equals(struct emitter *emitter, const struct ast *number,
                          const struct ast *other, const char *result)
{
    emit_raw(emitter, "(case when ");
    if (!both_defined(emitter, number, KIND_NUMBER, other, KIND_JSONB))
        return false;
    emit_raw(emitter, " then coalesce(");
    if (!two(emitter, number, " = ", other, KIND_NUMBER))
        return false;
    emit_raw(emitter, ", false) = ");
    emit_raw(emitter, result);
    emit_raw(emitter, " end)");
    return true;
}

/* a = b, a != b */
static bool equality(struct emitter *emitter, const struct ast *node)
{
    const struct ast *a = node->children, *b = a->next;
    enum emit_kind a_kind = emit_kind_of(emitter, a), b_kind = emit_kind_of(emitter, b);
    bool is_equal = node->op == AST_EQUAL;
    bool a_overflows = a_kind == KIND_NUMBER && emit_may_overflow(emitter, a);
    bool b_overflows = b_kind == KIND_NUMBER && emit_may_overflow(emitter, b);

    if (a_overflows && b_overflows)
        return false; /* NaN with NaN, which PostgreSQL holds to be equal */
    if (a_kind == b_kind)
        return two(emitter, a, is_equal ? " = " : " <> ", b, a_kind);
    if (a_kind != KIND_JSONB && b_kind != KIND_JSONB) {
        emit_raw(emitter, "(case when ");
        if (!both_defined(emitter, a, a_kind, b, b_kind))
            return false;
        emit_raw(emitter, is_equal ? " then false end)" : " then true end)");
        return true;
    }
    if (a_overflows || b_overflows)
        return number_equals(emitter, a_overflows ? a : b, a_overflows ? b : a,
                             is_equal ? "true" : "false");
    return two(emitter, a, is_equal ? " = " : " <> ", b, KIND_JSONB);
}

static const char *operator_text(enum ast_operator op)
{
    switch (op) {
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

/* Null is only comparable with itself. */
static bool order_null(struct emitter *emitter, enum ast_operator op, const struct ast *other)
{
    if (emit_kind_of(emitter, other) != KIND_JSONB)
        return emit_null(emitter, KIND_BOOL);
    emit_raw(emitter, "(case when ");
    if (!emit_scalar(emitter, other, KIND_JSONB))
        return false;
    emit_raw(emitter, " = 'null'::jsonb then ");
    emit_raw(emitter, op == AST_LESS_EQUAL || op == AST_GREATER_EQUAL ? "true" : "false");
    emit_raw(emitter, " end)");
    return true;
}

/* PostgreSQL puts NaN above all numbers; here it has no order. */
static bool order_numbers(struct emitter *emitter, enum ast_operator op, const struct ast *a,
                          const struct ast *b)
{
    emit_raw(emitter, "(case when ");
    if (!emit_scalar(emitter, a, KIND_NUMBER))
        return false;
    emit_raw(emitter, " <> 'NaN' and ");
    if (!emit_scalar(emitter, b, KIND_NUMBER))
        return false;
    emit_raw(emitter, " <> 'NaN' then ");
    bool is_sound = two(emitter, a, operator_text(op), b, KIND_NUMBER);
    emit_raw(emitter, " end)");
    return is_sound;
}

static bool order_typed(struct emitter *emitter, enum ast_operator op, const struct ast *a,
                        const struct ast *b, enum emit_kind kind)
{
    if (kind == KIND_NUMBER && (emit_may_overflow(emitter, a) || emit_may_overflow(emitter, b)))
        return order_numbers(emitter, op, a, b);
    if (kind != KIND_TEXT)
        return two(emitter, a, operator_text(op), b, kind);
    emit_raw(emitter, "(");
    if (!emit_scalar(emitter, a, KIND_TEXT))
        return false;
    emit_raw(emitter, " collate \"C\"");
    emit_raw(emitter, operator_text(op));
    bool is_sound = emit_scalar(emitter, b, KIND_TEXT);
    emit_raw(emitter, ")");
    return is_sound;
}

/* Two values of unknown type: jsonb's own order is right within a type. */
static bool order_any(struct emitter *emitter, enum ast_operator op, const struct ast *a,
                      const struct ast *b)
{
    emit_raw(emitter, "(case when jsonb_typeof(");
    if (!emit_scalar(emitter, a, KIND_JSONB))
        return false;
    emit_raw(emitter, ") = jsonb_typeof(");
    if (!emit_scalar(emitter, b, KIND_JSONB))
        return false;
    emit_raw(emitter, ") and jsonb_typeof(");
    if (!emit_scalar(emitter, a, KIND_JSONB))
        return false;
    emit_raw(emitter, ") in ('number','string','boolean','null') then ");
    bool is_sound = two(emitter, a, operator_text(op), b, KIND_JSONB);
    emit_raw(emitter, " end)");
    return is_sound;
}

static bool is_null_constant(struct emitter *emitter, const struct ast *node)
{
    const cJSON *value;

    return emit_constant(emitter, node, &value) && value != NULL && cJSON_IsNull(value);
}

static bool ordering(struct emitter *emitter, enum ast_operator op, const struct ast *a,
                     const struct ast *b)
{
    enum emit_kind a_kind = emit_kind_of(emitter, a), b_kind = emit_kind_of(emitter, b);

    if (is_null_constant(emitter, b))
        return order_null(emitter, op, a);
    if (is_null_constant(emitter, a))
        return order_null(emitter, op, b);
    if (a_kind != KIND_JSONB && b_kind != KIND_JSONB && a_kind != b_kind)
        return emit_null(emitter, KIND_BOOL);
    if (a_kind != KIND_JSONB || b_kind != KIND_JSONB)
        return order_typed(emitter, op, a, b, a_kind != KIND_JSONB ? a_kind : b_kind);
    return order_any(emitter, op, a, b);
}

/*
 * + - * as IEEE has them. PostgreSQL raises an error where a result is not finite, or where a
 * product of two small numbers vanishes; operands for which that could be go to functions of ours.
 */
static bool arithmetic(struct emitter *emitter, const struct ast *node)
{
    static const struct {
        const char *guard, *op, *function;
    } forms[] = {
        {"abs(n.a) < 8e307 and abs(n.b) < 8e307", "n.a + n.b", "number_add(n.a, n.b)"},
        {"abs(n.a) < 8e307 and abs(n.b) < 8e307", "n.a - n.b", "number_add(n.a, - n.b)"},
        {"(n.a = 0 or abs(n.a) between 1e-150 and 1e150) and (n.b = 0 or abs(n.b) between 1e-150 "
         "and 1e150)",
         "n.a * n.b", "number_multiply(n.a, n.b)"},
    };
    size_t form = node->op == AST_ADD        ? 0
                  : node->op == AST_SUBTRACT ? 1
                  : node->op == AST_MULTIPLY ? 2
                                             : ARRAY_LEN(forms);

    if (form == ARRAY_LEN(forms))
        return false;
    if (!emit_select(emitter, "(select case when "))
        return false;
    buf_printf(&emitter->sql->text,
               "%s then %s when n.a is not null and n.b is not null then orrery.%s end "
               "from (select ",
               forms[form].guard, forms[form].op, forms[form].function);
    if (!emit_scalar(emitter, node->children, KIND_NUMBER))
        return false;
    emit_raw(emitter, " as a, ");
    bool is_sound = emit_scalar(emitter, node->children->next, KIND_NUMBER);
    emit_raw(emitter, " as b offset 0) n)");
    return is_sound;
}

static bool binary(struct emitter *emitter, const struct ast *node)
{
    if (node->op == AST_EQUAL || node->op == AST_NOT_EQUAL)
        return equality(emitter, node);
    if (is_comparison(node->op))
        return ordering(emitter, node->op, node->children, node->children->next);
    if (node->op == AST_CONCAT)
        return emit_join(emitter, 2) &&
               two(emitter, node->children, " || ", node->children->next, KIND_TEXT);
    return arithmetic(emitter, node);
}

static bool unary(struct emitter *emitter, const struct ast *node)
{
    if (node->op == AST_BIT_NOT)
        return false;
    enum emit_kind kind = node->op == AST_NOT ? KIND_BOOL : KIND_NUMBER;
    emit_raw(emitter, node->op == AST_NOT ? "(not " : node->op == AST_MINUS ? "(- " : "(");
    bool is_sound = emit_scalar(emitter, node->children, kind);
    emit_raw(emitter, ")");
    return is_sound;
}

static bool logic(struct emitter *emitter, const struct ast *node)
{
    emit_raw(emitter, "(");
    for (const struct ast *child = node->children; child != NULL; child = child->next) {
        if (child != node->children)
            emit_raw(emitter, node->kind == AST_AND ? " and " : " or ");
        if (!emit_scalar(emitter, child, KIND_BOOL))
            return false;
    }
    emit_raw(emitter, ")");
    return true;
}

static bool between(struct emitter *emitter, const struct ast *node)
{
    const struct ast *needle = node->children, *low = needle->next;

    emit_raw(emitter, "(");
    if (!ordering(emitter, AST_GREATER_EQUAL, needle, low))
        return false;
    emit_raw(emitter, " and ");
    bool is_sound = ordering(emitter, AST_LESS_EQUAL, needle, low->next);
    emit_raw(emitter, ")");
    return is_sound;
}

/* The items as one parameter, when all are constants. Undefined ones are equal to nothing. */
static bool in_constants(struct emitter *emitter, const struct ast *node, struct slice **elements,
                         size_t *count)
{
    const cJSON *value;

    *count = 0;
    *elements = arena_alloc(emitter->emit->arena, node->child_count * sizeof(**elements));
    if (*elements == NULL)
        return false;
    for (const struct ast *item = node->children->next; item != NULL; item = item->next) {
        if (!emit_constant(emitter, item, &value))
            return false;
        if (value == NULL)
            continue;
        struct slice json = emit_json(emitter, value);
        if (slice_is_absent(json))
            return false;
        (*elements)[(*count)++] = json;
    }
    return true;
}

static bool in_list(struct emitter *emitter, const struct ast *node)
{
    const struct ast *needle = node->children;
    struct slice *elements;
    size_t count;

    if (in_constants(emitter, node, &elements, &count) && count > 0) {
        emit_raw(emitter, "(");
        if (!emit_scalar(emitter, needle, KIND_JSONB))
            return false;
        emit_raw(emitter, " = any(");
        sql_append_jsonb_array(emitter->sql, elements, count);
        emit_raw(emitter, "))");
        return true;
    }
    emit_raw(emitter, "(case when ");
    if (!emit_scalar(emitter, needle, KIND_JSONB))
        return false;
    emit_raw(emitter, " is not null then coalesce(");
    if (!emit_scalar(emitter, needle, KIND_JSONB))
        return false;
    for (const struct ast *item = needle->next; item != NULL; item = item->next) {
        emit_raw(emitter, item == needle->next ? " in (" : ", ");
        if (!emit_scalar(emitter, item, KIND_JSONB))
            return false;
    }
    emit_raw(emitter, "), false) end)");
    return true;
}

/* A pattern in PostgreSQL's spelling, in the arena; absent when it has sets in brackets. */
static struct slice like_pattern(struct emitter *emitter, const char *pattern, uint32_t escape)
{
    struct buf text = {0};
    struct slice result = {0};
    struct slice from = slice_from_text(pattern);

    for (size_t at = 0; at < from.len;) {
        size_t start = at;
        uint32_t c = text_next(from, &at);
        bool is_literal = escape != 0 && c == escape && at < from.len;

        if (is_literal) {
            start = at;
            c = text_next(from, &at);
        } else if (c == '[') {
            buf_finish(&text);
            return result;
        }
        if (c == '\\' || (is_literal && (c == '%' || c == '_')))
            buf_append_char(&text, '\\');
        buf_append(&text, from.ptr + start, at - start);
    }
    char *copy = text.has_failed ? NULL : arena_copy(emitter->emit->arena, text.ptr, text.len);
    if (copy != NULL)
        result = slice_make(copy, text.len);
    buf_finish(&text);
    return result;
}

static bool like(struct emitter *emitter, const struct ast *node)
{
    const cJSON *pattern;

    if (!emit_constant(emitter, node->children->next, &pattern))
        return false;
    if (pattern == NULL || !cJSON_IsString(pattern))
        return emit_null(emitter, KIND_BOOL);
    struct slice text = like_pattern(emitter, pattern->valuestring, node->escape);
    if (slice_is_absent(text))
        return false;
    emit_raw(emitter, "(");
    if (!emit_scalar(emitter, node->children, KIND_TEXT))
        return false;
    emit_raw(emitter, " like ");
    sql_append_text(emitter->sql, text);
    emit_raw(emitter, ")");
    return true;
}

/* BETWEEN, IN, LIKE */
static bool predicate(struct emitter *emitter, const struct ast *node)
{
    if (node->is_negated)
        emit_raw(emitter, "(not ");
    bool is_sound = node->kind == AST_BETWEEN ? between(emitter, node)
                    : node->kind == AST_IN    ? in_list(emitter, node)
                                              : like(emitter, node);
    if (node->is_negated)
        emit_raw(emitter, ")");
    return is_sound;
}

/* ---- values made of others ---- */

/* In the kind that both operands have: a value of another type is a value, too. */
static bool coalesced(struct emitter *emitter, const struct ast *node)
{
    enum emit_kind kind = emit_kind_of(emitter, node);

    emit_raw(emitter, "coalesce(");
    if (!emit_scalar(emitter, node->children, kind))
        return false;
    emit_raw(emitter, ", ");
    bool is_sound = emit_scalar(emitter, node->children->next, kind);
    emit_raw(emitter, ")");
    return is_sound;
}

bool emit_conditional(struct emitter *emitter, const struct ast *condition, enum emit_kind kind)
{
    emit_raw(emitter, "(case when ");
    if (!emit_scalar(emitter, condition, KIND_BOOL))
        return false;
    emit_raw(emitter, " then ");
    if (!emit_scalar(emitter, condition->next, kind))
        return false;
    emit_raw(emitter, " else ");
    bool is_sound = emit_scalar(emitter, condition->next->next, kind);
    emit_raw(emitter, " end)");
    return is_sound;
}

/* Undefined members and elements disappear. */
static bool literal(struct emitter *emitter, const struct ast *node)
{
    bool is_object = node->kind == AST_OBJECT;

    if (!emit_join(emitter, node->child_count))
        return false;
    emit_raw(emitter, is_object ? "('{}'::jsonb" : "('[]'::jsonb");
    for (const struct ast *child = node->children; child != NULL; child = child->next) {
        emit_raw(emitter, is_object ? " || orrery.member(" : " || orrery.element(");
        if (is_object) {
            sql_append_text(emitter->sql, child->key);
            emit_raw(emitter, ", ");
        }
        if (!emit_scalar(emitter, child, KIND_JSONB))
            return false;
        emit_raw(emitter, ")");
    }
    emit_raw(emitter, ")");
    return true;
}

/* ---- expressions ---- */

static bool expression(struct emitter *emitter, const struct ast *node, enum emit_kind kind)
{
    switch (node->kind) {
    case AST_ALIAS:
        if (node->slot != 0 && emitter->slots[node->slot].kind == SLOT_PATH)
            return emit_scalar(emitter, emitter->slots[node->slot].path, kind);
        return emit_converted(emitter, node, KIND_JSONB, kind, path_append);
    case AST_MEMBER:
    case AST_INDEX:
        if (node->computed != NULL)
            return emit_scalar(emitter, node->computed, kind);
        if (emit_is_system(node))
            return emit_converted(emitter, node, emit_is_ts(node) ? KIND_NUMBER : KIND_TEXT, kind,
                                  system_append);
        return emit_converted(emitter, node, KIND_JSONB, kind, path_append);
    case AST_UNARY:
        return emit_converted(emitter, node, node->op == AST_NOT ? KIND_BOOL : KIND_NUMBER, kind,
                              unary);
    case AST_BINARY:
        return emit_converted(emitter, node, emit_kind_of(emitter, node), kind, binary);
    case AST_AND:
    case AST_OR:
        return emit_converted(emitter, node, KIND_BOOL, kind, logic);
    case AST_BETWEEN:
    case AST_IN:
    case AST_LIKE:
        return emit_converted(emitter, node, KIND_BOOL, kind, predicate);
    case AST_COALESCE:
        return emit_converted(emitter, node, emit_kind_of(emitter, node), kind, coalesced);
    case AST_CONDITIONAL:
        return emit_conditional(emitter, node->children, kind);
    case AST_CALL:
        return emit_call(emitter, node, kind);
    case AST_ARRAY:
    case AST_OBJECT:
        return emit_converted(emitter, node, KIND_JSONB, kind, literal);
    default:
        return emit_query_value(emitter, node, kind);
    }
}

bool emit_scalar(struct emitter *emitter, const struct ast *node, enum emit_kind kind)
{
    const cJSON *value;

    if (!emit_spend(emitter))
        return false;
    if (emit_constant(emitter, node, &value))
        return emit_value(emitter, value, kind);
    return expression(emitter, node, kind);
}

bool emit_output(struct emitter *emitter, const struct ast *node)
{
    if (emit_kind_of(emitter, node) != KIND_NUMBER || !emit_may_overflow(emitter, node))
        return emit_scalar(emitter, node, KIND_JSONB);
    emit_raw(emitter, "orrery.number_json(");
    bool is_sound = emit_scalar(emitter, node, KIND_NUMBER);
    emit_raw(emitter, ")");
    return is_sound;
}
