/*
 * The commands of the program. Each returns its exit status: 0 done, 1 not done or something found
 * wrong, 2 wrong usage; what went wrong is on standard error.
 */
#ifndef ORRERY_PROGRAM_PROGRAM_H
#define ORRERY_PROGRAM_PROGRAM_H

#include "base/config.h"

enum program_status { PROGRAM_DONE = 0, PROGRAM_FAILED = 1, PROGRAM_USAGE = 2 };

/* "orrery: …" on standard error; returns PROGRAM_FAILED. */
int program_fail(const char *format, ...) PRINTF_LIKE(1, 2);

/* orrery migrate */
int migrate_run(const struct config *config);

/* orrery sign METHOD PATH */
int sign_run(const struct config *config);

/* orrery account digest, and the words of topology_run */
int account_run(const struct config *config);

/* orrery account status, failover, offline, … */
int topology_run(const struct config *config);

/* orrery up; environment as for config_read */
int up_run(const struct config *config, char **environment);

#endif
