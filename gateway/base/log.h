/*
 * Log lines: logfmt (or JSON) on standard error, one write per line.
 *
 * error wakes a person, warn will if it goes on, info is one line per decision of the process,
 * debug is one line per step of a request. Keys, tokens and bodies are never logged.
 */
#ifndef ORRERY_BASE_LOG_H
#define ORRERY_BASE_LOG_H

#include "base/compiler.h"

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* What every line of a piece of work carries. Borrowed; members may be NULL. */
struct log_context {
    const char *activity_id;
    const char *route;
};

/* Process-wide, before threads start. region may be NULL. */
void log_setup(enum log_level level, bool is_json, const char *region);
bool log_is_enabled(enum log_level level);

/* Parse "error", "warn", "info", "debug". */
bool log_level_parse(const char *text, enum log_level *level) MUST_CHECK;

/* The format makes further logfmt fields: log_write(LOG_LEVEL_INFO, NULL, "listening", "port=%d",
 * port). */
void log_write(enum log_level level, const struct log_context *context, const char *event,
               const char *format, ...) PRINTF_LIKE(4, 5);

#define log_error(context, event, ...) log_write(LOG_LEVEL_ERROR, context, event, __VA_ARGS__)
#define log_warn(context, event, ...) log_write(LOG_LEVEL_WARN, context, event, __VA_ARGS__)
#define log_info(context, event, ...) log_write(LOG_LEVEL_INFO, context, event, __VA_ARGS__)
#define log_debug(context, event, ...)                               \
    do {                                                             \
        if (log_is_enabled(LOG_LEVEL_DEBUG))                         \
            log_write(LOG_LEVEL_DEBUG, context, event, __VA_ARGS__); \
    } while (0)

#endif
