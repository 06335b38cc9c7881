#include "store/digest.h"

#include "loop/pgsession.h"

#include "base/banned.h"

#define CONNECT_TIMEOUT_S 10

/* Metadata are items of container 0 (docs/architecture.md section 3). Dropped containers have no
 * tables. */
static const char ranges_sql[] =
    "with containers as ("
    " select 0::bigint as number, '(account)' as name"
    " union all"
    " select c.rid, d.id || '/' || c.id from orrery.items_0 d"
    " join orrery.items_0 c on c.pk = convert_to('colls/' || d.rid, 'UTF8') and not c.deleted"
    " where d.pk = 'dbs'::bytea and not d.deleted)"
    " select r.range_id, n.name, r.index from orrery.ranges r join containers n on n.number = "
    "r.container"
    " where ($1::text is null or n.name = $1) and r.state not in ('gone', 'dropped')"
    " order by r.range_id";

/* One statement, so that the three answers are of one snapshot. */
static const char digest_sql[] =
    "select orrery.range_digest($1::bigint), orrery.range_fold_digest($1::bigint),"
    " (select string_agg(p, '; ') from orrery.range_problems($1::bigint) p)";

static bool tell_range(struct pgsession *session, struct digest_range *range, digest_fn *tell,
                       void *argument, struct fault *fault)
{
    struct pgrows *rows = pgsession_query(session, digest_sql, &range->range_id, 1, fault);

    if (rows == NULL)
        return false;
    range->items = pgrows_text(rows, 0, 0);
    range->fold = pgrows_text(rows, 0, 1);
    range->problems = pgrows_text(rows, 0, 2);
    range->is_good = range->problems == NULL && range->items != NULL && range->fold != NULL &&
                     strcmp(range->items, range->fold) == 0;
    tell(argument, range);
    pgrows_free(rows);
    return true;
}

bool digest_ranges(const char *url, const char *container, digest_fn *tell, void *argument,
                   struct fault *fault)
{
    struct pgrows *rows = NULL;
    bool is_done = false;

    struct pgsession *session =
        pgsession_open(url, "orrery account digest", CONNECT_TIMEOUT_S, fault);
    if (session != NULL)
        rows = pgsession_query(session, ranges_sql, &container, 1, fault);
    if (rows != NULL) {
        is_done = pgrows_count(rows) > 0 ||
                  fault_set(fault, 404, SUB_NONE, "container \"%s\" does not exist",
                            container != NULL ? container : "");
        for (int i = 0; is_done && i < pgrows_count(rows); i++) {
            struct digest_range range = {pgrows_text(rows, i, 0), pgrows_text(rows, i, 1),
                                         pgrows_text(rows, i, 2)};
            is_done = tell_range(session, &range, tell, argument, fault);
        }
    }
    pgrows_free(rows);
    pgsession_close(session);
    return is_done;
}
