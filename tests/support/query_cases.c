#include "support/query_cases.h"

#include "base/buf.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    const char *path;
    unsigned line;
    cJSON *sets; /* {name: {items: [], settings: {} or null}} */
    const cJSON *set;
    cJSON *filling; /* the items of the set that is being defined; NULL outside */
    struct query_case test;
    struct buf query;
    query_case_each *each;
    void *context;
    unsigned count;
};

static void malformed(const struct reader *reader, const char *what)
{
    fprintf(stderr, "%s:%u: %s\n", reader->path, reader->line, what);
    exit(2);
}

static cJSON *parsed(const struct reader *reader, const char *text)
{
    cJSON *value = cJSON_Parse(text);

    if (value == NULL)
        malformed(reader, "no JSON");
    return value;
}

/* The next word of a line; its rest begins at *rest. */
static char *word(char **rest)
{
    char *begin = *rest + strspn(*rest, " "), *end = begin + strcspn(begin, " ");

    *rest = *end != '\0' ? end + 1 : end;
    *end = '\0';
    return begin;
}

static void set_define(struct reader *reader, char *rest)
{
    cJSON *set = cJSON_CreateObject();
    const char *name = word(&rest);

    cJSON_AddItemToObject(set, "items", reader->filling = cJSON_CreateArray());
    if (*rest != '\0')
        cJSON_AddItemToObject(set, "settings", parsed(reader, rest));
    if (*name == '\0' || cJSON_HasObjectItem(reader->sets, name))
        malformed(reader, "a set without a name, or one defined twice");
    cJSON_AddItemToObject(reader->sets, name, set);
    reader->set = set;
}

static void query_line(struct reader *reader, const char *text)
{
    if (reader->query.len > 0)
        buf_append_char(&reader->query, '\n');
    else
        reader->test.line = reader->line;
    buf_append_text(&reader->query, text);
}

static void parameter_line(struct reader *reader, char *rest)
{
    cJSON *parameter = cJSON_CreateObject();
    const char *name = word(&rest);

    cJSON_AddStringToObject(parameter, "name", name);
    cJSON_AddItemToObject(parameter, "value", parsed(reader, rest));
    if (reader->test.parameters == NULL)
        reader->test.parameters = cJSON_CreateArray();
    cJSON_AddItemToArray(reader->test.parameters, parameter);
}

static void refusal_line(struct reader *reader, const char *rest)
{
    struct query_case *test = &reader->test;

    test->start = test->end = -1;
    if (sscanf(rest, "%u %15s %d..%d", &test->status, test->code, &test->start, &test->end) < 1)
        malformed(reader, "! STATUS [CODE [START..END]]");
}

/* A case is whole: hand it out. */
static void case_end(struct reader *reader, char mark, const char *rest)
{
    struct query_case *test = &reader->test;
    struct buf list = {0};

    if (reader->query.len == 0 || reader->set == NULL)
        malformed(reader, "an answer without a query, or a query without a set");
    buf_append_char(&reader->query, '\0');
    assert(!reader->query.has_failed);
    test->file = reader->path;
    test->query = reader->query.ptr;
    test->items = cJSON_GetObjectItem(reader->set, "items");
    test->settings = cJSON_GetObjectItem(reader->set, "settings");
    test->expectation = mark == '!'   ? EXPECT_REFUSED
                        : mark == ':' ? EXPECT_ORDERED
                        : mark == '~' ? EXPECT_NEARLY
                                      : EXPECT_ROWS;
    if (mark == '!') {
        refusal_line(reader, rest);
    } else {
        buf_append_text(&list, "[");
        buf_append_text(&list, rest);
        buf_append(&list, "]", 2);
        test->rows = parsed(reader, list.ptr);
    }
    reader->each(test, reader->context);
    reader->count++;
    cJSON_Delete(test->rows);
    cJSON_Delete(test->parameters);
    buf_finish(&reader->query);
    buf_finish(&list);
    reader->query = (struct buf){0};
    *test = (struct query_case){0};
}

static void line_read(struct reader *reader, char *line)
{
    char *rest = line;

    if (*line == '\0' || *line == '#')
        return;
    if (*line == '{') {
        if (reader->filling == NULL)
            malformed(reader, "an item outside a set");
        cJSON_AddItemToArray(reader->filling, parsed(reader, line));
    } else if (islower((unsigned char) *line)) {
        const char *verb = word(&rest);

        if (strcmp(verb, "items") == 0)
            set_define(reader, rest);
        else if (strcmp(verb, "on") == 0)
            reader->set = cJSON_GetObjectItemCaseSensitive(reader->sets, word(&rest));
        else
            malformed(reader, "not a verb");
        return;
    } else if (*line == '?') {
        query_line(reader, line + (line[1] == ' ' ? 2 : 1));
    } else if (*line == '-') {
        reader->test.is_not_in_memory |=
            strncmp(line, "- memory ", 9) == 0 || strncmp(line, "- pending ", 10) == 0;
    } else if (*line == '@') {
        parameter_line(reader, line);
    } else if (strchr("=:~!", *line) != NULL) {
        case_end(reader, *line, line + 1);
    } else {
        malformed(reader, "not a line of a case");
    }
    if (*line != '{')
        reader->filling = NULL;
}

unsigned query_cases_read(const char *path, query_case_each *each, void *context)
{
    struct reader reader = {
        .path = path, .sets = cJSON_CreateObject(), .each = each, .context = context};
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t size = 0;
    ssize_t len;

    if (file == NULL)
        malformed(&reader, "cannot be read");
    while ((len = getline(&line, &size, file)) > 0) {
        reader.line++;
        if (line[len - 1] == '\n')
            line[len - 1] = '\0';
        line_read(&reader, line);
    }
    if (reader.query.len > 0)
        malformed(&reader, "a query without an answer");
    free(line);
    fclose(file);
    cJSON_Delete(reader.sets);
    return reader.count;
}
