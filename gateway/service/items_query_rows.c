/*
 * Rows as they come: range after range, item after item. A continuation holds the last item, and
 * how many rows it gave when it gave not all.
 */
#include "service/items_query.h"

#include "base/banned.h"

static bool rows_begin_page(struct items_query *self, struct call *call,
                            const struct continuation *from)
{
    (void) call;
    self->resumed_rid = self->resumed_row = 0;
    if (from == NULL)
        return true;
    self->scan.after = from->rid;
    if (from->row > 0) {
        self->resumed_rid = from->rid;
        self->resumed_row = from->row;
        self->scan.after--; /* it is read again */
    }
    return true;
}

static bool rows_take(struct items_query *self, struct call *call)
{
    /* The item may have changed since, and its rows with it; their number is all that is known. */
    if (self->row < self->resumed_row && self->item.rid == self->resumed_rid)
        return true;
    return query_skips(self) || query_append_row(self, call);
}

static bool rows_finish(struct items_query *self, struct call *call)
{
    self->to.range = call->container->ranges[self->scan.range].index;
    self->to.row = self->is_in_item ? self->row : 0;
    /* An item of which nothing was given, because the page had no room, is read again. */
    self->to.rid = self->scan.after - (self->is_in_item && self->row == 0);
    return true;
}

const struct query_mode query_rows_mode = {
    .kind = CONTINUATION_ROWS,
    .ends_early = true,
    .begin = rows_begin_page,
    .take = rows_take,
    .finish = rows_finish,
};
