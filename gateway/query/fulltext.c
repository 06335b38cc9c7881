#include "query/fulltext.h"

#include "query/text.h"

#include <libstemmer.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/banned.h"

struct language {
    const char *prefix; /* of the tag, such as "en-US" */
    const char *stemmer;
    const char *const *stop_words; /* sorted, ends with NULL */
};

static const char *const english[] = {
    "a",    "an",    "and",   "are",  "as",   "at", "be",  "but",  "by",   "for",  "if",  "in",
    "into", "is",    "it",    "no",   "not",  "of", "on",  "or",   "such", "that", "the", "their",
    "then", "there", "these", "they", "this", "to", "was", "will", "with", NULL};
static const char *const french[] = {
    "au",   "aux", "avec", "ce",  "ces", "dans", "de",   "des", "du",   "elle", "en",
    "est",  "et",  "il",   "ils", "je",  "la",   "le",   "les", "leur", "lui",  "ne",
    "nous", "on",  "ou",   "par", "pas", "pour", "qu",   "que", "qui",  "sa",   "se",
    "ses",  "son", "sont", "sur", "un",  "une",  "vous", NULL};
static const char *const german[] = {
    "als", "am",  "an",  "auch", "auf",   "aus",   "bei",   "das",   "dem", "den",  "der",
    "des", "die", "ein", "eine", "einem", "einen", "einer", "eines", "er",  "es",   "für",
    "ich", "im",  "in",  "ist",  "mit",   "nicht", "oder",  "sich",  "sie", "sind", "und",
    "von", "war", "wir", "wird", "zu",    "zum",   "zur",   NULL};
static const char *const italian[] = {
    "a",     "al",   "alla", "che", "con", "da",    "dal", "dalla", "dei", "del", "della",
    "delle", "di",   "e",    "ed",  "gli", "ha",    "i",   "il",    "in",  "io",  "l",
    "la",    "le",   "lo",   "ma",  "nel", "nella", "non", "o",     "per", "più", "se",
    "si",    "sono", "su",   "sul", "un",  "una",   "uno", NULL};
static const char *const portuguese[] = {
    "a",    "ao",  "aos", "as",  "com", "como",  "da",  "das", "de",   "do",
    "dos",  "e",   "ela", "ele", "em",  "entre", "era", "foi", "mais", "mas",
    "na",   "nas", "no",  "nos", "não", "o",     "os",  "ou",  "para", "pela",
    "pelo", "por", "que", "se",  "ser", "sua",   "são", "um",  "uma",  NULL};
static const char *const spanish[] = {"a",   "al",    "como", "con", "de",  "del",  "el",   "ella",
                                      "en",  "entre", "era",  "es",  "ese", "esta", "este", "fue",
                                      "ha",  "la",    "las",  "le",  "lo",  "los",  "más",  "no",
                                      "o",   "para",  "pero", "por", "que", "se",   "sin",  "sobre",
                                      "son", "su",    "sus",  "un",  "una", "y",    "ya",   NULL};
static const char *const none[] = {NULL};

static const struct language languages[] = {
    {"en", "english", english}, {"fr", "french", french},         {"de", "german", german},
    {"it", "italian", italian}, {"pt", "portuguese", portuguese}, {"es", "spanish", spanish},
};
static const struct language no_language = {"", NULL, none};

static const struct language *find_language(struct slice tag)
{
    for (size_t i = 0; i < ARRAY_LEN(languages); i++)
        if (tag.len >= 2 && slice_equals_nocase(slice_make(tag.ptr, 2), languages[i].prefix))
            return &languages[i];
    return &no_language;
}

static bool is_stop_word(const struct language *language, struct slice word)
{
    for (const char *const *stop = language->stop_words; *stop != NULL; stop++)
        if (slice_equals_text(word, *stop))
            return true;
    return false;
}

/* Words in the making. */
struct reader {
    struct eval *eval;
    const struct language *language;
    struct sb_stemmer *stemmer; /* NULL where the language has none */
    struct slice *words;
    size_t count, capacity;
};

static bool add_word(struct reader *reader, struct slice word)
{
    if (is_stop_word(reader->language, word))
        return true;
    if (reader->stemmer != NULL) {
        const sb_symbol *stem =
            sb_stemmer_stem(reader->stemmer, (const sb_symbol *) word.ptr, (int) word.len);
        if (stem == NULL)
            return eval_oom(reader->eval) != NULL;
        word = slice_make((const char *) stem, (size_t) sb_stemmer_length(reader->stemmer));
    }
    if (reader->count == reader->capacity) {
        size_t capacity = reader->capacity > 0 ? reader->capacity * 2 : 16;
        struct slice *more = arena_alloc(reader->eval->arena, capacity * sizeof(*more));
        if (more == NULL)
            return eval_oom(reader->eval) != NULL;
        if (reader->count > 0)
            memcpy(more, reader->words, reader->count * sizeof(*more));
        reader->words = more;
        reader->capacity = capacity;
    }
    char *copy = arena_copy(reader->eval->arena, word.ptr, word.len);
    if (copy == NULL)
        return eval_oom(reader->eval) != NULL;
    reader->words[reader->count++] = slice_make(copy, word.len);
    return true;
}

static bool read_words(struct reader *reader, struct slice text)
{
    struct buf word = {0};
    bool is_fine = true;

    for (size_t at = 0; is_fine && at < text.len;) {
        uint32_t c = text_next(text, &at);
        if (text_is_word(c))
            text_append(&word, text_lower(c));
        if ((!text_is_word(c) || at == text.len) && word.len > 0) {
            is_fine = add_word(reader, buf_slice(&word));
            word.len = 0;
        }
        if (word.has_failed)
            is_fine = eval_oom(reader->eval) != NULL;
    }
    buf_finish(&word);
    return is_fine;
}

bool fulltext_read(struct eval *eval, struct slice text, struct slice language,
                   struct fulltext *result)
{
    struct reader reader = {.eval = eval, .language = find_language(language)};

    *result = (struct fulltext){0};
    if (!eval_spend(eval, text.len))
        return false;
    if (reader.language->stemmer != NULL) {
        reader.stemmer = sb_stemmer_new(reader.language->stemmer, "UTF_8");
        if (reader.stemmer == NULL)
            return eval_oom(eval) != NULL;
    }
    bool is_read = read_words(&reader, text);
    sb_stemmer_delete(reader.stemmer);
    *result = (struct fulltext){reader.count, reader.words};
    return is_read;
}

size_t fulltext_count(struct eval *eval, const struct fulltext *text, const struct fulltext *term)
{
    size_t count = 0;

    if (term->count == 0 || !eval_spend(eval, 1 + text->count / 4))
        return 0;
    for (size_t at = 0; at + term->count <= text->count; at++) {
        size_t same = 0;
        while (same < term->count && slice_equals(text->words[at + same], term->words[same]))
            same++;
        if (same > 1 && !eval_spend(eval, same))
            return 0;
        count += same == term->count;
    }
    return count;
}

double fulltext_score(size_t occurrences, size_t text_words, double documents, double words,
                      double hits)
{
    const double k1 = 1.2, b = 0.75;
    double frequency = (double) occurrences;
    double mean = documents > 0 && words > 0 ? words / documents : 1;
    double rarity = log(1 + (fmax(documents, hits) - hits + 0.5) / (hits + 0.5));

    return rarity * frequency * (k1 + 1) /
           (frequency + k1 * (1 - b + b * (double) text_words / mean));
}
