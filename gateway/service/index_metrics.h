/*
 * What a query's answer tells of indexes when its client asks (x-ms-cosmos-populateindexmetrics).
 */
#ifndef ORRERY_SERVICE_INDEX_METRICS_H
#define ORRERY_SERVICE_INDEX_METRICS_H

#include "query/emit.h"
#include "service/call.h"

/*
 * Header x-ms-cosmos-index-utilization, in the form that the request asks for: base64 of JSON, or
 * percent-encoded JSON (V2). Nothing when it does not ask.
 *
 * utilized   paths whose index narrowed the items or gave their order
 * potential  paths of which an index would, because the policy leaves them out, or because the
 * index is not made yet composite  the ORDER BY of several keys that a composite index served; NULL
 * for none
 *
 * Source: protocol reference, sections 5.1 and 5.2.
 */
void index_metrics_reply(struct call *call, const struct emit_use *uses,
                         const struct index_composite *composite);

#endif
