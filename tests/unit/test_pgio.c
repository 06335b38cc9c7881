/* One PostgreSQL connection against a server that says as little as it must. */
#include "loop/pgio.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define TURNS_MAX_MS 20000
#define CALLS_MAX 8

static struct loop loop;
static struct pgio io;
static int listening, served;
static struct pgio_call calls[CALLS_MAX];
static int ended;
static bool is_sending;
static enum pgio_outcome outcome;

static bool is_readable(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};

    return poll(&one, 1, 0) == 1;
}

static void turn_until_readable(int fd)
{
    for (int64_t start_ms = loop.now_ms; !is_readable(fd) && loop.now_ms - start_ms < TURNS_MAX_MS;)
        loop_turn(&loop, 10);
    assert_true(is_readable(fd));
}

/* Everybody may come in, and the server is ready. */
static void connect_both(void)
{
    static const uint8_t welcome[] = {'R', 0, 0, 0, 8,  0,  0, 0, 0,             /* no password */
                                      'K', 0, 0, 0, 12, 0,  0, 0, 1, 0, 0, 0, 2, /* backend 1 */
                                      'Z', 0, 0, 0, 5,  'I'};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    static char url[128];
    char startup[1024];

    listening = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listening, (struct sockaddr *) &address, len), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *) &address, &len), 0);
    snprintf(url, sizeof(url),
             "host=127.0.0.1 port=%u user=u dbname=d sslmode=disable gssencmode=disable",
             ntohs(address.sin_port));
    pgio_init(&io, &loop, "test", url, NULL, 60000);
    turn_until_readable(listening);
    served = accept(listening, NULL, NULL);
    turn_until_readable(served);
    assert_true(read(served, startup, sizeof(startup)) > 8);
    assert_int_equal(write(served, welcome, sizeof(welcome)), sizeof(welcome));
    for (int64_t start_ms = loop.now_ms;
         !pgio_is_ready(&io) && loop.now_ms - start_ms < TURNS_MAX_MS;)
        loop_turn(&loop, 10);
    assert_true(pgio_is_ready(&io));
}

/* As a backend that is killed: what the client sends next is answered with a reset. */
static void reset_connection(void)
{
    struct linger at_once = {.l_onoff = 1};

    assert_int_equal(setsockopt(served, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
    close(served);
}

static void done(struct pgio_call *call, struct pgio_result *result)
{
    (void) call;
    assert_false(is_sending);
    outcome = result->outcome;
    ended++;
}

static bool send_one(struct pgio_call *call)
{
    const struct pgio_statement statement = {.key = 1, .sql = "select 1"};
    struct pgparams params = {0};

    is_sending = true;
    bool is_sent = pgio_send(&io, call, &statement, &params, done);
    is_sending = false;
    return is_sent;
}

/* Whoever sends is in the middle of a step, and does not expect its calls to end there. */
static void no_call_ends_while_another_one_is_sent(void **state)
{
    int sent = 0;

    (void) state;
    assert_int_equal(loop_init(&loop), 0);
    connect_both();
    assert_true(send_one(&calls[sent++]));
    reset_connection();
    /* libpq keeps the first error of a write to itself: it is a later call whose sending fails. */
    while (sent < CALLS_MAX && io.state == PGIO_READY && send_one(&calls[sent]))
        sent++;
    assert_true(sent >= 2);
    assert_int_equal(io.state, PGIO_BROKEN);
    assert_int_equal(ended, 0);
    assert_int_equal(io.in_flight_count, sent);
    struct pgio_call late = {0};
    assert_false(send_one(&late)); /* refused, and nothing else happens */
    assert_int_equal(ended, 0);
    for (int64_t start_ms = loop.now_ms; ended < sent && loop.now_ms - start_ms < TURNS_MAX_MS;)
        loop_turn(&loop, 10);
    assert_int_equal(ended, sent); /* each once */
    assert_int_equal(outcome, PGIO_LOST);
    assert_false(io.state == PGIO_BROKEN); /* it connects again */
    pgio_finish(&io);
    assert_int_equal(ended, sent);
    close(listening);
    loop_finish(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_call_ends_while_another_one_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
