#include "service/index_metrics.h"

#include "base/crypto.h"

#include <stdlib.h>

#include "base/banned.h"

static bool is_utilized(const struct emit_use *use)
{
    return use->kind == EMIT_USES_CONTAINMENT || use->kind == EMIT_USES_RANGE ||
           use->kind == EMIT_USES_SPATIAL;
}

static bool is_spatial(const struct emit_use *use)
{
    return use->kind == EMIT_USES_SPATIAL || use->kind == EMIT_WANTS_SPATIAL;
}

/* Has an earlier one of the same list the same path? */
static bool is_repeated(const struct emit_use *uses, const struct emit_use *use)
{
    for (; uses != use; uses = uses->next)
        if (is_utilized(uses) == is_utilized(use) && is_spatial(uses) == is_spatial(use) &&
            index_path_equals(&uses->path, &use->path))
            return true;
    return false;
}

static void append_single(struct buf *json, const struct emit_use *uses, bool utilized, bool is_v2)
{
    bool is_first = true;

    for (const struct emit_use *use = uses; use != NULL; use = use->next) {
        struct buf spec = {0};
        if (is_utilized(use) != utilized || is_repeated(uses, use))
            continue;
        index_path_append(&spec, &use->path);
        buf_append_text(&spec, is_spatial(use) ? "/*" : "/?"); /* as policies write them */
        buf_append_text(json, is_first ? "" : ",");
        is_first = false;
        buf_append_text(json,
                        is_v2 ? "{\"IndexSpec\":" : "{\"FilterExpression\":\"\",\"IndexSpec\":");
        buf_append_json_string(json, buf_slice(&spec));
        buf_append_text(json, is_v2 ? "}"
                                    : ",\"FilterPreciseSet\":true,\"IndexPreciseSet\":true,"
                                      "\"IndexImpactScore\":\"High\"}");
        json->has_failed = json->has_failed || spec.has_failed;
        buf_finish(&spec);
    }
}

static void append_composite(struct buf *json, const struct index_composite *composite, bool is_v2)
{
    if (composite == NULL)
        return;
    buf_append_text(json, "{\"IndexSpecs\":[");
    for (size_t i = 0; i < composite->count; i++) {
        struct buf spec = {0};
        index_path_append(&spec, &composite->keys[i].path);
        buf_append_text(&spec, composite->keys[i].is_descending ? " DESC" : " ASC");
        buf_append_text(json, i > 0 ? "," : "");
        buf_append_json_string(json, buf_slice(&spec));
        json->has_failed = json->has_failed || spec.has_failed;
        buf_finish(&spec);
    }
    buf_append_text(json,
                    is_v2 ? "]}" : "],\"IndexPreciseSet\":true,\"IndexImpactScore\":\"High\"}");
}

static void append_v1(struct buf *json, const struct emit_use *uses,
                      const struct index_composite *composite)
{
    buf_append_text(json, "{\"UtilizedSingleIndexes\":[");
    append_single(json, uses, true, false);
    buf_append_text(json, "],\"PotentialSingleIndexes\":[");
    append_single(json, uses, false, false);
    buf_append_text(json, "],\"UtilizedCompositeIndexes\":[");
    append_composite(json, composite, false);
    buf_append_text(json, "],\"PotentialCompositeIndexes\":[]}");
}

static void append_v2(struct buf *json, const struct emit_use *uses,
                      const struct index_composite *composite)
{
    buf_append_text(json, "{\"UtilizedIndexes\":{\"SingleIndexes\":[");
    append_single(json, uses, true, true);
    buf_append_text(json, "],\"CompositeIndexes\":[");
    append_composite(json, composite, true);
    buf_append_text(json, "]},\"PotentialIndexes\":{\"SingleIndexes\":[");
    append_single(json, uses, false, true);
    buf_append_text(json, "],\"CompositeIndexes\":[]}}");
}

static void append_encoded(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char) text.ptr[i];
        bool is_plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (is_plain)
            buf_append_char(out, (char) c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

void index_metrics_reply(struct call *call, const struct emit_use *uses,
                         const struct index_composite *composite)
{
    const struct headers *headers = &call->request.headers;
    bool is_v2 = header_is_true(headers, HEADER_POPULATE_INDEX_METRICS_V2);
    struct arena *arena = &call->op.arena;
    struct buf json = {0}, encoded = {0};
    char *text = NULL;

    if (!is_v2 && !header_is_true(headers, HEADER_POPULATE_INDEX_METRICS))
        return;
    if (is_v2) {
        append_v2(&json, uses, composite);
        append_encoded(&encoded, buf_slice(&json));
        text = json.has_failed || encoded.has_failed ? NULL
                                                     : arena_copy(arena, encoded.ptr, encoded.len);
    } else {
        append_v1(&json, uses, composite);
        text = json.has_failed ? NULL : arena_alloc(arena, BASE64_LEN(json.len) + 1);
        if (text != NULL) {
            base64_encode(json.ptr, json.len, text);
            text[BASE64_LEN(json.len)] = '\0';
        }
    }
    reply_header(&call->reply, "x-ms-cosmos-index-utilization", text);
    buf_finish(&json);
    buf_finish(&encoded);
}
