/*
 * The account document: where its regions are, and how they behave. Asked as a liveness probe, too,
 * so nothing here waits.
 *
 * SDKs move to the endpoints that it names, so they are the way by which the caller reached us
 * unless a setting says otherwise: an address that only this machine knows would cut the caller
 * off. Regions do not replicate in this release, so a region names itself alone.
 */
#include "model/charge.h"
#include "service/call.h"
#include "service/handlers.h"

#include <string.h>

#include "base/banned.h"

/* Source: protocol reference, section 2.1. */
static const char query_engine[] =
    "{\"allowNewKeywords\":true,\"maxJoinsPerSqlQuery\":10,\"maxQueryRequestTimeoutFraction\":0.9,"
    "\"maxSqlQueryInputLength\":524288,\"maxUdfRefPerSqlQuery\":10,"
    "\"queryMaxInMemorySortDocumentCount\":-1000,\"spatialMaxGeometryPointCount\":256,"
    "\"sqlAllowNonFiniteNumbers\":false,\"sqlDisableOptimizationFlags\":0,"
    "\"enableSpatialIndexing\":true,\"maxInExpressionItemsCount\":2147483647,"
    "\"maxLogicalAndPerSqlQuery\":2147483647,\"maxLogicalOrPerSqlQuery\":2147483647,"
    "\"maxSpatialQueryCells\":2147483647,\"sqlAllowAggregateFunctions\":true,"
    "\"sqlAllowGroupByClause\":true,\"sqlAllowLike\":true,\"sqlAllowSubQuery\":true,"
    "\"sqlAllowScalarSubQuery\":true,\"sqlAllowTop\":true}";

/* A host, maybe with a port; anything else must not become an address that clients follow. */
static bool is_host(struct slice host)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]";

    for (size_t i = 0; i < host.len; i++) {
        if (host.ptr[i] == '\0' || strchr(allowed, host.ptr[i]) == NULL)
            return false;
    }
    return host.len > 0 && host.len <= 300;
}

/* The host that the caller used: a proxy in front of us knows it better than we do. */
static struct slice caller_host(const struct headers *headers)
{
    struct slice rest;
    struct slice forwarded = slice_trim(slice_cut(headers->at[HEADER_FORWARDED_HOST], ',', &rest));
    struct slice host = slice_trim(headers->at[HEADER_HOST]);

    if (is_host(forwarded))
        return forwarded;
    return is_host(host) ? host : (struct slice){NULL, 0};
}

static bool caller_is_https(const struct request *request)
{
    struct slice rest;
    struct slice proto =
        slice_trim(slice_cut(request->headers.at[HEADER_FORWARDED_PROTO], ',', &rest));

    if (slice_equals_nocase(proto, "https") || slice_equals_nocase(proto, "http"))
        return slice_equals_nocase(proto, "https");
    return request->is_tls;
}

static bool has_port(struct slice host)
{
    const char *colon = memrchr(host.ptr, ':', host.len);

    return colon != NULL && memchr(colon, ']', (size_t) (host.ptr + host.len - colon)) == NULL;
}

/* ":8081" of the host that the caller used; empty when it has none. */
static struct slice port_of(struct slice host)
{
    if (slice_is_empty(host) || !has_port(host))
        return SLICE_LITERAL("");
    const char *colon = memrchr(host.ptr, ':', host.len);
    return slice_make(colon, (size_t) (host.ptr + host.len - colon));
}

static void append_endpoint(struct buf *buf, const struct call *call)
{
    const struct config *config = call->service->config;
    const char *scheme = caller_is_https(&call->request) ? "https://" : "http://";
    struct slice configured = slice_from_text(config->public_endpoint);
    struct slice host = caller_host(&call->request.headers);

    while (configured.len > 0 && configured.ptr[configured.len - 1] == '/')
        configured.len--;
    if (!slice_is_empty(configured) && memmem(configured.ptr, configured.len, "://", 3) != NULL) {
        buf_append_slice(buf, configured);
    } else if (!slice_is_empty(configured)) {
        buf_append_text(buf, scheme);
        buf_append_slice(buf, configured);
        if (!has_port(configured))
            buf_append_slice(buf, port_of(host));
    } else {
        buf_append_text(buf, scheme);
        buf_append_slice(buf, slice_is_empty(host) ? SLICE_LITERAL("localhost") : host);
    }
    buf_append_char(buf, '/');
}

static void append_locations(struct buf *buf, const struct call *call, struct slice endpoint)
{
    static const char *const lists[] = {"writableLocations", "readableLocations"};

    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        buf_printf(buf, ",\"%s\":[{\"name\":", lists[i]);
        buf_append_json_string(buf, slice_from_text(call->service->config->region_name));
        buf_append_text(buf, ",\"databaseAccountEndpoint\":");
        buf_append_json_string(buf, endpoint);
        buf_append_text(buf, "}]");
    }
}

static void append_consistency(struct buf *buf, const char *level)
{
    buf_printf(buf, ",\"userConsistencyPolicy\":{\"defaultConsistencyLevel\":\"%s\"", level);
    if (strcmp(level, "BoundedStaleness") == 0)
        buf_append_text(buf, ",\"maxStalenessPrefix\":100,\"maxIntervalInSeconds\":5");
    buf_append_char(buf, '}');
}

enum op_next account_read(struct op *op)
{
    struct call *call = call_of(op);
    const struct config *config = call->service->config;
    struct slice name = slice_from_text(config->account_name);
    struct buf body = {0}, endpoint = {0};

    append_endpoint(&endpoint, call);
    buf_append_text(&body, "{\"_self\":\"\",\"id\":");
    buf_append_json_string(&body, name);
    buf_append_text(&body, ",\"_rid\":");
    buf_append_json_string(&body, name);
    buf_append_text(&body,
                    ",\"media\":\"//media/\",\"addresses\":\"//addresses/\",\"_dbs\":\"//dbs/\"");
    append_locations(&body, call, buf_slice(&endpoint));
    buf_append_text(&body,
                    ",\"enableMultipleWriteLocations\":false,\"continuousBackupEnabled\":false"
                    ",\"enableNRegionSynchronousCommit\":false"
                    ",\"enablePerPartitionFailoverBehavior\":false"
                    ",\"disableCrossRegionalHedging\":false,\"userReplicationPolicy\":"
                    "{\"asyncReplication\":false,\"minReplicaSetSize\":1,\"maxReplicasetSize\":1}");
    append_consistency(&body, config->consistency);
    buf_append_text(&body,
                    ",\"systemReplicationPolicy\":{\"minReplicaSetSize\":1,\"maxReplicasetSize\":1}"
                    ",\"readPolicy\":{\"primaryReadCoefficient\":1,\"secondaryReadCoefficient\":1}"
                    ",\"queryEngineConfiguration\":");
    buf_append_json_string(&body, slice_from_text(query_engine));
    buf_append_char(&body, '}');
    body.has_failed |= endpoint.has_failed;
    buf_finish(&endpoint);
    call->reply.charge_cru = CHARGE_METADATA_READ_CRU;
    return call_reply_json(op, 200, &body);
}
