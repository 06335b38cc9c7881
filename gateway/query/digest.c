#include "query/digest.h"

#include <endian.h>
#include <math.h>

#include "base/banned.h"

/* What a value begins with; none of them is ever reused for something else. */
enum tag {
    TAG_UNDEFINED = 'u',
    TAG_NULL = 'n',
    TAG_FALSE = 'f',
    TAG_TRUE = 't',
    TAG_NUMBER = 'd',
    TAG_STRING = 's',
    TAG_ARRAY = '[',
    TAG_ARRAY_END = ']',
    TAG_OBJECT = '{',
};

/* The key: the bytes of "orrery query key". */
#define KEY_0 UINT64_C(0x7120797265727265)
#define KEY_1 UINT64_C(0x79656b2079726575)

struct sip {
    uint64_t v0, v1, v2, v3;
    uint64_t word; /* bytes that wait for the rest of eight */
    unsigned waiting;
    uint64_t length;
};

static inline uint64_t rotate(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

static void sip_init(struct sip *s)
{
    *s = (struct sip){
        .v0 = KEY_0 ^ UINT64_C(0x736f6d6570736575),
        .v1 = KEY_1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee, /* 0xee: 128 bits of output */
        .v2 = KEY_0 ^ UINT64_C(0x6c7967656e657261),
        .v3 = KEY_1 ^ UINT64_C(0x7465646279746573),
    };
}

static inline void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    sip_round(s);
    s->v0 ^= word;
}

static inline void sip_byte(struct sip *s, unsigned char byte)
{
    s->word |= (uint64_t) byte << (8 * s->waiting);
    s->length++;
    if (++s->waiting < 8)
        return;
    sip_word(s, s->word);
    s->word = 0;
    s->waiting = 0;
}

/* Eight bytes, wherever the stream stands in a word. */
static inline void sip_eight(struct sip *s, uint64_t eight)
{
    unsigned shift = 8 * s->waiting;

    sip_word(s, s->word | eight << shift);
    s->word = shift > 0 ? eight >> (64 - shift) : 0;
    s->length += 8;
}

static void sip_bytes(struct sip *s, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;

    for (; len >= 8; at += 8, len -= 8) {
        uint64_t eight;

        memcpy(&eight, at, sizeof(eight));
        sip_eight(s, le64toh(eight));
    }
    while (len-- > 0)
        sip_byte(s, *at++);
}

/* The two halves of the result. */
static void sip_finish(struct sip *s, uint64_t halves[2])
{
    sip_word(s, s->word | s->length << 56);
    s->v2 ^= 0xee;
    for (int half = 0; half < 2; half++) {
        for (int i = 0; i < 4; i++)
            sip_round(s);
        halves[half] = s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
        s->v1 ^= 0xdd;
    }
}

static void sip_text(struct sip *s, const char *text)
{
    size_t len = strlen(text);

    sip_eight(s, len);
    sip_bytes(s, text, len);
}

static bool is_absent(const cJSON *value)
{
    return value == NULL || (cJSON_IsNumber(value) && !isfinite(value->valuedouble));
}

static void number_digest(struct sip *s, double number)
{
    uint64_t bits;

    number += 0.0; /* -0 becomes 0 */
    memcpy(&bits, &number, sizeof(bits));
    sip_byte(s, TAG_NUMBER);
    sip_eight(s, bits);
}

static size_t stream(struct sip *s, const cJSON *value);

/* The sum of what each member, name and value, hashes to. */
static size_t object_stream(struct sip *s, const cJSON *object)
{
    uint64_t low = 0, high = 0;
    size_t bytes = 0;

    for (const cJSON *member = object->child; member != NULL; member = member->next) {
        struct sip inner;
        uint64_t halves[2];

        if (is_absent(member))
            continue;
        sip_init(&inner);
        sip_text(&inner, member->string);
        bytes += stream(&inner, member);
        bytes += inner.length + 16;
        sip_finish(&inner, halves);
        low += halves[0];
        high += halves[1] + (low < halves[0]);
    }
    sip_byte(s, TAG_OBJECT);
    sip_eight(s, low);
    sip_eight(s, high);
    return bytes;
}

/* Put a value into the stream. Returns the bytes that went into streams of their own. */
static size_t stream(struct sip *s, const cJSON *value)
{
    size_t bytes = 0;

    if (is_absent(value)) {
        sip_byte(s, TAG_UNDEFINED);
    } else if (cJSON_IsNumber(value)) {
        number_digest(s, value->valuedouble);
    } else if (cJSON_IsString(value)) {
        sip_byte(s, TAG_STRING);
        sip_text(s, value->valuestring);
    } else if (cJSON_IsArray(value)) {
        sip_byte(s, TAG_ARRAY);
        for (const cJSON *element = value->child; element != NULL; element = element->next) {
            if (!is_absent(element))
                bytes += stream(s, element);
        }
        sip_byte(s, TAG_ARRAY_END);
    } else if (cJSON_IsObject(value)) {
        bytes = object_stream(s, value);
    } else {
        sip_byte(s, cJSON_IsTrue(value) ? TAG_TRUE : cJSON_IsFalse(value) ? TAG_FALSE : TAG_NULL);
    }
    return bytes;
}

size_t digest_values(const cJSON *const *values, size_t count, struct digest *digest)
{
    struct sip sip;
    uint64_t halves[2];
    size_t bytes = 0;

    sip_init(&sip);
    for (size_t i = 0; i < count; i++)
        bytes += stream(&sip, values[i]);
    bytes += sip.length;
    sip_finish(&sip, halves);
    for (int half = 0; half < 2; half++) {
        uint64_t big = htobe64(halves[half]);
        memcpy(digest->bytes + 8 * half, &big, sizeof(big));
    }
    return bytes;
}

size_t digest_value(const cJSON *value, struct digest *digest)
{
    return digest_values(&value, 1, digest);
}

int digest_compare(const struct digest *a, const struct digest *b)
{
    return memcmp(a->bytes, b->bytes, DIGEST_BYTES);
}
