/*
 * Substatus codes: one table.
 *
 * Columns: name, HTTP status it goes with, number on the wire, when it is raised and where that is
 * known from. A handler names a row; it never types a number.
 */
#ifndef ORRERY_BASE_SUBSTATUS_H
#define ORRERY_BASE_SUBSTATUS_H

#define SUBSTATUS_TABLE(ROW)                                                                       \
    ROW(SUB_NONE, 0, 0, "no substatus header is sent")                                             \
    ROW(SUB_PARTITION_KEY_MISMATCH, 400, 1001,                                                     \
        "partition key of header and body differ; SDKs refresh their container cache")             \
    ROW(SUB_CROSS_PARTITION_QUERY, 400, 1004, "query needs the client's pipeline")                 \
    ROW(SUB_COLLECTION_RID_MISMATCH, 400, 1024,                                                    \
        "x-ms-cosmos-intended-collection-rid names another container")                             \
    ROW(SUB_WRITE_FORBIDDEN, 403, 3, "write sent to a region that takes none")                     \
    ROW(SUB_ACCOUNT_NOT_FOUND, 403, 1008,                                                          \
        "the region is offline or was removed; SDKs read the account again")                       \
    ROW(SUB_READ_SESSION_NOT_AVAILABLE, 404, 1002, "the region has not reached the session token") \
    ROW(SUB_OWNER_RESOURCE_NOT_FOUND, 404, 1003, "the database or container is missing")           \
    ROW(SUB_UNIQUE_INDEX_CONFLICT, 409, 3301, "a unique key of the container is taken")            \
    ROW(SUB_PARTITION_KEY_RANGE_GONE, 410, 1002,                                                   \
        "the range was split, or is not of this container")                                        \
    ROW(SUB_PATCH_CONDITION_NOT_MET, 412, 1110, "the condition of a patch is false")               \
    ROW(SUB_REQUEST_RATE_TOO_LARGE, 429, 3200, "the container's throughput is used up")

enum substatus {
#define ROW(name, status, number, when) name,
    SUBSTATUS_TABLE(ROW)
#undef ROW
};

/* The number that x-ms-substatus carries; 0 for SUB_NONE. */
unsigned substatus_number(enum substatus substatus);

/* The HTTP status that a substatus belongs to; 0 for SUB_NONE. */
unsigned substatus_http_status(enum substatus substatus);

#endif
