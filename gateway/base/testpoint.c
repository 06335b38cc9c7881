#include "base/testpoint.h"

#ifdef ORRERY_TESTPOINTS

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/banned.h"

#define SETTLE_MS 20

static bool find(char path[PATH_MAX], const char *prefix, const char *name)
{
    const char *folder = getenv("TESTPOINTS");

    if (folder == NULL)
        return false;
    snprintf(path, PATH_MAX, "%s/%s%s", folder, prefix, name);
    return access(path, F_OK) == 0;
}

bool testpoint_is_broken(const char *rule)
{
    char path[PATH_MAX];

    return find(path, "break-", rule);
}

static int asked_signal(const char *path)
{
    char text[8] = "";
    int file = open(path, O_RDONLY | O_CLOEXEC);

    if (file < 0)
        return 0;
    ssize_t len = read(file, text, sizeof(text) - 1);
    close(file);
    if (len < 4)
        return 0;
    return memcmp(text, "kill", 4) == 0 ? SIGKILL : memcmp(text, "stop", 4) == 0 ? SIGSTOP : 0;
}

void testpoint(const char *name)
{
    char path[PATH_MAX], reached[PATH_MAX + sizeof(".reached")];

    if (!find(path, "", name))
        return;
    int number = asked_signal(path);
    snprintf(reached, sizeof(reached), "%s.reached", path);
    /* Of several processes and threads that pass, one finds the file to rename. */
    if (number != 0 && rename(path, reached) == 0) {
        kill(getpid(), number);
        /* Another thread may have taken the signal: this one must not run on meanwhile. */
        (void) poll(NULL, 0, SETTLE_MS);
    }
}

#else

/* A file must declare something. */
typedef int testpoints_are_absent;

#endif
