/*
 * A path is cut into raw segments, matched against the patterns by its shape (how many segments,
 * which type words stand in the odd places), and only then decoded.
 */
#include "request/path.h"

#include "base/hex.h"
#include "base/utf8.h"

#include "base/banned.h"

#define SEGMENTS_MAX 7

static const struct {
    const char *pattern;
    const char *word;
} table[] = {
#define ROW(kind, pattern, word) [kind] = {pattern, word},
    PATH_TABLE(ROW)
#undef ROW
};

const char *path_pattern(enum path_kind kind)
{
    return table[kind].pattern;
}

struct segments {
    struct slice at[SEGMENTS_MAX];
    unsigned count;
};

/* Cut at slashes; leading and trailing ones, also doubled, do not count. False when there are too
 * many. */
static bool cut(struct slice raw, struct segments *segments)
{
    while (raw.len > 0 && raw.ptr[0] == '/')
        raw = slice_make(raw.ptr + 1, raw.len - 1);
    while (raw.len > 0 && raw.ptr[raw.len - 1] == '/')
        raw.len--;
    segments->count = 0;
    if (raw.len == 0)
        return true;
    while (!slice_is_absent(raw)) {
        if (segments->count == SEGMENTS_MAX)
            return false;
        segments->at[segments->count++] = slice_cut(raw, '/', &raw);
    }
    return true;
}

/* Does a pattern of the table have this shape? Compared from the front, word by word. */
static bool matches(const char *pattern, const struct segments *segments)
{
    struct slice rest = slice_from_text(pattern + 1);

    if (rest.len == 0)
        return segments->count == 0;
    for (unsigned i = 0; i < segments->count; i++) {
        if (slice_is_absent(rest))
            return false;
        struct slice word = slice_cut(rest, '/', &rest);
        if (word.ptr[0] == '{') {
            if (segments->at[i].len == 0)
                return false;
        } else if (segments->at[i].len != word.len ||
                   strncasecmp(segments->at[i].ptr, word.ptr, word.len) != 0) {
            return false;
        }
    }
    return slice_is_absent(rest);
}

/* The hot paths first; the rest of the table is walked. */
static enum path_kind find_kind(const struct segments *segments)
{
    static const enum path_kind first[] = {PATH_ITEM, PATH_ITEMS};

    for (unsigned i = 0; i < ARRAY_LEN(first); i++) {
        if (matches(table[first[i]].pattern, segments))
            return first[i];
    }
    for (unsigned kind = 0; kind < PATH_KIND_COUNT; kind++) {
        if (matches(table[kind].pattern, segments))
            return (enum path_kind) kind;
    }
    return PATH_KIND_COUNT;
}

static bool decode(struct slice raw, struct arena *arena, struct slice *decoded,
                   struct fault *fault)
{
    char *out = arena_copy(arena, raw.ptr, raw.len);
    size_t len = 0;

    if (out == NULL)
        return fault_set_oom(fault);
    for (size_t i = 0; i < raw.len; i++, len++) {
        out[len] = raw.ptr[i];
        if (raw.ptr[i] != '%')
            continue;
        int high = i + 2 < raw.len ? hex_value(raw.ptr[i + 1]) : -1;
        int low = i + 2 < raw.len ? hex_value(raw.ptr[i + 2]) : -1;
        if (high < 0 || low < 0)
            return fault_set(fault, 400, SUB_NONE, "broken percent escape in path segment \"%.*s\"",
                             FAULT_QUOTE(raw));
        out[len] = (char) (high << 4 | low);
        i += 2;
    }
    if (memchr(out, '\0', len) != NULL || !utf8_is_valid(slice_make(out, len)))
        return fault_set(fault, 400, SUB_NONE, "path segment \"%.*s\" is not UTF-8 without NUL",
                         FAULT_QUOTE(raw));
    *decoded = slice_make(out, len);
    return true;
}

/*
 * What a signature covers: the segments joined by single slashes, all of them for a resource, all
 * but the last for a feed.
 */
static bool join(const struct segments *segments, unsigned count, struct arena *arena,
                 struct slice *link)
{
    size_t len = 0;

    for (unsigned i = 0; i < count; i++)
        len += segments->at[i].len + 1;
    char *out = arena_alloc(arena, len + 1);
    if (out == NULL)
        return false;
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        if (i > 0)
            out[at++] = '/';
        memcpy(out + at, segments->at[i].ptr, segments->at[i].len);
        at += segments->at[i].len;
    }
    *link = slice_make(out, at);
    return true;
}

/* Things of the service that are not here are refused by name, so that nobody searches for a typing
 * error. */
static bool refuse(const struct segments *segments, struct slice raw, struct fault *fault)
{
    static const struct {
        unsigned place;
        const char *word;
        const char *why;
    } known[] = {
        {0, "addresses",
         "direct mode is not supported; set the connection mode of the client to gateway"},
        {0, "media", "media is not supported"},
        {6, "attachments", "attachments are not supported"},
        {4, "schemas", "schemas are not supported"},
    };

    for (unsigned i = 0; i < ARRAY_LEN(known); i++) {
        if (segments->count > known[i].place &&
            slice_equals_nocase(segments->at[known[i].place], known[i].word))
            return fault_set(fault, 400, SUB_NONE, "%s", known[i].why);
    }
    return fault_set(fault, 404, SUB_NONE, "no resource has the path \"%.*s\"", FAULT_QUOTE(raw));
}

/* Type words after the last id: 0 for a resource, 1 for a feed, 2 for
 * operations/partitionkeydelete. */
static unsigned trailing_words(enum path_kind kind)
{
    const char *pattern = table[kind].pattern;
    const char *last_id = strrchr(pattern, '}');
    unsigned words = 0;

    for (const char *c = last_id != NULL ? last_id : pattern; *c != '\0'; c++)
        words += *c == '/';
    return words;
}

bool path_parse(struct resource_path *path, struct slice raw, struct arena *arena,
                struct fault *fault)
{
    struct segments segments, decoded;
    unsigned id_count = 0;

    *path = (struct resource_path){.kind = PATH_KIND_COUNT};
    if (!cut(raw, &segments))
        return refuse(&segments, raw, fault);
    path->kind = find_kind(&segments);
    if (path->kind == PATH_KIND_COUNT)
        return refuse(&segments, raw, fault);
    path->type_word = table[path->kind].word;
    if (path->type_word[0] == '\0')
        return true;
    unsigned words = trailing_words(path->kind);
    decoded = segments;
    for (unsigned i = 1; i < segments.count - words; i += 2) {
        if (!decode(segments.at[i], arena, &decoded.at[i], fault))
            return false;
        path->ids[id_count++] = path->id = decoded.at[i];
    }
    path->is_feed = words > 0;
    if (!join(&decoded, segments.count - words, arena, &path->link) ||
        !join(&segments, segments.count - words, arena, &path->raw_link))
        return fault_set_oom(fault);
    return true;
}
