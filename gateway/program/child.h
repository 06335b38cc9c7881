/*
 * Starting a process that cannot outlive us.
 *
 * The child runs in a process group of its own, so that Ctrl-C reaches the supervisor alone and the
 * order of stopping is its decision. The kernel sends it a signal when the supervisor dies, however
 * it dies.
 */
#ifndef ORRERY_PROGRAM_CHILD_H
#define ORRERY_PROGRAM_CHILD_H

#include "base/compiler.h"
#include "base/fault.h"

#include <sys/types.h>

/* Whom a child runs as. */
struct child_user {
    uid_t uid;
    gid_t gid;
    char name[64];
    bool is_other; /* not the user we are: privileges are dropped */
};

struct child_spec {
    const char *const *argv; /* argv[0] is the path; ends in NULL */
    const char *const *environment;
    const struct child_user *user; /* NULL: as we are */
    int out_fd, err_fd;            /* become standard output and error; -1: inherited */
    int death_signal;              /* sent when we die */
};

/* The process id; -1 with a fault when there is no process or the program cannot be executed. */
pid_t child_start(const struct child_spec *spec, struct fault *fault) MUST_CHECK;

/* Run to the end, its output and errors gathered in text (cut to size). The wait status; -1 with a
 * fault. */
int child_run(struct child_spec *spec, char *text, size_t size, struct fault *fault) MUST_CHECK;

/* "ended with status 1", "was killed by signal 9 (Killed)". */
void child_describe(int wait_status, char *text, size_t size);

#endif
