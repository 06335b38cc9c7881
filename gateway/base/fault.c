#include "base/fault.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/banned.h"

static const struct {
    uint16_t status;
    uint32_t number;
} substatuses[] = {
#define ROW(name, status, number, when) [name] = {status, number},
    SUBSTATUS_TABLE(ROW)
#undef ROW
};

unsigned substatus_number(enum substatus substatus)
{
    return substatuses[substatus].number;
}

unsigned substatus_http_status(enum substatus substatus)
{
    return substatuses[substatus].status;
}

/* Replace control bytes and broken UTF-8 by '?', and drop a sequence that was cut at the end. */
static void clean(char *message)
{
    unsigned char *p = (unsigned char *) message;
    size_t left = strlen(message);

    while (left > 0) {
        size_t step = utf8_sequence(slice_make((const char *) p, left));
        if (step == 0 && left < 4 && p[0] >= 0xc0) {
            *p = '\0';
            return;
        }
        if (step == 0 || p[0] < 0x20 || p[0] == 0x7f) {
            *p = '?';
            step = 1;
        }
        p += step;
        left -= step;
    }
}

bool fault_set(struct fault *fault, unsigned status, enum substatus substatus, const char *format,
               ...)
{
    va_list args;

    fault->status = (uint16_t) status;
    fault->substatus = substatus;
    fault->retry_after_ms = 0;
    va_start(args, format);
    vsnprintf(fault->message, sizeof(fault->message), format, args);
    va_end(args);
    clean(fault->message);
    return false;
}

bool fault_set_oom(struct fault *fault)
{
    fault_set(fault, 503, SUB_NONE, "the request needs more memory than the gateway can give");
    fault->retry_after_ms = 1000;
    return false;
}

const char *fault_code(unsigned status)
{
    switch (status) {
    case 400:
        return "BadRequest";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "NotFound";
    case 405:
        return "MethodNotAllowed";
    case 408:
        return "RequestTimeout";
    case 409:
        return "Conflict";
    case 410:
        return "Gone";
    case 412:
        return "PreconditionFailed";
    case 413:
        return "RequestEntityTooLarge";
    case 414:
        return "UriTooLong";
    case 423:
        return "Locked";
    case 424:
        return "FailedDependency";
    case 429:
        return "TooManyRequests";
    case 431:
        return "RequestHeaderFieldsTooLarge";
    case 449:
        return "RetryWith";
    case 501:
        return "NotImplemented";
    case 503:
        return "ServiceUnavailable";
    case 505:
        return "HttpVersionNotSupported";
    default:
        return "InternalServerError";
    }
}
