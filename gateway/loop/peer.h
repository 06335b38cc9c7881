/*
 * HTTP calls to other regions, inside a loop.
 *
 * One set of peers per loop: one libcurl multi handle whose sockets and timer are the loop's, with
 * connections kept between calls. An op asks one or several peers at once and goes on when all of
 * them have answered or failed; each call has its own bound of time and of bytes, so one slow peer
 * costs its timeout and no more. This file is the only door to libcurl.
 *
 * Certificates of https peers are always verified. Redirects are not followed, proxies of the
 * environment are not used: a peer is who the operator named.
 */
#ifndef ORRERY_LOOP_PEER_H
#define ORRERY_LOOP_PEER_H

#include "base/list.h"
#include "base/slice.h"
#include "loop/op.h"

/* Calls of one loop at a time; what is asked beyond is refused. */
#define PEER_CALLS_MAX 1024
/* Connections of one loop, to one peer and to all. Calls beyond wait, within their timeout. */
#define PEER_HOST_CONNECTIONS_MAX 8
#define PEER_CONNECTIONS_MAX 32

struct peer_options {
    const char *ca_file;       /* PEM, borrowed as the others; NULL: the system's authorities */
    const char *cert_file;     /* PEM, shown to peers that want to see one; NULL: none */
    const char *cert_key_file; /* PEM; NULL: in cert_file */
    int connect_timeout_ms;    /* at least 1 */
};

struct peers {
    struct loop *loop;
    struct peer_options options;
    void *multi;           /* libcurl's */
    struct list sockets;   /* that libcurl wants watched */
    struct list running;   /* calls in flight */
    struct list idle;      /* handles of earlier calls */
    unsigned calls, idles; /* how many are in the two */
    struct loop_timer timer;
    struct loop_hook hook;
    bool is_due; /* libcurl wants to run at once */
    bool is_finishing;
};

/*
 * What a disturbed link does to a request or an answer. What is lost is noticed as a connection
 * that cannot be made is. Zero: undisturbed.
 */
struct peer_way {
    int delay_ms; /* how long it is on its way besides */
    bool is_lost;
};

/* What happens to an answer that is here now; the way is undisturbed unless it is changed. */
typedef void peer_way_back(struct peer_way *way, void *tag);

struct peer_request {
    const char *url; /* http or https; borrowed until the call is made */
    int timeout_ms;  /* all of it, connecting included; at least 1, cut at the op's deadline */
    size_t body_max_bytes; /* of the answer */
    bool is_post;
    struct slice body;          /* of a POST; as long as the op */
    const char *const *headers; /* "name: value", NULL at the end; borrowed until the call is made,
                                   NULL for none */
    void *tag;                  /* the asker's, for peer_tag */
    struct peer_way way_there;
    peer_way_back *way_back; /* NULL: undisturbed. Its delay is not part of the timeout */
};

struct peer_answer {
    unsigned status;   /* of HTTP; 0 when there is no whole answer, and error says why */
    struct slice body; /* as long as the op; empty without a whole answer */
    const char *error; /* lower case, for people; NULL with a status */
    int64_t date_s;    /* the peer's clock, by its header date; 0 when it gave none */
    int64_t took_us;   /* until the answer, or until it was given up */
};

/* The options' texts are borrowed. Returns false without memory. peers_finish is due either way. */
bool peers_init(struct peers *peers, struct loop *loop,
                const struct peer_options *options) MUST_CHECK;

/*
 * Give up what is in flight (the ops learn it as an error of each call), close connections. Zeroed
 * memory is accepted. Ops that go on meanwhile cannot ask again.
 */
void peers_finish(struct peers *peers);

/*
 * Ask; the next step finds the answer by peer_answer. A peer that does not answer is no fault of
 * the op: its answer holds the error.
 *
 * fault  503 without memory, with too many calls in flight, or while peers_finish runs
 */
enum op_next peer_ask(struct peers *peers, struct op *op, const struct peer_request *request,
                      op_step *next);

/* The same for several at once; the next step runs when all have answered or failed. */
enum op_next peer_ask_all(struct peers *peers, struct op *op, const struct peer_request *requests,
                          unsigned count, op_step *next);

/* For the step after peer_ask, and index 0…count-1 after peer_ask_all. */
const struct peer_answer *peer_answer(const struct op *op, unsigned index);
void *peer_tag(const struct op *op, unsigned index);

#endif
