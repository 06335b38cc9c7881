#include "replica/call.h"

#include "base/clock.h"
#include "base/keys.h"
#include "model/authtoken.h"
#include "model/complaint.h"
#include "replica/faults.h"
#include "store/regions.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/banned.h"

#define ORDINALS 256
/* Clocks closer than this sign for each other: requests may be 15 minutes old. */
#define CLOCKS_AGREE_S 60

static op_step call_answered; /* learn the peer's clock, go on */

struct call_state {
    op_step *next;
    unsigned ordinal;
};

/* By ordinal. Written by whichever loop hears from the region. */
static _Atomic int64_t clock_ahead_s[ORDINALS];

int64_t replica_clock_ahead_s(unsigned ordinal)
{
    return ordinal < ORDINALS ? atomic_load_explicit(&clock_ahead_s[ordinal], memory_order_relaxed)
                              : 0;
}

static struct slice url_of(unsigned ordinal)
{
    const struct regions *regions = regions_current();

    for (unsigned i = 0; i < regions->topology.region_count; i++) {
        if (regions->topology.regions[i].ordinal == ordinal)
            return regions->peer_url[i];
    }
    return (struct slice){NULL, 0};
}

/* "authorization: …" in the arena; NULL without memory. */
static const char *sign(struct arena *arena, bool is_get, const char *date)
{
    const struct key *key = &keys_current()->key[KEY_PRIMARY];
    struct authtoken_request request = {.method = slice_from_text(is_get ? "GET" : "POST"),
                                        .resource_type = SLICE_LITERAL(""),
                                        .link = SLICE_LITERAL(""),
                                        .ms_date = slice_from_text(date)};
    struct buf token = {0};

    buf_append_text(&token, "authorization: ");
    authtoken_sign(&token, slice_make((const char *) key->bytes, key->len), &request);
    const char *kept = token.has_failed ? NULL : arena_copy(arena, token.ptr, token.len);
    buf_finish(&token);
    return kept;
}

/* A request may be held for long: what happens to its answer is decided when it comes. */
static void way_back(struct peer_way *way, void *tag)
{
    const struct call_state *state = tag;
    struct link_verdict verdict = faults_of_message(state->ordinal, regions_current()->self);

    *way = (struct peer_way){.delay_ms = (int) verdict.delay_ms, .is_lost = verdict.is_lost};
}

enum op_next replica_call(struct peers *peers, struct op *op, const struct replica_request *request,
                          op_step *next)
{
    struct call_state *state = arena_alloc(&op->arena, sizeof(*state));
    struct slice url = request->ordinal != 0 ? url_of(request->ordinal) : request->url;
    char date[CLOCK_HTTP_DATE_BYTES];
    int64_t ahead_s = replica_clock_ahead_s(request->ordinal);

    if (slice_is_absent(url)) {
        fault_set(&op->fault, 503, SUB_NONE, "it is not known where region %u is reached",
                  request->ordinal);
        return OP_FAILED;
    }
    if (ahead_s > -CLOCKS_AGREE_S && ahead_s < CLOCKS_AGREE_S)
        ahead_s = 0;
    clock_format_http(clock_unix_s() + ahead_s, date);
    const char *headers[] = {sign(&op->arena, request->is_get, date),
                             arena_printf(&op->arena, "x-ms-date: %s", date),
                             request->is_binary ? "content-type: application/octet-stream"
                                                : "content-type: application/json",
                             NULL};
    struct peer_request call = {
        .url = arena_printf(&op->arena, "%.*s%s", (int) url.len, url.ptr, request->path),
        .timeout_ms = request->timeout_ms,
        .body_max_bytes = request->answer_bytes_max,
        .is_post = !request->is_get,
        .body = request->body,
        .headers = headers,
        .tag = state};
    struct peer_request twice[2];
    struct link_verdict verdict = {0};
    if (state == NULL || headers[0] == NULL || headers[1] == NULL || call.url == NULL) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    *state = (struct call_state){.next = next, .ordinal = request->ordinal};
    if (!request->passes_faults && request->ordinal != 0) {
        verdict = faults_of_message(regions_current()->self, request->ordinal);
        call.way_there =
            (struct peer_way){.delay_ms = (int) verdict.delay_ms, .is_lost = verdict.is_lost};
        call.way_back = way_back;
    }
    twice[0] = twice[1] = call;
    return peer_ask_all(peers, op, twice, verdict.is_duplicated ? 2 : 1, call_answered);
}

static enum op_next call_answered(struct op *op)
{
    const struct call_state *state = peer_tag(op, 0);
    const struct peer_answer *answer = peer_answer(op, 0);

    if (answer->date_s != 0 && state->ordinal < ORDINALS)
        atomic_store_explicit(&clock_ahead_s[state->ordinal], answer->date_s - clock_unix_s(),
                              memory_order_relaxed);
    return op_again(op, state->next);
}

const struct peer_answer *replica_answer(const struct op *op)
{
    return peer_answer(op, 0);
}

const char *replica_complaint(struct op *op)
{
    const struct peer_answer *answer = replica_answer(op);
    char text[COMPLAINT_BYTES];

    if (answer->error != NULL)
        return answer->error;
    (void) complaint_read(answer->body, text, sizeof(text));
    const char *complaint = arena_printf(&op->arena, "status %u: %s", answer->status, text);
    return complaint != NULL ? complaint : "no memory";
}
