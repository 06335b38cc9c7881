/*
 * Offers beside what they belong to.
 */
#ifndef ORRERY_SERVICE_OFFERS_H
#define ORRERY_SERVICE_OFFERS_H

#include "model/offer.h"
#include "service/call.h"

/* Throughput headers of a create; see offer_from_headers. Fault 400. */
bool offers_from_request(struct op *op, struct offer *offer, bool *is_given) MUST_CHECK;

/* Add the offer of what is being created (self: struct resource, numbered) to its write. */
bool offers_add(struct op *op, const struct offer *offer) MUST_CHECK;

#endif
