/*
 * PostgreSQL's binary formats: parameters of a statement, built; values of a row, read.
 *
 * Everything goes as binary, so nothing is quoted and text is never re-parsed.
 */
#ifndef ORRERY_LOOP_PGVALUE_H
#define ORRERY_LOOP_PGVALUE_H

#include "base/buf.h"
#include "base/compiler.h"

#include <stdint.h>

enum {
    PG_BOOL = 16,
    PG_BYTEA = 17,
    PG_INT8 = 20,
    PG_INT2 = 21,
    PG_INT4 = 23,
    PG_TEXT = 25,
    PG_FLOAT8 = 701,
    PG_UUID = 2950,
    PG_JSONB = 3802
};
enum {
    PG_BOOL_ARRAY = 1000,
    PG_BYTEA_ARRAY = 1001,
    PG_INT2_ARRAY = 1005,
    PG_INT4_ARRAY = 1007,
    PG_TEXT_ARRAY = 1009,
    PG_INT8_ARRAY = 1016,
    PG_FLOAT8_ARRAY = 1022,
    PG_UUID_ARRAY = 2951,
    PG_JSONB_ARRAY = 3807
};

/* The protocol counts parameters in 16 bits. */
#define PGPARAMS_MAX 65535

/*
 * Parameters of one call. Bytes are copied into one buffer; out of memory is remembered and makes
 * the send fail. Zeroed memory is a valid empty set.
 */
struct pgparam {
    uint32_t type;
    bool is_null;
    size_t start, len; /* in bytes */
};

struct pgparams {
    struct buf bytes;
    struct pgparam *at;
    int count, capacity;
    size_t array_header; /* of the array being built */
    uint32_t array_type;
};

void pgparams_finish(struct pgparams *params);

/* Empty it, keeping its memory for the next call. */
void pgparams_reset(struct pgparams *params);

void pgparams_int8(struct pgparams *params, int64_t value);
void pgparams_int4(struct pgparams *params, int32_t value);
void pgparams_float8(struct pgparams *params, double value);
void pgparams_bool(struct pgparams *params, bool value);
void pgparams_text(struct pgparams *params, struct slice value);
void pgparams_bytea(struct pgparams *params, struct slice value);
void pgparams_jsonb(struct pgparams *params, struct slice json);
void pgparams_uuid(struct pgparams *params, const uint8_t uuid[16]);
void pgparams_null(struct pgparams *params, uint32_t type);

/* An array: begin with the array's type, add elements of its kind, end. Without NULs unless added.
 */
void pgparams_array_begin(struct pgparams *params, uint32_t array_type);
void pgparams_add_int8(struct pgparams *params, int64_t value);
void pgparams_add_int4(struct pgparams *params, int32_t value);
void pgparams_add_int2(struct pgparams *params, int16_t value);
void pgparams_add_bool(struct pgparams *params, bool value);
void pgparams_add_float8(struct pgparams *params, double value);
void pgparams_add_bytes(struct pgparams *params, struct slice value); /* text, bytea */
void pgparams_add_jsonb(struct pgparams *params, struct slice json);
void pgparams_add_uuid(struct pgparams *params, const uint8_t uuid[16]);
void pgparams_add_null(struct pgparams *params);
void pgparams_array_end(struct pgparams *params);

/* Readers of binary values; the length is checked by assert, since the statement fixes the type. */
int64_t pgvalue_int8(struct slice value);
int32_t pgvalue_int4(struct slice value);
int16_t pgvalue_int2(struct slice value);
bool pgvalue_bool(struct slice value);

/*
 * Elements of a one-dimensional bigint[]; NULL elements read as 0.
 *
 * returns  how many there are; at most max are stored
 */
size_t pgvalue_int8_array(struct slice value, int64_t *out, size_t max);

/* Visit the elements of any one-dimensional array: false when there are no more. Start with *at =
 * 0. */
bool pgvalue_array_next(struct slice value, size_t *at, struct slice *element, bool *is_null);

#endif
