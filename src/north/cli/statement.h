// SPDX-License-Identifier: Apache-2.0
/*
 * Configuration statements: words to instance paths, by the schema alone.
 *
 *     apm inet-pool partition a min-prefix-len 20
 *     ->  /weft-apm:apm/inet-pool/partition=a/min-prefix-len  :=  20
 */
#ifndef NORTH_CLI_STATEMENT_H
#define NORTH_CLI_STATEMENT_H

#include "north/cli/parse.h"

/* A place in the configuration: where `edit` stands, or what a statement names. */
struct place {
    const struct node *node;
    const char *path; /* canonical instance path; "/" at the top; in the arena or the session */
    bool entry;       /* one entry of a list or leaf-list, not all of them */
};

enum statement_mode {
    STATEMENT_SET,    /* leaves with values, entries, presence containers */
    STATEMENT_DELETE, /* anything that may be there */
    STATEMENT_EDIT,   /* containers and entries */
    STATEMENT_SHOW,   /* anything, in whole */
    STATEMENT_ENTRY,  /* one entry of a list or leaf-list */
    STATEMENT_NEW,    /* the same, a name that need not exist */
};

struct statement_value {
    struct place at;
    const char *value; /* leaf: canonical value; NULL: the place itself (entry, presence) */
};

struct statement {
    struct place at;                /* the last place named */
    const char *parent;             /* canonical path of what the last list entry or value is in */
    struct statement_value *values; /* STATEMENT_SET */
    size_t n_values;
    bool ask_secret; /* STATEMENT_SET: the last word was a secret leaf without its value */
};

/* Reads the words of a statement. `stop_words`: literal words that end it (rename's "to"); NULL:
 * none. False: p stopped. On true the word at hand is past the statement. */
bool statement_parse(struct parse *p, enum statement_mode mode, const struct place *start,
                     const struct option *stop, size_t n_stop, struct statement *out);

/* ENTRY before | after NAME: an entry of a list that people order, and where it is to stand. */
struct insertion {
    struct statement what;
    bool before;
    const char *point; /* canonical path of the entry next to it */
};
bool insertion_parse(struct parse *p, const struct place *start, struct insertion *out);

/* One level up: the place around `pl`, skipping nothing. The top's is the top. */
struct place place_up(struct arena *a, const struct place *pl);
/* "apm inet-pool partition a": as it is typed. */
void place_words(const struct model *m, const char *path, struct buf *out);
/* A text with instance paths in it, with those as they are typed. */
void place_text(const struct model *m, const char *text, struct buf *out);

#endif
