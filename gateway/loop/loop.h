/*
 * One thread's event loop.
 *
 * A turn is: wait for descriptors, timers or messages; dispatch them; run the hooks, in the order
 * in which they were added. Hooks are where gathered work leaves (libmicrohttpd runs, then batches
 * are sent), so whatever arrived in one turn travels together. Long computations are cut into
 * tasks, of which a turn runs one, after everything else. Nothing here blocks except the wait
 * itself, and nothing here is shared with other threads except loop_post and loop_stop.
 *
 * Rejected: libuv (measured no faster, and its asynchronous handle close is painful with
 * descriptors that libraries open and close); timerfd (the wait's own timeout serves).
 */
#ifndef ORRERY_LOOP_LOOP_H
#define ORRERY_LOOP_LOOP_H

#include "base/compiler.h"
#include "base/list.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Timers fire up to this much late. */
#define TIMER_TICK_MS 8
#define TIMER_SLOTS 1024

struct loop_watch;
struct loop_timer;
struct loop_hook;
struct loop_message;
struct loop_task;

typedef void loop_watch_fn(struct loop_watch *watch, uint32_t events);
typedef void loop_timer_fn(struct loop_timer *timer);
typedef void loop_message_fn(struct loop_message *message);
typedef void loop_task_fn(struct loop_task *task);

/*
 * Run once per turn before the wait. Returns the most milliseconds the loop may wait: 0 when there
 * is more to do at once, -1 for no limit.
 */
typedef int loop_hook_fn(struct loop_hook *hook);

/* A descriptor in the epoll set; embedded by its owner, which outlives its registration. */
struct loop_watch {
    int fd;
    uint32_t events; /* EPOLLIN, EPOLLOUT; 0 while not registered */
    loop_watch_fn *ready;
};

struct loop_timer {
    struct list place; /* in a slot, or alone */
    uint64_t due_tick;
    loop_timer_fn *fire;
};

struct loop_hook {
    struct list place;
    loop_hook_fn *run;
};

/* A piece of a computation that waits for its turn; embedded by its owner. */
struct loop_task {
    struct list place;
    loop_task_fn *run;
};

/* Posted by another thread; owned by the receiver once it runs. */
struct loop_message {
    struct list place;
    loop_message_fn *run;
};

struct loop {
    int epoll_fd;
    struct loop_watch wakeup; /* eventfd */
    struct list hooks;
    struct list tasks; /* oldest first */
    struct list timers[TIMER_SLOTS];
    uint64_t tick;
    unsigned timers_armed;
    bool is_stopping;
    bool is_kicked;
    int64_t now_ms;                /* monotonic, of this turn */
    pthread_mutex_t messages_lock; /* guards messages */
    struct list messages;
    /* events of the turn being dispatched, so that a watch removed meanwhile is not called */
    struct loop_watch **pending;
    int pending_count;
};

/* Returns 0 or an errno. */
int loop_init(struct loop *loop) MUST_CHECK;

/* Zeroed memory is accepted. Everything that embeds watches, timers and hooks must be gone before.
 */
void loop_finish(struct loop *loop);

/* Turn until loop_stop was called. */
void loop_run(struct loop *loop);

/* Ask the loop to end after this turn. From the loop's own thread. */
void loop_stop(struct loop *loop);

/* One turn, waiting at most timeout_ms (-1: as long as nothing happens). For tests and draining. */
void loop_turn(struct loop *loop, int timeout_ms);

/*
 * Do not wait before the next turn: a hook made work for one that had run already. From the loop's
 * own thread.
 */
void loop_kick(struct loop *loop);

/* Run message->run on the loop's thread soon. The only call that other threads may make. */
void loop_post(struct loop *loop, struct loop_message *message);

/* Register, change or (events 0) remove a descriptor. Returns 0 or an errno. */
int loop_watch_set(struct loop *loop, struct loop_watch *watch, uint32_t events);

/*
 * Run a task once, in a later turn. A turn runs one task, the oldest, so that it is no longer than
 * one piece however many computations there are, and they take turns.
 */
void loop_defer(struct loop *loop, struct loop_task *task, loop_task_fn *run);

void loop_hook_add(struct loop *loop, struct loop_hook *hook, loop_hook_fn *run);
void loop_hook_remove(struct loop_hook *hook);

/* Make the timer known; it is not armed. */
void loop_timer_init(struct loop_timer *timer, loop_timer_fn *fire);

/* Fire once, delay_ms from now at the earliest; an armed timer is moved. */
void loop_timer_arm(struct loop *loop, struct loop_timer *timer, int64_t delay_ms);
void loop_timer_disarm(struct loop *loop, struct loop_timer *timer);
static inline bool loop_timer_is_armed(const struct loop_timer *timer)
{
    return timer->place.next != &timer->place;
}

#endif
