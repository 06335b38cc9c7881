#include "loop/pgvalue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/banned.h"

static void put32(struct buf *buf, uint32_t value)
{
    unsigned char bytes[] = {(unsigned char) (value >> 24), (unsigned char) (value >> 16),
                             (unsigned char) (value >> 8), (unsigned char) value};

    buf_append(buf, bytes, sizeof(bytes));
}

static void put64(struct buf *buf, uint64_t value)
{
    put32(buf, (uint32_t) (value >> 32));
    put32(buf, (uint32_t) value);
}

static uint32_t get32(const char *p)
{
    const unsigned char *u = (const unsigned char *) p;

    return (uint32_t) u[0] << 24 | (uint32_t) u[1] << 16 | (uint32_t) u[2] << 8 | u[3];
}

static void patch32(struct buf *buf, size_t at, uint32_t value)
{
    if (buf->has_failed)
        return;
    for (unsigned i = 0; i < 4; i++)
        buf->ptr[at + i] = (char) (value >> (24 - 8 * i));
}

void pgparams_finish(struct pgparams *params)
{
    buf_finish(&params->bytes);
    free(params->at);
    *params = (struct pgparams){0};
}

void pgparams_reset(struct pgparams *params)
{
    params->bytes.len = 0;
    params->bytes.has_failed = false;
    params->count = 0;
}

static bool grow(struct pgparams *params)
{
    int capacity = params->capacity > 0 ? params->capacity * 2 : 32;
    struct pgparam *at = realloc(params->at, (size_t) capacity * sizeof(*at));

    if (at == NULL) {
        params->bytes.has_failed = true;
        return false;
    }
    params->at = at;
    params->capacity = capacity;
    return true;
}

static void begin(struct pgparams *params, uint32_t type)
{
    assert(params->count < PGPARAMS_MAX);
    if (params->count < params->capacity || grow(params))
        params->at[params->count] = (struct pgparam){.type = type, .start = params->bytes.len};
}

static void end(struct pgparams *params)
{
    if (params->count == params->capacity)
        return; /* out of memory */
    params->at[params->count].len = params->bytes.len - params->at[params->count].start;
    params->count++;
}

void pgparams_int8(struct pgparams *params, int64_t value)
{
    begin(params, PG_INT8);
    put64(&params->bytes, (uint64_t) value);
    end(params);
}

void pgparams_int4(struct pgparams *params, int32_t value)
{
    begin(params, PG_INT4);
    put32(&params->bytes, (uint32_t) value);
    end(params);
}

void pgparams_float8(struct pgparams *params, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    begin(params, PG_FLOAT8);
    put64(&params->bytes, bits);
    end(params);
}

void pgparams_bool(struct pgparams *params, bool value)
{
    begin(params, PG_BOOL);
    buf_append_char(&params->bytes, value ? 1 : 0);
    end(params);
}

void pgparams_text(struct pgparams *params, struct slice value)
{
    begin(params, PG_TEXT);
    buf_append_slice(&params->bytes, value);
    end(params);
}

void pgparams_bytea(struct pgparams *params, struct slice value)
{
    begin(params, PG_BYTEA);
    buf_append_slice(&params->bytes, value);
    end(params);
}

/* What follows is text: the one version of the format that there is. */
#define JSONB_VERSION 1

void pgparams_jsonb(struct pgparams *params, struct slice json)
{
    begin(params, PG_JSONB);
    buf_append_char(&params->bytes, JSONB_VERSION);
    buf_append_slice(&params->bytes, json);
    end(params);
}

void pgparams_uuid(struct pgparams *params, const uint8_t uuid[16])
{
    begin(params, PG_UUID);
    buf_append(&params->bytes, uuid, 16);
    end(params);
}

void pgparams_null(struct pgparams *params, uint32_t type)
{
    begin(params, type);
    if (params->count < params->capacity)
        params->at[params->count].is_null = true;
    end(params);
}

static uint32_t element_type(uint32_t array_type)
{
    switch (array_type) {
    case PG_BOOL_ARRAY:
        return PG_BOOL;
    case PG_BYTEA_ARRAY:
        return PG_BYTEA;
    case PG_INT2_ARRAY:
        return PG_INT2;
    case PG_INT4_ARRAY:
        return PG_INT4;
    case PG_TEXT_ARRAY:
        return PG_TEXT;
    case PG_INT8_ARRAY:
        return PG_INT8;
    case PG_FLOAT8_ARRAY:
        return PG_FLOAT8;
    case PG_JSONB_ARRAY:
        return PG_JSONB;
    default:
        assert(array_type == PG_UUID_ARRAY);
        return PG_UUID;
    }
}

/* Header: dimensions, has-NULL flag, element type, then length and lower bound of the dimension. */
void pgparams_array_begin(struct pgparams *params, uint32_t array_type)
{
    begin(params, array_type);
    params->array_header = params->bytes.len;
    put32(&params->bytes, 1);
    put32(&params->bytes, 0);
    put32(&params->bytes, element_type(array_type));
    put32(&params->bytes, 0);
    put32(&params->bytes, 1);
}

static void count_element(struct pgparams *params, bool is_null)
{
    size_t at = params->array_header;

    if (params->bytes.has_failed)
        return;
    if (is_null)
        patch32(&params->bytes, at + 4, 1);
    patch32(&params->bytes, at + 12, get32(params->bytes.ptr + at + 12) + 1);
}

void pgparams_add_int8(struct pgparams *params, int64_t value)
{
    put32(&params->bytes, 8);
    put64(&params->bytes, (uint64_t) value);
    count_element(params, false);
}

void pgparams_add_float8(struct pgparams *params, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    put32(&params->bytes, sizeof(bits));
    put64(&params->bytes, bits);
    count_element(params, false);
}

void pgparams_add_int4(struct pgparams *params, int32_t value)
{
    put32(&params->bytes, 4);
    put32(&params->bytes, (uint32_t) value);
    count_element(params, false);
}

void pgparams_add_int2(struct pgparams *params, int16_t value)
{
    put32(&params->bytes, 2);
    buf_append_char(&params->bytes, (char) ((uint16_t) value >> 8));
    buf_append_char(&params->bytes, (char) value);
    count_element(params, false);
}

void pgparams_add_bool(struct pgparams *params, bool value)
{
    put32(&params->bytes, 1);
    buf_append_char(&params->bytes, (char) value);
    count_element(params, false);
}

void pgparams_add_bytes(struct pgparams *params, struct slice value)
{
    put32(&params->bytes, (uint32_t) value.len);
    buf_append_slice(&params->bytes, value);
    count_element(params, false);
}

void pgparams_add_jsonb(struct pgparams *params, struct slice json)
{
    put32(&params->bytes, (uint32_t) json.len + 1);
    buf_append_char(&params->bytes, JSONB_VERSION);
    buf_append_slice(&params->bytes, json);
    count_element(params, false);
}

void pgparams_add_uuid(struct pgparams *params, const uint8_t uuid[16])
{
    pgparams_add_bytes(params, slice_make((const char *) uuid, 16));
}

void pgparams_add_null(struct pgparams *params)
{
    put32(&params->bytes, UINT32_MAX);
    count_element(params, true);
}

void pgparams_array_end(struct pgparams *params)
{
    /* An array of no elements has no dimensions at all. */
    if (!params->bytes.has_failed && get32(params->bytes.ptr + params->array_header + 12) == 0) {
        patch32(&params->bytes, params->array_header, 0);
        params->bytes.len = params->array_header + 12;
    }
    end(params);
}

int64_t pgvalue_int8(struct slice value)
{
    assert(value.len == 8);
    return (int64_t) ((uint64_t) get32(value.ptr) << 32 | get32(value.ptr + 4));
}

int32_t pgvalue_int4(struct slice value)
{
    assert(value.len == 4);
    return (int32_t) get32(value.ptr);
}

int16_t pgvalue_int2(struct slice value)
{
    assert(value.len == 2);
    const unsigned char *u = (const unsigned char *) value.ptr;
    return (int16_t) (u[0] << 8 | u[1]);
}

bool pgvalue_bool(struct slice value)
{
    assert(value.len == 1);
    return value.ptr[0] != 0;
}

bool pgvalue_array_next(struct slice value, size_t *at, struct slice *element, bool *is_null)
{
    assert(value.len >= 12);
    if (*at == 0) {
        if (get32(value.ptr) == 0)
            return false;
        assert(get32(value.ptr) == 1 && value.len >= 20);
        *at = 20;
    }
    if (*at >= value.len)
        return false;
    uint32_t len = get32(value.ptr + *at);
    *at += 4;
    *is_null = len == UINT32_MAX;
    *element = *is_null ? slice_make(NULL, 0) : slice_make(value.ptr + *at, len);
    *at += element->len;
    assert(*at <= value.len);
    return true;
}

size_t pgvalue_int8_array(struct slice value, int64_t *out, size_t max)
{
    struct slice element;
    size_t at = 0, count = 0;
    bool is_null;

    while (pgvalue_array_next(value, &at, &element, &is_null)) {
        if (count < max)
            out[count] = is_null ? 0 : pgvalue_int8(element);
        count++;
    }
    return count;
}
