/*
 * What went wrong for a client: HTTP status, substatus, message.
 *
 * A function that can fail for what clients or the world do returns bool, takes a struct fault *
 * and is MUST_CHECK. A broken promise inside the program is an assert instead. Messages: lower
 * case, no full stop, the culprit in quotes, never a secret.
 */
#ifndef ORRERY_BASE_FAULT_H
#define ORRERY_BASE_FAULT_H

#include "base/compiler.h"
#include "base/slice.h"
#include "base/substatus.h"

#include <stdint.h>

/* Most bytes of a client's text that a message quotes. */
#define FAULT_QUOTE_MAX 80

struct fault {
    uint16_t status; /* 0 while nothing went wrong */
    enum substatus substatus;
    uint32_t retry_after_ms; /* 429, 449 and 503 */
    char message[512];       /* UTF-8; cut at a character boundary when too long */
};

/* Fill the fault; returns false, so that it reads in one line: return fault_set(…). */
bool fault_set(struct fault *fault, unsigned status, enum substatus substatus, const char *format,
               ...) PRINTF_LIKE(4, 5);

/* Memory is exhausted, or the request's ceiling reached: 503 with a retry hint. Returns false. */
bool fault_set_oom(struct fault *fault);

/* The "code" member of an error body, such as NotFound. */
const char *fault_code(unsigned status);

/*
 * Printf arguments for a quoted slice, cut to FAULT_QUOTE_MAX: "\"%.*s\"", FAULT_QUOTE(slice).
 * What is not printable UTF-8 is cleaned by fault_set.
 */
#define FAULT_QUOTE(s) \
    (int) ((s).len < FAULT_QUOTE_MAX ? (s).len : FAULT_QUOTE_MAX), (s).ptr != NULL ? (s).ptr : ""

#endif
