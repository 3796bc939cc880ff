// SPDX-License-Identifier: Apache-2.0
/*
 * The one mechanism behind execution, completion and help. A grammar is plain code that asks, word
 * by word, which of some options comes next:
 *
 *     static const struct option what[] = {{.word = "entity", .help = "..."}, ...};
 *     int i = parse_pick(p, what, 2);
 *     if (i < 0) return false;                 // stopped: completion gathered, or an error
 *
 * When a command is executed, parse_pick consumes the word and says which option it is. When a line
 * is completed, the pick at the word with the cursor gathers what could stand there and stops. So
 * the three can never disagree, and a word costs one line of grammar.
 *
 * A word matches an option exactly, or as the beginning of a single one; a value option takes what
 * no word option takes.
 */
#ifndef NORTH_CLI_PARSE_H
#define NORTH_CLI_PARSE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "model/model.h"
#include "north/cli/line.h"

enum { PARSE_SUGGESTIONS_MAX = 500, PARSE_VALUE_MAX = 65536 };

struct parse;

struct option {
    const char *word;        /* the literal word; NULL: a value */
    const char *help;        /* one line; NULL: none */
    const char *label;       /* a value's name in help: "name" is shown as <name> */
    const struct node *leaf; /* a value's type; NULL: any text */
    /* Adds values that exist (parse_suggest); NULL: only those of the type. */
    void (*values)(struct parse *p, const struct option *o);
    const void *ptr; /* the grammar's own */
    int id;
    bool hidden;   /* understood, not offered */
    bool verbatim; /* a value taken as it is, `leaf` only for help */
    bool file;     /* a value that names a file at the terminal */
};

enum suggestion_kind {
    SUGGEST_WORD,
    SUGGEST_VALUE,
    SUGGEST_TYPE,
    SUGGEST_FILE, /* a file at the terminal: names are found there */
    SUGGEST_ENTER,
    SUGGEST_PIPE
};
struct suggestion {
    enum suggestion_kind kind;
    const char *word; /* what to type; SUGGEST_TYPE, SUGGEST_FILE: "<name>" */
    const char *help; /* may be NULL */
};

struct parse {
    /* in */
    struct arena *arena;
    const struct model *model;
    const struct line *line;
    size_t at, end;  /* the word at hand, one past the last before a pipe or the end */
    bool completing; /* the last word of the line is being typed */
    bool pipes;      /* `|` may follow */
    bool masks;      /* a secret may stand as it is shown, MODEL_SECRET_MASK */
    const struct model_view *view; /* objects whose names are offered */
    void *ctx;                     /* the session */
    /* out */
    const char *value; /* of the last value picked, canonical */
    bool secret;       /* some value picked was a secret: the line must not be kept */
    struct suggestion *suggestions;
    size_t n_suggestions, cap_suggestions;
    bool more_suggestions;     /* there were more than PARSE_SUGGESTIONS_MAX */
    const char *partial;       /* the word being completed, without quotes */
    size_t from;               /* where it begins in the line */
    bool stopped;              /* an error, or completion is gathered */
    struct err err;            /* code OK: none */
    size_t err_start, err_end; /* bytes of the line it is about */
};

/* Over words [at, end) of a split line. */
void parse_init(struct parse *p, struct arena *a, const struct model *m, const struct line *l,
                bool completing);
/* Index of the option that the word at hand is, consumed; -1: stopped. */
int parse_pick(struct parse *p, const struct option *o, size_t n);
/* The command may end here. True: it does. False: there are more words, or this word is being
 * completed (then <Enter> is offered, and picks that follow add to it). */
bool parse_may_end(struct parse *p);
/* The command must end here; false with an error when there are more words. */
bool parse_end(struct parse *p);
/* Is a word left to pick? While completing, the word with the cursor counts. */
bool parse_more(const struct parse *p);
/* The word at hand without consuming it; NULL at the end. */
const char *parse_peek(const struct parse *p);
/* Is the word at hand the one with the cursor? */
bool parse_here(const struct parse *p);
/* Adds a suggestion when it begins with what was typed; copies both. */
void parse_suggest(struct parse *p, enum suggestion_kind kind, const char *word, const char *help);
/* Stops with an error about word `word` (index in the line; the line's end when beyond). */
bool parse_fail(struct parse *p, size_t word, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts the suggestions into the order in which they are shown: the end of the command, what a value
 * is, values as they were gathered, words by name, the pipe. */
void parse_sort(struct parse *p);
/* What inserting the completion means: the text to put from `from` to the cursor, and whether it is
 * complete (a blank follows). NULL when there is nothing to insert. */
char *parse_insertion(struct parse *p);

#endif
