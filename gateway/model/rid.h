/*
 * Resource ids ("_rid"): numbers of a resource and its owners, in base64.
 *
 * The bytes tell the type of the resource, and SDKs read it from them: the top bit of byte 4 tells
 * a container from a user, the high nibble of byte 15 one child of a container from another. In the
 * text every
 * "/" of base64 is "-". Source: protocol reference, section 1.3.
 */
#ifndef ORRERY_MODEL_RID_H
#define ORRERY_MODEL_RID_H

#include "base/buf.h"
#include "base/compiler.h"
#include "base/slice.h"

#include <stdint.h>

#define RID_BYTES_MAX 16
#define RID_TEXT_BYTES 25 /* longest text and its NUL */
#define RID_NUMBER_MAX (((uint64_t) 1 << 60) - 1)
#define RID_OFFER_MAX 0xffffff

enum rid_type {
    RID_OFFER,
    RID_DATABASE,
    RID_CONTAINER,
    RID_USER,
    RID_PERMISSION,
    RID_CLIENT_ENCRYPTION_KEY,
    RID_ITEM,
    RID_CONFLICT,
    RID_PKRANGE,
    RID_UDF,
    RID_TRIGGER,
    RID_SPROC,
    RID_SCHEMA,
};

struct rid {
    enum rid_type type;
    uint32_t database; /* number; 0 for an offer */
    uint32_t
        owner; /* number of the container or user, itself or above; 31 bits, from 1; otherwise 0 */
    uint64_t number; /* of what is below a container or user, of a key or an offer; 60 bits */
};

/* The text, terminated. Numbers out of their bounds are a broken promise. */
void rid_format(const struct rid *rid, char text[RID_TEXT_BYTES]);

void rid_append(struct buf *buf, const struct rid *rid);

/* The rid path with a slash at its end: "dbs/…/colls/…/docs/…/". */
void rid_append_self(struct buf *buf, const struct rid *rid);

/*
 * Read a text, percent-decoded before.
 *
 * returns  false when it is no resource id: a name then, or nothing that exists
 */
bool rid_parse(struct slice text, struct rid *rid) MUST_CHECK;

/*
 * Does "dbs/<segment>/…" address by resource id? Eight characters that are four bytes of base64;
 * names may look so too, therefore the name is to be tried first.
 */
bool rid_is_database_segment(struct slice segment);

/* The owner itself: the container or user of a child, the database of these. Offers have none. */
struct rid rid_parent(const struct rid *rid);

/* The bytes that the rids of a container's items begin with. */
void rid_container_bytes(const struct rid *container, uint8_t bytes[8]);

/* Number of an item: grows with the counter, and names the range and region that made it. */
static inline uint64_t rid_item_number(uint64_t counter, uint32_t range_index, uint8_t origin)
{
    return counter << 20 | (uint64_t) range_index << 8 | origin;
}

#endif
