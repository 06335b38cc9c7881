#include "service/feed_select.h"

#include <string.h>

#include "base/banned.h"

#define FILTER_ARENA_BYTES (4u << 20)

void feed_append(struct buf *page, unsigned *count, struct slice element)
{
    if ((*count)++ > 0)
        buf_append_char(page, ',');
    buf_append_slice(page, element);
}

bool feed_select(struct buf *page, unsigned *count, const struct filter *filter,
                 struct slice printed, struct fault *fault)
{
    struct arena arena;
    const cJSON *value;
    bool matches = false;
    cJSON *document = cJSON_ParseWithLength(printed.ptr, printed.len);

    if (document == NULL)
        return fault_set_oom(fault);
    arena_init(&arena, FILTER_ARENA_BYTES);
    bool is_done = filter_matches(filter, document, &arena, &matches, fault);
    if (is_done && matches && (is_done = filter_project(filter, document, &arena, &value, fault)) &&
        value != NULL) {
        char *text = value == document ? NULL : cJSON_PrintUnformatted(value);
        if (value == document)
            feed_append(page, count, printed);
        else if (text != NULL)
            feed_append(page, count, slice_from_text(text));
        else
            is_done = fault_set_oom(fault);
        cJSON_free(text);
    }
    arena_finish(&arena);
    cJSON_Delete(document);
    return is_done;
}
