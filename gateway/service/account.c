/*
 * The account document: where its regions are, and how they behave. Asked as a liveness probe, too,
 * so nothing here waits.
 *
 * SDKs move to the endpoints that it names, so they are the way by which the caller reached us
 * unless a setting says otherwise: an address that only this machine knows would cut the caller
 * off. Other regions are where --client-endpoints or --peers say. The document is the same in every
 * region, but for the name of the machine.
 */
#include "model/charge.h"
#include "service/call.h"
#include "service/handlers.h"
#include "store/regions.h"

#include <inttypes.h>
#include <stdio.h>
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

static const char *caller_scheme(const struct call *call)
{
    return caller_is_https(&call->request) ? "https://" : "http://";
}

/* Without its port. */
static struct slice host_name(struct slice host)
{
    return slice_make(host.ptr, host.len - port_of(host).len);
}

static struct slice caller_name(const struct call *call)
{
    struct slice host = caller_host(&call->request.headers);

    return slice_is_empty(host) ? SLICE_LITERAL("localhost") : host_name(host);
}

/* Our own region, by the way the caller came. */
static void append_own(struct buf *buf, const struct call *call)
{
    struct slice configured = slice_from_text(call->service->config->public_endpoint);
    struct slice host = caller_host(&call->request.headers);

    while (configured.len > 0 && configured.ptr[configured.len - 1] == '/')
        configured.len--;
    if (!slice_is_empty(configured) && memmem(configured.ptr, configured.len, "://", 3) != NULL) {
        buf_append_slice(buf, configured);
    } else if (!slice_is_empty(configured)) {
        buf_append_text(buf, caller_scheme(call));
        buf_append_slice(buf, configured);
        if (!has_port(configured))
            buf_append_slice(buf, port_of(host));
    } else {
        buf_append_text(buf, caller_scheme(call));
        buf_append_slice(buf, slice_is_empty(host) ? SLICE_LITERAL("localhost") : host);
    }
}

static bool is_loopback(struct slice name)
{
    char text[64];

    if (slice_equals_nocase(name, "localhost") || slice_equals_text(name, "[::1]"))
        return true;
    snprintf(text, sizeof(text), "%.*s", (int) (name.len < sizeof(text) ? name.len : 0), name.ptr);
    return config_is_loopback(text);
}

/* A URL of another region. On loopback it is of this machine, which the caller knows by the name
 * that it used. */
static void append_url(struct buf *buf, const struct call *call, struct slice url)
{
    size_t scheme = slice_starts_with(url, "https://") ? 8 : 7;
    struct slice host = slice_make(url.ptr + scheme, url.len - scheme);

    if (!is_loopback(host_name(host))) {
        buf_append_slice(buf, url);
        return;
    }
    buf_append(buf, url.ptr, scheme);
    buf_append_slice(buf, caller_name(call));
    buf_append_slice(buf, port_of(host));
}

static void append_endpoint(struct buf *buf, const struct call *call, const struct regions *regions,
                            unsigned index)
{
    bool is_own = regions->topology.regions[index].ordinal == regions->self;
    unsigned scheme = caller_is_https(&call->request) ? 0 : 1;
    struct slice url = regions->client_url[scheme][index];

    if (slice_is_absent(url))
        url = regions->client_url[1 - scheme][index];
    if (slice_is_absent(url) && !is_own)
        url = regions->peer_url[index];
    /* A public endpoint is about this region alone, and says more than the list. */
    if (slice_is_absent(url) || (is_own && call->service->config->public_endpoint != NULL))
        append_own(buf, call);
    else
        append_url(buf, call, url);
    buf_append_char(buf, '/');
}

static void append_location(struct buf *buf, const struct call *call, const struct regions *regions,
                            unsigned index, bool is_first)
{
    struct buf endpoint = {0};

    append_endpoint(&endpoint, call, regions, index);
    buf_append_text(buf, is_first ? "{\"name\":" : ",{\"name\":");
    buf_append_json_string(buf, regions->topology.regions[index].name);
    buf_append_text(buf, ",\"databaseAccountEndpoint\":");
    buf_append_json_string(buf, buf_slice(&endpoint));
    buf_append_char(buf, '}');
    buf->has_failed |= endpoint.has_failed;
    buf_finish(&endpoint);
}

static bool is_online(const struct topology *topology, const struct topology_region *region)
{
    (void) topology;
    return region->state == REGION_ONLINE;
}

static bool is_writer(const struct topology *topology, const struct topology_region *region)
{
    return topology_may_write(topology, region->ordinal);
}

/*
 * The hub first, then by priority. SDKs write to the first writable region, and definitions are
 * written nowhere else; one that is told of no preferred regions reads from the first readable one,
 * which in the service has priority 0 and is the one that takes writes.
 */
static void append_locations(struct buf *buf, const struct call *call,
                             const struct regions *regions,
                             bool (*is_listed)(const struct topology *topology,
                                               const struct topology_region *region))
{
    const struct topology *topology = &regions->topology;
    bool is_first = true;

    buf_append_char(buf, '[');
    for (unsigned turn = 0; turn < 2; turn++) {
        for (unsigned i = 0; i < topology_live_count(topology); i++) {
            bool is_hub = topology->regions[i].ordinal == topology->hub;
            if (is_hub != (turn == 0) || !is_listed(topology, &topology->regions[i]))
                continue;
            append_location(buf, call, regions, i, is_first);
            is_first = false;
        }
    }
    buf_append_char(buf, ']');
}

static void append_consistency(struct buf *buf, const struct topology *topology)
{
    buf_printf(buf, ",\"userConsistencyPolicy\":{\"defaultConsistencyLevel\":\"%s\"",
               consistency_level_name(topology->level));
    if (topology->level == LEVEL_BOUNDED_STALENESS)
        buf_printf(buf, ",\"maxStalenessPrefix\":%" PRId64 ",\"maxIntervalInSeconds\":%" PRId64,
                   topology->bounded_versions, topology->bounded_s);
    buf_append_char(buf, '}');
}

enum op_next account_read(struct op *op)
{
    struct call *call = call_of(op);
    const struct regions *regions = regions_current();
    const struct topology *topology = &regions->topology;
    unsigned live = topology_live_count(topology);
    struct slice name = topology->account;
    struct buf body = {0};

    buf_append_text(&body, "{\"_self\":\"\",\"id\":");
    buf_append_json_string(&body, name);
    buf_append_text(&body, ",\"_rid\":");
    buf_append_json_string(&body, name);
    buf_append_text(&body,
                    ",\"media\":\"//media/\",\"addresses\":\"//addresses/\",\"_dbs\":\"//dbs/\"");
    buf_append_text(&body, ",\"writableLocations\":");
    append_locations(&body, call, regions, is_writer);
    buf_append_text(&body, ",\"readableLocations\":");
    append_locations(&body, call, regions, is_online);
    buf_printf(&body,
               ",\"enableMultipleWriteLocations\":%s,\"continuousBackupEnabled\":false"
               ",\"enableNRegionSynchronousCommit\":false"
               ",\"enablePerPartitionFailoverBehavior\":false"
               ",\"disableCrossRegionalHedging\":false,\"userReplicationPolicy\":"
               "{\"asyncReplication\":false,\"minReplicaSetSize\":%u,\"maxReplicasetSize\":%u}",
               topology->mode == TOPOLOGY_MULTI_WRITE ? "true" : "false",
               topology->level == LEVEL_STRONG ? topology_majority(topology) : 1, live);
    append_consistency(&body, topology);
    buf_append_text(&body,
                    ",\"systemReplicationPolicy\":{\"minReplicaSetSize\":1,\"maxReplicasetSize\":1}"
                    ",\"readPolicy\":{\"primaryReadCoefficient\":1,\"secondaryReadCoefficient\":1}"
                    ",\"queryEngineConfiguration\":");
    buf_append_json_string(&body, slice_from_text(query_engine));
    buf_append_char(&body, '}');
    call->reply.charge_cru = CHARGE_METADATA_READ_CRU;
    return call_reply_json(op, 200, &body);
}
