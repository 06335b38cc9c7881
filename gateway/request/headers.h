/*
 * Request headers that mean something here: one table of their names.
 *
 * Every other header is ignored. An empty value counts as absent (the Java SDK sends empty ones).
 */
#ifndef ORRERY_REQUEST_HEADERS_H
#define ORRERY_REQUEST_HEADERS_H

#include "base/fault.h"
#include "base/slice.h"

#define HEADER_TABLE(ROW)                                                                   \
    ROW(HEADER_A_IM, "a-im")                                                                \
    ROW(HEADER_ACTIVITY_ID, "x-ms-activity-id")                                             \
    ROW(HEADER_ALLOW_TENTATIVE_WRITES, "x-ms-cosmos-allow-tentative-writes")                \
    ROW(HEADER_AUTHORIZATION, "authorization")                                              \
    ROW(HEADER_BATCH_ATOMIC, "x-ms-cosmos-batch-atomic")                                    \
    ROW(HEADER_BATCH_CONTINUE_ON_ERROR, "x-ms-cosmos-batch-continue-on-error")              \
    ROW(HEADER_CONSISTENCY_LEVEL, "x-ms-consistency-level")                                 \
    ROW(HEADER_CONTENT_RESPONSE_ON_WRITE, "x-ms-cosmos-populate-content-response-on-write") \
    ROW(HEADER_CONTINUATION, "x-ms-continuation")                                           \
    ROW(HEADER_CROSS_PARTITION, "x-ms-documentdb-query-enablecrosspartition")               \
    ROW(HEADER_DATE, "date")                                                                \
    ROW(HEADER_END_EPK, "x-ms-end-epk")                                                     \
    ROW(HEADER_EXPIRY_SECONDS, "x-ms-documentdb-expiry-seconds")                            \
    ROW(HEADER_FORWARDED_HOST, "x-forwarded-host")                                          \
    ROW(HEADER_FORWARDED_PROTO, "x-forwarded-proto")                                        \
    ROW(HEADER_HOST, "host")                                                                \
    ROW(HEADER_IF_MATCH, "if-match")                                                        \
    ROW(HEADER_IF_MODIFIED_SINCE, "if-modified-since")                                      \
    ROW(HEADER_IF_NONE_MATCH, "if-none-match")                                              \
    ROW(HEADER_INDEXING_DIRECTIVE, "x-ms-indexing-directive")                               \
    ROW(HEADER_INTENDED_RID, "x-ms-cosmos-intended-collection-rid")                         \
    ROW(HEADER_IS_BATCH, "x-ms-cosmos-is-batch-request")                                    \
    ROW(HEADER_IS_QUERY, "x-ms-documentdb-isquery")                                         \
    ROW(HEADER_IS_QUERY_GO, "x-ms-documentdb-query")                                        \
    ROW(HEADER_IS_QUERY_PLAN, "x-ms-cosmos-is-query-plan-request")                          \
    ROW(HEADER_IS_UPSERT, "x-ms-documentdb-is-upsert")                                      \
    ROW(HEADER_MAX_ITEM_COUNT, "x-ms-max-item-count")                                       \
    ROW(HEADER_MIGRATE_TO_AUTOPILOT, "x-ms-cosmos-migrate-offer-to-autopilot")              \
    ROW(HEADER_MIGRATE_TO_MANUAL, "x-ms-cosmos-migrate-offer-to-manual-throughput")         \
    ROW(HEADER_OFFER_AUTOPILOT, "x-ms-cosmos-offer-autopilot-settings")                     \
    ROW(HEADER_OFFER_THROUGHPUT, "x-ms-offer-throughput")                                   \
    ROW(HEADER_OFFER_TYPE, "x-ms-offer-type")                                               \
    ROW(HEADER_PARTITION_KEY, "x-ms-documentdb-partitionkey")                               \
    ROW(HEADER_PARTITION_KEY_RANGE_ID, "x-ms-documentdb-partitionkeyrangeid")               \
    ROW(HEADER_POPULATE_INDEX_METRICS, "x-ms-cosmos-populateindexmetrics")                  \
    ROW(HEADER_POPULATE_INDEX_METRICS_V2, "x-ms-cosmos-populateindexmetrics-v2")            \
    ROW(HEADER_POPULATE_QUOTA_INFO, "x-ms-documentdb-populatequotainfo")                    \
    ROW(HEADER_POPULATE_QUERY_METRICS, "x-ms-documentdb-populatequerymetrics")              \
    ROW(HEADER_POST_TRIGGER, "x-ms-documentdb-post-trigger-include")                        \
    ROW(HEADER_PRE_TRIGGER, "x-ms-documentdb-pre-trigger-include")                          \
    ROW(HEADER_PREFER, "prefer")                                                            \
    ROW(HEADER_READ_CONSISTENCY_STRATEGY, "x-ms-cosmos-read-consistency-strategy")          \
    ROW(HEADER_SESSION_TOKEN, "x-ms-session-token")                                         \
    ROW(HEADER_START_EPK, "x-ms-start-epk")                                                 \
    ROW(HEADER_SUPPORTED_QUERY_FEATURES, "x-ms-cosmos-supported-query-features")            \
    ROW(HEADER_TOKEN_LIMIT_KB, "x-ms-documentdb-responsecontinuationtokenlimitinkb")        \
    ROW(HEADER_TRANSFER_ENCODING, "transfer-encoding")                                      \
    ROW(HEADER_X_MS_DATE, "x-ms-date")

enum header {
#define ROW(name, text) name,
    HEADER_TABLE(ROW)
#undef ROW
        HEADER_COUNT
};

struct headers {
    struct slice at[HEADER_COUNT]; /* absent: ptr NULL */
};

/* The row of a name in any letter case; HEADER_COUNT when it means nothing here. */
enum header header_find(const char *name, size_t len);

/* Its name as it is written in messages. */
const char *header_name(enum header header);

/* true, True, TRUE; absent and anything else are false. */
bool header_is_true(const struct headers *headers, enum header header);

/*
 * x-ms-max-item-count.
 *
 * default_count  when absent; returned for -1 ("the server decides") too is server_count
 * fault          400 when malformed, 0 or below -1
 */
bool header_max_item_count(const struct headers *headers, unsigned default_count,
                           unsigned server_count, unsigned *count, struct fault *fault) MUST_CHECK;

/* prefer: return=minimal, or its older twin x-ms-cosmos-populate-content-response-on-write: false.
 */
bool header_wants_minimal(const struct headers *headers);

#endif
