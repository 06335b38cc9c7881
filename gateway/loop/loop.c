#include "loop/loop.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/banned.h"

#define EVENTS_PER_TURN 64

static uint64_t tick_now(struct loop *loop)
{
    loop->now_ms = clock_monotonic_ms();
    return (uint64_t) loop->now_ms / TIMER_TICK_MS;
}

static void run_messages(struct loop_watch *watch, uint32_t events)
{
    struct loop *loop = container_of(watch, struct loop, wakeup);
    struct list taken;
    uint64_t count;

    (void) events;
    ssize_t got = read(watch->fd, &count, sizeof(count));
    (void) got; /* EAGAIN: another wake-up took it */
    list_init(&taken);
    pthread_mutex_lock(&loop->messages_lock);
    list_splice(&taken, &loop->messages);
    pthread_mutex_unlock(&loop->messages_lock);
    for (struct list *at = list_pop(&taken); at != NULL; at = list_pop(&taken)) {
        struct loop_message *message = list_entry(at, struct loop_message, place);
        message->run(message);
    }
}

int loop_init(struct loop *loop)
{
    *loop = (struct loop){.epoll_fd = -1, .wakeup = {.fd = -1, .ready = run_messages}};
    list_init(&loop->hooks);
    list_init(&loop->tasks);
    list_init(&loop->messages);
    for (unsigned i = 0; i < TIMER_SLOTS; i++)
        list_init(&loop->timers[i]);
    pthread_mutex_init(&loop->messages_lock, NULL);
    loop->tick = tick_now(loop);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        return errno;
    loop->wakeup.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->wakeup.fd < 0)
        return errno;
    return loop_watch_set(loop, &loop->wakeup, EPOLLIN);
}

void loop_finish(struct loop *loop)
{
    if (loop->hooks.next == NULL)
        return;
    assert(list_is_empty(&loop->hooks));
    assert(list_is_empty(&loop->tasks));
    assert(loop->timers_armed == 0);
    if (loop->wakeup.fd >= 0)
        close(loop->wakeup.fd);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    pthread_mutex_destroy(&loop->messages_lock);
    memset(loop, 0, sizeof(*loop));
}

int loop_watch_set(struct loop *loop, struct loop_watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data = {.ptr = watch}};
    int result;

    if (watch->events == events)
        return 0;
    if (events == 0) {
        result = epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
        for (int i = 0; i < loop->pending_count; i++) {
            if (loop->pending[i] == watch)
                loop->pending[i] = NULL;
        }
    } else {
        result = epoll_ctl(loop->epoll_fd, watch->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD,
                           watch->fd, &event);
    }
    watch->events = events;
    return result == 0 ? 0 : errno;
}

void loop_post(struct loop *loop, struct loop_message *message)
{
    uint64_t one = 1;

    pthread_mutex_lock(&loop->messages_lock);
    list_append(&loop->messages, &message->place);
    pthread_mutex_unlock(&loop->messages_lock);
    ssize_t written = write(loop->wakeup.fd, &one, sizeof(one));
    (void) written; /* EAGAIN: the counter is full, the loop will wake anyway */
}

void loop_stop(struct loop *loop)
{
    loop->is_stopping = true;
}

void loop_kick(struct loop *loop)
{
    loop->is_kicked = true;
}

void loop_defer(struct loop *loop, struct loop_task *task, loop_task_fn *run)
{
    task->run = run;
    list_append(&loop->tasks, &task->place);
}

static void run_task(struct loop *loop)
{
    struct list *oldest = list_pop(&loop->tasks);

    if (oldest != NULL) {
        struct loop_task *task = list_entry(oldest, struct loop_task, place);
        task->run(task);
    }
}

void loop_hook_add(struct loop *loop, struct loop_hook *hook, loop_hook_fn *run)
{
    hook->run = run;
    list_append(&loop->hooks, &hook->place);
}

void loop_hook_remove(struct loop_hook *hook)
{
    if (hook->run != NULL)
        list_remove(&hook->place);
    hook->run = NULL;
}

void loop_timer_init(struct loop_timer *timer, loop_timer_fn *fire)
{
    list_init(&timer->place);
    timer->fire = fire;
}

void loop_timer_arm(struct loop *loop, struct loop_timer *timer, int64_t delay_ms)
{
    assert(delay_ms >= 0);
    loop_timer_disarm(loop, timer);
    /* Rounded up, and one more because the current tick has begun: never early. */
    timer->due_tick = (uint64_t) (loop->now_ms + delay_ms + TIMER_TICK_MS - 1) / TIMER_TICK_MS + 1;
    if (timer->due_tick <= loop->tick)
        timer->due_tick = loop->tick + 1;
    list_append(&loop->timers[timer->due_tick % TIMER_SLOTS], &timer->place);
    loop->timers_armed++;
}

void loop_timer_disarm(struct loop *loop, struct loop_timer *timer)
{
    if (!loop_timer_is_armed(timer))
        return;
    list_remove(&timer->place);
    loop->timers_armed--;
}

/* A slot holds timers of several rounds of the wheel; only those that are due fire. */
static void fire_slot(struct loop *loop, struct list *slot)
{
    struct list due;

    list_init(&due);
    list_for_each_safe(at, slot)
    {
        if (list_entry(at, struct loop_timer, place)->due_tick <= loop->tick) {
            list_remove(at);
            list_append(&due, at);
        }
    }
    for (struct list *at = list_pop(&due); at != NULL; at = list_pop(&due)) {
        struct loop_timer *timer = list_entry(at, struct loop_timer, place);
        loop->timers_armed--;
        timer->fire(timer);
    }
}

static void fire_timers(struct loop *loop)
{
    uint64_t now = tick_now(loop);

    /* After a long pause every slot is visited once, not every missed tick. */
    if (now > loop->tick + TIMER_SLOTS)
        loop->tick = now - TIMER_SLOTS;
    while (loop->tick < now) {
        loop->tick++;
        if (loop->timers_armed > 0)
            fire_slot(loop, &loop->timers[loop->tick % TIMER_SLOTS]);
    }
}

/* Milliseconds until a timer may be due; early for timers of later rounds, which costs a turn. */
static int timers_wait_ms(struct loop *loop)
{
    if (loop->timers_armed == 0)
        return -1;
    for (uint64_t ahead = 1; ahead <= TIMER_SLOTS; ahead++) {
        if (!list_is_empty(&loop->timers[(loop->tick + ahead) % TIMER_SLOTS])) {
            int64_t due_ms = (int64_t) ((loop->tick + ahead) * TIMER_TICK_MS);
            return due_ms > loop->now_ms ? (int) (due_ms - loop->now_ms) : 0;
        }
    }
    return -1;
}

static int shorter(int a, int b)
{
    return a < 0 ? b : b < 0 || a < b ? a : b;
}

static void dispatch(struct loop *loop, int timeout_ms)
{
    struct epoll_event events[EVENTS_PER_TURN];
    struct loop_watch *pending[EVENTS_PER_TURN];

    int count = epoll_wait(loop->epoll_fd, events, EVENTS_PER_TURN, timeout_ms);
    if (count < 0) {
        assert(errno == EINTR);
        count = 0;
    }
    loop->now_ms = clock_monotonic_ms();
    for (int i = 0; i < count; i++)
        pending[i] = events[i].data.ptr;
    loop->pending = pending;
    loop->pending_count = count;
    for (int i = 0; i < count; i++) {
        if (pending[i] != NULL)
            pending[i]->ready(pending[i], events[i].events);
    }
    loop->pending_count = 0;
    loop->pending = NULL;
}

void loop_turn(struct loop *loop, int timeout_ms)
{
    list_for_each_safe(at, &loop->hooks)
    {
        struct loop_hook *hook = list_entry(at, struct loop_hook, place);
        timeout_ms = shorter(timeout_ms, hook->run(hook));
    }
    if (loop->is_kicked || !list_is_empty(&loop->tasks))
        timeout_ms = 0;
    loop->is_kicked = false;
    if (timeout_ms != 0)
        timeout_ms = shorter(timeout_ms, timers_wait_ms(loop));
    dispatch(loop, timeout_ms);
    fire_timers(loop);
    run_task(loop);
}

void loop_run(struct loop *loop)
{
    while (!loop->is_stopping)
        loop_turn(loop, -1);
}
