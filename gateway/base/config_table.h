/*
 * Inside of config: the table of settings and commands that its readers and printers share.
 */
#ifndef ORRERY_BASE_CONFIG_TABLE_H
#define ORRERY_BASE_CONFIG_TABLE_H

#include "base/config.h"
#include "base/slice.h"

#define CONFIG_PREFIX "ORRERY_"

/* Commands that have settings. */
#define CONFIG_GATEWAY (CONFIG_SERVE | CONFIG_UP)
#define CONFIG_WORK (CONFIG_GATEWAY | CONFIG_MIGRATE | CONFIG_SIGN | CONFIG_ACCOUNT)

#define CONFIG_AT(member) offsetof(struct config, member)

/* What the member of struct config is: const char *, one of the choices, bool, int, size_t, int. */
enum setting_kind {
    SETTING_TEXT,
    SETTING_CHOICE,
    SETTING_SWITCH,
    SETTING_NUMBER,
    SETTING_BYTES,
    SETTING_PORT
};

typedef const char *setting_check(const char *text); /* NULL, or what is wrong */

struct setting {
    const char *name;  /* of the flag and in the file; ORRERY_ and capitals in the environment */
    const char *alias; /* another name in the environment */
    enum setting_kind kind;
    unsigned commands;
    size_t offset;              /* of the member in struct config */
    const char *initial;        /* text of the default; NULL: none */
    long long min, max;         /* NUMBER, BYTES */
    const char *const *choices; /* CHOICE: ends in NULL */
    setting_check *check;       /* TEXT */
    const char *argument;       /* for help */
    const char *help;
};

extern const struct setting settings[];
extern const size_t settings_count;

struct command {
    enum config_command command;
    const char *name;
    const char *arguments;
    const char *summary;
    const char *details; /* lines below the summary, indented by 4; NULL for none */
};

extern const struct command commands[];
extern const size_t commands_count;

/* NULL when there is no such command. */
const struct command *command_find(enum config_command command);

/* "both, https, http" */
void setting_choices(const struct setting *setting, char *text, size_t size);

/* Letters, digits, '-', '.', '_'. */
bool config_is_host(struct slice host);

#endif
