/*
 * Offers: the throughput that a container or database was given, manual or autoscale.
 *
 * Source: protocol reference, section 4.11.
 */
#ifndef ORRERY_MODEL_OFFER_H
#define ORRERY_MODEL_OFFER_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"

#include <stdint.h>

#define OFFER_MANUAL_MIN_RU 400
#define OFFER_AUTOSCALE_MIN_RU 1000
#define OFFER_MAX_RU 1000000
#define OFFER_RU_PER_RANGE 10000

struct offer {
    bool is_autoscale;
    int32_t max_ru;            /* units per second: the throughput, or autoscale's maximum */
    int32_t increment_percent; /* autoscale's upgrade policy; 0 for none */
    int32_t ever_ru;           /* the most that was ever provisioned */
};

/* What a replace of an offer asks for by header. */
enum offer_migration { OFFER_KEEP, OFFER_TO_AUTOSCALE, OFFER_TO_MANUAL };

/*
 * Throughput of a create request.
 *
 * throughput  x-ms-offer-throughput, or absent
 * autopilot   x-ms-cosmos-offer-autopilot-settings, or absent
 * is_given    false when neither is there; the offer is then 400 units, manual
 * fault       400 when both are there, or one is no allowed value
 */
bool offer_from_headers(struct offer *offer, struct slice throughput, struct slice autopilot,
                        bool *is_given, struct arena *arena, struct fault *fault) MUST_CHECK;

/*
 * The body of a replace: an offer as it was read, with another content.
 *
 * current      what is stored, as text
 * rid          the offer's resource id, as in the path
 * fault        400 when the body is none, names another resource, asks for a throughput that is
 *              not allowed, or changes the kind without the header for it
 */
bool offer_replace(struct offer *offer, struct slice body, struct slice current,
                   enum offer_migration migration, struct arena *arena,
                   struct fault *fault) MUST_CHECK;

/* From the stored definition. Fault 500 when the text is none. */
bool offer_load(struct offer *offer, struct slice stored, struct arena *arena,
                struct fault *fault) MUST_CHECK;

/*
 * The definition to store, without system properties.
 *
 * rid            of the offer: its id, too
 * resource       _self of what it belongs to: SDKs look the offer up by exactly this text
 * resource_rid   its _rid
 */
void offer_append(struct buf *out, const struct offer *offer, const char *rid,
                  struct slice resource, struct slice resource_rid);

/* Ranges that a new container needs for it: one per 10,000 units, rounded up. */
unsigned offer_range_count(const struct offer *offer);

/* Value of x-ms-cosmos-min-throughput: what the offer may be lowered to. */
int32_t offer_min_ru(const struct offer *offer);

#endif
