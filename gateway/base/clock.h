/*
 * Time: wall clock for _ts, TTL and dates; monotonic clock for durations and deadlines.
 *
 * Nothing is ever ordered by the wall clock.
 */
#ifndef ORRERY_BASE_CLOCK_H
#define ORRERY_BASE_CLOCK_H

#include "base/compiler.h"
#include "base/slice.h"

#include <stdint.h>

/* "Mon, 23 Nov 2026 07:01:14 GMT" and its NUL. */
#define CLOCK_HTTP_DATE_BYTES 30

/* Seconds and milliseconds since 1970 UTC. */
int64_t clock_unix_s(void);
int64_t clock_unix_ms(void);

/* The wall clock as _ts and lifetimes of items use it: the only one that may be set wrong on
 * demand.
 */
int64_t clock_items_s(void);

/* Monotonic microseconds and milliseconds, from an arbitrary start. */
int64_t clock_monotonic_us(void);
int64_t clock_monotonic_ms(void);

/* Shift the clock of items, in this process: a fault on demand. */
void clock_set_skew_ms(int64_t skew_ms);

/* RFC 1123 date. Years 1970 to 9999. */
void clock_format_http(int64_t unix_s, char text[CLOCK_HTTP_DATE_BYTES]);

/*
 * Read an RFC 1123 date in GMT, any letter case.
 *
 * returns  false when any part is malformed, out of range or in another zone; a wrong day name too
 */
bool clock_parse_http(struct slice text, int64_t *unix_s) MUST_CHECK;

#endif
