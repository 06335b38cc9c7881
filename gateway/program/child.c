#include "program/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/banned.h"

/* Between fork and exec: only calls that are safe there. Returns when something failed, with errno.
 */
static void become(const struct child_spec *spec, pid_t parent)
{
    sigset_t none;
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (null < 0 || dup2(null, STDIN_FILENO) < 0 ||
        (spec->out_fd >= 0 && dup2(spec->out_fd, STDOUT_FILENO) < 0) ||
        (spec->err_fd >= 0 && dup2(spec->err_fd, STDERR_FILENO) < 0) || setpgid(0, 0) != 0)
        return;
    if (spec->user != NULL && spec->user->is_other &&
        (setgroups(0, NULL) != 0 || setgid(spec->user->gid) != 0 || setuid(spec->user->uid) != 0))
        return;
    /* After the change of user, which would clear it; then look whether the parent died before. */
    if (prctl(PR_SET_PDEATHSIG, spec->death_signal) != 0)
        return;
    if (getppid() != parent) {
        errno = ESRCH;
        return;
    }
    for (int signal_number = 1; signal_number < 32; signal_number++)
        signal(signal_number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* A directory that the other user may not look at would be reported by every program in its own
     * way. */
    if (spec->user != NULL && spec->user->is_other && chdir("/") != 0)
        return;
    execve(spec->argv[0], (char *const *) (uintptr_t) spec->argv,
           (char *const *) (uintptr_t) spec->environment);
}

pid_t child_start(const struct child_spec *spec, struct fault *fault)
{
    int report[2], error = 0;
    pid_t parent = getpid();

    if (pipe2(report, O_CLOEXEC) != 0) {
        fault_set(fault, 500, SUB_NONE, "cannot start \"%s\": %s", spec->argv[0], strerror(errno));
        return -1;
    }
    pid_t pid = fork();
    if (pid == 0) {
        become(spec, parent);
        error = errno;
        ssize_t written = write(report[1], &error, sizeof(error));
        (void) written;
        _exit(127);
    }
    error = pid < 0 ? errno : 0;
    close(report[1]);
    /* Ends without a byte when exec closed the other end. */
    ssize_t got = pid > 0 ? read(report[0], &error, sizeof(error)) : 0;
    while (got < 0 && errno == EINTR)
        got = read(report[0], &error, sizeof(error));
    close(report[0]);
    if (pid > 0 && got <= 0)
        return pid;
    if (pid > 0)
        waitpid(pid, NULL, 0);
    fault_set(fault, 500, SUB_NONE, "cannot start \"%s\": %s", spec->argv[0], strerror(error));
    return -1;
}

int child_run(struct child_spec *spec, char *text, size_t size, struct fault *fault)
{
    int output[2], status;
    size_t len = 0;
    char beyond[512];

    text[0] = '\0';
    if (pipe2(output, O_CLOEXEC) != 0) {
        fault_set(fault, 500, SUB_NONE, "cannot start \"%s\": %s", spec->argv[0], strerror(errno));
        return -1;
    }
    spec->out_fd = spec->err_fd = output[1];
    pid_t pid = child_start(spec, fault);
    close(output[1]);
    while (pid > 0) {
        bool is_full = len + 1 >= size;
        ssize_t got = read(output[0], is_full ? beyond : text + len,
                           is_full ? sizeof(beyond) : size - 1 - len);
        if (got == 0 || (got < 0 && errno != EINTR))
            break;
        len += got > 0 && !is_full ? (size_t) got : 0;
    }
    close(output[0]);
    text[len] = '\0';
    if (pid < 0)
        return -1;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return fault_set(fault, 500, SUB_NONE, "lost \"%s\": %s", spec->argv[0],
                             strerror(errno)),
                   -1;
    }
    return status;
}

void child_describe(int wait_status, char *text, size_t size)
{
    if (WIFSIGNALED(wait_status))
        snprintf(text, size, "was killed by signal %d (%s)", WTERMSIG(wait_status),
                 strsignal(WTERMSIG(wait_status)));
    else
        snprintf(text, size, "ended with status %d", WEXITSTATUS(wait_status));
}
