#include "http/authorize.h"

#include "base/clock.h"
#include "base/keys.h"
#include "model/authtoken.h"

#include "base/banned.h"

static struct slice key_slice(const struct keys *keys, enum key_kind kind)
{
    return slice_make((const char *) keys->key[kind].bytes, keys->key[kind].len);
}

bool request_is_write(const struct request *request, const struct route *route)
{
    const struct headers *headers = &request->headers;

    if (route->access == ROUTE_POST)
        return !header_is_true(headers, HEADER_IS_QUERY) &&
               !header_is_true(headers, HEADER_IS_QUERY_GO) &&
               !header_is_true(headers, HEADER_IS_QUERY_PLAN);
    return route->access == ROUTE_WRITE || route->access == ROUTE_OPERATOR ||
           route->access == ROUTE_PEER;
}

/* Resource tokens open containers and what is in them; reading a container and its ranges comes
 * with that. */
static bool is_open_to_grants(const struct route *route)
{
    switch (route->path) {
    case PATH_ITEMS:
    case PATH_ITEM:
    case PATH_PKRANGES:
        return true;
    case PATH_CONTAINER:
        return route->method == METHOD_GET;
    default:
        return false;
    }
}

static bool check_grant(struct call *call, const struct route *route, const struct authtoken *token,
                        const struct authtoken_keys *keys, struct fault *fault)
{
    struct authtoken_grant *grant = arena_alloc(&call->op.arena, sizeof(*grant));

    if (grant == NULL)
        return fault_set_oom(fault);
    if (!authtoken_grant_verify(grant, token, keys, clock_unix_s(), &call->op.arena, fault))
        return false;
    if (!is_open_to_grants(route))
        return fault_set(fault, 403, SUB_NONE, "a resource token does not open this resource");
    call->request.grant = grant;
    return true;
}

/*
 * Is the path one of resource ids? Signatures then cover the last of them alone. Names may look the
 * same, so the other reading is tried too.
 */
static bool verify_either(const struct authtoken *token, struct authtoken_request *signed_text,
                          const struct request *request, const struct authtoken_keys *keys,
                          int64_t now_s, enum authtoken_access *access, struct fault *fault)
{
    struct authtoken_path split;
    struct fault first;

    if (authtoken_verify(token, signed_text, keys, now_s, access, fault))
        return true;
    bool may_be_rid =
        request->path.kind == PATH_OFFER ||
        (!slice_is_absent(request->path.ids[0]) && rid_is_database_segment(request->path.ids[0]));
    if (!may_be_rid || fault->status != 401)
        return false;
    first = *fault;
    split.link = request->path.link;
    const char *slash = memrchr(split.link.ptr, '/', split.link.len);
    if (slash != NULL)
        split.link = slice_make(slash + 1, (size_t) (split.link.ptr + split.link.len - slash) - 1);
    signed_text->link = split.link;
    signed_text->link_is_rid = true;
    if (authtoken_verify(token, signed_text, keys, now_s, access, fault))
        return true;
    *fault = first;
    return false;
}

bool authorize(const struct config *config, struct call *call, const struct route *route,
               struct fault *fault)
{
    struct request *request = &call->request;
    const struct keys *set = keys_current();
    enum authtoken_access access;
    struct authtoken token;

    if (config->is_auth_off)
        return true;
    struct authtoken_keys keys = {.primary = key_slice(set, KEY_PRIMARY),
                                  .secondary = key_slice(set, KEY_SECONDARY),
                                  .read_primary = key_slice(set, KEY_PRIMARY_READONLY),
                                  .read_secondary = key_slice(set, KEY_SECONDARY_READONLY)};
    if (!authtoken_parse(&token, request->headers.at[HEADER_AUTHORIZATION], &call->op.arena, fault))
        return false;
    if (token.type == AUTHTOKEN_RESOURCE)
        return check_grant(call, route, &token, &keys, fault);
    struct authtoken_request signed_text = {.method = slice_from_text(request->method_text),
                                            .resource_type =
                                                slice_from_text(request->path.type_word),
                                            .link = request->path.link,
                                            .raw_link = request->path.raw_link,
                                            .ms_date = request->headers.at[HEADER_X_MS_DATE],
                                            .date = request->headers.at[HEADER_DATE]};
    if (request->path.kind == PATH_PARTITION_KEY_DELETE)
        signed_text.other_type = SLICE_LITERAL("partitionkey");
    if (!verify_either(&token, &signed_text, request, &keys, clock_unix_s(), &access, fault))
        return false;
    return authtoken_check_access(access, request_is_write(request, route), fault);
}
