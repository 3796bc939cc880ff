// SPDX-License-Identifier: Apache-2.0
/*
 * weft-model-man: manual pages and the reference from the model itself.
 *
 *   weft-model-man -d DIR       one page per kind into DIR/man5, one per command into DIR/man1
 *   weft-model-man -r           the reference as Markdown on standard output
 *   weft-model-man --install    as -d, below the prefix that meson installs to
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/model.h"

/* "weft-apm" -> "apm": how the module is called in page names. */
static const char *short_module(const char *module) {
    return strncmp(module, "weft-", 5) == 0 ? module + 5 : module;
}

/* Text as groff takes it: no line starts with a control character, dashes stay dashes. */
static void man_text(FILE *f, const char *s) {
    bool start = true;
    for (; *s != '\0'; s++) {
        if (start && (*s == '.' || *s == '\'')) {
            fputs("\\&", f);
        }
        start = false;
        if (*s == '\\') {
            fputs("\\e", f);
        } else if (*s == '-') {
            fputs("\\-", f);
        } else if (*s == '\n') {
            /* an empty line of the model begins a paragraph */
            fputs(s[1] == '\n' ? "\n.PP\n" : "\n", f);
            s += s[1] == '\n';
            start = true;
        } else {
            fputc(*s, f);
        }
    }
}

static void type_text(const struct node *n, struct buf *out) {
    buf_clear(out);
    if (n->ref_kind != NULL) {
        buf_printf(out, "a reference to %s", n->ref_kind->short_name);
        return;
    }
    node_type_text(n, out);
    if (n->units != NULL) {
        buf_printf(out, " (%s)", n->units);
    }
}

static void man_leaf_facts(FILE *f, const struct node *n) {
    struct buf b = BUF_INIT;
    type_text(n, &b);
    if (n->base != BASE_EMPTY) {
        fputs("\n.br\nTakes ", f);
        man_text(f, buf_cstr(&b));
        if (n->type == NODE_LEAF_LIST) {
            fputs("; several may be given", f);
        }
        fputs(".", f);
    }
    if (n->default_value != NULL && n->default_value[0] != '\0') {
        fputs(" Default: ", f);
        man_text(f, n->default_value);
        fputs(".", f);
    }
    if (n->mandatory && !n->is_key) {
        fputs(" Must be given.", f);
    }
    if (n->secret) {
        fputs(" A secret: never shown.", f);
    }
    if (n->no_history) {
        fputs(" Has no history.", f);
    }
    if (n->deprecated_since != NULL) {
        fprintf(f, " Deprecated since %s.", n->deprecated_since);
    }
    fputs("\n", f);
    for (size_t i = 0; i < n->n_enums; i++) {
        if (n->enums[i].description != NULL) {
            fputs(".RS\n.TP\n.B ", f);
            man_text(f, n->enums[i].name);
            fputs("\n", f);
            man_text(f, n->enums[i].description);
            fputs("\n.RE\n", f);
        }
    }
    buf_free(&b);
}

static void man_nodes(FILE *f, const struct node *parent, bool state) {
    for (size_t i = 0; i < parent->n_children; i++) {
        const struct node *n = parent->children[i];
        if (n->config == state && parent->config != state) {
            continue;
        }
        fputs(".TP\n.B ", f);
        man_text(f, n->name);
        for (size_t k = 0; k < n->n_keys; k++) {
            fprintf(f, " \\fI%s\\fB", n->keys[k]->name);
        }
        fputs("\n", f);
        man_text(f, n->description);
        if (n->type == NODE_LEAF || n->type == NODE_LEAF_LIST) {
            man_leaf_facts(f, n);
        } else {
            if (n->user_ordered) {
                fputs("\n.br\nThe order counts and is yours.", f);
            }
            fputs("\n.RS\n", f);
            man_nodes(f, n, state);
            fputs(".RE\n", f);
        }
    }
}

static void words_above(const struct node *n, struct buf *out) {
    if (n->parent != NULL && n->parent->type != NODE_ROOT) {
        words_above(n->parent, out);
    }
    buf_printf(out, "%s%s", out->len > 0 ? " " : "", n->name);
}

static void first_sentence(FILE *f, const char *s) {
    size_t n = 0;
    while (s[n] != '\0' &&
           !(s[n] == '.' && (s[n + 1] == ' ' || s[n + 1] == '\0' || s[n + 1] == '\n'))) {
        n++;
    }
    char *one = mem_strndup(s, n);
    one[0] = (char)tolower((unsigned char)one[0]);
    man_text(f, one);
    mem_free(one);
}

static FILE *page(const char *dir, const char *name, int section) {
    char path[1024];
    snprintf(path, sizeof path, "%s/man%d", dir, section);
    mkdir(dir, 0755);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/man%d/%s.%d", dir, section, name, section);
    FILE *f = fopen(path, "w");
    if (f == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    fprintf(f, ".\\\" Generated from the YANG modules: do not edit.\n.TH %s %d \"\" \"Weft %s\"\n",
            name, section, WEFT_VERSION);
    return f;
}

static void kind_page(const char *dir, const struct kind *k) {
    char name[256];
    struct buf words = BUF_INIT;
    snprintf(name, sizeof name, "weft-%s-%s", short_module(k->module), k->short_name);
    FILE *f = page(dir, name, 5);
    fprintf(f, ".SH NAME\n%s \\- ", name);
    first_sentence(f, k->node->description);
    words_above(k->node, &words);
    fputs("\n.SH SYNOPSIS\n.B set ", f);
    man_text(f, buf_cstr(&words));
    for (size_t i = 0; i < k->n_keys; i++) {
        fprintf(f, " \\fI%s\\fR", k->keys[i]->name);
    }
    fputs(" ...\n.PP\n.B ", f);
    man_text(f, k->prefix);
    for (size_t i = 0; i < k->n_keys; i++) {
        fprintf(f, "%s\\fI%s\\fR", i == 0 ? "=" : ",", k->keys[i]->name);
    }
    fputs("\n.SH DESCRIPTION\n", f);
    man_text(f, k->node->description);
    fputs("\n.SH CONFIGURATION\n", f);
    man_nodes(f, k->node, false);
    if (k->has_state) {
        fputs(".SH STATE\n", f);
        for (size_t i = 0; i < k->node->n_children; i++) {
            if (!k->node->children[i]->config) {
                man_nodes(f, k->node->children[i], true);
            }
        }
    }
    fputs(".SH SEE ALSO\n.BR weft (1)\n", f);
    for (size_t i = 0; i < k->n_refs; i++) {
        const struct kind *r = k->refs[i]->ref_kind;
        bool again = false;
        for (size_t j = 0; j < i; j++) {
            again = again || k->refs[j]->ref_kind == r;
        }
        if (!again) {
            fprintf(f, ".BR weft\\-%s\\-%s (5)\n", short_module(r->module), r->short_name);
        }
    }
    buf_free(&words);
    fclose(f);
}

static void command_usage(FILE *f, const struct command *c, const char *bold, const char *italic,
                          const char *plain) {
    fputs(bold, f);
    for (size_t i = 0; i < c->n_words; i++) {
        fprintf(f, "%s%s", i > 0 ? " " : "", c->words[i]);
    }
    fputs(plain, f);
    for (size_t i = 0; i < c->n_args; i++) {
        const struct command_arg *a = &c->args[i];
        bool inner = i + 1 < c->n_args && c->args[i + 1].within == (int)i;
        fprintf(f, " %s", a->optional ? "[" : "");
        if (a->word != NULL) {
            fprintf(f, "%s%s%s", bold, a->word, plain);
        }
        if (a->leaf->base != BASE_EMPTY) {
            /* without a slant of its own a value would look like one more word */
            fprintf(f, italic[0] != '\0' ? "%s%s%s%s" : "%s%s<%s>%s", a->word != NULL ? " " : "",
                    italic, a->leaf->name, plain);
        }
        if (a->optional && !inner) {
            fputs(a->within >= 0 ? "]]" : "]", f);
        }
    }
}

static void command_page(const char *dir, const struct command *c) {
    char name[256] = "weft";
    for (size_t i = 0; i < c->n_words; i++) {
        size_t n = strlen(name);
        snprintf(name + n, sizeof name - n, "-%s", c->words[i]);
    }
    FILE *f = page(dir, name, 1);
    fprintf(f, ".SH NAME\n%s \\- ", name);
    first_sentence(f, c->rpc->description);
    fputs("\n.SH SYNOPSIS\n", f);
    command_usage(f, c, "\\fB", "\\fI", "\\fR");
    fputs("\n.SH DESCRIPTION\n", f);
    man_text(f, c->rpc->description);
    fprintf(f, "\n.PP\nNeeds the right \\fB%s\\fR on /%s:%s; programs call it as that rpc.\n",
            c->right, c->rpc->module, c->rpc->name);
    if (c->confirm != NULL) {
        fputs(".PP\nAt a terminal it asks first: ", f);
        man_text(f, c->confirm);
        fputs("\n", f);
    }
    if (c->n_args > 0) {
        fputs(".SH ARGUMENTS\n", f);
        for (size_t i = 0; i < c->n_args; i++) {
            fputs(".TP\n.B ", f);
            man_text(f, c->args[i].leaf->name);
            fputs("\n", f);
            man_text(f, c->args[i].leaf->description);
            man_leaf_facts(f, c->args[i].leaf);
        }
    }
    fputs(".SH SEE ALSO\n.BR weft (1)\n", f);
    fclose(f);
}

static void pages(const char *dir) {
    size_t n;
    const struct kind *const *k = model_kinds(&n);
    for (size_t i = 0; i < n; i++) {
        kind_page(dir, k[i]);
    }
    const struct command *const *c = model_commands(&n);
    for (size_t i = 0; i < n; i++) {
        command_page(dir, c[i]);
    }
}

/* ---- the reference ----------------------------------------------------------------------------
 */

static void md_nodes(const struct node *parent, unsigned depth) {
    struct buf b = BUF_INIT;
    for (size_t i = 0; i < parent->n_children; i++) {
        const struct node *n = parent->children[i];
        printf("%*s- `%s`", (int)depth * 2, "", n->name);
        for (size_t k = 0; k < n->n_keys; k++) {
            printf(" *%s*", n->keys[k]->name);
        }
        fputs(": ", stdout);
        for (const char *s = n->description; *s != '\0'; s++) {
            putchar(*s == '\n' ? ' ' : *s);
        }
        if ((n->type == NODE_LEAF || n->type == NODE_LEAF_LIST) && n->base != BASE_EMPTY) {
            type_text(n, &b);
            printf(" Takes %s.", buf_cstr(&b));
            if (n->default_value != NULL && n->default_value[0] != '\0') {
                printf(" Default `%s`.", n->default_value);
            }
            fputs(n->mandatory && !n->is_key ? " Must be given." : "", stdout);
            fputs(n->secret ? " Secret." : "", stdout);
        }
        fputs(n->no_history ? " Has no history." : "", stdout);
        fputs(!n->config && parent->config ? " (state)" : "", stdout);
        putchar('\n');
        if (n->type == NODE_CONTAINER || n->type == NODE_LIST) {
            md_nodes(n, depth + 1);
        }
    }
    buf_free(&b);
}

static void reference(void) {
    size_t n;
    printf(
        "# Reference: kinds and commands\n\n<!-- Generated by weft-model-man -r: do not edit. -->\n"
        "\nEverything that can be configured, and every command, from the YANG modules in "
        "`yang/`.\n");
    const struct kind *const *k = model_kinds(&n);
    for (size_t i = 0; i < n; i++) {
        struct buf words = BUF_INIT;
        words_above(k[i]->node, &words);
        printf("\n## %s\n\n%s\n\n`set %s", k[i]->name, k[i]->node->description, buf_cstr(&words));
        for (size_t q = 0; q < k[i]->n_keys; q++) {
            printf(" <%s>", k[i]->keys[q]->name);
        }
        printf(" ...`\n\n");
        md_nodes(k[i]->node, 0);
        buf_free(&words);
    }
    printf("\n## Commands\n\n| command | what it does | right |\n| --- | --- | --- |\n");
    const struct command *const *c = model_commands(&n);
    for (size_t i = 0; i < n; i++) {
        printf("| `");
        command_usage(stdout, c[i], "", "", "");
        printf("` | %s%s%s | %s |\n", c[i]->rpc->description,
               c[i]->confirm != NULL ? " Asks first: " : "",
               c[i]->confirm != NULL ? c[i]->confirm : "", c[i]->right);
    }
    printf("\n## Notifications\n\n| name | when |\n| --- | --- |\n");
    const struct node *const *v = model_notifications(&n);
    for (size_t i = 0; i < n; i++) {
        printf("| `%s:%s` | %s |\n", v[i]->module, v[i]->name, v[i]->description);
    }
}

int main(int argc, char **argv) {
    const char *prefix = getenv("MESON_INSTALL_DESTDIR_PREFIX");
    if (argc == 3 && strcmp(argv[1], "-d") == 0) {
        pages(argv[2]);
    } else if (argc == 2 && strcmp(argv[1], "-r") == 0) {
        reference();
    } else if (argc == 2 && strcmp(argv[1], "--install") == 0 && prefix != NULL) {
        char dir[1024];
        snprintf(dir, sizeof dir, "%s/share", prefix);
        mkdir(dir, 0755);
        snprintf(dir, sizeof dir, "%s/share/man", prefix);
        pages(dir);
    } else {
        fprintf(stderr, "usage: weft-model-man -d DIR | -r | --install\n");
        return 1;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
