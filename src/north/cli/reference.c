// SPDX-License-Identifier: Apache-2.0
/* Prints the commands as Markdown, from the tables that execute them: for docs/cli.md and weft.1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "north/cli/run.h"

enum { ROWS_MAX = 1024 };

struct row {
    char *words, *help;
};
static struct row rows[ROWS_MAX];
static size_t n_rows;

static void add(char *words, const char *help) {
    if (n_rows < ROWS_MAX) {
        rows[n_rows++] = (struct row){words, mem_strdup(help)};
    } else {
        mem_free(words);
    }
}

static void add_table(const struct command_word *c) {
    for (; c->words != NULL; c++) {
        if (!c->hidden) {
            add(mem_printf("%s%s%s", c->words, c->args ? " " : "", c->args ? c->args : ""),
                c->help);
        }
    }
}

static void upper(struct buf *b, const char *s) {
    for (; *s != '\0'; s++) {
        buf_char(b, (char)(*s >= 'a' && *s <= 'z' ? *s - 32 : *s));
    }
}

static void add_args(struct buf *b, const struct command *c, int within) {
    for (size_t i = 0; i < c->n_args; i++) {
        const struct command_arg *a = &c->args[i];
        if (a->within != within) {
            continue;
        }
        buf_str(b, a->optional ? " [" : " ");
        if (a->word != NULL) {
            buf_str(b, a->word);
        }
        if (a->leaf->base != BASE_EMPTY) {
            buf_str(b, a->word != NULL ? " " : "");
            upper(b, a->leaf->name);
        }
        add_args(b, c, (int)i);
        buf_str(b, a->optional ? "]" : "");
    }
}

static void add_rpcs(void) {
    size_t n;
    const struct command *const *c = model_commands(&n);
    for (size_t i = 0; i < n; i++) {
        struct buf b = BUF_INIT;
        for (size_t k = 0; k < c[i]->n_words; k++) {
            buf_printf(&b, "%s%s", k > 0 ? " " : "", c[i]->words[k]);
        }
        add_args(&b, c[i], -1);
        char *help = mem_printf("%s%s%s", c[i]->rpc->description,
                                c[i]->confirm != NULL ? " Asks first: " : "",
                                c[i]->confirm != NULL ? c[i]->confirm : "");
        add(buf_take(&b), help);
        mem_free(help);
    }
}

static int by_words(const void *a, const void *b) {
    return strcmp(((const struct row *)a)->words, ((const struct row *)b)->words);
}

static void print_rows(const char *title) {
    qsort(rows, n_rows, sizeof *rows, by_words);
    printf("### %s\n\n", title);
    for (size_t i = 0; i < n_rows; i++) {
        printf("- `%s`\n  %s\n", rows[i].words, rows[i].help);
        mem_free(rows[i].words);
        mem_free(rows[i].help);
    }
    printf("\n");
    n_rows = 0;
}

int main(void) {
    add_table(operational_commands);
    add_rpcs();
    print_rows("Operational mode");
    add_table(configuration_commands);
    print_rows("Configuration mode");
    return 0;
}
