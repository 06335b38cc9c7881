/*
 * Points where tests reach into the program: to end or freeze it at a step that no outside clock
 * would hit, and to break a rule on purpose, so that it is seen that the checkers of that rule do
 * catch it.
 *
 * Only builds with sanitizers have them (ORRERY_TESTPOINTS), and even there they do nothing unless
 * the environment names a folder in TESTPOINTS. A test makes a file in it:
 *
 *   NAME holding "kill" or "stop"   the next time the point is passed the process gets SIGKILL or
 * SIGSTOP. The file is renamed to NAME.reached first, so that it happens once and the test sees it.
 *   break-RULE                      the rule is broken for as long as the file is there
 *
 * In other builds both are nothing at all.
 */
#ifndef ORRERY_BASE_TESTPOINT_H
#define ORRERY_BASE_TESTPOINT_H

#include <stdbool.h>

#ifdef ORRERY_TESTPOINTS

void testpoint(const char *name);
bool testpoint_is_broken(const char *rule);

#else

static inline void testpoint(const char *name)
{
    (void) name;
}

static inline bool testpoint_is_broken(const char *rule)
{
    (void) rule;
    return false;
}

#endif
#endif
