// SPDX-License-Identifier: Apache-2.0
#include "editor.h"

#include <errno.h>
#include <glob.h>
#include <histedit.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"

enum { LINE_MAX_BYTES = 128 << 10, HISTORY_KEPT = 1000, HELP_COLUMN_MAX = 30, HELP_WIDTH_MIN = 24 };

struct editor {
    struct client *client;
    struct terminal *t;
    EditLine *el;
    History *history;
    char *history_file;
    char *prompt; /* the last line of it */
    bool goes_on; /* a quote of the lines before is open: what is typed is text */
    bool dropped; /* Ctrl-C, while it was */
};

/* ---- keys, and what happens between them */

static volatile sig_atomic_t resized, continued;

static void on_signal(int signo) {
    if (signo == SIGWINCH) {
        resized = 1;
    } else {
        continued = 1;
    }
}

void editor_signals(void) {
    struct sigaction sa = {.sa_handler = on_signal};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGWINCH);
    sigaddset(&set, SIGCONT);
    sigaction(SIGWINCH, &sa, NULL);
    sigaction(SIGCONT, &sa, NULL);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* The editor draws anew here, where its own state is whole: in a handler (EL_SIGNAL) it is not. */
static void follow_terminal(EditLine *el) {
    if (resized || continued) {
        if (continued) {
            el_set(el, EL_PREP_TERM, 1);
        }
        if (resized) {
            el_resize(el);
        }
        resized = continued = 0;
        el_set(el, EL_REFRESH);
    }
}

/* Waits for a byte. As read(2). */
static ssize_t read_byte(EditLine *el, char *c) {
    struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
    sigset_t open;
    pthread_sigmask(SIG_SETMASK, NULL, &open);
    sigdelset(&open, SIGWINCH);
    sigdelset(&open, SIGCONT);
    for (;;) {
        int n = ppoll(&fd, 1, NULL, &open);
        follow_terminal(el);
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        if (n > 0) {
            ssize_t got = read(STDIN_FILENO, c, 1);
            if (got >= 0 || (errno != EINTR && errno != EAGAIN)) {
                return got;
            }
        }
    }
}

/* A character, from as many bytes as it has; what is none is left out. As el_rfunc_t. */
static int read_key(EditLine *el, wchar_t *out) {
    mbstate_t state = {0};
    for (;;) {
        char c;
        ssize_t n = read_byte(el, &c);
        if (n <= 0) {
            return (int)n;
        }
        size_t used = mbrtowc(out, &c, 1, &state);
        if (used == (size_t)-1) {
            memset(&state, 0, sizeof state);
        } else if (used != (size_t)-2) {
            return 1;
        }
    }
}

static char *el_prompt(EditLine *el) {
    struct editor *ed;
    el_get(el, EL_CLIENTDATA, &ed);
    return ed->prompt;
}

/* "[edit apm]" goes above, the rest is what the editor draws. */
static void show_prompt(struct editor *ed) {
    const char *all = client_prompt(ed->client), *nl = strrchr(all, '\n');
    if (nl != NULL) {
        printf("%.*s", (int)(nl + 1 - all), all);
        fflush(stdout);
    }
    mem_free(ed->prompt);
    ed->prompt = mem_strdup(nl ? nl + 1 : all);
    ed->t->prompt_columns = terminal_columns(ed->prompt, strlen(ed->prompt));
}

/* Characters in the n bytes at p; the editor counts those. */
static int chars(const char *p, size_t n) {
    return (int)terminal_columns(p, n);
}

/* ---- what may be typed */

static const char *text_of(const json_t *o, const char *name) {
    const char *s = json_string_value(json_object_get(o, name));
    return s != NULL ? s : "";
}

/* Words on the left, what they mean beside them, as wide as the terminal is. */
static void print_items(struct editor *ed, const json_t *root) {
    terminal_size(ed->t);
    const json_t *items = json_object_get(root, "items"), *item;
    size_t i, widest = 0;
    json_array_foreach(items, i, item) {
        const char *word = text_of(item, "word");
        size_t n = terminal_columns(word, strlen(word));
        widest = n > widest ? n : widest;
    }
    widest = widest > HELP_COLUMN_MAX ? HELP_COLUMN_MAX : widest;
    size_t indent = 2 + widest + 2, columns = ed->t->columns;
    if (columns < indent + HELP_WIDTH_MIN) {
        indent = 6; /* a narrow screen: below the word */
    }
    struct buf out = BUF_INIT;
    buf_printf(&out, "%s\n",
               json_array_size(items) > 0 ? "Possible completions:" : "Nothing may follow here");
    json_array_foreach(items, i, item) {
        const char *word = text_of(item, "word"), *help = text_of(item, "help");
        size_t used = 2 + terminal_columns(word, strlen(word));
        buf_printf(&out, "  %s", word);
        if (*help != '\0' && used + 2 > indent) {
            buf_char(&out, '\n');
            used = 0;
        }
        if (*help != '\0') {
            buf_printf(&out, "%*s", (int)(indent - used), "");
            terminal_wrap(&out, help, indent, columns);
        }
        buf_char(&out, '\n');
    }
    buf_str(&out, json_is_true(json_object_get(root, "more")) ? "  ... and more\n" : "");
    fputc('\n', stdout);
    terminal_show(ed->t, (const char *)out.data, out.len);
    buf_free(&out);
}

static void print_why(struct editor *ed, const json_t *error) {
    const LineInfo *li = el_line(ed->el);
    char *line = mem_strndup(li->buffer, (size_t)(li->lastchar - li->buffer));
    size_t start = (size_t)json_integer_value(json_object_get(error, "start"));
    terminal_size(ed->t);
    fputc('\n', stdout);
    terminal_point(ed->t, stdout, ed->t->prompt_columns, line,
                   start < strlen(line) ? start : strlen(line));
    printf("%s\n", text_of(error, "text"));
    mem_free(line);
}

static void replace_word(EditLine *el, size_t from, size_t cursor, const char *text) {
    const LineInfo *li = el_line(el);
    el_deletestr(el, chars(li->buffer + from, cursor - from));
    el_insertstr(el, text);
}

/* The daemon's answer about the line at hand up to the cursor; NULL: none. json_decref. */
static json_t *ask_daemon(struct editor *ed, size_t *cursor) {
    const LineInfo *li = el_line(ed->el);
    char *line = mem_strndup(li->buffer, (size_t)(li->lastchar - li->buffer));
    *cursor = (size_t)(li->cursor - li->buffer);
    json_t *root = client_complete(ed->client, line, *cursor);
    mem_free(line);
    return root;
}

/* Does the daemon say that a file of this machine may stand here? */
static bool wants_file(const json_t *root) {
    const json_t *item;
    size_t i;
    json_array_foreach(json_object_get(root, "items"), i, item) {
        if (strcmp(text_of(item, "kind"), "file") == 0) {
            return true;
        }
    }
    return false;
}

/* Completes the name of a file; false: there is none. Names that need quotes are left alone. */
static bool complete_file(struct editor *ed, size_t from, size_t cursor) {
    const LineInfo *li = el_line(ed->el);
    size_t n = cursor - from, common = 0;
    char *pattern = mem_printf("%.*s*", (int)n, li->buffer + from);
    glob_t found;
    bool any = strpbrk(pattern, "?[\\\"'") == NULL && strchr(pattern, '*')[1] == '\0' &&
               glob(pattern, GLOB_MARK | GLOB_TILDE, NULL, &found) == 0;
    mem_free(pattern);
    if (!any) {
        return false;
    }
    const char *first = found.gl_pathv[0];
    for (common = strlen(first); common > 0; common--) {
        size_t same = 0;
        while (same < found.gl_pathc && strncmp(found.gl_pathv[same], first, common) == 0) {
            same++;
        }
        if (same == found.gl_pathc) {
            break;
        }
    }
    bool whole = found.gl_pathc == 1 && first[common - 1] != '/';
    char *text = mem_printf("%.*s%s", (int)common, first, whole ? " " : "");
    if (common > n || whole) {
        replace_word(ed->el, from, cursor, text);
    } else {
        struct buf out = BUF_INIT;
        for (size_t i = 0; i < found.gl_pathc; i++) {
            buf_printf(&out, "  %s\n", found.gl_pathv[i]);
        }
        fputs("\nPossible completions:\n", stdout);
        terminal_show(ed->t, (const char *)out.data, out.len);
        buf_free(&out);
    }
    mem_free(text);
    globfree(&found);
    return true;
}

static unsigned char complete(EditLine *el, bool help) {
    struct editor *ed;
    size_t cursor;
    el_get(el, EL_CLIENTDATA, &ed);
    if (ed->goes_on) {
        el_insertstr(el, help ? "?" : "\t");
        return CC_REFRESH;
    }
    json_t *root = ask_daemon(ed, &cursor);
    unsigned char result = CC_REDISPLAY;
    const json_t *error = json_object_get(root, "error");
    const char *insert = json_string_value(json_object_get(root, "insert"));
    size_t from = (size_t)json_integer_value(json_object_get(root, "from"));
    if (root == NULL) {
        result = CC_ERROR;
    } else if (error != NULL) {
        print_why(ed, error);
    } else if (!help && insert != NULL && from <= cursor) {
        replace_word(el, from, cursor, insert);
        result = CC_REFRESH;
    } else if (!help && from <= cursor && wants_file(root) && complete_file(ed, from, cursor)) {
        result = CC_REDISPLAY;
    } else {
        print_items(ed, root);
    }
    json_decref(root);
    return result;
}

static unsigned char on_tab(EditLine *el, int ch) {
    (void)ch;
    return complete(el, false);
}

/* Is the cursor inside quotes? */
static bool quoted(const LineInfo *li) {
    char quote = 0;
    for (const char *c = li->buffer; c < li->cursor; c++) {
        if (quote == 0 && (*c == '"' || *c == '\'')) {
            quote = *c;
        } else if (*c == quote) {
            quote = 0;
        }
    }
    return quote != 0;
}

static unsigned char on_question(EditLine *el, int ch) {
    (void)ch;
    if (quoted(el_line(el))) {
        el_insertstr(el, "?");
        return CC_REFRESH;
    }
    return complete(el, true);
}

/* May a blank complete the word before it? Not within the line, and not while more is waiting to be
 * read: what is pasted is meant as it is. */
static bool blank_completes(const struct editor *ed) {
    const LineInfo *li = el_line(ed->el);
    int waiting = 0;
    return !ed->goes_on && client_complete_on_space(ed->client) && li->cursor == li->lastchar &&
           li->cursor > li->buffer && li->cursor[-1] != ' ' && !quoted(li) &&
           ioctl(STDIN_FILENO, FIONREAD, &waiting) == 0 && waiting == 0;
}

/* A blank writes out an abbreviated word; names and values stay as they are typed. */
static unsigned char on_space(EditLine *el, int ch) {
    (void)ch;
    struct editor *ed;
    el_get(el, EL_CLIENTDATA, &ed);
    size_t cursor = 0, words = 0, i;
    json_t *root = blank_completes(ed) ? ask_daemon(ed, &cursor) : NULL;
    const json_t *item;
    const char *word = NULL;
    bool other = false, exact = false;
    size_t from = (size_t)json_integer_value(json_object_get(root, "from"));
    json_array_foreach(json_object_get(root, "items"), i, item) {
        if (strcmp(text_of(item, "kind"), "word") == 0) {
            const LineInfo *li = el_line(el);
            word = text_of(item, "word");
            words++;
            exact = exact || (from <= cursor && strlen(word) == cursor - from &&
                              memcmp(word, li->buffer + from, cursor - from) == 0);
        } else {
            other = true;
        }
    }
    unsigned char result = CC_REFRESH;
    if (words > 1 && !other && !exact) {
        print_items(ed, root);
        result = CC_REDISPLAY;
    } else {
        if (words == 1 && !other && !exact && from < cursor) {
            replace_word(el, from, cursor, word);
        }
        el_insertstr(el, " ");
    }
    json_decref(root);
    return result;
}

static unsigned char on_ctrl_c(EditLine *el, int ch) {
    (void)ch;
    struct editor *ed;
    const LineInfo *li = el_line(el);
    el_get(el, EL_CLIENTDATA, &ed);
    if (ed->goes_on) {
        ed->dropped = true;
        fputs("^C", stdout);
        return CC_NEWLINE;
    }
    int after = chars(li->cursor, (size_t)(li->lastchar - li->cursor));
    fputs("^C\n", stdout);
    el_cursor(el, after);
    li = el_line(el);
    el_deletestr(el, chars(li->buffer, (size_t)(li->lastchar - li->buffer)));
    return CC_REDISPLAY;
}

/* ---- all of it */

static char *history_path(void) {
    const char *given = getenv("WEFT_HISTORY"), *home = getenv("HOME");
    return given != NULL  ? mem_strdup(given)
           : home != NULL ? mem_printf("%s/.weft_history", home)
                          : NULL;
}

struct editor *editor_new(struct client *c, struct terminal *t) {
    struct editor *ed = MEM_NEW(struct editor);
    HistEvent ev;
    ed->client = c;
    ed->t = t;
    ed->el = el_init("weft", stdin, stdout, stderr);
    ed->history = history_init();
    history(ed->history, &ev, H_SETSIZE, HISTORY_KEPT);
    history(ed->history, &ev, H_SETUNIQUE, 1);
    ed->history_file = history_path();
    if (ed->history_file != NULL && *ed->history_file != '\0') {
        history(ed->history, &ev, H_LOAD, ed->history_file);
    }
    el_set(ed->el, EL_CLIENTDATA, ed);
    el_set(ed->el, EL_PROMPT, el_prompt);
    el_set(ed->el, EL_EDITOR, "emacs");
    el_set(ed->el, EL_HIST, history, ed->history);
    el_set(ed->el, EL_GETCFN, read_key);
    /* Ctrl-C while a line is typed is a key that drops the line, not a signal. */
    el_set(ed->el, EL_SETTY, "-d", "-isig", NULL);
    el_set(ed->el, EL_ADDFN, "weft-complete", "Complete the word", on_tab);
    el_set(ed->el, EL_ADDFN, "weft-help", "What may be typed here", on_question);
    el_set(ed->el, EL_ADDFN, "weft-blank", "Write out the word", on_space);
    el_set(ed->el, EL_ADDFN, "weft-drop", "Drop the line", on_ctrl_c);
    el_set(ed->el, EL_BIND, "^I", "weft-complete", NULL);
    el_set(ed->el, EL_BIND, "?", "weft-help", NULL);
    el_set(ed->el, EL_BIND, " ", "weft-blank", NULL);
    el_set(ed->el, EL_BIND, "^C", "weft-drop", NULL);
    el_set(ed->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(ed->el, NULL);
    return ed;
}

void editor_free(struct editor *ed) {
    history_end(ed->history);
    el_end(ed->el);
    mem_free(ed->history_file);
    mem_free(ed->prompt);
    mem_free(ed);
}

/* The lines that follow one with an open quote, up to the one that closes it. False: it was
 * dropped.
 */
static bool read_on(struct editor *ed, struct buf *all) {
    char quote;
    int n = 0;
    ed->goes_on = true;
    ed->dropped = false;
    while (all->len <= LINE_MAX_BYTES &&
           (quote = text_one_line(NULL, buf_cstr(all), all->len)) != 0) {
        mem_free(ed->prompt);
        ed->prompt = mem_printf("%c> ", quote);
        const char *text = el_gets(ed->el, &n);
        if (text == NULL || n <= 0 || ed->dropped) {
            if (!ed->dropped) {
                printf("\nthe quote %c was not closed: the command is dropped\n", quote);
            }
            ed->dropped = true;
            break;
        }
        buf_char(all, '\n');
        buf_add(all, text, strcspn(text, "\r\n"));
    }
    ed->goes_on = false;
    ed->t->prompt_columns = 0;
    return !ed->dropped;
}

char *editor_line(struct editor *ed) {
    for (;;) {
        struct buf all = BUF_INIT, one = BUF_INIT;
        int n;
        ed->t->several = false;
        show_prompt(ed);
        const char *text = el_gets(ed->el, &n);
        if (text == NULL || n <= 0) {
            return NULL;
        }
        buf_add(&all, text, strcspn(text, "\r\n"));
        ed->t->several = text_one_line(NULL, buf_cstr(&all), all.len) != 0;
        if (!ed->t->several) {
            return buf_take(&all);
        }
        bool whole = read_on(ed, &all);
        text_one_line(&one, buf_cstr(&all), all.len);
        mem_wipe(all.data, all.len); /* it may be a key */
        buf_free(&all);
        if (whole) {
            return buf_take(&one);
        }
        mem_wipe(one.data, one.len);
        buf_free(&one);
    }
}

void editor_keep(struct editor *ed, const char *line) {
    HistEvent ev;
    if (line[strspn(line, " \t")] == '\0' || client_secret(ed->client)) {
        return;
    }
    history(ed->history, &ev, H_ENTER, line);
    if (ed->history_file != NULL && *ed->history_file != '\0') {
        mode_t was = umask(077);
        history(ed->history, &ev, H_SAVE, ed->history_file);
        umask(was);
    }
}
