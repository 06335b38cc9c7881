#include "program/layout.h"

#include "model/json.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/banned.h"

#define ARENA_BYTES_MAX (1u << 20)
#define FILE_BYTES_MAX 65536

static const char *const default_names[CONFIG_REGIONS_MAX] = {"West US", "East US", "North Europe",
                                                              "Southeast Asia", "Brazil South"};

/* ---- names ---- */

static bool add_region(struct layout *layout, struct slice name, struct fault *fault)
{
    struct layout_region *region = &layout->regions[layout->count];
    const char *why;

    if (layout->count == CONFIG_REGIONS_MAX)
        return fault_set(fault, 400, SUB_NONE, "there are at most %d regions", CONFIG_REGIONS_MAX);
    snprintf(region->name, sizeof(region->name), "%.*s",
             (int) (name.len < LAYOUT_NAME_BYTES ? name.len : LAYOUT_NAME_BYTES - 1), name.ptr);
    why = name.len < LAYOUT_NAME_BYTES ? config_check_region(region->name) : "it is too long";
    if (why != NULL)
        return fault_set(fault, 400, SUB_NONE, "region name \"%.*s\": %s", FAULT_QUOTE(name), why);
    for (size_t i = 0; i <= strlen(region->name); i++)
        region->slug[i] =
            region->name[i] == ' ' ? '-' : (char) tolower((unsigned char) region->name[i]);
    for (int i = 0; i < layout->count; i++) {
        if (strcmp(layout->regions[i].slug, region->slug) == 0)
            return fault_set(fault, 400, SUB_NONE,
                             "region names \"%s\" and \"%s\" are too much alike",
                             layout->regions[i].name, region->name);
    }
    layout->count++;
    return true;
}

static bool add_named(struct layout *layout, const struct config *config, struct fault *fault)
{
    struct slice rest = slice_from_text(config->region_names);

    while (!slice_is_absent(rest)) {
        struct slice name = slice_trim(slice_cut(rest, ',', &rest));
        if (!add_region(layout, name, fault))
            return false;
    }
    return true;
}

/* --regions says how many; where it was given beside the names, both must agree. */
static bool check_count(const struct layout *layout, const struct config *config, const char *where,
                        struct fault *fault)
{
    return !config_is_given(config, "regions") || config->regions == layout->count ||
           fault_set(fault, 400, SUB_NONE, "--regions is %d, and %s has %d", config->regions, where,
                     layout->count);
}

/* ---- the file ---- */

static bool read_file(struct layout *layout, const char *path, struct slice *text,
                      struct fault *fault)
{
    char *bytes = arena_alloc(&layout->arena, FILE_BYTES_MAX + 1);
    FILE *file = fopen(path, "re");

    if (bytes == NULL || file == NULL) {
        if (file != NULL)
            fclose(file);
        return bytes == NULL ? fault_set_oom(fault)
                             : fault_set(fault, 400, SUB_NONE, "cannot read \"%s\": %s", path,
                                         strerror(errno));
    }
    size_t len = fread(bytes, 1, FILE_BYTES_MAX + 1, file);
    fclose(file);
    if (len > FILE_BYTES_MAX)
        return fault_set(fault, 400, SUB_NONE, "it is longer than %d bytes", FILE_BYTES_MAX);
    *text = slice_make(bytes, len);
    return true;
}

static bool read_string(struct layout *layout, struct slice value, const char *name,
                        struct slice *text, struct fault *fault)
{
    if (json_type(value) != JSON_STRING)
        return fault_set(fault, 400, SUB_NONE, "\"%s\" must be a string", name);
    return json_string_decode(value, &layout->arena, text, fault);
}

static bool read_region(struct layout *layout, struct slice value, struct fault *fault)
{
    struct slice member, found, name = {NULL, 0}, database = {NULL, 0};

    if (json_type(value) != JSON_OBJECT)
        return fault_set(fault, 400, SUB_NONE, "\"regions\" must be an array of objects");
    struct json_cursor cursor = json_iterate(value);
    while (json_next_member(&cursor, &member, &found)) {
        bool is_good;
        if (json_string_equals(member, SLICE_LITERAL("name")))
            is_good = read_string(layout, found, "name", &name, fault);
        else if (json_string_equals(member, SLICE_LITERAL("database")))
            is_good = read_string(layout, found, "database", &database, fault);
        else
            is_good =
                fault_set(fault, 400, SUB_NONE, "a region has no member %.*s", FAULT_QUOTE(member));
        if (!is_good)
            return false;
    }
    if (slice_is_absent(name))
        return fault_set(fault, 400, SUB_NONE, "a region has no \"name\"");
    if (!add_region(layout, name, fault))
        return false;
    if (slice_is_absent(database))
        return true;
    layout->regions[layout->count - 1].database =
        arena_copy(&layout->arena, database.ptr, database.len);
    return layout->regions[layout->count - 1].database != NULL || fault_set_oom(fault);
}

static bool read_regions(struct layout *layout, struct slice value, struct fault *fault)
{
    struct slice region;

    if (json_type(value) != JSON_ARRAY)
        return fault_set(fault, 400, SUB_NONE, "\"regions\" must be an array of objects");
    struct json_cursor cursor = json_iterate(value);
    while (json_next_element(&cursor, &region)) {
        if (!read_region(layout, region, fault))
            return false;
    }
    return layout->count > 0 || fault_set(fault, 400, SUB_NONE, "\"regions\" is empty");
}

static bool find_region(const struct layout *layout, struct slice name, int *index,
                        struct fault *fault)
{
    for (*index = 0; *index < layout->count; (*index)++) {
        if (json_string_equals(name, slice_from_text(layout->regions[*index].name)))
            return true;
    }
    return fault_set(fault, 400, SUB_NONE, "\"latencyMs\": there is no region %.*s",
                     FAULT_QUOTE(name));
}

static bool read_latency(struct slice value, int *latency_ms, struct fault *fault)
{
    int64_t number;

    if (!json_integer(value, 0, LAYOUT_LATENCY_MS_MAX, &number))
        return fault_set(fault, 400, SUB_NONE, "\"latencyMs\" must be an integer from 0 to %d",
                         LAYOUT_LATENCY_MS_MAX);
    *latency_ms = (int) number;
    return true;
}

static void set_all(struct layout *layout, int latency_ms)
{
    for (int from = 0; from < layout->count; from++)
        for (int to = 0; to < layout->count; to++)
            layout->latency_ms[from][to] = latency_ms;
}

static bool read_row(struct layout *layout, int from, struct slice row, struct fault *fault)
{
    struct slice name, value;
    int to;

    if (json_type(row) != JSON_OBJECT)
        return fault_set(fault, 400, SUB_NONE,
                         "\"latencyMs\" must be a number, or an object of objects of numbers");
    struct json_cursor cursor = json_iterate(row);
    while (json_next_member(&cursor, &name, &value)) {
        if (!find_region(layout, name, &to, fault) ||
            !read_latency(value, &layout->latency_ms[from][to], fault))
            return false;
        if (from == to)
            return fault_set(fault, 400, SUB_NONE, "\"latencyMs\" of region %.*s to itself",
                             FAULT_QUOTE(name));
    }
    return true;
}

static bool read_latencies(struct layout *layout, struct slice value, struct fault *fault)
{
    struct slice name, row;
    int latency_ms = 0, from;

    if (json_type(value) != JSON_OBJECT) {
        bool is_good = read_latency(value, &latency_ms, fault);
        set_all(layout, latency_ms);
        return is_good;
    }
    set_all(layout, -1);
    struct json_cursor cursor = json_iterate(value);
    while (json_next_member(&cursor, &name, &row)) {
        if (!find_region(layout, name, &from, fault) || !read_row(layout, from, row, fault))
            return false;
    }
    for (int i = 0; i < layout->count; i++) {
        for (int j = 0; j < layout->count; j++) {
            if (layout->latency_ms[i][j] < 0)
                layout->latency_ms[i][j] =
                    layout->latency_ms[j][i] > 0 ? layout->latency_ms[j][i] : 0;
        }
    }
    return true;
}

static bool parse_file(struct layout *layout, struct slice text, struct fault *fault)
{
    struct slice member, value, regions = {NULL, 0}, latencies = {NULL, 0};
    struct json_text json;

    if (!json_validate(text, JSON_DEPTH_MAX, &json, fault))
        return false;
    if (json_type(json.root) != JSON_OBJECT)
        return fault_set(fault, 400, SUB_NONE, "it is no JSON object");
    struct json_cursor cursor = json_iterate(json.root);
    while (json_next_member(&cursor, &member, &value)) {
        if (json_string_equals(member, SLICE_LITERAL("regions")))
            regions = value;
        else if (json_string_equals(member, SLICE_LITERAL("latencyMs")))
            latencies = value;
        else
            return fault_set(fault, 400, SUB_NONE, "there is no member %.*s", FAULT_QUOTE(member));
    }
    if (slice_is_absent(regions))
        return fault_set(fault, 400, SUB_NONE, "\"regions\" is missing");
    return read_regions(layout, regions, fault) &&
           (slice_is_absent(latencies) || read_latencies(layout, latencies, fault));
}

static bool read_layout_file(struct layout *layout, const struct config *config,
                             struct fault *fault)
{
    struct fault reason = {0};
    struct slice text;

    if (config->region_names != NULL || config_is_given(config, "latency-ms"))
        return fault_set(fault, 400, SUB_NONE,
                         "--region-names and --latency-ms are told by --regions-file");
    if (read_file(layout, config->regions_file, &text, &reason) &&
        parse_file(layout, text, &reason))
        return check_count(layout, config, "--regions-file", fault);
    return fault_set(fault, reason.status, SUB_NONE, "regions file \"%s\": %s",
                     config->regions_file, reason.message);
}

bool layout_read(struct layout *layout, const struct config *config, struct fault *fault)
{
    *layout = (struct layout){0};
    arena_init(&layout->arena, ARENA_BYTES_MAX);
    if (config->regions_file != NULL)
        return read_layout_file(layout, config, fault);
    if (config->region_names != NULL && (!add_named(layout, config, fault) ||
                                         !check_count(layout, config, "--region-names", fault)))
        return false;
    while (config->region_names == NULL && layout->count < config->regions) {
        if (!add_region(layout, slice_from_text(default_names[layout->count]), fault))
            return false;
    }
    set_all(layout, config->latency_ms);
    return true;
}

void layout_finish(struct layout *layout)
{
    arena_finish(&layout->arena);
}

void layout_print_latencies(const struct layout *layout, struct buf *out)
{
    for (int from = 0; from < layout->count; from++) {
        for (int to = 0; to < layout->count; to++) {
            if (from != to && layout->latency_ms[from][to] > 0)
                buf_printf(out, "%s%s>%s=%d", out->len > 0 ? "," : "", layout->regions[from].name,
                           layout->regions[to].name, layout->latency_ms[from][to]);
        }
    }
}
