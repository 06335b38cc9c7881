#include "base/slice.h"

#include "base/banned.h"

struct slice slice_trim(struct slice s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

struct slice slice_cut(struct slice s, char separator, struct slice *rest)
{
    const char *at = s.len > 0 ? memchr(s.ptr, separator, s.len) : NULL;

    if (at == NULL) {
        *rest = (struct slice){NULL, 0};
        return s;
    }
    size_t before = (size_t) (at - s.ptr);
    *rest = slice_make(at + 1, s.len - before - 1);
    return slice_make(s.ptr, before);
}

bool slice_to_u64(struct slice s, unsigned long long max, unsigned long long *value)
{
    unsigned long long sum = 0;

    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        unsigned long long digit = (unsigned long long) (s.ptr[i] - '0');
        if (sum > (max - digit) / 10 || digit > max)
            return false;
        sum = sum * 10 + digit;
    }
    *value = sum;
    return true;
}

bool slice_to_i64(struct slice s, long long min, long long max, long long *value)
{
    bool is_negative = s.len > 0 && s.ptr[0] == '-';
    unsigned long long magnitude;

    if (is_negative)
        s = slice_make(s.ptr + 1, s.len - 1);
    if (!slice_to_u64(s, 9223372036854775807ULL, &magnitude))
        return false;
    long long signed_value = is_negative ? -(long long) magnitude : (long long) magnitude;
    if (signed_value < min || signed_value > max)
        return false;
    *value = signed_value;
    return true;
}
