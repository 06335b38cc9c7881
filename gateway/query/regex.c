#define PCRE2_CODE_UNIT_WIDTH 8
#include "query/regex.h"

#include <pcre2.h>

#include "base/banned.h"

/* Steps that compiling costs for each byte of the pattern, and at least. */
#define COMPILE_STEPS_PER_BYTE 64
#define COMPILE_STEPS_MIN 500

/* KiB that one match may keep for going back. */
#define HEAP_KIB_MAX 16384

/* Where PCRE2 has its memory from: freed with the arena. */
struct memory {
    struct arena *arena;
    bool has_failed; /* once: PCRE2 itself does not always tell that from a limit */
};

struct regex {
    struct regex *next;
    struct memory memory;
    const struct ast *call; /* that it was compiled for */
    pcre2_code *code;
    pcre2_match_data *matches;
    pcre2_match_context *context;
    size_t item_steps;   /* what one item of the pattern costs at least */
    bool has_references; /* to groups: an item may compare as much as the text */
};

/* What the callbacks of one match know. */
struct work {
    struct eval *eval;
    size_t item_steps;
    size_t position, start; /* where the last callback was, and where its attempt began */
};

static void *memory_alloc(size_t size, void *context)
{
    struct memory *memory = context;
    void *piece = arena_alloc(memory->arena, size);

    memory->has_failed |= piece == NULL;
    return piece;
}

static void memory_free(void *piece, void *context)
{
    (void) piece, (void) context;
}

/* ---- Work ---- */

/*
 * Called before each item. The characters passed since the last item are known by the distance; the
 * ones that an item looked at before it failed are not, and are paid by item_steps: at most as many
 * as its longest counted repeat.
 */
static int callout(pcre2_callout_block *block, void *context)
{
    struct work *work = context;
    size_t passed = 0;

    if (block->start_match == work->start && block->current_position > work->position)
        passed = block->current_position - work->position;
    work->start = block->start_match;
    work->position = block->current_position;
    return eval_spend(work->eval, work->item_steps + passed / 16) ? 0 : PCRE2_ERROR_CALLOUT;
}

/* The greatest number behind a brace: how often an item may repeat before it fails. */
static size_t longest_repeat(struct slice pattern)
{
    size_t longest = 0;

    for (size_t i = 0; i < pattern.len; i++) {
        size_t number = 0;

        if (pattern.ptr[i] != '{' && pattern.ptr[i] != ',')
            continue;
        while (i + 1 < pattern.len && pattern.ptr[i + 1] >= '0' && pattern.ptr[i + 1] <= '9' &&
               number < 65536)
            number = number * 10 + (size_t) (pattern.ptr[++i] - '0');
        if (number > longest)
            longest = number;
    }
    return longest;
}

/* ---- Compiling ---- */

static bool options_of(struct slice modifiers, uint32_t *options)
{
    *options = PCRE2_UTF | PCRE2_AUTO_CALLOUT | PCRE2_NEVER_BACKSLASH_C;
    for (size_t i = 0; i < modifiers.len; i++) {
        switch (modifiers.ptr[i]) {
        case 'i':
            *options |= PCRE2_CASELESS;
            break;
        case 'm':
            *options |= PCRE2_MULTILINE;
            break;
        case 's':
            *options |= PCRE2_DOTALL;
            break;
        case 'x':
            *options |= PCRE2_EXTENDED;
            break;
        default:
            return false;
        }
    }
    return true;
}

static struct regex *compile(struct eval *eval, struct arena *arena, struct slice pattern,
                             uint32_t options)
{
    struct regex *regex = arena_alloc(arena, sizeof(*regex));
    uint32_t references;
    int error;
    PCRE2_SIZE place;

    if (regex == NULL)
        return (struct regex *) (uintptr_t) eval_oom(eval);
    regex->memory.arena = arena;
    pcre2_general_context *memory =
        pcre2_general_context_create(memory_alloc, memory_free, &regex->memory);
    pcre2_compile_context *context = memory != NULL ? pcre2_compile_context_create(memory) : NULL;
    if (context == NULL)
        return (struct regex *) (uintptr_t) eval_oom(eval);
    regex->code =
        pcre2_compile((PCRE2_SPTR) pattern.ptr, pattern.len, options, &error, &place, context);
    if (regex->code == NULL) {
        if (regex->memory.has_failed)
            eval_oom(eval);
        return NULL;
    }
    regex->matches = pcre2_match_data_create_from_pattern(regex->code, memory);
    regex->context = pcre2_match_context_create(memory);
    if (regex->matches == NULL || regex->context == NULL)
        return (struct regex *) (uintptr_t) eval_oom(eval);
    pcre2_set_heap_limit(regex->context, HEAP_KIB_MAX);
    regex->item_steps = 1 + longest_repeat(pattern) / 16;
    regex->has_references =
        pcre2_pattern_info(regex->code, PCRE2_INFO_BACKREFMAX, &references) == 0 && references > 0;
    return regex;
}

/* Is an argument the same for every row? */
static bool is_constant(const struct ast *node)
{
    return node == NULL || node->kind == AST_CONSTANT || node->kind == AST_PARAMETER;
}

static struct regex *cache_find(struct eval *eval, const struct ast *call)
{
    struct regex *regex = eval->regexes->patterns;

    while (regex != NULL && regex->call != call && eval_spend(eval, 1))
        regex = regex->next;
    return eval->has_failed ? NULL : regex;
}

void regex_cache_init(struct regex_cache *cache, struct arena *arena)
{
    *cache = (struct regex_cache){.arena = arena};
}

struct regex *regex_of_call(struct eval *eval, struct slice pattern, struct slice modifiers)
{
    const struct ast *argument = eval->call->children->next;
    struct regex_cache *cache = eval->regexes;
    uint32_t options;

    if (!is_constant(argument) || !is_constant(argument->next))
        cache = NULL;
    struct regex *regex = cache != NULL ? cache_find(eval, eval->call) : NULL;
    if (regex != NULL)
        return regex->code != NULL ? regex : NULL;
    if (pattern.len > REGEX_PATTERN_MAX || !options_of(modifiers, &options) ||
        !eval_spend(eval, COMPILE_STEPS_MIN + COMPILE_STEPS_PER_BYTE * pattern.len))
        return NULL;
    struct arena *arena = cache != NULL ? cache->arena : eval->arena;
    regex = compile(eval, arena, pattern, options);
    if (cache == NULL || eval->has_failed)
        return regex;
    /* A bad pattern is remembered too. */
    struct regex *kept = regex != NULL ? regex : arena_alloc(arena, sizeof(*kept));
    if (kept == NULL)
        return (struct regex *) (uintptr_t) eval_oom(eval);
    kept->call = eval->call;
    kept->next = cache->patterns;
    cache->patterns = kept;
    return regex;
}

unsigned regex_group_count(const struct regex *regex)
{
    uint32_t count = 0;

    pcre2_pattern_info(regex->code, PCRE2_INFO_CAPTURECOUNT, &count);
    return count;
}

/* ---- Matching ---- */

bool regex_match(struct eval *eval, struct regex *regex, struct slice text, size_t from,
                 bool after_empty)
{
    struct work work = {.eval = eval, .item_steps = regex->item_steps, .start = SIZE_MAX};
    uint32_t options = after_empty ? PCRE2_NOTEMPTY_ATSTART : 0;

    /* PCRE2 looks whether the text is UTF-8; once is enough. */
    if (!eval_spend(eval, 4 + (from == 0 ? text.len / 16 : 0)))
        return false;
    if (from > 0)
        options |= PCRE2_NO_UTF_CHECK;
    if (regex->has_references)
        work.item_steps += text.len / 16;
    pcre2_set_callout(regex->context, callout, &work);
    int count = pcre2_match(regex->code, (PCRE2_SPTR) text.ptr, text.len, from, options,
                            regex->matches, regex->context);
    if (eval->has_failed)
        return false;
    if (regex->memory.has_failed)
        return eval_oom(eval) != NULL;
    if (count == PCRE2_ERROR_NOMEMORY || count == PCRE2_ERROR_HEAPLIMIT ||
        count == PCRE2_ERROR_MATCHLIMIT || count == PCRE2_ERROR_DEPTHLIMIT) {
        eval->has_failed = true;
        fault_set(eval->fault, 400, SUB_NONE,
                  "a regular expression needs more memory than is allowed for one document");
    }
    return count > 0;
}

struct regex_span regex_group(const struct regex *regex, unsigned group)
{
    const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(regex->matches);

    /* A \K inside a lookahead may put the start behind the end. */
    if (offsets[2 * group] == PCRE2_UNSET || offsets[2 * group] > offsets[2 * group + 1])
        return (struct regex_span){SIZE_MAX, SIZE_MAX};
    return (struct regex_span){offsets[2 * group], offsets[2 * group + 1]};
}
