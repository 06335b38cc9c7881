/*
 * Text as words: what full-text functions search and count.
 *
 * A word is a run of letters and digits, in lower case, without its ending (the language's
 * stemmer); the most frequent words of a language are left out. Terms are treated alike; one of
 * several words is a phrase, whose words follow one another.
 *
 * Stemmers: libstemmer, for English, French, German, Italian, Portuguese and Spanish; text in
 * another language keeps its endings.
 */
#ifndef ORRERY_QUERY_FULLTEXT_H
#define ORRERY_QUERY_FULLTEXT_H

#include "query/eval.h"

#include <stddef.h>

struct fulltext {
    size_t count;
    const struct slice *words; /* in the eval's arena */
};

/* False when the eval failed. */
bool fulltext_read(struct eval *eval, struct slice text, struct slice language,
                   struct fulltext *result) MUST_CHECK;

/* How often a term occurs; a term without words never does. 0 when the eval failed. */
size_t fulltext_count(struct eval *eval, const struct fulltext *text, const struct fulltext *term);

/*
 * BM25 of a text for one term.
 *
 * documents, words    of all texts: how many, and how long together
 * hits                in how many of them the term occurs
 * source              S. Robertson, H. Zaragoza, "The Probabilistic Relevance Framework" (2009),
 * with k1 = 1.2 and b = 0.75
 */
double fulltext_score(size_t occurrences, size_t text_words, double documents, double words,
                      double hits);

#endif
