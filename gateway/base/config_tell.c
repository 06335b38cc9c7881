/*
 * What settings are told to others: people, the documentation, a child process.
 */
#include "base/config_table.h"

#include "base/buf.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/banned.h"

/* ---- a child's environment ---- */

/* Is this entry one that config_read would read? */
static bool is_ours(const char *entry)
{
    struct slice value, name = slice_cut(slice_from_text(entry), '=', &value);

    if (slice_starts_with(name, CONFIG_PREFIX))
        return true;
    for (size_t i = 0; i < settings_count; i++) {
        if (settings[i].alias != NULL && slice_equals_text(name, settings[i].alias))
            return true;
    }
    return false;
}

static void append_setting(struct buf *text, const struct setting *setting, const char *value)
{
    buf_append_text(text, CONFIG_PREFIX);
    for (const char *c = setting->name; *c != '\0'; c++)
        buf_append_char(text, *c == '-' ? '_' : (char) toupper((unsigned char) *c));
    buf_append_char(text, '=');
    buf_append(text, value, strlen(value) + 1);
}

static bool is_in(const char *const *entries, const char *entry)
{
    size_t len = strcspn(entry, "=") + 1;

    for (; *entries != NULL; entries++) {
        if (strncmp(*entries, entry, len) == 0)
            return true;
    }
    return false;
}

char **config_environment(const struct config *config, enum config_command child,
                          char **environment, const char *const *extra)
{
    struct buf text = {0};
    size_t count = 0;

    for (char **entry = environment; *entry != NULL; entry++) {
        if (!is_ours(*entry)) {
            buf_append(&text, *entry, strlen(*entry) + 1);
            count++;
        }
    }
    for (size_t i = 0; i < settings_count; i++) {
        bool is_shared =
            (settings[i].commands & child) != 0 && settings[i].offset != CONFIG_AT(config_file);
        size_t start = text.len;
        if (config->texts[i] == NULL || !is_shared)
            continue;
        append_setting(&text, &settings[i], config->texts[i]);
        if (!text.has_failed && is_in(extra, text.ptr + start))
            text.len = start;
        else
            count++;
    }
    for (const char *const *entry = extra; *entry != NULL; entry++, count++)
        buf_append(&text, *entry, strlen(*entry) + 1);

    /* The pointers and behind them the texts, so that one free() ends both. */
    size_t pointers_bytes = (count + 1) * sizeof(char *);
    char **result = text.has_failed ? NULL : malloc(pointers_bytes + text.len);
    if (result != NULL) {
        char *at = (char *) result + pointers_bytes;
        memcpy(at, text.ptr, text.len);
        for (size_t i = 0; i < count; i++, at += strlen(at) + 1)
            result[i] = at;
        result[count] = NULL;
    }
    buf_finish(&text);
    return result;
}

/* ---- help ---- */

static void print_wrapped(FILE *out, const char *text, int indent, int columns)
{
    int column = indent;

    while (*text != '\0') {
        int len = (int) strcspn(text, " ");
        if (column > indent && column + 1 + len > columns) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", len, text);
        column += len;
        text += len;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

/* The help sentence with what the table knows besides: choices, default, alias. */
static void append_help(struct buf *text, const struct setting *setting)
{
    char choices[128];

    buf_append_text(text, setting->help);
    if (setting->choices != NULL) {
        setting_choices(setting, choices, sizeof(choices));
        buf_printf(text, "; one of %s", choices);
    }
    if (setting->initial != NULL)
        buf_printf(text, " [%s]", setting->initial);
    if (setting->alias != NULL)
        buf_printf(text, " (environment also %s)", setting->alias);
}

static void print_setting(FILE *out, const struct setting *setting)
{
    struct buf text = {0};
    int column = fprintf(out, "  --%s%s%s", setting->name, setting->argument != NULL ? " " : "",
                         setting->argument != NULL ? setting->argument : "");

    if (column > 29)
        fprintf(out, "\n%30s", "");
    else
        fprintf(out, "%*s", 30 - column, "");
    append_help(&text, setting);
    if (buf_text(&text) != NULL)
        print_wrapped(out, text.ptr, 30, 100);
    buf_finish(&text);
}

static void print_program_help(FILE *out)
{
    fprintf(out,
            "Orrery %s, a multi-region document database that speaks the Cosmos DB REST API\n\n"
            "usage: orrery COMMAND [options]\n\n",
            ORRERY_VERSION);
    for (size_t i = 0; i < commands_count; i++) {
        int column = fprintf(out, "  %s%s", commands[i].name, commands[i].arguments);
        fprintf(out, "%*s%s\n", 24 - column, "", commands[i].summary);
    }
    fprintf(out, "\n\"orrery COMMAND --help\" lists the options of a command. Options may also "
                 "stand in a file (--config\n"
                 "FILE, lines of name = value) and in the environment (ORRERY_HTTP_PORT for "
                 "--http-port); flags win\n"
                 "over the environment, the environment over the file.\n\n"
                 "exit status: 0 done; 1 it could not be done, or a check found something wrong; 2 "
                 "wrong usage\n");
}

void config_print_help(FILE *out, enum config_command command)
{
    const struct command *found = command_find(command);

    if (found == NULL) {
        print_program_help(out);
        return;
    }
    fprintf(out, "usage: orrery %s [options]%s\n\n%s\n\n", found->name, found->arguments,
            found->summary);
    if (found->details != NULL)
        fprintf(out, "%s\n", found->details);
    for (size_t i = 0; i < settings_count; i++) {
        if ((settings[i].commands & command) != 0)
            print_setting(out, &settings[i]);
    }
}

void config_print_markdown(FILE *out)
{
    fprintf(out, "# Configuration\n\n"
                 "Every option has three forms, of which the later wins: `name = value` in the "
                 "file that `--config FILE` or\n"
                 "`ORRERY_CONFIG` names, `ORRERY_NAME=value` in the environment (hyphens become "
                 "underscores), and the flag\n"
                 "`--name value` or `--name=value`. An unknown name is refused in all three. A "
                 "flag must belong to the command; the\n"
                 "file and the environment may hold options of other commands. In the file `#` "
                 "begins a comment, and a value\n"
                 "with `#` or outer spaces stands in double quotes. Sizes take the units KiB, MiB "
                 "and GiB.\n\n"
                 "Exit status of every command: 0 done; 1 it could not be done, or a check found "
                 "something wrong; 2 wrong usage.\n\n"
                 "This page is written by `orrery help markdown`.\n");
    for (size_t c = 0; c < commands_count; c++) {
        if ((commands[c].command & CONFIG_WORK) == 0)
            continue;
        fprintf(out, "\n## orrery %s%s\n\n%s.\n\n%s%s| option | meaning |\n|---|---|\n",
                commands[c].name, commands[c].arguments, commands[c].summary,
                commands[c].details != NULL ? commands[c].details : "",
                commands[c].details != NULL ? "\n" : "");
        for (size_t i = 0; i < settings_count; i++) {
            struct buf text = {0};
            if ((settings[i].commands & commands[c].command) == 0)
                continue;
            append_help(&text, &settings[i]);
            fprintf(out, "| `--%s%s%s` | %s |\n", settings[i].name,
                    settings[i].argument != NULL ? " " : "",
                    settings[i].argument != NULL ? settings[i].argument : "",
                    buf_text(&text) != NULL ? text.ptr : "");
            buf_finish(&text);
        }
    }
}
