/*
 * Queries over items: what was asked, how it is to be answered, where it begins; and the answer.
 */
#include "service/items_query.h"

#include "base/clock.h"
#include "model/charge.h"
#include "model/json_tree.h"
#include "query/check.h"
#include "query/emit.h"
#include "query/groups.h"
#include "query/parser.h"
#include "service/index_metrics.h"
#include "query/print.h"
#include "query/sort_state.h"
#include "service/item_target.h"
#include "store/sqlstate.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/banned.h"

/* A continuation may be this long when the client does not say: it comes back in a header. */
#define TOKEN_BYTES_MAX 4096

static op_step query_aim;    /* compile; scope, access, continuation */
static op_step query_start;  /* after the passes that a rank needs */
static op_step query_looked; /* the row at which the last page ended is there again */
static op_step query_begin;  /* see the items */
static op_step
    query_reply; /* the page is complete, unless another pass over the items may fill it */

static void free_query(void *object)
{
    struct items_query *self = object;

    arena_finish(&self->arena);
    buf_finish(&self->page);
}

/* ---- what was asked ---- */

/* The Java SDK asks for pages of TOP's size at most, and so for none with TOP 0. */
static bool read_page_size(struct items_query *self, struct call *call)
{
    const struct headers *headers = &call->request.headers;

    if (slice_equals_text(slice_trim(headers->at[HEADER_MAX_ITEM_COUNT]), "0")) {
        self->limit = QUERY_PAGE_DEFAULT;
        return true;
    }
    return header_max_item_count(headers, QUERY_PAGE_DEFAULT, QUERY_PAGE_MAX, &self->limit,
                                 &call->op.fault);
}

static bool read_token_limit(struct items_query *self, struct call *call)
{
    struct slice text = slice_trim(call->request.headers.at[HEADER_TOKEN_LIMIT_KB]);
    unsigned long long kb;

    self->token_bytes_max = TOKEN_BYTES_MAX;
    if (slice_is_empty(text))
        return true;
    if (!slice_to_u64(text, INT32_MAX, &kb) || kb == 0)
        return fault_set(&call->op.fault, 400, SUB_NONE, "%s must be a positive number",
                         header_name(HEADER_TOKEN_LIMIT_KB));
    if (kb * 1024 < TOKEN_BYTES_MAX)
        self->token_bytes_max = (size_t) kb * 1024;
    return true;
}

/* Compile for the container that was found; again when another one took its place. */
static bool compile(struct items_query *self, struct call *call)
{
    const struct container *container = call->container;
    struct op *op = &call->op;
    const struct check_input input = {.parameters = self->spec.parameters,
                                      .computed = container->computed,
                                      .indexing = &container->settings.indexing,
                                      .policies = &container->policies};

    int64_t start_us = clock_monotonic_us();
    if (!parser_query(&op->arena, self->spec.text, &self->query, &op->fault))
        return false;
    int64_t parsed_us = clock_monotonic_us();
    if (!check_query(&op->arena, &self->query, &input, &op->fault))
        return false;
    self->compile_us = parsed_us - start_us;
    self->check_us = clock_monotonic_us() - parsed_us;
    return true;
}

static bool prepare_eval(struct items_query *self, struct call *call)
{
    struct op *op = &call->op;
    size_t slots = self->query.slot_count > 0 ? self->query.slot_count : 1;
    const cJSON **values = arena_alloc(&op->arena, slots * sizeof(*values));

    if (values == NULL)
        return fault_set_oom(&op->fault);
    eval_init(&self->eval, &self->arena, values, &op->fault);
    regex_cache_init(&self->regexes, &op->arena);
    self->eval.regexes = &self->regexes;
    self->eval.policies = &call->container->policies;
    self->eval.now_us = clock_unix_ms() * 1000;
    crypto_random(&self->eval.seed, sizeof(self->eval.seed));
    return query_stages_init(self, call);
}

enum op_next items_query(struct op *op)
{
    struct call *call = call_of(op);

    if (!op_alloc_self(op, sizeof(struct items_query)))
        return OP_FAILED;
    struct items_query *self = op_self(op, struct items_query);
    if (!arena_defer(&op->arena, free_query, self)) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    self->begun_us = clock_monotonic_us();
    self->page_end_us = self->begun_us + QUERY_PAGE_MS * 1000;
    if (!scan_init(&self->scan, op) || !consistency_parse(&self->consistency, call) ||
        !read_page_size(self, call) || !read_token_limit(self, call) ||
        !query_body_parse(&op->arena, call->request.body, &self->spec, &op->fault))
        return OP_FAILED;
    arena_init(&self->arena, QUERY_ITEM_BYTES_MAX);
    return call_resolve(op, query_aim);
}

/* ---- where it begins ---- */

/* Is it what a plan made of ORDER BY for the ranges? */
static bool is_for_merging(const struct ast_query *query)
{
    static const char *const keys[] = {"_rid", "orderByItems", "payload"};
    size_t at = 0;

    if (query->order_by == NULL || query->projection == NULL ||
        query->projection->kind != AST_OBJECT || query->projection->child_count != ARRAY_LEN(keys))
        return false;
    for (const struct ast *item = query->projection->children; item != NULL; item = item->next) {
        if (!slice_equals_text(item->key, keys[at++]))
            return false;
    }
    return true;
}

/*
 * The text. A client that merges ranges puts a filter of its own into WHERE whenever it begins anew
 * (the JavaScript SDK), and still brings the continuation from before: there WHERE does not count.
 */
static void append_text(struct buf *asked, const struct items_query *self)
{
    if (!is_for_merging(&self->query)) {
        buf_append_slice(asked, self->spec.text);
        return;
    }
    print_select(asked, &self->query, PRINT_ALL);
    print_from(asked, &self->query);
    print_order_by(asked, &self->query);
    print_window(asked, &self->query);
}

/* What a continuation must belong to: the text and the parameters, however they were spaced. */
static bool make_question(struct items_query *self, struct call *call)
{
    struct buf asked = {0};

    buf_append_text(&asked, "query\n");
    append_text(&asked, self);
    buf_append_char(&asked, '\0');
    if (self->spec.parameters != NULL)
        json_tree_print(&asked, self->spec.parameters);
    bool is_made = asked.has_failed ? fault_set_oom(&call->op.fault)
                                    : item_scope_question(&self->scope, buf_slice(&asked),
                                                          self->question, &call->op.fault);
    buf_finish(&asked);
    return is_made;
}

static void begin_window(struct items_query *self, const struct continuation *from)
{
    const struct ast_query *query = &self->query;

    self->skip = query->has_window ? query->offset_count : 0;
    self->take = query->has_top      ? query->top_count
                 : query->has_window ? query->limit_count
                                     : CONTINUATION_ALL;
    if (from != NULL) {
        self->skip = from->skip;
        self->take = from->take;
    }
    self->is_full = self->take == 0;
}

/* Does each item that passes give one row? */
static bool is_one_row(const struct ast_query *query)
{
    const struct ast_source *source = query->sources;

    return source != NULL && source->next == NULL && source->kind == SOURCE_PATH &&
           source->query == NULL && source->path->kind == AST_ALIAS;
}

/* Itself? */
static bool is_whole_item(const struct ast_query *query)
{
    return is_one_row(query) &&
           (query->is_star || (query->is_value && query->projection->kind == AST_ALIAS));
}

/* Is each item that passes one result? */
static bool is_one_result(const struct ast_query *query)
{
    return query->is_star || query->projection->kind == AST_OBJECT ||
           query->projection->kind == AST_ALIAS;
}

/*
 * SQL makes the order when it needs to know nothing but the items: each is one row, and the filter
 * is SQL's. Otherwise one pass over all of them is better than one for each chunk.
 */
static bool can_order(struct items_query *self, struct call *call)
{
    const struct ast_query *query = &self->query;

    return !self->is_plain && self->is_exact && self->stage_count == 0 && !query->is_distinct &&
           is_one_row(query) && order_sql_prepare(&self->order, query, &call->op.arena) &&
           query_order_can_start(self);
}

static const struct query_mode *choose_mode(struct items_query *self, struct call *call)
{
    const struct ast_query *query = &self->query;

    if (query->order_by != NULL)
        return can_order(self, call) ? &query_ordered_mode : &query_top_mode;
    return groups_are_needed(query) ? &query_groups_mode : &query_rows_mode;
}

/* Both make the same order, and their continuations say the same. */
static bool orders(enum continuation_kind kind)
{
    return kind == CONTINUATION_ORDERED || kind == CONTINUATION_TOP;
}

/* Narrow the scope to the partition keys that the filter can match. */
static bool narrow_scope(struct items_query *self, struct call *call)
{
    const struct pkey *given = self->scope.pkey.count > 0 ? &self->scope.pkey : NULL;
    struct keyrange keyrange;

    if (self->scope.kind == ITEM_SCOPE_KEY)
        return true;
    return keyrange_derive(&keyrange, &call->op.arena, query_of_items(self),
                           &call->container->settings.partition_key, given, &call->op.fault) &&
           item_scope_narrow(&self->scope, call, &keyrange);
}

/* What SQL can tell of the filter, and of the scope. */
static bool make_where(struct items_query *self, struct call *call)
{
    const struct ast_query *query = query_of_items(self);
    struct emit emit = {.arena = &call->op.arena,
                        .container = &self->container,
                        .indexes = &call->container->indexes,
                        .now_us = self->eval.now_us,
                        .is_planar = call->container->policies.is_planar};

    buf_finish(&self->where.text);
    if (!sql_init(&self->where, &call->op.arena, SCAN_PARAMS))
        return fault_set_oom(&call->op.fault);
    item_scope_condition(&self->scope, &self->where);
    self->is_whole_item = self->stage_count == 0 && is_whole_item(query);
    self->is_exact = query->where == NULL && is_whole_item(query);
    if (!self->is_plain && !self->is_exact && self->needs_items) {
        buf_append_text(&self->where.text, " and ");
        self->is_exact = emit_where(&emit, query, &self->where) == EMIT_EXACT;
    }
    self->uses = emit.uses;
    self->is_checked = self->is_exact && self->stage_count == 0 && is_one_row(query);
    self->is_sure = self->is_checked && is_one_result(query);
    self->where_params = self->where.param_count;
    self->condition = sql_take(&self->where);
    return !slice_is_absent(self->condition) || fault_set_oom(&call->op.fault);
}

/* Read the continuation, and what else is to be known before the first item is asked for. */
static bool prepare_page(struct items_query *self, struct call *call)
{
    bool is_there;

    if (!item_scope_continue(&self->scope, call, self->question, &self->from, &self->range,
                             &is_there) ||
        !make_where(self, call))
        return false;
    self->is_resumed = is_there;
    self->unfiltered = self->query;
    self->unfiltered.where = NULL;
    self->mode = choose_mode(self, call);
    /* Once SQL's order has ended, it is the other mode's to the end. */
    if (is_there && self->mode == &query_ordered_mode && self->from.kind == CONTINUATION_TOP)
        self->mode = &query_top_mode;
    if (is_there && self->from.kind != self->mode->kind &&
        !(orders(self->from.kind) && orders(self->mode->kind)))
        return fault_set(&call->op.fault, 400, SUB_NONE,
                         "x-ms-continuation is of another release of this program");
    self->to =
        (struct continuation){.kind = self->mode->kind, .container = call->container->number};
    memcpy(self->to.question, self->question, sizeof(self->question));
    begin_window(self, is_there ? &self->from : NULL);
    return true;
}

bool query_begin_scan(struct items_query *self, struct call *call, size_t range, uint64_t after)
{
    return make_where(self, call) && scan_begin(&self->scan, call, &self->scope, &self->consistency,
                                                self->condition, &self->where, range, after);
}

static enum op_next query_begin(struct op *op)
{
    struct items_query *self = op_self(op, struct items_query);
    struct call *call = call_of(op);
    size_t range = self->mode->ends_early ? self->range : self->scope.first;

    if (!query_begin_scan(self, call, range, 0))
        return OP_FAILED;
    if (self->mode == &query_ordered_mode)
        return self->is_full ? op_again(op, query_reply) : query_order(op);
    if (self->mode == &query_groups_mode && !query_parts_prepare(self, call))
        return OP_FAILED;
    /* The scan's own condition again, whose parameters were put aside for that. */
    if (self->mode == &query_groups_mode && self->parts_sql == NULL && !make_where(self, call))
        return OP_FAILED;
    if (!self->mode->begin(self, call, self->is_resumed ? &self->from : NULL) ||
        !query_stages_begin(self, call))
        return OP_FAILED;
    return self->mode == &query_groups_mode && self->parts_sql != NULL ? query_parts(op)
                                                                       : query_walk(op);
}

/* Find the row that the continuation names: the sort values are its own. */
static bool find_last_row(struct items_query *self, struct call *call)
{
    const cJSON *tree = NULL;

    if (!scan_next(&self->scan, &self->item) || self->item.rid != self->from.rid)
        return false;
    arena_reset(&self->arena);
    if ((tree = query_item(self, call)) == NULL)
        return eval_oom(&self->eval) != NULL;
    eval_item(&self->eval, tree);
    if (!rows_begin(&self->rows, &self->eval, &self->query))
        return false;
    for (uint64_t row = 0; row <= self->from.row; row++) {
        if (!rows_next(&self->rows))
            return false;
    }
    return query_top_matches(self, call);
}

static enum op_next query_looked(struct op *op)
{
    struct items_query *self = op_self(op, struct items_query);
    struct call *call = call_of(op);

    switch (scan_came(&self->scan)) {
    case SCAN_GONE:
        return call_resolve_again(op, query_aim);
    case SCAN_REFUSED:
        return query_without_sql(op);
    case SCAN_FAULT:
        return OP_FAILED;
    case SCAN_CAME:
        break;
    }
    if (find_last_row(self, call))
        return op_again(op, query_begin);
    if (op->fault.status == 0)
        fault_set(&op->fault, 400, SUB_NONE,
                  "the item at which the continuation stopped has changed, and what it was ordered "
                  "by is too long for a continuation: begin anew");
    return OP_FAILED;
}

/*
 * A query that may visit several ranges must say that it knows; one with a key, a range or an
 * interval in its headers has said so. Source: protocol reference, section 5.5.
 */
static bool check_cross_partition(const struct items_query *self, struct call *call)
{
    if (self->scope.is_given || self->scope.kind == ITEM_SCOPE_KEY ||
        item_scope_visits(&self->scope) <= 1 ||
        header_is_true(&call->request.headers, HEADER_CROSS_PARTITION))
        return true;
    return fault_set(&call->op.fault, 400, SUB_NONE,
                     "cross partition query is required but disabled: set %s to true, or give a "
                     "partition key by %s or in the query's filter",
                     header_name(HEADER_CROSS_PARTITION), header_name(HEADER_PARTITION_KEY));
}

static enum op_next query_aim(struct op *op)
{
    struct items_query *self = op_self(op, struct items_query);
    struct call *call = call_of(op);

    self->page.len = 0;
    self->is_full = false;
    self->gone = query_aim;
    self->begin = query_begin;
    self->next = query_reply;
    self->is_streamed = false;
    self->container = (struct rid){.type = RID_CONTAINER,
                                   .database = call->container->database_number,
                                   .owner = call->container->number};
    self->count = 0;
    self->chunks = 0;
    self->has_more = self->is_in_item = false;
    self->matched_items = self->matched_bytes = 0;
    buf_printf(&self->page, "{\"_rid\":\"%s\",\"Documents\":[", call->container->rid);
    self->page_start = self->page.len;
    if (!compile(self, call) ||
        !resume_read(&self->resume, &op->arena, self->spec.resume, &self->query, &op->fault) ||
        !prepare_eval(self, call) || !item_scope_from_headers(&self->scope, call) ||
        !item_scope_check_access(&self->scope, call) || !make_question(self, call) ||
        !narrow_scope(self, call) || !check_cross_partition(self, call) ||
        !prepare_page(self, call))
        return OP_FAILED;
    if (self->query.order_is_rank)
        return query_rank(op, query_start);
    return query_start(op);
}

static enum op_next query_start(struct op *op)
{
    struct items_query *self = op_self(op, struct items_query);
    struct call *call = call_of(op);

    self->next = query_reply;
    /* What a long text was cut to is found in the item again. */
    if (self->is_resumed && self->stage_count == 0 && sort_state_is_digest(self->from.state) &&
        orders(self->mode->kind)) {
        if (!query_begin_scan(self, call, self->range, self->from.rid - 1))
            return OP_FAILED;
        return scan_ask(&self->scan, call, 1, query_looked);
    }
    return op_again(op, query_begin);
}

enum op_next query_without_sql(struct op *op)
{
    struct items_query *self = op_self(op, struct items_query);

    if (self->is_plain) {
        sqlstate_fault(op->result, &op->log, &op->fault);
        return OP_FAILED;
    }
    log_warn(&op->log, "a query is computed without SQL", "sqlstate=%s message=\"%s\"",
             op->result->sqlstate, op->result->message);
    self->is_plain = true;
    return op_again(op, query_aim);
}

/* ---- results ---- */

bool query_skips(struct items_query *self)
{
    if (self->skip == 0)
        return false;
    self->skip--;
    return true;
}

/* The page has as many results as it may have: look for one more, but not for long. */
static void begin_look(struct items_query *self)
{
    int64_t now_us = clock_monotonic_us(), took_us = now_us - self->begun_us;
    int64_t end_us = now_us + (took_us > QUERY_LOOK_MS * 1000 ? took_us : QUERY_LOOK_MS * 1000);

    if (end_us < self->page_end_us)
        self->page_end_us = end_us;
}

/* What was appended since is a result, unless the page is full without it. */
static bool keep_result(struct items_query *self, size_t before)
{
    if (self->count >= self->limit ||
        (self->count > 0 && self->page.len - self->page_start > QUERY_PAGE_BYTES)) {
        self->page.len = before;
        self->is_full = true;
        return false;
    }
    self->count++;
    if (self->take != CONTINUATION_ALL)
        self->take--;
    self->is_full = self->take == 0 || (self->count == self->limit && self->is_sure &&
                                        self->scan.row < self->scan.rows);
    if (self->count == self->limit)
        begin_look(self);
    return true;
}

bool query_append_text(struct items_query *self, struct slice json)
{
    size_t before = self->page.len;

    if (self->count > 0)
        buf_append_char(&self->page, ',');
    buf_append_slice(&self->page, json);
    return keep_result(self, before);
}

bool query_append(struct items_query *self, const cJSON *value)
{
    size_t before = self->page.len;
    int64_t start_us = clock_monotonic_us();

    if (self->count > 0)
        buf_append_char(&self->page, ',');
    value_print(&self->page, value);
    self->write_us += clock_monotonic_us() - start_us;
    return keep_result(self, before);
}

bool query_print_row(struct items_query *self, struct call *call, struct buf *out)
{
    if (self->is_whole_item) {
        item_target_print(out, call->container,
                          &(struct item_print){.stored = self->item.body,
                                               .rid = self->item.rid,
                                               .etag = self->item.etag,
                                               .ts = self->item.ts});
        return true;
    }
    const cJSON *value = rows_project(&self->rows);
    if (value != NULL)
        value_print(out, value);
    return !self->eval.has_failed;
}

bool query_append_row(struct items_query *self, struct call *call)
{
    size_t before = self->page.len;
    int64_t start_us = clock_monotonic_us();

    if (self->count > 0)
        buf_append_char(&self->page, ',');
    size_t begin = self->page.len;
    if (!query_print_row(self, call, &self->page))
        return false;
    self->write_us += clock_monotonic_us() - start_us;
    if (self->page.len > begin)
        return keep_result(self, before);
    self->page.len = before;
    return true;
}

/* ---- the answer ---- */

static double to_ms(int64_t us)
{
    return (double) us / 1000;
}

/* Source: protocol reference, section 5.2. Scripts do not run, so theirs is 0. */
static void reply_metrics(const struct items_query *self, struct call *call, size_t output_bytes)
{
    int64_t total_us = clock_monotonic_us() - self->begun_us;
    double ratio =
        self->scan.items > 0 ? (double) self->matched_items / (double) self->scan.items : 1;

    if (!header_is_true(&call->request.headers, HEADER_POPULATE_QUERY_METRICS))
        return;
    reply_header(
        &call->reply, "x-ms-documentdb-query-metrics",
        arena_printf(
            &call->op.arena,
            "totalExecutionTimeInMs=%.2f;queryCompileTimeInMs=%.2f;"
            "queryLogicalPlanBuildTimeInMs=%.2f;queryPhysicalPlanBuildTimeInMs=%.2f;"
            "queryOptimizationTimeInMs=%.2f;VMExecutionTimeInMs=%.2f;indexLookupTimeInMs=%.2f;"
            "documentLoadTimeInMs=%.2f;systemFunctionExecuteTimeInMs=%.2f;"
            "userFunctionExecuteTimeInMs=%.2f;retrievedDocumentCount=%" PRIu64
            ";retrievedDocumentSize=%" PRIu64 ";outputDocumentCount=%u;outputDocumentSize=%zu;"
            "writeOutputTimeInMs=%.2f;indexUtilizationRatio=%.2f",
            to_ms(total_us), to_ms(self->compile_us), to_ms(self->check_us), 0.0, 0.0,
            to_ms(self->eval_us), 0.0, to_ms(self->scan.waited_us), 0.0, 0.0, self->scan.items,
            self->scan.bytes, self->count, output_bytes, to_ms(self->write_us), ratio));
}

/* Sort values that are too many bytes become a digest of them. */
static bool fit_state(struct items_query *self, struct call *call)
{
    size_t bytes_max = continuation_state_max(self->token_bytes_max);
    struct sort_value values[TOPK_KEYS_MAX];
    struct buf state = {0};

    if (self->to.state.len <= bytes_max)
        return true;
    if (!sort_state_read(self->to.state, values, self->query.order_count))
        return fault_set(&call->op.fault, 500, SUB_NONE, "a position cannot be read again");
    sort_state_append(&state, values, self->query.order_count, bytes_max);
    self->to.state = slice_make(arena_copy(&call->op.arena, state.ptr, state.len), state.len);
    bool is_kept = !state.has_failed && self->to.state.ptr != NULL;
    buf_finish(&state);
    return is_kept || fault_set_oom(&call->op.fault);
}

/* Tell the client, and whoever builds indexes, what was used and what would have been. */
static void reply_indexes(struct items_query *self, struct call *call)
{
    const struct index_set *indexes = &call->container->indexes;
    const struct index_composite *composite = NULL;
    struct emit_use order = {.next = self->uses};
    const struct emit_use *uses = self->uses;

    if (self->mode == &query_ordered_mode && self->order.count == 1) {
        order.path = self->order.keys[0].path;
        order.kind = index_set_has_range(indexes, &order.path) ? EMIT_USES_RANGE : EMIT_WANTS_RANGE;
        uses = &order;
    } else if (self->mode == &query_ordered_mode) {
        composite = index_set_composite(indexes, self->order.keys, self->order.count, NULL);
    }
    index_asks_note(&call->service->index_asks, call->container, uses);
    index_metrics_reply(call, uses, composite);
}

static bool reply_continuation(struct items_query *self, struct call *call)
{
    if (!self->has_more || self->take == 0)
        return true;
    self->to.skip = self->skip;
    self->to.take = self->take;
    if (!fit_state(self, call))
        return false;
    const char *token = continuation_print(&self->to, keys_current(), &call->op.arena);
    if (token == NULL)
        return fault_set_oom(&call->op.fault);
    reply_header(&call->reply, "x-ms-continuation", token);
    return true;
}

/*
 * Did a pass over all items end before the page was full, and not for want of items? It let go of
 * rows that may be results: for want of memory, because others were left out by OFFSET, or because
 * what was kept turned out to be no result.
 */
static bool needs_pass(const struct items_query *self, const struct op *op)
{
    return self->has_more && !self->is_full && !self->mode->ends_early &&
           clock_monotonic_us() < self->page_end_us && op_time_left_ms(op) >= QUERY_TIME_LEFT_MS;
}

static enum op_next query_reply(struct op *op)
{
    struct items_query *self = op_self(op, struct items_query);
    struct call *call = call_of(op);
    size_t output_bytes = self->page.len - self->page_start;

    if (needs_pass(self, op)) {
        self->from = self->to;
        self->is_resumed = true;
        self->is_in_item = false;
        self->matched_items = self->matched_bytes = 0;
        return op_again(op, query_begin);
    }
    if (!scan_reply(&self->scan, call) || !reply_continuation(self, call))
        return OP_FAILED;
    reply_header_i64(&call->reply, &op->arena, "x-ms-item-count", self->count);
    buf_printf(&self->page, "],\"_count\":%u}", self->count);
    reply_metrics(self, call, output_bytes);
    reply_indexes(self, call);
    call->reply.charge_cru =
        charge_query_cru(self->matched_items, self->matched_bytes, output_bytes);
    return call_reply_json(op, 200, &self->page);
}
