#include "store/epochs.h"

#include "base/clock.h"
#include "model/json.h"

#include <assert.h>

#include "base/banned.h"

/* Ranges that one statement opens: it holds their locks. */
#define OPEN_AT_ONCE 64
/* Stranded transactions that one statement decides, for the same reason. */
#define RESOLVE_AT_ONCE 32
#define ANSWER_DEPTH_MAX 16

static struct pgio_statement statement(unsigned number, const char *sql)
{
    return (struct pgio_statement){.key = store_statement_key(STATEMENT_EPOCHS, number),
                                   .sql = sql};
}

static bool keep(struct op *op, struct slice *text, int column)
{
    struct slice value = pgio_value(op->result, 0, column);

    text->ptr = arena_copy(&op->arena, value.ptr, value.len);
    text->len = value.len;
    return text->ptr != NULL || fault_set_oom(&op->fault);
}

/* ---- what this region knows and is asked ---- */

enum op_next epochs_tell(struct store *store, struct op *op, op_step *next)
{
    struct pgio_statement tell = statement(1, "select orrery.epochs_tell()");
    struct pgparams params = {0};

    return store_query(store, op, STORE_READS, &tell, &params, next);
}

bool epochs_told(struct op *op, struct slice *members)
{
    if (!store_check(op, STORE_READS) || !keep(op, members, 0))
        return false;
    assert(members->len >= 2);
    *members = slice_make(members->ptr + 1, members->len - 2);
    return true;
}

enum op_next epochs_do(struct store *store, struct op *op, struct slice message, op_step *next)
{
    struct pgio_statement ask = statement(2, "select orrery.epoch_do($1)");
    struct pgparams params = {0};

    pgparams_text(&params, message);
    return store_query(store, op, STORE_CHANGES, &ask, &params, next);
}

bool epochs_done(struct op *op, struct slice *answer)
{
    struct slice refused, why;
    struct json_text text;

    if (!store_check(op, STORE_CHANGES) || !keep(op, answer, 0) ||
        !json_validate(*answer, ANSWER_DEPTH_MAX, &text, &op->fault))
        return false;
    if (!json_find(text.root, SLICE_LITERAL("refused"), &refused) ||
        json_type(refused) != JSON_STRING)
        return true;
    return json_string_decode(refused, &op->arena, &why, &op->fault) &&
           fault_set(&op->fault, 409, SUB_NONE, "%.*s", (int) why.len, why.ptr);
}

/* ---- beginning ---- */

enum op_next epochs_propose(struct store *store, struct op *op, op_step *next)
{
    struct pgio_statement propose = statement(3, "select orrery.epoch_propose()");
    struct pgparams params = {0};

    return store_query(store, op, STORE_CHANGES, &propose, &params, next);
}

bool epochs_proposed(struct op *op, int64_t *epoch)
{
    if (!store_check(op, STORE_CHANGES))
        return false;
    *epoch = pgio_int8(op->result, 0, 0);
    return true;
}

static void put_document(struct pgparams *params, const struct topology *topology)
{
    struct buf text = {0};

    topology_print(&text, topology);
    pgparams_text(params, buf_slice(&text));
    params->bytes.has_failed |= text.has_failed;
    buf_finish(&text);
}

enum op_next epochs_begin(struct store *store, struct op *op, const struct change *change,
                          const struct change_plan *plan, const struct topology *before,
                          op_step *next)
{
    struct pgio_statement begin =
        statement(4, "select orrery.change_begin($1, $2, $3, $4::int, $5, $6, $7)");
    struct pgparams params = {0};

    pgparams_text(&params, slice_from_text(change_name(change->kind)));
    put_document(&params, &plan->next);
    pgparams_array_begin(&params, PG_INT2_ARRAY);
    for (unsigned i = 0; i < plan->fence_count; i++)
        pgparams_add_int2(&params, (int16_t) plan->fence[i]);
    pgparams_array_end(&params);
    pgparams_int8(&params, plan->needed);
    pgparams_text(&params, slice_from_text(plan->fence_count > 0 ? "catching-up" : "closing"));
    pgparams_bool(&params, change->is_forced);
    put_document(&params, before);
    return store_query(store, op, STORE_CHANGES, &begin, &params, next);
}

bool epochs_begun(struct op *op)
{
    if (!store_check(op, STORE_CHANGES))
        return false;
    if (pgio_is_null(op->result, 0, 0))
        return true;
    return fault_set(&op->fault, 409, SUB_NONE, "%.*s", FAULT_QUOTE(pgio_value(op->result, 0, 0)));
}

/* ---- carrying out ---- */

enum op_next epochs_ask_under_way(struct store *store, struct op *op, op_step *next)
{
    struct pgio_statement under_way =
        statement(13, "select c.epoch, c.fence <> '{}' and c.stage in ('catching-up', 'closing', "
                      "'accepting') from orrery.changes c where c.ended_at is null "
                      "order by c.epoch desc limit 1");
    struct pgparams params = {0};

    return store_query(store, op, STORE_READS, &under_way, &params, next);
}

bool epochs_under_way(struct op *op, int64_t *epoch, bool *is_fencing)
{
    if (!store_check(op, STORE_READS))
        return false;
    bool is_there = pgio_row_count(op->result) > 0;
    *epoch = is_there ? pgio_int8(op->result, 0, 0) : 0;
    *is_fencing = is_there && pgio_bool(op->result, 0, 1);
    return true;
}

enum op_next epochs_take(struct store *store, struct op *op, int64_t holder, op_step *next)
{
    struct pgio_statement take = statement(
        5, "select c.epoch, c.kind, c.document, c.stage, c.needed::bigint, c.age_ms, "
           "c.fence::bigint[], c.accepted::bigint[], c.level from orrery.change_take($1) c");
    struct pgparams params = {0};

    pgparams_int8(&params, holder);
    return store_query(store, op, STORE_CHANGES, &take, &params, next);
}

bool epochs_taken(struct op *op, struct epochs_change *change, bool *is_there)
{
    *change = (struct epochs_change){0};
    if (!store_check(op, STORE_CHANGES))
        return false;
    *is_there = pgio_row_count(op->result) > 0;
    if (!*is_there)
        return true;
    change->epoch = pgio_int8(op->result, 0, 0);
    change->needed = pgio_int8(op->result, 0, 4);
    change->age_ms = pgio_int8(op->result, 0, 5);
    change->fence_count =
        pgvalue_int8_array(pgio_value(op->result, 0, 6), change->fence, ARRAY_LEN(change->fence));
    change->accepted_count = pgvalue_int8_array(pgio_value(op->result, 0, 7), change->accepted,
                                                ARRAY_LEN(change->accepted));
    return keep(op, &change->kind, 1) && keep(op, &change->document, 2) &&
           keep(op, &change->stage, 3) && keep(op, &change->level, 8);
}

enum op_next epochs_go(struct store *store, struct op *op, int64_t epoch, const char *stage,
                       const char *note, op_step *next)
{
    struct pgio_statement go = statement(6, "select orrery.change_go($1, $2, $3)");
    struct pgparams params = {0};

    pgparams_int8(&params, epoch);
    pgparams_text(&params, slice_from_text(stage));
    pgparams_text(&params, slice_from_text(note));
    return store_query(store, op, STORE_CHANGES, &go, &params, next);
}

enum op_next epochs_accepted(struct store *store, struct op *op, int64_t epoch, unsigned region,
                             struct slice answer, op_step *next)
{
    struct pgio_statement accepted =
        statement(7, "insert into orrery.acceptances (epoch, region, ranges) "
                     "values ($1, $2::smallint, $3::json -> 'ranges') "
                     "on conflict (epoch, region) do update set ranges = excluded.ranges");
    struct pgparams params = {0};

    pgparams_int8(&params, epoch);
    pgparams_int8(&params, region);
    pgparams_text(&params, answer);
    return store_query(store, op, STORE_CHANGES, &accepted, &params, next);
}

enum op_next epochs_ask_lacking(struct store *store, struct op *op, int64_t epoch, op_step *next)
{
    struct pgio_statement lacking = statement(8, "select orrery.change_lacking($1)");
    struct pgparams params = {0};

    pgparams_int8(&params, epoch);
    return store_query(store, op, STORE_READS, &lacking, &params, next);
}

enum op_next epochs_ask_catching_up(struct store *store, struct op *op, int64_t epoch,
                                    op_step *next)
{
    struct pgio_statement lacking =
        statement(9, "select coalesce((select orrery.change_catching_up($1)), -1)");
    struct pgparams params = {0};

    pgparams_int8(&params, epoch);
    return store_query(store, op, STORE_READS, &lacking, &params, next);
}

enum op_next epochs_ask_joined(struct store *store, struct op *op, unsigned region,
                               struct slice answer, op_step *next)
{
    struct pgio_statement look =
        statement(11, "select orrery.join_look($1::smallint, $2::json -> 'ranges')");
    struct pgparams params = {0};

    pgparams_int4(&params, (int32_t) region);
    pgparams_text(&params, answer);
    return store_query(store, op, STORE_CHANGES, &look, &params, next);
}

enum op_next epochs_ask_left_behind(struct store *store, struct op *op, int64_t silent_s,
                                    op_step *next)
{
    struct pgio_statement ask =
        statement(13, "select coalesce(orrery.region_left_behind($1), 0)::bigint");
    struct pgparams params = {0};

    pgparams_int8(&params, silent_s);
    return store_query(store, op, STORE_READS, &ask, &params, next);
}

enum op_next epochs_ask_first(struct store *store, struct op *op, op_step *next)
{
    struct pgio_statement first =
        statement(12, "select t.document::text from orrery.topology t order by t.epoch limit 1");
    struct pgparams params = {0};

    return store_query(store, op, STORE_READS, &first, &params, next);
}

bool epochs_first(struct op *op, struct slice *document)
{
    return store_check(op, STORE_READS) && keep(op, document, 0);
}

enum op_next epochs_open(struct store *store, struct op *op, int64_t epoch, op_step *next)
{
    struct pgio_statement open =
        statement(10, "select coalesce(orrery.change_open($1, $2, $3::int), -1)");
    struct pgparams params = {0};

    pgparams_int8(&params, epoch);
    pgparams_int8(&params, clock_unix_s());
    pgparams_int8(&params, OPEN_AT_ONCE);
    return store_query(store, op, STORE_CHANGES, &open, &params, next);
}

enum op_next epochs_resolve(struct store *store, struct op *op, op_step *next)
{
    struct pgio_statement resolve = statement(
        13, "select r.range_id, r.origin, r.outcome = 'merged', r.transactions, r.entries "
            "from orrery.stranded_resolve($1, $2::int) r");
    struct pgparams params = {0};

    pgparams_int8(&params, clock_unix_s());
    pgparams_int8(&params, RESOLVE_AT_ONCE);
    return store_query(store, op, STORE_CHANGES, &resolve, &params, next);
}

bool epochs_resolved_count(struct op *op, int *count)
{
    if (!store_check(op, STORE_CHANGES))
        return false;
    *count = pgio_row_count(op->result);
    return true;
}

void epochs_resolved_row(const struct op *op, int row, struct epochs_resolved *resolved)
{
    resolved->range_id = pgio_int8(op->result, row, 0);
    resolved->origin = (unsigned) pgio_int2(op->result, row, 1);
    resolved->is_merged = pgio_bool(op->result, row, 2);
    resolved->transactions = pgio_int8(op->result, row, 3);
    resolved->entries = pgio_int8(op->result, row, 4);
}

bool epochs_number(struct op *op, int64_t *number)
{
    *number = 0;
    if (!store_check(op, STORE_CHANGES))
        return false;
    if (pgio_row_count(op->result) > 0 && pgio_value(op->result, 0, 0).len == sizeof(int64_t))
        *number = pgio_int8(op->result, 0, 0);
    return true;
}
