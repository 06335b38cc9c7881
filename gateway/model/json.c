/*
 * The pass stands in the order of the grammar: document, containers, names, strings, numbers. It
 * keeps a stack of open containers (their depth is limited) and one stack of the names seen in open
 * objects: a closing object takes its names off. An object of few members compares every new name
 * with the others by hash; a large one sorts its names when it closes, which no choice of names can
 * make quadratic.
 */
#include "model/json.h"

#include "base/hex.h"
#include "base/utf8.h"

#include <assert.h>
#include <endian.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/banned.h"

/* Names kept without taking memory; enough for nearly every document. */
#define NAMES_FEW 128
/* An object up to this size compares each name with each. */
#define NAMES_COMPARED 16
/* The table of a larger one's names: size that needs no memory, and longest walk from a name's
 * slot. */
#define SLOTS_FEW 256
#define PROBES_MAX 64
/* PostgreSQL's numeric: most digits behind the point (NUMERIC_DSCALE_MAX), largest exponent
 * (INT_MAX / 2, exclusive). */
#define NUMERIC_SCALE_MAX 16383
#define NUMERIC_EXPONENT_MAX 1073741822
/* Digits that can decide how a decimal rounds to a double are 767; one more stands for the rest. */
#define DIGITS_MAX 780

struct name {
    const char *ptr; /* behind the quote */
    uint32_t len;    /* as written */
    uint32_t hash;   /* of the decoded characters */
};

struct frame {
    uint32_t names_from; /* index of the object's first name */
    bool is_object;
};

struct scan {
    const char *text;
    const char *at;
    const char *end;
    struct fault *fault;
    struct name *names; /* names_few, or from malloc */
    size_t names_count;
    size_t names_capacity;
    unsigned depth;
    unsigned depth_max;
    bool numbers_are_canonical;
    struct frame frames[JSON_DEPTH_MAX_ENVELOPE];
    struct name names_few[NAMES_FEW];
};

/* A number's parts: value = ± integer.fraction × 10^exponent. */
struct number {
    struct slice integer; /* digits; "0" or no leading zero */
    struct slice fraction;
    int64_t exponent; /* limited to ±10^10 */
    bool is_negative;
    bool has_exponent;
};

/* ---- Faults ---- */

static bool fail_at(const struct scan *scan, const char *at, const char *what)
{
    return fault_set(scan->fault, 400, SUB_NONE, "the body is not valid JSON: %s at byte %zu", what,
                     (size_t) (at - scan->text));
}

/* Something else was expected here: say so, or that the text ends. */
static bool fail_here(const struct scan *scan, const char *expected)
{
    if (scan->at >= scan->end)
        return fault_set(scan->fault, 400, SUB_NONE,
                         "the body is not valid JSON: it is truncated, %s is missing at byte %zu",
                         expected, (size_t) (scan->end - scan->text));
    return fault_set(scan->fault, 400, SUB_NONE,
                     "the body is not valid JSON: %s is missing at byte %zu", expected,
                     (size_t) (scan->at - scan->text));
}

/* ---- Strings ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline void skip_space(struct scan *scan)
{
    while (scan->at < scan->end && is_space(*scan->at))
        scan->at++;
}

static inline uint64_t load8(const char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof(word));
    return le64toh(word);
}

/*
 * First byte that is not plain inside a string: quote, backslash, control character or beyond
 * ASCII. Eight bytes at a time: each term of the sum sets the top bit of the bytes it looks for;
 * wrong hits by borrow come only above a right one, and the lowest is taken.
 */
static inline const char *skip_plain(const char *at, const char *end)
{
    const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;

    for (; end - at >= 8; at += 8) {
        uint64_t word = load8(at);
        uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\');
        uint64_t hits = ((word - ones * 0x20) | (quote - ones) | (backslash - ones) | word) & tops;
        if (hits != 0)
            return at + __builtin_ctzll(hits) / 8;
    }
    while (at < end && (unsigned char) *at >= 0x20 && (unsigned char) *at < 0x80 && *at != '"' &&
           *at != '\\')
        at++;
    return at;
}

/* The four digits of \uXXXX; -1 when they are none. At least four bytes are there. */
static int hex4(const char *at)
{
    int value = 0;

    for (int i = 0; i < 4; i++) {
        int digit = hex_value(at[i]);
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

static bool is_high_surrogate(int unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low_surrogate(int unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/* \uXXXX, or two of them that make a pair. */
static bool scan_unicode_escape(struct scan *scan)
{
    const char *start = scan->at;
    int unit = scan->end - scan->at >= 6 ? hex4(scan->at + 2) : -1;

    if (unit < 0)
        return fail_at(scan, start, "four hexadecimal digits are missing");
    if (unit == 0)
        return fail_at(scan, start, "the character U+0000 is not allowed,");
    scan->at += 6;
    if (is_low_surrogate(unit))
        return fail_at(scan, start, "unpaired surrogate");
    if (!is_high_surrogate(unit))
        return true;
    if (scan->end - scan->at < 6 || scan->at[0] != '\\' || scan->at[1] != 'u' ||
        !is_low_surrogate(hex4(scan->at + 2)))
        return fail_at(scan, start, "unpaired surrogate");
    scan->at += 6;
    return true;
}

static bool scan_escape(struct scan *scan)
{
    if (scan->end - scan->at < 2) {
        scan->at = scan->end;
        return fail_here(scan, "the rest of an escape");
    }
    char c = scan->at[1];
    if (c == 'u')
        return scan_unicode_escape(scan);
    if (c == '\0' || strchr("\"\\/bfnrt", c) == NULL)
        return fail_at(scan, scan->at, "unknown escape");
    scan->at += 2;
    return true;
}

/* A control character, or bytes beyond ASCII. */
static bool scan_odd(struct scan *scan)
{
    if ((unsigned char) *scan->at < 0x20)
        return fail_at(scan, scan->at,
                       *scan->at == '\0' ? "NUL byte in a string"
                                         : "control character that is not escaped in a string");
    do {
        size_t len = utf8_sequence(slice_make(scan->at, (size_t) (scan->end - scan->at)));
        if (len == 0)
            return fail_at(scan, scan->at, "invalid UTF-8");
        scan->at += len;
    } while (scan->at < scan->end && (unsigned char) *scan->at >= 0x80);
    return true;
}

/* From the opening quote to behind the closing one. */
static inline bool scan_string(struct scan *scan)
{
    scan->at++;
    for (;;) {
        scan->at = skip_plain(scan->at, scan->end);
        if (scan->at == scan->end)
            return fail_here(scan, "the end of a string");
        if (*scan->at == '"') {
            scan->at++;
            return true;
        }
        if (*scan->at == '\\' ? !scan_escape(scan) : !scan_odd(scan))
            return false;
    }
}

/* ---- Decoding of strings that were checked ---- */

static size_t utf8_encode(unsigned point, char out[4])
{
    if (point < 0x80) {
        out[0] = (char) point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char) (0xc0 | point >> 6);
        out[1] = (char) (0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (char) (0xe0 | point >> 12);
        out[1] = (char) (0x80 | (point >> 6 & 0x3f));
        out[2] = (char) (0x80 | (point & 0x3f));
        return 3;
    }
    out[0] = (char) (0xf0 | point >> 18);
    out[1] = (char) (0x80 | (point >> 12 & 0x3f));
    out[2] = (char) (0x80 | (point >> 6 & 0x3f));
    out[3] = (char) (0x80 | (point & 0x3f));
    return 4;
}

/* One byte, or one escape, decoded; *at moves behind it. Returns the bytes written. */
static size_t decode_unit(const char **at, char out[4])
{
    static const char letters[] = "bfnrt", characters[] = "\b\f\n\r\t";
    const char *p = *at;

    if (*p != '\\') {
        out[0] = *p;
        *at = p + 1;
        return 1;
    }
    if (p[1] != 'u') {
        const char *letter = strchr(letters, p[1]);
        out[0] = letter != NULL ? characters[letter - letters] : p[1];
        *at = p + 2;
        return 1;
    }
    int unit = hex4(p + 2);
    *at = p + 6;
    if (is_high_surrogate(unit)) {
        unit = 0x10000 + ((unit - 0xd800) << 10) + (hex4(p + 8) - 0xdc00);
        *at = p + 12;
    }
    return utf8_encode((unsigned) unit, out);
}

/* Compare the decoded characters of two raw strings (without quotes), as bytes. */
static int raw_compare(struct slice a, struct slice b)
{
    const char *a_end = a.ptr + a.len, *b_end = b.ptr + b.len;
    char a_bytes[4], b_bytes[4];
    size_t a_len = 0, b_len = 0, a_at = 0, b_at = 0;

    for (;;) {
        if (a_at == a_len) {
            a_at = 0;
            a_len = a.ptr < a_end ? decode_unit(&a.ptr, a_bytes) : 0;
        }
        if (b_at == b_len) {
            b_at = 0;
            b_len = b.ptr < b_end ? decode_unit(&b.ptr, b_bytes) : 0;
        }
        if (a_len == 0 || b_len == 0)
            return (a_len != 0) - (b_len != 0);
        int difference = (unsigned char) a_bytes[a_at++] - (unsigned char) b_bytes[b_at++];
        if (difference != 0)
            return difference;
    }
}

static bool has_escape(struct slice raw)
{
    return raw.len > 0 && memchr(raw.ptr, '\\', raw.len) != NULL;
}

/* ---- Names of an object's members ---- */

static inline uint64_t hash_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9e3779b97f4a7c15;
    return hash ^ hash >> 32;
}

/* Of decoded bytes, as words of eight with zeros behind the last; the same for any spelling of a
 * name. */
static uint32_t hash_escaped(struct slice raw)
{
    const char *at = raw.ptr, *end = raw.ptr + raw.len;
    uint64_t hash = 0, word = 0;
    unsigned filled = 0;
    char bytes[4];

    while (at < end) {
        size_t len = decode_unit(&at, bytes);
        for (size_t i = 0; i < len; i++) {
            word |= (uint64_t) (unsigned char) bytes[i] << (8 * filled);
            if (++filled < 8)
                continue;
            hash = hash_mix(hash, word);
            word = 0;
            filled = 0;
        }
    }
    return (uint32_t) hash_mix(hash, word);
}

/* As above for a name without escapes; end is where reading must stop. */
static inline uint32_t hash_plain(struct slice raw, const char *end)
{
    const char *at = raw.ptr;
    uint64_t hash = 0, word = 0;
    size_t left = raw.len;

    for (; left >= 8; at += 8, left -= 8)
        hash = hash_mix(hash, load8(at));
    if (end - at >= 8)
        word = load8(at) & (((uint64_t) 1 << (8 * left)) - 1);
    else
        for (size_t i = 0; i < left; i++)
            word |= (uint64_t) (unsigned char) at[i] << (8 * i);
    return (uint32_t) hash_mix(hash, word);
}

static int name_compare(const void *left, const void *right)
{
    const struct name *a = left, *b = right;

    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return raw_compare(slice_make(a->ptr, a->len), slice_make(b->ptr, b->len));
}

static bool fail_duplicate(struct scan *scan, const struct name *name)
{
    return fault_set(scan->fault, 400, SUB_NONE,
                     "the body has the member \"%.*s\" twice in an object, at byte %zu",
                     FAULT_QUOTE(slice_make(name->ptr, name->len)),
                     (size_t) (name->ptr - 1 - scan->text));
}

static bool names_grow(struct scan *scan)
{
    size_t capacity = scan->names_capacity * 2;
    bool is_own = scan->names != scan->names_few;
    struct name *names = realloc(is_own ? scan->names : NULL, capacity * sizeof(*names));

    if (names == NULL)
        return fault_set_oom(scan->fault);
    if (!is_own)
        memcpy(names, scan->names_few, sizeof(scan->names_few));
    scan->names = names;
    scan->names_capacity = capacity;
    return true;
}

/* Note a member's name; in a small object, it must differ from those before. */
static bool name_add(struct scan *scan, struct slice raw)
{
    uint32_t hash = has_escape(raw) ? hash_escaped(raw) : hash_plain(raw, scan->end);
    const struct name name = {.ptr = raw.ptr, .len = (uint32_t) raw.len, .hash = hash};

    if (scan->names_count == scan->names_capacity && !names_grow(scan))
        return false;
    size_t from = scan->frames[scan->depth - 1].names_from;
    if (scan->names_count - from < NAMES_COMPARED)
        for (size_t i = from; i < scan->names_count; i++)
            if (scan->names[i].hash == hash && name_compare(&scan->names[i], &name) == 0)
                return fail_duplicate(scan, &name);
    scan->names[scan->names_count++] = name;
    return true;
}

/* Sorting cannot be made slow by any choice of names. */
static const struct name *names_sort(struct name *names, size_t count)
{
    qsort(names, count, sizeof(*names), name_compare);
    for (size_t i = 1; i < count; i++)
        if (names[i - 1].hash == names[i].hash && name_compare(&names[i - 1], &names[i]) == 0)
            return names[i - 1].ptr > names[i].ptr ? &names[i - 1] : &names[i];
    return NULL;
}

/*
 * A table by hash finds a name that occurs twice faster. *is_crowded says that it gave up, because
 * many names share a hash.
 *
 * slots    zeroed; index + 1 of a name; a power of two, above count
 */
static const struct name *names_spread(const struct name *names, size_t count, uint32_t *slots,
                                       size_t slots_count, bool *is_crowded)
{
    for (size_t i = 0; i < count; i++) {
        size_t at = names[i].hash & (slots_count - 1);
        for (unsigned probes = 0; slots[at] != 0; at = (at + 1) & (slots_count - 1)) {
            const struct name *other = &names[slots[at] - 1];
            if (other->hash == names[i].hash && name_compare(other, &names[i]) == 0)
                return &names[i];
            if (++probes == PROBES_MAX) {
                *is_crowded = true;
                return NULL;
            }
        }
        slots[at] = (uint32_t) i + 1;
    }
    return NULL;
}

static const struct name *names_find_twice(struct name *names, size_t count)
{
    uint32_t slots_few[SLOTS_FEW] = {0};
    uint32_t *slots = slots_few;
    size_t slots_count = SLOTS_FEW;
    bool is_crowded = false;

    while (slots_count < count * 2)
        slots_count *= 2;
    if (slots_count > SLOTS_FEW)
        slots = calloc(slots_count, sizeof(*slots));
    if (slots == NULL)
        return names_sort(names, count);
    const struct name *twice = names_spread(names, count, slots, slots_count, &is_crowded);
    if (slots != slots_few)
        free(slots);
    return is_crowded ? names_sort(names, count) : twice;
}

/* An object closes: check the names of a large one, take them off. */
static bool names_close(struct scan *scan)
{
    size_t from = scan->frames[scan->depth - 1].names_from;
    size_t count = scan->names_count - from;

    scan->names_count = from;
    if (count <= NAMES_COMPARED)
        return true;
    const struct name *twice = names_find_twice(scan->names + from, count);
    return twice == NULL || fail_duplicate(scan, twice);
}

/* ---- Numbers ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && is_digit(*at))
        at++;
    return at;
}

/* Exponent digits, limited so that sums with the lengths of digits cannot overflow. */
static int64_t exponent_value(const char *at, const char *end)
{
    int64_t value = 0;

    for (; at < end; at++)
        if (value < 1000000000)
            value = value * 10 + (*at - '0');
    return value;
}

/* Cut a number into its parts; returns what follows, or where it goes wrong with *missing set. */
static const char *number_split(const char *at, const char *end, struct number *number,
                                const char **missing)
{
    const char *start;

    *number = (struct number){.is_negative = *at == '-'};
    at += number->is_negative;
    start = at;
    at = at < end && *at == '0' ? at + 1 : skip_digits(at, end);
    number->integer = slice_make(start, (size_t) (at - start));
    if (at == start) {
        *missing = "a value";
        return at;
    }
    if (at < end && *at == '.') {
        start = ++at;
        at = skip_digits(at, end);
        number->fraction = slice_make(start, (size_t) (at - start));
        if (at == start) {
            *missing = "a digit behind the point";
            return at;
        }
    }
    if (at == end || (*at != 'e' && *at != 'E'))
        return at;
    number->has_exponent = true;
    at++;
    bool is_down = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    start = at;
    at = skip_digits(at, end);
    if (at == start)
        *missing = "a digit of the exponent";
    number->exponent = is_down ? -exponent_value(start, at) : exponent_value(start, at);
    return at;
}

/* Digits as an integer, up to 19 of them. */
static uint64_t digits_value(struct slice digits, uint64_t value)
{
    for (size_t i = 0; i < digits.len; i++)
        value = value * 10 + (uint64_t) (digits.ptr[i] - '0');
    return value;
}

static bool digits_are_zero(struct slice digits)
{
    for (size_t i = 0; i < digits.len; i++)
        if (digits.ptr[i] != '0')
            return false;
    return true;
}

/* Decimal digits, not terminated; at most 20. */
static size_t print_u64(uint64_t value, char *text)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char) ('0' + value % 10);
        value /= 10;
    } while (value > 0);
    memcpy(text, digits + at, sizeof(digits) - at);
    return sizeof(digits) - at;
}

/*
 * Any number through strtod, however long: its first significant digits, "1" for all further ones
 * that are not zero, and the exponent that belongs to them. No point is written, so the locale does
 * not matter.
 */
static double number_convert(const struct number *number)
{
    char text[DIGITS_MAX + 32];
    size_t len = 0;
    int64_t exponent = number->exponent - (int64_t) number->fraction.len;
    bool has_rest = false;
    const struct slice parts[] = {number->integer, number->fraction};

    for (size_t part = 0; part < ARRAY_LEN(parts); part++) {
        for (size_t i = 0; i < parts[part].len; i++) {
            char digit = parts[part].ptr[i];
            if (len == 0 && digit == '0')
                continue;
            if (len < DIGITS_MAX) {
                text[len++] = digit;
                continue;
            }
            has_rest |= digit != '0';
            exponent++;
        }
    }
    if (len == 0)
        return 0;
    if (has_rest) {
        text[len++] = '1';
        exponent--;
    }
    /* Beyond what can matter, so that strtod sees a small number. */
    exponent = exponent < -9999 ? -9999 : exponent > 9999 ? 9999 : exponent;
    text[len++] = 'e';
    text[len++] = exponent < 0 ? '-' : '+';
    len += print_u64((uint64_t) (exponent < 0 ? -exponent : exponent), text + len);
    text[len] = '\0';
    double value = strtod(text, NULL);
    return number->is_negative ? -value : value;
}

static double number_value(const struct number *number)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const int64_t exact_max = (int64_t) ARRAY_LEN(powers) - 1;
    int64_t exponent = number->exponent - (int64_t) number->fraction.len;

    /* Digits and power are exact doubles, so one operation rounds once. */
    if (number->integer.len + number->fraction.len > DBL_DIG || exponent > exact_max ||
        exponent < -exact_max)
        return number_convert(number);
    double value = (double) digits_value(number->fraction, digits_value(number->integer, 0));
    value = exponent < 0 ? value / powers[-exponent] : value * powers[exponent];
    return number->is_negative ? -value : value;
}

/*
 * Is the text, as a numeric, what json_print_double gives? Sure for up to 15 digits (each decimal
 * has its own double then) and for integers below 2^53, without exponent, useless zeros or minus
 * zero; others are printed again later.
 */
static bool number_is_canonical(const struct number *number)
{
    struct slice integer = number->integer, fraction = number->fraction;
    bool is_small = integer.len == 1 && *integer.ptr == '0';

    if (number->has_exponent || (number->is_negative && is_small && digits_are_zero(fraction)))
        return false;
    if (fraction.len == 0)
        return integer.len <= DBL_DIG ||
               (integer.len == 16 && digits_value(integer, 0) <= (uint64_t) 1 << 53);
    return fraction.ptr[fraction.len - 1] != '0' &&
           integer.len - is_small + fraction.len <= DBL_DIG;
}

/* What a double cannot hold, or numeric refuses. */
static bool number_is_in_range(const struct number *number)
{
    int64_t scale = (int64_t) number->fraction.len - number->exponent;

    if (scale > NUMERIC_SCALE_MAX || number->exponent > NUMERIC_EXPONENT_MAX)
        return false;
    if ((int64_t) number->integer.len + number->exponent <= DBL_MAX_10_EXP)
        return true;
    return isfinite(number_convert(number));
}

static inline bool scan_number(struct scan *scan)
{
    const char *start = scan->at, *missing = NULL;
    struct number number;

    scan->at = number_split(start, scan->end, &number, &missing);
    if (missing != NULL)
        return fail_here(scan, missing);
    if (number_is_canonical(&number))
        return true;
    scan->numbers_are_canonical = false;
    if (!number_is_in_range(&number))
        return fail_at(scan, start, "number out of range");
    return true;
}

/* ---- Document ---- */

static bool scan_word(struct scan *scan, const char *word, size_t len)
{
    if ((size_t) (scan->end - scan->at) < len || memcmp(scan->at, word, len) != 0) {
        bool is_cut = (size_t) (scan->end - scan->at) < len &&
                      memcmp(scan->at, word, (size_t) (scan->end - scan->at)) == 0;
        if (is_cut)
            scan->at = scan->end;
        return fail_here(scan, "a value");
    }
    scan->at += len;
    return true;
}

/* A member's name, the colon and the space around them; the value follows. */
static inline bool scan_name(struct scan *scan)
{
    skip_space(scan);
    if (scan->at == scan->end || *scan->at != '"')
        return fail_here(scan, "a member's name");
    const char *start = scan->at;
    if (!scan_string(scan) ||
        !name_add(scan, slice_make(start + 1, (size_t) (scan->at - start) - 2)))
        return false;
    skip_space(scan);
    if (scan->at == scan->end || *scan->at != ':')
        return fail_here(scan, "a colon");
    scan->at++;
    return true;
}

/* Open an object or array; *is_open says whether a value must follow. */
static bool scan_open(struct scan *scan, bool *is_open)
{
    bool is_object = *scan->at == '{';

    if (scan->depth == scan->depth_max)
        return fault_set(scan->fault, 400, SUB_NONE,
                         "the body is nested deeper than %u levels at byte %zu", scan->depth_max,
                         (size_t) (scan->at - scan->text));
    scan->frames[scan->depth++] =
        (struct frame){.names_from = (uint32_t) scan->names_count, .is_object = is_object};
    scan->at++;
    skip_space(scan);
    *is_open = scan->at == scan->end || *scan->at != (is_object ? '}' : ']');
    if (*is_open)
        return !is_object || scan_name(scan);
    scan->at++;
    scan->depth--;
    return true;
}

/* A scalar, or the beginning of a container. */
static bool scan_value(struct scan *scan, bool *is_open)
{
    *is_open = false;
    skip_space(scan);
    if (scan->at == scan->end)
        return fail_here(scan, "a value");
    switch (*scan->at) {
    case '"':
        return scan_string(scan);
    case '{':
    case '[':
        return scan_open(scan, is_open);
    case 't':
        return scan_word(scan, "true", 4);
    case 'f':
        return scan_word(scan, "false", 5);
    case 'n':
        return scan_word(scan, "null", 4);
    default:
        return scan_number(scan);
    }
}

/* Behind a value: close containers until a comma asks for another value. *is_open as above. */
static bool scan_behind(struct scan *scan, bool *is_open)
{
    *is_open = false;
    while (scan->depth > 0) {
        bool is_object = scan->frames[scan->depth - 1].is_object;
        skip_space(scan);
        if (scan->at < scan->end && *scan->at == ',') {
            scan->at++;
            *is_open = true;
            return !is_object || scan_name(scan);
        }
        if (scan->at == scan->end || *scan->at != (is_object ? '}' : ']'))
            return fail_here(scan, is_object ? "a comma or \"}\"" : "a comma or \"]\"");
        if (is_object && !names_close(scan))
            return false;
        scan->at++;
        scan->depth--;
    }
    return true;
}

static bool scan_document(struct scan *scan)
{
    bool is_open;

    do {
        if (!scan_value(scan, &is_open))
            return false;
        if (!is_open && !scan_behind(scan, &is_open))
            return false;
    } while (is_open);
    return true;
}

static bool scan_text(struct scan *scan, struct json_text *result)
{
    if (scan->end - scan->at >= 3 && memcmp(scan->at, "\xef\xbb\xbf", 3) == 0)
        scan->at += 3;
    skip_space(scan);
    const char *start = scan->at;
    if (!scan_document(scan))
        return false;
    result->root = slice_make(start, (size_t) (scan->at - start));
    result->numbers_are_canonical = scan->numbers_are_canonical;
    skip_space(scan);
    if (scan->at != scan->end)
        return fail_at(scan, scan->at, "something follows the value");
    return true;
}

bool json_validate(struct slice text, unsigned depth_max, struct json_text *result,
                   struct fault *fault)
{
    struct scan scan; /* not zeroed as a whole: its arrays are large, and most bodies are short */

    assert(depth_max <= JSON_DEPTH_MAX_ENVELOPE);
    if (text.len > INT32_MAX) /* names keep lengths in 32 bits */
        return fault_set(fault, 413, SUB_NONE, "the body is too large");
    scan.text = text.len > 0 ? text.ptr : "";
    scan.at = scan.text;
    scan.end = scan.text + text.len;
    scan.fault = fault;
    scan.names = scan.names_few;
    scan.names_count = 0;
    scan.names_capacity = NAMES_FEW;
    scan.depth = 0;
    scan.depth_max = depth_max;
    scan.numbers_are_canonical = true;
    bool is_valid = scan_text(&scan, result);
    if (scan.names != scan.names_few)
        free(scan.names);
    return is_valid;
}

/* ---- Walking text that was checked ---- */

enum json_type json_type(struct slice value)
{
    assert(value.len > 0);
    switch (*value.ptr) {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 't':
        return JSON_TRUE;
    case 'f':
        return JSON_FALSE;
    case 'n':
        return JSON_NULL;
    default:
        return JSON_NUMBER;
    }
}

static const char *space_end(const char *at, const char *end)
{
    while (at < end && is_space(*at))
        at++;
    return at;
}

/* First quote or backslash; eight bytes at a time as skip_plain does, but beyond ASCII nothing
 * stops. */
static inline const char *find_quote(const char *at, const char *end)
{
    const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;

    for (; end - at >= 8; at += 8) {
        uint64_t word = load8(at);
        uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\');
        uint64_t hits = (((quote - ones) & ~quote) | ((backslash - ones) & ~backslash)) & tops;
        if (hits != 0)
            return at + __builtin_ctzll(hits) / 8;
    }
    while (at < end && *at != '"' && *at != '\\')
        at++;
    return at;
}

static const char *string_end(const char *at, const char *end)
{
    at++;
    while (at < end) {
        at = find_quote(at, end);
        if (at == end)
            break;
        if (*at == '"')
            return at + 1;
        at += 2; /* what follows a backslash is no end */
    }
    return end;
}

static const char *container_end(const char *at, const char *end)
{
    size_t depth = 0;

    while (at < end) {
        switch (*at) {
        case '"':
            at = string_end(at, end);
            continue;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            if (--depth == 0)
                return at + 1;
            break;
        default:
            break;
        }
        at++;
    }
    return end;
}

static const char *value_end(const char *at, const char *end)
{
    if (at < end && *at == '"')
        return string_end(at, end);
    if (at < end && (*at == '{' || *at == '['))
        return container_end(at, end);
    while (at < end && *at != ',' && *at != '}' && *at != ']' && !is_space(*at))
        at++;
    return at;
}

struct json_cursor json_iterate(struct slice container)
{
    const char *end = container.ptr + container.len;

    assert(container.len >= 2 && (*container.ptr == '{' || *container.ptr == '['));
    return (struct json_cursor){.at = space_end(container.ptr + 1, end), .end = end};
}

/* The value at the cursor; the cursor moves to the next one, or to the closing bracket. */
static struct slice cursor_take(struct json_cursor *cursor)
{
    const char *end = value_end(cursor->at, cursor->end);
    struct slice value = slice_make(cursor->at, (size_t) (end - cursor->at));

    cursor->at = space_end(end, cursor->end);
    if (cursor->at < cursor->end && *cursor->at == ',')
        cursor->at = space_end(cursor->at + 1, cursor->end);
    return value;
}

/* The name at the cursor; the cursor moves to its value. */
static struct slice name_take(struct json_cursor *cursor)
{
    const char *end = string_end(cursor->at, cursor->end);
    struct slice name = slice_make(cursor->at, (size_t) (end - cursor->at));

    end = space_end(end, cursor->end);
    assert(end < cursor->end && *end == ':');
    cursor->at = space_end(end + 1, cursor->end);
    return name;
}

bool json_next_member(struct json_cursor *cursor, struct slice *name, struct slice *value)
{
    assert(cursor->at < cursor->end);
    if (*cursor->at != '"')
        return false;
    *name = name_take(cursor);
    *value = cursor_take(cursor);
    return true;
}

bool json_next_element(struct json_cursor *cursor, struct slice *value)
{
    assert(cursor->at < cursor->end);
    if (*cursor->at == ']')
        return false;
    *value = cursor_take(cursor);
    return true;
}

static struct slice without_quotes(struct slice string)
{
    assert(string.len >= 2 && *string.ptr == '"');
    return slice_make(string.ptr + 1, string.len - 2);
}

bool json_string_equals(struct slice string, struct slice decoded)
{
    struct slice raw = without_quotes(string);
    const char *end = raw.ptr + raw.len;
    size_t at = 0;
    char bytes[4];

    if (!has_escape(raw))
        return slice_equals(raw, decoded);
    while (raw.ptr < end) {
        size_t len = decode_unit(&raw.ptr, bytes);
        if (decoded.len - at < len || memcmp(decoded.ptr + at, bytes, len) != 0)
            return false;
        at += len;
    }
    return at == decoded.len;
}

bool json_string_decode(struct slice string, struct arena *arena, struct slice *decoded,
                        struct fault *fault)
{
    struct slice raw = without_quotes(string);
    const char *end = raw.ptr + raw.len;
    char bytes[4];

    *decoded = raw;
    if (!has_escape(raw))
        return true;
    char *text = arena_alloc(arena, raw.len);
    if (text == NULL)
        return fault_set_oom(fault);
    size_t at = 0;
    while (raw.ptr < end) {
        size_t len = decode_unit(&raw.ptr, bytes);
        memcpy(text + at, bytes, len); /* an escape is longer than what it stands for */
        at += len;
    }
    *decoded = slice_make(text, at);
    return true;
}

/* Begin of a value, up to the end of the outer text. */
static struct slice value_from(const char *at, const char *end)
{
    return slice_make(at, (size_t) (end - at));
}

bool json_enter_member(struct slice object, struct slice name, struct slice *value)
{
    if (json_type(object) != JSON_OBJECT)
        return false;
    struct json_cursor cursor = json_iterate(object);
    while (*cursor.at == '"') {
        struct slice found_name = name_take(&cursor);
        if (json_string_equals(found_name, name)) {
            *value = value_from(cursor.at, cursor.end);
            return true;
        }
        cursor_take(&cursor);
    }
    return false;
}

bool json_enter_element(struct slice array, size_t index, struct slice *value)
{
    if (json_type(array) != JSON_ARRAY)
        return false;
    struct json_cursor cursor = json_iterate(array);
    while (*cursor.at != ']') {
        if (index-- == 0) {
            *value = value_from(cursor.at, cursor.end);
            return true;
        }
        cursor_take(&cursor);
    }
    return false;
}

struct slice json_measure(struct slice entered)
{
    const char *end = value_end(entered.ptr, entered.ptr + entered.len);

    return slice_make(entered.ptr, (size_t) (end - entered.ptr));
}

bool json_find(struct slice object, struct slice name, struct slice *value)
{
    return json_find_path(object, &name, 1, value);
}

bool json_find_path(struct slice value, const struct slice *names, size_t names_count,
                    struct slice *found)
{
    struct slice entered = value;

    for (size_t i = 0; i < names_count; i++)
        if (!json_enter_member(entered, names[i], &entered))
            return false;
    *found = json_measure(entered);
    return true;
}

/* ---- Numbers of text that was checked ---- */

double json_number(struct slice text)
{
    struct number number;
    const char *missing = NULL;

    number_split(text.ptr, text.ptr + text.len, &number, &missing);
    assert(missing == NULL);
    return number_value(&number);
}

bool json_integer(struct slice value, int64_t min, int64_t max, int64_t *integer)
{
    long long exact;

    if (json_type(value) != JSON_NUMBER)
        return false;
    if (slice_to_i64(value, min, max, &exact)) {
        *integer = exact;
        return true;
    }
    double number = json_number(value);
    if (number != floor(number) || fabs(number) > 0x1p53 || number < (double) min ||
        number > (double) max)
        return false;
    *integer = (int64_t) number;
    return true;
}

/* What "%.*e" prints, as digits × 10^exponent. */
static uint64_t digits_round(double value, int precision, int *exponent)
{
    char text[32];
    uint64_t digits = 0;
    const char *at = text;

    snprintf(text, sizeof(text), "%.*e", precision - 1, value);
    for (; *at != 'e'; at++)
        if (is_digit(*at)) /* not the locale's point */
            digits = digits * 10 + (uint64_t) (*at - '0');
    *exponent = (int) strtol(at + 1, NULL, 10) - (precision - 1);
    return digits;
}

static bool digits_read_back(uint64_t digits, int exponent, double value)
{
    char text[40];

    snprintf(text, sizeof(text), "%" PRIu64 "e%d", digits, exponent);
    return strtod(text, NULL) == value;
}

__extension__ typedef unsigned __int128 wide;

static const uint64_t powers_of_ten[] = {
    1,
    10,
    100,
    1000,
    10000,
    100000,
    1000000,
    10000000,
    100000000,
    1000000000,
    10000000000,
    100000000000,
    1000000000000,
    10000000000000,
    100000000000000,
    1000000000000000,
    10000000000000000,
    100000000000000000,
    1000000000000000000,
};

/*
 * The decimals that read back as one double, times a scale that makes all ends integers. The ends
 * themselves are left out even where ties would round to the double, because PostgreSQL leaves them
 * out.
 */
struct interval {
    wide low, middle, high;
    wide scale;
    uint64_t floor; /* middle / scale: 17 digits */
};

static bool interval_holds(const struct interval *interval, uint64_t decimal)
{
    wide at = decimal * interval->scale;

    return at > interval->low && at < interval->high;
}

/* The multiple of a unit within the interval that is nearest to its middle; 0 when there is none.
 */
static uint64_t interval_nearest(const struct interval *interval, uint64_t unit)
{
    uint64_t below = interval->floor / unit * unit, above = below + unit;
    bool holds_below = interval_holds(interval, below),
         holds_above = interval_holds(interval, above);

    if (!holds_below || !holds_above)
        return holds_below ? below : holds_above ? above : 0;
    wide under = interval->middle - below * interval->scale;
    wide over = above * interval->scale - interval->middle;
    if (under != over)
        return under < over ? below : above;
    return below / unit % 2 == 0 ? below : above;
}

/*
 * Around mantissa × factor: half way to the doubles next to it (four times, to keep integers).
 * Below a power of two the next double is only half as far.
 */
static struct interval interval_make(uint64_t mantissa, wide factor, wide scale)
{
    bool is_power = mantissa == (uint64_t) 1 << 52;
    wide middle = mantissa * 4 * factor;

    return (struct interval){.low = middle - (is_power ? 1 : 2) * factor,
                             .middle = middle,
                             .high = middle + 2 * factor,
                             .scale = scale,
                             .floor = (uint64_t) (middle / scale)};
}

/* Doubles from 2^-16 to 2^55: mantissa × 10^decimals / 2^(53 - binary) has 17 digits before its
 * point. */
static struct interval interval_small(uint64_t mantissa, int binary, int *exponent)
{
    /* log10(2) gives a guess that is at most one too low. */
    int decimals = binary < 53 ? (1600000 - binary * 30103) / 100000 : 0;
    wide factor = (wide) powers_of_ten[decimals < 18 ? decimals : 18] *
                  powers_of_ten[decimals < 18 ? 0 : decimals - 18];
    int shift = 55 - binary;

    while ((mantissa * 4 * factor) >> shift < powers_of_ten[16]) {
        factor *= 10;
        decimals++;
    }
    *exponent = -decimals;
    return interval_make(mantissa, factor, (wide) 1 << shift);
}

/* Doubles from 2^55 to 2^132: mantissa × 2^(binary - 53) / 10^zeros; both sides lose their common
 * 2^zeros. */
static struct interval interval_large(uint64_t mantissa, int binary, int *exponent)
{
    int zeros = (binary - 1) * 30103 / 100000 - 16;
    struct interval interval;

    for (;; zeros++) {
        wide scale = 1;
        for (int i = 0; i < zeros; i++)
            scale *= 5;
        interval = interval_make(mantissa, (wide) 1 << (binary - 55 - zeros), scale);
        if (interval.floor < powers_of_ten[17])
            break;
    }
    *exponent = zeros;
    return interval;
}

/*
 * digits_shortest by exact integers of 128 bits, for doubles of everyday size: a hundred times
 * faster than printing and reading back. Returns 0 for all others; no decimal of 17 digits lies
 * half way between two of those.
 */
static uint64_t digits_everyday(double value, int *exponent)
{
    int binary;
    uint64_t mantissa = (uint64_t) ldexp(frexp(value, &binary), 53);

    if (binary < -15 || binary > 132)
        return 0;
    const struct interval interval = binary <= 55 ? interval_small(mantissa, binary, exponent)
                                                  : interval_large(mantissa, binary, exponent);
    for (unsigned zeros = 2; zeros > 0; zeros--) {
        uint64_t decimal = interval_nearest(&interval, powers_of_ten[zeros]);
        if (decimal != 0)
            return decimal;
    }
    return interval_nearest(&interval, 1);
}

/*
 * Fewest digits (at most 17) that read back as a positive double, the nearest of those. Below a
 * power of two the doubles are closer than above it, so there the next decimal up may do when the
 * nearest does not (2^-44).
 */
static uint64_t digits_shortest(double value, int *exponent)
{
    /* Decimals of 15 digits all differ as normal doubles; denormals hold fewer. */
    int precision = value < DBL_MIN ? 1 : DBL_DIG;
    int unused;
    bool is_power = frexp(value, &unused) == 0.5;
    uint64_t everyday = digits_everyday(value, exponent);

    if (everyday != 0)
        return everyday;
    for (;; precision++) {
        uint64_t digits = digits_round(value, precision, exponent);
        if (precision == 17 || digits_read_back(digits, *exponent, value))
            return digits;
        if (is_power && digits_read_back(digits + 1, *exponent, value))
            return digits + 1;
    }
}

/* Put digits with the point among them, or zeros around them. Returns the length. */
static size_t print_plain(const char *digits, int count, int point, char *text)
{
    size_t len = 0;

    if (point <= 0) {
        text[len++] = '0';
        text[len++] = '.';
        for (int i = point; i < 0; i++)
            text[len++] = '0';
    }
    for (int i = 0; i < count || i < point; i++) {
        if (i == point && point > 0)
            text[len++] = '.';
        text[len++] = i < count ? digits[i] : '0';
    }
    return len;
}

static size_t print_exponent(const char *digits, int count, int point, char *text)
{
    size_t len = 0;

    text[len++] = digits[0];
    if (count > 1)
        text[len++] = '.';
    memcpy(text + len, digits + 1, (size_t) count - 1);
    len += (size_t) count - 1;
    return len + (size_t) snprintf(text + len, 6, "e%+d", point - 1);
}

size_t json_print_double(double value, char text[JSON_NUMBER_BYTES])
{
    char digits[24];
    size_t len = 0;
    int exponent;

    assert(isfinite(value));
    if (value == 0) {
        memcpy(text, "0", 2);
        return 1;
    }
    if (value < 0)
        text[len++] = '-';
    uint64_t significant = digits_shortest(fabs(value), &exponent);
    for (; significant % 10 == 0; exponent++)
        significant /= 10;
    int count = (int) print_u64(significant, digits);
    int point = count + exponent;
    if (point > -6 && point <= 21)
        len += print_plain(digits, count, point, text + len);
    else
        len += print_exponent(digits, count, point, text + len);
    text[len] = '\0';
    return len;
}

/* Copy a text, each number printed again. */
static void normalize_numbers(struct slice text, struct buf *out)
{
    const char *at = text.ptr, *end = text.ptr + text.len, *copied = at;
    char printed[JSON_NUMBER_BYTES];
    struct number number;
    const char *missing = NULL;

    while (at < end) {
        if (*at == '"') {
            at = string_end(at, end);
            continue;
        }
        if (*at != '-' && !is_digit(*at)) {
            at++;
            continue;
        }
        const char *start = at;
        at = number_split(start, end, &number, &missing);
        if (number_is_canonical(&number))
            continue;
        buf_append(out, copied, (size_t) (start - copied));
        buf_append(out, printed, json_print_double(number_value(&number), printed));
        copied = at;
    }
    buf_append(out, copied, (size_t) (end - copied));
}

bool json_normalize(const struct json_text *text, struct arena *arena, struct slice *normalized,
                    struct fault *fault)
{
    struct buf out = {0};
    size_t len;

    *normalized = text->root;
    if (text->numbers_are_canonical)
        return true;
    buf_reserve(&out, text->root.len + 1);
    normalize_numbers(text->root, &out);
    char *bytes = buf_take(&out, &len);
    if (bytes == NULL || !arena_defer(arena, free, bytes))
        return fault_set_oom(fault);
    *normalized = slice_make(bytes, len);
    return true;
}
