#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/banned.h"

#define LOG_FIELDS_MAX 1500

static enum log_level threshold = LOG_LEVEL_INFO;
static bool json_lines;
static const char *region_name;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_setup(enum log_level level, bool is_json, const char *region)
{
    threshold = level;
    json_lines = is_json;
    region_name = region;
}

bool log_is_enabled(enum log_level level)
{
    return level <= threshold;
}

bool log_level_parse(const char *text, enum log_level *level)
{
    for (unsigned i = 0; i < ARRAY_LEN(level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum log_level) i;
            return true;
        }
    }
    return false;
}

static void append_field(struct buf *line, const char *name, const char *value)
{
    if (value == NULL)
        return;
    if (line->len > 1)
        buf_append_char(line, json_lines ? ',' : ' ');
    if (json_lines)
        buf_append_json_string(line, slice_from_text(name));
    else
        buf_append_text(line, name);
    buf_append_char(line, json_lines ? ':' : '=');
    bool is_bare = !json_lines && value[0] != '\0' && strpbrk(value, " \"=\n\\") == NULL;
    if (is_bare)
        buf_append_text(line, value);
    else
        buf_append_json_string(line, slice_from_text(value));
}

void log_write(enum log_level level, const struct log_context *context, const char *event,
               const char *format, ...)
{
    char fields[LOG_FIELDS_MAX], when[40];
    struct buf line = {0};
    va_list args;

    if (!log_is_enabled(level))
        return;
    int64_t now_ms = clock_unix_ms();
    time_t now_s = (time_t) (now_ms / 1000);
    struct tm tm;
    gmtime_r(&now_s, &tm);
    size_t at = strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(when + at, sizeof(when) - at, ".%03dZ", (int) (now_ms % 1000));
    va_start(args, format);
    vsnprintf(fields, sizeof(fields), format, args);
    va_end(args);

    if (json_lines)
        buf_append_char(&line, '{');
    append_field(&line, "time", when);
    append_field(&line, "level", level_names[level]);
    append_field(&line, "region", region_name);
    append_field(&line, "event", event);
    if (context != NULL) {
        append_field(&line, "activity", context->activity_id);
        append_field(&line, "route", context->route);
    }
    if (json_lines) {
        append_field(&line, "detail", fields[0] != '\0' ? fields : NULL);
        buf_append_char(&line, '}');
    } else if (fields[0] != '\0') {
        buf_append_char(&line, ' ');
        /* A value with a line break would forge a second line. */
        for (char *c = fields; *c != '\0'; c++)
            buf_append_char(&line, *c == '\n' || *c == '\r' ? ' ' : *c);
    }
    buf_append_char(&line, '\n');
    if (!line.has_failed) {
        ssize_t written = write(STDERR_FILENO, line.ptr, line.len);
        (void) written; /* nowhere to say that the log is gone */
    }
    buf_finish(&line);
}
