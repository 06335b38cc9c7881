#include "model/offer.h"

#include "model/json.h"

#include "base/banned.h"

static bool check_manual(int64_t ru, struct fault *fault)
{
    if (ru >= OFFER_MANUAL_MIN_RU && ru <= OFFER_MAX_RU && ru % 100 == 0)
        return true;
    return fault_set(fault, 400, SUB_NONE,
                     "the throughput must be a multiple of 100 within %d and %d",
                     OFFER_MANUAL_MIN_RU, OFFER_MAX_RU);
}

static bool check_autoscale(int64_t ru, struct fault *fault)
{
    if (ru >= OFFER_AUTOSCALE_MIN_RU && ru <= OFFER_MAX_RU && ru % 1000 == 0)
        return true;
    return fault_set(fault, 400, SUB_NONE,
                     "maxThroughput of autoscale must be a multiple of 1000 within %d and %d",
                     OFFER_AUTOSCALE_MIN_RU, OFFER_MAX_RU);
}

static void set_manual(struct offer *offer, int64_t ru)
{
    offer->is_autoscale = false;
    offer->max_ru = (int32_t) ru;
    offer->increment_percent = 0;
}

static bool find(struct slice object, const char *name, struct slice *value)
{
    return json_find(object, slice_from_text(name), value) && json_type(*value) != JSON_NULL;
}

/* {"maxThroughput":4000,"autoUpgradePolicy":{"throughputPolicy":{"incrementPercent":0}}} */
static bool read_autoscale(struct offer *offer, struct slice settings, struct fault *fault)
{
    static const struct slice names[] = {
        {"autoUpgradePolicy", 17}, {"throughputPolicy", 16}, {"incrementPercent", 16}};
    struct slice value;
    int64_t ru = 0, percent = 0;

    if (find(settings, "maxThroughput", &value) && !json_integer(value, 0, INT32_MAX, &ru))
        return check_autoscale(0, fault);
    if (!check_autoscale(ru, fault))
        return false;
    if (json_find_path(settings, names, ARRAY_LEN(names), &value) &&
        json_type(value) != JSON_NULL && !json_integer(value, 0, 100, &percent))
        return fault_set(fault, 400, SUB_NONE, "incrementPercent must be within 0 and 100");
    offer->is_autoscale = true;
    offer->max_ru = (int32_t) ru;
    offer->increment_percent = (int32_t) percent;
    return true;
}

bool offer_from_headers(struct offer *offer, struct slice throughput, struct slice autopilot,
                        bool *is_given, struct arena *arena, struct fault *fault)
{
    struct json_text text;
    unsigned long long ru = OFFER_MANUAL_MIN_RU;

    (void) arena;
    *offer = (struct offer){0};
    *is_given = !slice_is_absent(throughput) || !slice_is_absent(autopilot);
    if (!slice_is_absent(throughput) && !slice_is_absent(autopilot))
        return fault_set(fault, 400, SUB_NONE,
                         "x-ms-offer-throughput and x-ms-cosmos-offer-autopilot-settings exclude "
                         "each other");
    if (!slice_is_absent(autopilot)) {
        if (!json_validate(autopilot, JSON_DEPTH_MAX, &text, fault))
            return false;
        if (!read_autoscale(offer, text.root, fault))
            return false;
    } else {
        if (!slice_is_absent(throughput) &&
            !slice_to_u64(slice_trim(throughput), OFFER_MAX_RU, &ru))
            return check_manual(0, fault);
        if (!check_manual((int64_t) ru, fault))
            return false;
        set_manual(offer, (int64_t) ru);
    }
    offer->ever_ru = offer->max_ru;
    return true;
}

/* Content of an offer; *ru is 0 when there is no offerThroughput. */
static bool read_content(struct slice content, struct slice *autoscale, int64_t *ru,
                         struct fault *fault)
{
    struct slice value;

    *ru = 0;
    if (!find(content, "offerAutopilotSettings", autoscale))
        *autoscale = (struct slice){NULL, 0};
    /* SDKs send -1 beside autoscale settings. */
    if (find(content, "offerThroughput", &value) &&
        !json_integer(value, slice_is_absent(*autoscale) ? 0 : -1, INT32_MAX, ru))
        return check_manual(0, fault);
    return true;
}

static bool load_object(struct offer *offer, struct slice object, struct fault *fault)
{
    static const struct slice ever[] = {{"offerMinimumThroughputParameters", 32},
                                        {"maxThroughputEverProvisioned", 28}};
    struct slice content, autoscale, value;
    int64_t ru, ever_ru;

    *offer = (struct offer){0};
    if (!find(object, "content", &content) || !read_content(content, &autoscale, &ru, fault))
        return false;
    if (!slice_is_absent(autoscale)) {
        if (!read_autoscale(offer, autoscale, fault))
            return false;
    } else {
        if (!check_manual(ru, fault))
            return false;
        set_manual(offer, ru);
    }
    offer->ever_ru = offer->max_ru;
    if (json_find_path(content, ever, ARRAY_LEN(ever), &value) &&
        json_integer(value, offer->max_ru, OFFER_MAX_RU, &ever_ru))
        offer->ever_ru = (int32_t) ever_ru;
    return true;
}

bool offer_load(struct offer *offer, struct slice stored, struct arena *arena, struct fault *fault)
{
    struct fault reason = {0};
    struct json_text text;

    (void) arena;
    if (json_validate(stored, JSON_DEPTH_MAX, &text, &reason) &&
        load_object(offer, text.root, &reason))
        return true;
    return fault_set(fault, 500, SUB_NONE, "a stored offer is damaged: %s", reason.message);
}

/* A body may leave the names of the offer and its resource out, but not change them. */
static bool check_names(struct slice body, struct slice current, struct arena *arena,
                        struct fault *fault)
{
    static const char *const names[] = {"id", "resource", "offerResourceId"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct slice value, before, text;
        if (!find(body, names[i], &value) || !find(current, names[i], &before))
            continue;
        if (!json_string_decode(before, arena, &text, fault))
            return false;
        if (json_type(value) != JSON_STRING || !json_string_equals(value, text))
            return fault_set(fault, 400, SUB_NONE, "%s of an offer cannot be changed", names[i]);
    }
    return true;
}

static bool replace_autoscale(struct offer *offer, const struct offer *current,
                              struct slice settings, struct fault *fault)
{
    if (!slice_is_absent(settings))
        return read_autoscale(offer, settings, fault);
    /* Migrated without a wish: the next thousand above what it had. */
    *offer = *current;
    offer->is_autoscale = true;
    if (!current->is_autoscale)
        offer->max_ru = (current->max_ru + 999) / 1000 * 1000;
    return true;
}

static bool replace_manual(struct offer *offer, const struct offer *current, struct slice settings,
                           int64_t ru, struct fault *fault)
{
    /* An autoscale offer sent back as it was read becomes manual at its maximum. */
    if (current->is_autoscale && (!slice_is_absent(settings) || ru <= 0))
        ru = current->max_ru;
    if (!check_manual(ru, fault))
        return false;
    set_manual(offer, ru);
    return true;
}

static bool replace_content(struct offer *offer, const struct offer *current, struct slice body,
                            enum offer_migration migration, struct fault *fault)
{
    struct slice content, settings;
    int64_t ru;

    if (!find(body, "content", &content) || json_type(content) != JSON_OBJECT)
        return fault_set(fault, 400, SUB_NONE, "the offer has no content");
    if (!read_content(content, &settings, &ru, fault))
        return false;
    if (migration == OFFER_TO_AUTOSCALE)
        return replace_autoscale(offer, current, settings, fault);
    if (migration == OFFER_TO_MANUAL)
        return replace_manual(offer, current, settings, ru, fault);
    if (current->is_autoscale == slice_is_absent(settings))
        return fault_set(fault, 400, SUB_NONE,
                         "changing between manual and autoscale throughput needs the header "
                         "x-ms-cosmos-migrate-offer-to-%s: true",
                         current->is_autoscale ? "manual-throughput" : "autopilot");
    return current->is_autoscale ? replace_autoscale(offer, current, settings, fault)
                                 : replace_manual(offer, current, settings, ru, fault);
}

bool offer_replace(struct offer *offer, struct slice body, struct slice current,
                   enum offer_migration migration, struct arena *arena, struct fault *fault)
{
    struct json_text text, stored;
    struct offer before;

    *offer = (struct offer){0};
    if (!offer_load(&before, current, arena, fault) ||
        !json_validate(current, JSON_DEPTH_MAX, &stored, fault) ||
        !json_validate(body, JSON_DEPTH_MAX, &text, fault))
        return false;
    if (json_type(text.root) != JSON_OBJECT)
        return fault_set(fault, 400, SUB_NONE, "the body must be a JSON object");
    if (!check_names(text.root, stored.root, arena, fault) ||
        !replace_content(offer, &before, text.root, migration, fault))
        return false;
    offer->ever_ru = before.ever_ru > offer->max_ru ? before.ever_ru : offer->max_ru;
    return true;
}

static void append_content(struct buf *out, const struct offer *offer)
{
    /* Autoscale at rest serves a tenth of its maximum. */
    int32_t now_ru = offer->is_autoscale ? offer->max_ru / 10 : offer->max_ru;

    buf_printf(out,
               "{\"offerThroughput\":%d,\"offerIsRUPerMinuteThroughputEnabled\":false,"
               "\"offerMinimumThroughputParameters\":{\"maxThroughputEverProvisioned\":%d,"
               "\"maxConsumedStorageEverInKB\":0}",
               now_ru, offer->ever_ru);
    if (offer->is_autoscale)
        buf_printf(out,
                   ",\"offerAutopilotSettings\":{\"maxThroughput\":%d,\"autoUpgradePolicy\":"
                   "{\"throughputPolicy\":{\"incrementPercent\":%d}}}",
                   offer->max_ru, offer->increment_percent);
    buf_append_char(out, '}');
}

void offer_append(struct buf *out, const struct offer *offer, const char *rid,
                  struct slice resource, struct slice resource_rid)
{
    buf_printf(
        out, "{\"id\":\"%s\",\"offerVersion\":\"V2\",\"offerType\":\"Invalid\",\"resource\":", rid);
    buf_append_json_string(out, resource);
    buf_append_text(out, ",\"offerResourceId\":");
    buf_append_json_string(out, resource_rid);
    buf_append_text(out, ",\"content\":");
    append_content(out, offer);
    buf_append_char(out, '}');
}

unsigned offer_range_count(const struct offer *offer)
{
    return (unsigned) ((offer->max_ru + OFFER_RU_PER_RANGE - 1) / OFFER_RU_PER_RANGE);
}

int32_t offer_min_ru(const struct offer *offer)
{
    return offer->is_autoscale ? OFFER_AUTOSCALE_MIN_RU : OFFER_MANUAL_MIN_RU;
}
