/* The loop, its ops, and calls to peers against a small server in a thread. */
#include "loop/loop.h"
#include "base/buf.h"
#include "loop/op.h"
#include "loop/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define TURNS_MAX_MS 20000

static struct loop loop;

static int begin(void **state)
{
    (void) state;
    return loop_init(&loop);
}

static int end(void **state)
{
    (void) state;
    loop_finish(&loop);
    return 0;
}

static void turn_until(const int *count, int wanted)
{
    for (int64_t start_ms = loop.now_ms; *count < wanted && loop.now_ms - start_ms < TURNS_MAX_MS;)
        loop_turn(&loop, 10);
    assert_int_equal(*count, wanted);
}

/* ---- timers ---- */

static struct loop_timer first, second;
static int fired, order[4];

static void fire(struct loop_timer *timer)
{
    order[fired++] = timer == &first ? 1 : 2;
}

static void timers_fire_once_in_order_and_never_early(void **state)
{
    (void) state;
    fired = 0;
    loop_timer_init(&first, fire);
    loop_timer_init(&second, fire);
    loop_turn(&loop, 0);
    int64_t begun_ms = loop.now_ms;
    loop_timer_arm(&loop, &second, 60);
    loop_timer_arm(&loop, &first, 10);
    turn_until(&fired, 2);
    assert_true(loop.now_ms - begun_ms >= 60);
    assert_int_equal(order[0], 1);
    assert_int_equal(order[1], 2);
    assert_false(loop_timer_is_armed(&first));
    loop_timer_arm(&loop, &first, 5);
    loop_timer_disarm(&loop, &first);
    loop_timer_disarm(&loop, &first);
    for (int i = 0; i < 5; i++)
        loop_turn(&loop, 10);
    assert_int_equal(fired, 2);
}

/* ---- messages ---- */

static int received;

static void receive(struct loop_message *message)
{
    received++;
    free(message);
}

static void *post_many(void *unused)
{
    (void) unused;
    for (int i = 0; i < 100; i++) {
        struct loop_message *message = calloc(1, sizeof(*message));
        message->run = receive;
        loop_post(&loop, message);
    }
    return NULL;
}

static void messages_of_other_threads_run_once_each(void **state)
{
    pthread_t threads[3];

    (void) state;
    received = 0;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, NULL), 0);
    turn_until(&received, 300);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    loop_turn(&loop, 0);
    assert_int_equal(received, 300);
}

/* ---- watches ---- */

static struct loop_watch watches[2];
static int called;

static void remove_both(struct loop_watch *watch, uint32_t events)
{
    (void) watch;
    assert_true((events & EPOLLIN) != 0);
    called++;
    loop_watch_set(&loop, &watches[0], 0);
    loop_watch_set(&loop, &watches[1], 0);
}

static void a_watch_removed_during_dispatch_is_not_called(void **state)
{
    int pipes[2][2];

    (void) state;
    called = 0;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pipe(pipes[i]), 0);
        assert_int_equal(write(pipes[i][1], "x", 1), 1);
        watches[i] = (struct loop_watch){.fd = pipes[i][0], .ready = remove_both};
        assert_int_equal(loop_watch_set(&loop, &watches[i], EPOLLIN), 0);
    }
    loop_turn(&loop, 100);
    loop_turn(&loop, 0);
    assert_int_equal(called, 1);
    for (int i = 0; i < 2; i++) {
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
}

/* ---- ops ---- */

static int answered, released, stepped;
static struct fault last_fault;

static void note_answer(struct op *op)
{
    answered++;
    last_fault = op->fault;
}

static void note_release(struct op *op)
{
    released++;
    arena_finish(&op->arena);
    free(op);
}

static struct op *make_op(void)
{
    struct op *op = calloc(1, sizeof(*op));

    answered = released = stepped = 0;
    op_init(op, &loop, 1 << 20, note_answer, note_release);
    return op;
}

static enum op_next step_done(struct op *op)
{
    (void) op;
    stepped++;
    return OP_DONE;
}

static enum op_next step_write(struct op *op)
{
    return op_wait(op, OP_WAITS_WRITE, step_done);
}

static struct list queue;

static enum op_next step_queue(struct op *op)
{
    list_append(&queue, &op->place);
    return op_wait(op, OP_WAITS_QUEUED, step_done);
}

static void an_op_is_answered_once_and_then_freed(void **state)
{
    struct op *op = make_op();

    (void) state;
    op_start(op, step_write, 10000);
    assert_int_equal(answered, 0);
    op_resume(op);
    assert_int_equal(stepped, 1);
    assert_int_equal(answered, 1);
    assert_int_equal(released, 1);
    assert_int_equal(last_fault.status, 0);
}

static void a_write_past_its_deadline_is_unknown_and_lives_on(void **state)
{
    struct op *op = make_op();

    (void) state;
    op_start(op, step_write, 10);
    turn_until(&answered, 1);
    assert_int_equal(last_fault.status, 408);
    assert_int_equal(released, 0);
    op_resume(op);
    assert_int_equal(stepped, 0);
    assert_int_equal(answered, 1);
    assert_int_equal(released, 1);
}

static void a_queued_op_that_expires_leaves_its_queue(void **state)
{
    (void) state;
    list_init(&queue);
    struct op *op = make_op();
    op_start(op, step_queue, 10000);
    assert_false(list_is_empty(&queue));
    op_expire(op);
    assert_true(list_is_empty(&queue));
    assert_int_equal(last_fault.status, 503);
    assert_int_equal(answered, 1);
    assert_int_equal(released, 1);
}

static int pieces;

static enum op_next step_piece(struct op *op)
{
    stepped++;
    return stepped < pieces ? op_yield(op, step_piece) : OP_DONE;
}

static int slices_of[2], finished;

static void note_slice(struct loop_task *task);
static struct loop_task computations[2] = {{.run = note_slice}, {.run = note_slice}};

static void note_slice(struct loop_task *task)
{
    int which = task == &computations[1];

    if (++slices_of[which] < 5)
        loop_defer(&loop, task, note_slice);
    else
        finished++;
}

static void computations_take_turns(void **state)
{
    (void) state;
    finished = slices_of[0] = slices_of[1] = 0;
    loop_defer(&loop, &computations[0], note_slice);
    loop_defer(&loop, &computations[1], note_slice);
    while (finished < 2) {
        int before = slices_of[0] + slices_of[1];
        loop_turn(&loop, -1); /* does not wait: there is something to do */
        assert_int_equal(slices_of[0] + slices_of[1], before + 1);
        assert_true(abs(slices_of[0] - slices_of[1]) <= 1);
    }
}

static void an_op_that_yields_goes_on(void **state)
{
    (void) state;
    pieces = 4;
    op_start(make_op(), step_piece, 10000);
    assert_int_equal(stepped, 1);
    turn_until(&answered, 1);
    assert_int_equal(stepped, 4);
    assert_int_equal(last_fault.status, 0);
    assert_int_equal(released, 1);
}

static void an_op_that_yields_ends_with_its_deadline(void **state)
{
    (void) state;
    pieces = 1000000000;
    op_start(make_op(), step_piece, 20);
    turn_until(&answered, 1);
    assert_int_equal(last_fault.status, 503);
    turn_until(&released, 1);
    int until = stepped;
    loop_turn(&loop, 0);
    assert_int_equal(stepped, until);
}

/* ---- peers ---- */

/* What the server does is said by the path: /ok, /large, /hang, /headers, /cut. */
struct server {
    int fd, port, accepted;
    _Atomic int requests;
    pthread_t thread;
};

static struct server server;
static struct peers peers;

static void send_text(int fd, const char *text)
{
    ssize_t sent = send(fd, text, strlen(text), MSG_NOSIGNAL);
    (void) sent;
}

/* Until the client is gone; a connection is kept for several requests. */
static void *serve_one(void *argument)
{
    int fd = (int) (intptr_t) argument;
    char bytes[4096];
    ssize_t len;

    while ((len = recv(fd, bytes, sizeof(bytes) - 1, 0)) > 0) {
        bytes[len] = '\0';
        server.requests++;
        if (strncmp(bytes, "GET /ok ", 8) == 0) {
            send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        } else if (strncmp(bytes, "GET /large ", 11) == 0) {
            send_text(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for (int i = 0; i < 64; i++)
                send_text(fd, "10\r\n0123456789abcdef\r\n");
            send_text(fd, "0\r\n\r\n");
        } else if (strncmp(bytes, "GET /headers ", 13) == 0) {
            send_text(fd, "HTTP/1.1 200 OK\r\n");
            for (int i = 0; i < 4000; i++)
                send_text(fd, "X-Filler: 0123456789abcdef0123456789abcdef\r\n");
        } else if (strncmp(bytes, "GET /cut ", 9) == 0) {
            send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhal");
            break;
        } else if (strncmp(bytes, "GET /hang ", 10) != 0) {
            send_text(fd, "HTTP/1.1 503 Not ready\r\nContent-Length: 0\r\n\r\n");
        }
    }
    close(fd);
    return NULL;
}

static void *serve(void *unused)
{
    pthread_t threads[64];

    (void) unused;
    for (;;) {
        int fd = accept(server.fd, NULL, NULL);
        if (fd < 0 || server.accepted == 64)
            break;
        if (pthread_create(&threads[server.accepted], NULL, serve_one, (void *) (intptr_t) fd) == 0)
            server.accepted++;
    }
    for (int i = 0; i < server.accepted; i++)
        pthread_join(threads[i], NULL);
    return NULL;
}

static int begin_peers(void **state)
{
    struct peer_options options = {.connect_timeout_ms = 500};
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(where);

    if (begin(state) != 0 || !peers_init(&peers, &loop, &options))
        return -1;
    server = (struct server){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    if (bind(server.fd, (struct sockaddr *) &where, len) != 0 || listen(server.fd, 16) != 0 ||
        getsockname(server.fd, (struct sockaddr *) &where, &len) != 0)
        return -1;
    server.port = ntohs(where.sin_port);
    return pthread_create(&server.thread, NULL, serve, NULL);
}

static int end_peers(void **state)
{
    peers_finish(&peers);
    peers_finish(&peers);
    shutdown(server.fd, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.fd);
    return end(state);
}

static const char *paths[8];
static unsigned paths_count;
static int timeout_ms, port;
static struct peer_way ways_there[8], ways_back[8];
static struct seen {
    unsigned status;
    char body[32], error[128];
} seen[8];

static enum op_next step_seen(struct op *op)
{
    for (unsigned i = 0; i < paths_count; i++) {
        const struct peer_answer *answer = peer_answer(op, i);
        seen[i].status = answer->status;
        snprintf(seen[i].body, sizeof(seen[i].body), "%.*s", (int) answer->body.len,
                 answer->body.len > 0 ? answer->body.ptr : "");
        snprintf(seen[i].error, sizeof(seen[i].error), "%s",
                 answer->error != NULL ? answer->error : "");
    }
    stepped++;
    return OP_DONE;
}

static void come_back(struct peer_way *way, void *tag)
{
    *way = *(const struct peer_way *) tag;
}

static enum op_next step_ask(struct op *op)
{
    struct peer_request requests[8];

    for (unsigned i = 0; i < paths_count; i++)
        requests[i] = (struct peer_request){
            .url = arena_printf(&op->arena, "http://127.0.0.1:%d%s", port, paths[i]),
            .timeout_ms = timeout_ms,
            .body_max_bytes = 500,
            .tag = &ways_back[i],
            .way_there = ways_there[i],
            .way_back = come_back};
    return peer_ask_all(&peers, op, requests, paths_count, step_seen);
}

static void ask(const char *path, const char *path2, const char *path3)
{
    paths[0] = path;
    paths[1] = path2;
    paths[2] = path3;
    paths_count = path3 != NULL ? 3 : path2 != NULL ? 2 : 1;
    timeout_ms = 5000;
    port = server.port;
    memset(ways_there, 0, sizeof(ways_there));
    memset(ways_back, 0, sizeof(ways_back));
}

static void run_to_answer(int64_t deadline_ms)
{
    op_start(make_op(), step_ask, deadline_ms);
    turn_until(&answered, 1);
}

static void a_refused_connection_is_told(void **state)
{
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(where);
    int fd = socket(AF_INET, SOCK_STREAM, 0); /* bound and not listening */

    (void) state;
    assert_int_equal(bind(fd, (struct sockaddr *) &where, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *) &where, &len), 0);
    ask("/ok", NULL, NULL);
    port = ntohs(where.sin_port);
    run_to_answer(10000);
    assert_int_equal(seen[0].status, 0);
    assert_true(seen[0].error[0] != '\0');
    close(fd);
}

static void a_peer_that_hangs_costs_its_timeout_only(void **state)
{
    (void) state;
    ask("/hang", "/ok", NULL);
    timeout_ms = 100;
    int64_t begun_ms = loop.now_ms;
    run_to_answer(10000);
    assert_true(loop.now_ms - begun_ms < 3000);
    assert_int_equal(seen[0].status, 0);
    assert_true(seen[0].error[0] != '\0');
    assert_int_equal(seen[1].status, 200);
    assert_string_equal(seen[1].body, "hello");
}

static void too_many_bytes_are_refused(void **state)
{
    (void) state;
    ask("/large", "/headers", "/cut");
    run_to_answer(10000);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(seen[i].status, 0);
    assert_string_equal(seen[0].error, "the answer is too large");
    assert_string_equal(seen[0].body, "");
    assert_true(seen[1].error[0] != '\0');
    assert_true(seen[2].error[0] != '\0');
}

static void what_is_no_http_url_is_refused(void **state)
{
    (void) state;
    ask("/ok", NULL, NULL);
    paths[0] = "x/nonsense"; /* the port ends in a letter */
    run_to_answer(10000);
    assert_int_equal(seen[0].status, 0);
    assert_true(seen[0].error[0] != '\0');
}

static void connections_are_kept_and_calls_repeated(void **state)
{
    (void) state;
    for (int i = 0; i < 50; i++) {
        ask("/ok", "/ok", "/other");
        run_to_answer(10000);
        assert_int_equal(seen[0].status, 200);
        assert_int_equal(seen[1].status, 200);
        assert_int_equal(seen[2].status, 503);
    }
    /* 150 calls; the server has places for 64 connections. */
}

static void a_call_in_flight_is_told_of_the_end(void **state)
{
    (void) state;
    ask("/hang", NULL, NULL);
    op_start(make_op(), step_ask, 10000);
    loop_turn(&loop, 10);
    assert_int_equal(answered, 0);
    peers_finish(&peers); /* shutdown delivers */
    assert_int_equal(answered, 1);
    assert_int_equal(released, 1);
    assert_string_equal(seen[0].error, "the gateway stops");
}

static void an_expired_op_is_freed_when_its_call_ends(void **state)
{
    struct op *op = make_op();

    (void) state;
    ask("/hang", NULL, NULL);
    timeout_ms = 200;
    op_start(op, step_ask, 10000);
    loop_turn(&loop, 10);
    op_expire(op);
    assert_int_equal(answered, 1);
    assert_int_equal(last_fault.status, 503);
    assert_int_equal(released, 0);
    turn_until(&released, 1);
    assert_int_equal(stepped, 0);
    assert_int_equal(answered, 1);
}

static const char lost[] = "lost on the way, as a fault on demand has it";

static void a_disturbed_link_delays_both_ways(void **state)
{
    (void) state;
    ask("/ok", "/ok", "/ok");
    ways_there[0].delay_ms = ways_back[1].delay_ms = 150;
    ways_there[2].delay_ms = ways_back[2].delay_ms = 100;
    int64_t begun_ms = loop.now_ms;
    op_start(make_op(), step_ask, 10000);
    while (loop.now_ms - begun_ms < 90)
        loop_turn(&loop, 10);
    assert_int_equal(server.requests, 1); /* of the call whose answer is delayed */
    turn_until(&answered, 1);
    assert_true(loop.now_ms - begun_ms >= 200);
    assert_int_equal(server.requests, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(seen[i].status, 200);
        assert_string_equal(seen[i].body, "hello");
    }
}

static void what_is_lost_is_an_error(void **state)
{
    (void) state;
    ask("/ok", "/ok", "/ok");
    ways_there[0].is_lost = ways_back[1].is_lost = true;
    ways_back[2] = (struct peer_way){.delay_ms = 50, .is_lost = true};
    int64_t begun_ms = loop.now_ms;
    run_to_answer(10000);
    assert_true(loop.now_ms - begun_ms >= 500); /* as long as connecting may take */
    assert_true(loop.now_ms - begun_ms < 4000);
    assert_int_equal(server.requests, 2); /* the answer is lost, not the request */
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(seen[i].status, 0);
        assert_string_equal(seen[i].error, lost);
        assert_string_equal(seen[i].body, "");
    }
}

static void a_delay_is_part_of_the_timeout(void **state)
{
    (void) state;
    ask("/hang", NULL, NULL);
    timeout_ms = 300;
    ways_there[0].delay_ms = 150;
    int64_t begun_ms = loop.now_ms;
    run_to_answer(10000);
    assert_true(loop.now_ms - begun_ms >= 300);
    assert_true(loop.now_ms - begun_ms < 3000);
    assert_int_equal(seen[0].status, 0);
}

static void calls_on_their_way_are_told_of_the_end(void **state)
{
    (void) state;
    ask("/ok", "/ok", "/ok");
    ways_there[0].delay_ms = 100000;
    ways_back[1].delay_ms = 100000;
    ways_there[2].is_lost = true;
    op_start(make_op(), step_ask, 10000);
    while (server.requests == 0 || peers.calls != 3)
        loop_turn(&loop, 10);
    int64_t begun_ms = loop.now_ms;
    while (loop.now_ms - begun_ms < 100)
        loop_turn(&loop, 10);
    assert_int_equal(answered, 0);
    peers_finish(&peers);
    assert_int_equal(answered, 1);
    assert_int_equal(released, 1);
    assert_string_equal(seen[0].error, "the gateway stops");
    assert_string_equal(seen[2].error, "the gateway stops");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(timers_fire_once_in_order_and_never_early, begin, end),
        cmocka_unit_test_setup_teardown(messages_of_other_threads_run_once_each, begin, end),
        cmocka_unit_test_setup_teardown(a_watch_removed_during_dispatch_is_not_called, begin, end),
        cmocka_unit_test_setup_teardown(an_op_is_answered_once_and_then_freed, begin, end),
        cmocka_unit_test_setup_teardown(a_write_past_its_deadline_is_unknown_and_lives_on, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_queued_op_that_expires_leaves_its_queue, begin, end),
        cmocka_unit_test_setup_teardown(computations_take_turns, begin, end),
        cmocka_unit_test_setup_teardown(an_op_that_yields_goes_on, begin, end),
        cmocka_unit_test_setup_teardown(an_op_that_yields_ends_with_its_deadline, begin, end),
        cmocka_unit_test_setup_teardown(a_refused_connection_is_told, begin_peers, end_peers),
        cmocka_unit_test_setup_teardown(a_peer_that_hangs_costs_its_timeout_only, begin_peers,
                                        end_peers),
        cmocka_unit_test_setup_teardown(too_many_bytes_are_refused, begin_peers, end_peers),
        cmocka_unit_test_setup_teardown(what_is_no_http_url_is_refused, begin_peers, end_peers),
        cmocka_unit_test_setup_teardown(connections_are_kept_and_calls_repeated, begin_peers,
                                        end_peers),
        cmocka_unit_test_setup_teardown(a_call_in_flight_is_told_of_the_end, begin_peers,
                                        end_peers),
        cmocka_unit_test_setup_teardown(a_disturbed_link_delays_both_ways, begin_peers, end_peers),
        cmocka_unit_test_setup_teardown(what_is_lost_is_an_error, begin_peers, end_peers),
        cmocka_unit_test_setup_teardown(a_delay_is_part_of_the_timeout, begin_peers, end_peers),
        cmocka_unit_test_setup_teardown(calls_on_their_way_are_told_of_the_end, begin_peers,
                                        end_peers),
        cmocka_unit_test_setup_teardown(an_expired_op_is_freed_when_its_call_ends, begin_peers,
                                        end_peers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
