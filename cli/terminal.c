// SPDX-License-Identifier: Apache-2.0
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"

enum { FILE_MAX = 64 << 20, SECRET_MAX = 64 << 10, WORD_SHOWN = 24 };

#define RED    "\x1b[31m"
#define GREEN  "\x1b[32m"
#define YELLOW "\x1b[33m"
#define PLAIN  "\x1b[0m"

void terminal_init(struct terminal *t) {
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
    memset(t, 0, sizeof *t);
    t->out_tty = isatty(STDOUT_FILENO);
    t->in_tty = isatty(STDIN_FILENO);
    t->err_tty = isatty(STDERR_FILENO);
    t->colour = t->out_tty && (no_colour == NULL || *no_colour == '\0') && term != NULL &&
                strcmp(term, "dumb") != 0;
    t->line_start = true;
    terminal_size(t);
    t->resized = false;
}

void terminal_size(struct terminal *t) {
    struct winsize w = {0};
    unsigned rows = 0, columns = 80;
    if (t->out_tty) {
        bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_row > 0 && w.ws_col > 0;
        rows = known ? w.ws_row : 24;
        columns = known ? w.ws_col : 80;
    }
    if (rows != t->window_rows ||
        columns != t->window_columns) { /* what `set cli` said was for the old window */
        t->rows = t->window_rows = rows;
        t->columns = t->window_columns = columns;
        t->resized = true;
    }
}

size_t terminal_columns(const char *p, size_t n) {
    size_t columns = 0;
    for (size_t i = 0; i < n; i++) {
        columns += ((unsigned char)p[i] & 0xC0) != 0x80;
    }
    return columns;
}

/* ---- keys and secrets
 * ----------------------------------------------------------------------------------- */

static int one_key(void) {
    struct termios was, raw;
    unsigned char key = 'q';
    if (tcgetattr(STDIN_FILENO, &was) != 0) {
        return 'q';
    }
    raw = was;
    raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO | ISIG);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    ssize_t n;
    do {
        n = read(STDIN_FILENO, &key, 1);
    } while (n < 0 && errno == EINTR && !client_interrupted);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &was);
    return n == 1 ? key : 'q';
}

/* Reads up to a newline. False: end of input or interrupted. */
static bool read_tty_line(struct buf *out) {
    for (;;) {
        char c;
        ssize_t n = read(STDIN_FILENO, &c, 1);
        if (n < 0 && errno == EINTR && !client_interrupted) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        if (c == '\n') {
            return true;
        }
        buf_char(out, c);
    }
}

/* What begins as PEM goes on up to its END; in front of a key may stand its parameters. */
static bool read_pem(struct buf *out) {
    bool ok = true, pem = strncmp(buf_cstr(out), "-----BEGIN ", 11) == 0;
    while (ok && pem) {
        buf_char(out, '\n');
        size_t from = out->len;
        ok = out->len <= SECRET_MAX && read_tty_line(out);
        const char *line = buf_cstr(out) + from;
        pem = strncmp(line, "-----END ", 9) != 0 || strstr(line, "PARAMETERS-----") != NULL;
    }
    return ok;
}

char *terminal_secret(const char *prompt) {
    struct termios was, quiet;
    struct buf out = BUF_INIT;
    if (tcgetattr(STDIN_FILENO, &was) != 0) {
        return NULL;
    }
    fputs(prompt, stderr);
    fflush(stderr);
    quiet = was;
    quiet.c_lflag &= (tcflag_t)~ECHO;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    bool ok = read_tty_line(&out) && read_pem(&out);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
    fputc('\n', stderr);
    char *text = ok ? buf_take(&out) : NULL;
    mem_wipe(out.data, out.len);
    buf_free(&out);
    return text;
}

/* ---- text
 * -------------------------------------------------------------------------------------------------
 */

static bool pages(const struct terminal *t) {
    return t->out_tty && t->in_tty && t->paging && t->rows > 1 && t->save == NULL;
}

/* The screen is full: what now? */
static void more(struct terminal *t) {
    static const char prompt[] = "---(more)---";
    fputs(prompt, stdout);
    fflush(stdout);
    for (;;) {
        switch (one_key()) {
        case ' ':
        case 'f':
            t->shown = 0;
            break;
        case '\r':
        case '\n':
        case 'j':
            t->shown = t->rows - 2;
            break;
        case 'd':
            t->shown = t->rows / 2;
            break;
        case 'G':
            t->paging = false;
            break;
        case 'q':
        case 'Q':
        case 3: /* Ctrl-C */
        case 4:
            t->enough = true;
            break;
        case 'h':
        case '?':
            fputs("\r space: a page, Enter: a line, d: half a page, G: all, q: enough ", stdout);
            fflush(stdout);
            continue;
        default:
            continue;
        }
        break;
    }
    printf("\r%*s\r", 70 < (int)t->columns ? 70 : (int)t->columns - 1, "");
}

static void end_line(struct terminal *t) {
    t->line_start = true;
    t->shown += 1 + (t->columns > 0 && t->column > 0 ? (t->column - 1) / t->columns : 0);
    t->column = 0;
    if (pages(t) && t->shown >= t->rows - 1) {
        more(t);
    }
}

static void on_text(void *arg, const char *p, size_t n) {
    struct terminal *t = arg;
    if (t->save != NULL) {
        fwrite(p, 1, n, t->save);
        for (size_t i = 0; i < n; i++) {
            t->saved_lines += p[i] == '\n';
        }
        return;
    }
    while (n > 0 && !t->enough) {
        const char *nl = memchr(p, '\n', n);
        size_t len = nl ? (size_t)(nl - p) : n;
        if (t->colour && t->line_start && len > 0 && (*p == '+' || *p == '-')) {
            t->first = *p;
            fputs(*p == '+' ? GREEN : RED, stdout);
        }
        fwrite(p, 1, len, stdout);
        t->column += (unsigned)terminal_columns(p, len);
        t->line_start = t->line_start && len == 0;
        if (nl != NULL) {
            if (t->first != 0) {
                fputs(PLAIN, stdout);
                t->first = 0;
            }
            fputc('\n', stdout);
            end_line(t);
            len++;
        }
        p += len;
        n -= len;
    }
    fflush(stdout); /* whoever reads a pipe sees what happens when it happens */
    t->enough = t->enough || ferror(stdout) != 0; /* weft ... | head */
}

/* On a terminal lines end at blanks; elsewhere they stay whole. */
static void say(const struct terminal *t, const char *colour, const char *before,
                const char *text) {
    struct buf out = BUF_INIT, whole = BUF_INIT;
    buf_printf(&whole, "%s%s", before, text);
    for (const char *p = buf_cstr(&whole); t->err_tty && *p != '\0';) {
        size_t n = strcspn(p, "\n"), blank = strspn(p, " ");
        char *line = mem_strndup(p + blank, n - (blank < n ? blank : n));
        buf_printf(&out, "%*s", (int)blank, "");
        terminal_wrap(&out, line, blank, t->columns);
        mem_free(line);
        p += n;
        if (*p == '\n') {
            buf_char(&out, *p++);
        }
    }
    bool coloured = t->colour && t->err_tty && *colour != '\0';
    fprintf(stderr, "%s%s%s\n", coloured ? colour : "", buf_cstr(t->err_tty ? &out : &whole),
            coloured ? PLAIN : "");
    buf_free(&out);
    buf_free(&whole);
}

static void on_note(void *arg, const char *text) {
    fflush(stdout);
    /* Remarks are for the person: they don't get into what is piped or redirected. */
    say(arg, strncmp(text, "warning", 7) == 0 ? YELLOW : "", "", text);
}

static void print_json_error(const struct terminal *t, const struct client_error *e) {
    json_t *o =
        json_pack("{s:{s:s,s:s,s:s}}", "error", "code", e->code, "path", e->path, "text", e->text);
    if (t->line_number > 0) {
        json_object_set_new(json_object_get(o, "error"), "line",
                            json_integer((json_int_t)t->line_number));
    }
    char *s = json_dumps(o, JSON_COMPACT);
    fprintf(stderr, "%s\n", s);
    free(s);
    json_decref(o);
}

void terminal_point(const struct terminal *t, FILE *out, size_t before, const char *line,
                    size_t start) {
    size_t at = before + terminal_columns(line, start), width = t->columns,
           end = before + terminal_columns(line, strlen(line));
    bool wraps = isatty(fileno(out)) && width > 0;
    if (!wraps || at / width == end / width) {
        fprintf(out, "%*s^\n", (int)(wraps ? at % width : at), "");
        return;
    }
    /* More rows of the line stand below the word: the place is shown again. */
    static const char dots[] = "... ";
    size_t from = start, n = 0, room = width - 1 - strlen(dots);
    for (size_t back = start; back > 0 && terminal_columns(line + back, start - back) < room / 2;
         back--) {
        from = line[back - 1] == ' ' ? back : from;
    }
    while (line[from + n] != '\0' &&
           (terminal_columns(line + from, n + 1) <= room || (line[from + n] & 0xC0) == 0x80)) {
        n++;
    }
    fprintf(out, "%s%.*s\n%*s^\n", dots, (int)n, line + from,
            (int)(strlen(dots) + terminal_columns(line + from, start - from)), "");
}

/* Of a command on several lines, which may be a key, the beginning of the word at fault alone. */
static void print_word(const struct terminal *t, const struct client_error *e) {
    size_t len = strlen(t->line), start = e->start >= 0 ? (size_t)e->start : len,
           end = e->end >= 0 ? (size_t)e->end : len;
    if (t->line_number > 0) {
        fprintf(stderr, "line %zu: ", t->line_number);
    }
    if (start < end && end <= len) {
        bool cut = end - start > WORD_SHOWN;
        fprintf(stderr, "at %.*s%s\n", cut ? WORD_SHOWN : (int)(end - start), t->line + start,
                cut ? "..." : "");
    } else if (t->line_number > 0) {
        fputc('\n', stderr);
    }
}

static void on_error(void *arg, const struct client_error *e) {
    struct terminal *t = arg;
    fflush(stdout);
    if (t->json_errors) {
        print_json_error(t, e);
        return;
    }
    if (t->several) {
        print_word(t, e);
    } else if (t->line_number > 0) {
        fprintf(stderr, "line %zu: %s\n", t->line_number, t->line);
    }
    if (!t->several && e->start >= 0 && (size_t)e->start <= strlen(t->line)) {
        size_t before = t->line_number > 0 ? (size_t)snprintf(NULL, 0, "line %zu: ", t->line_number)
                                           : t->prompt_columns;
        if (t->line_number == 0 && t->prompt_columns == 0) { /* it is not on the screen */
            fprintf(stderr, "%s\n", t->line);
        }
        terminal_point(t, stderr, before, t->line, (size_t)e->start);
    }
    const char *nl = strncmp(e->shown, "[edit", 5) == 0 ? strchr(e->shown, '\n') : NULL;
    if (nl != NULL) {
        fprintf(stderr, "%.*s\n", (int)(nl - e->shown), e->shown);
    }
    say(t, RED, "error: ", nl != NULL ? nl + 1 : e->shown);
}

/* ---- files
 * ---------------------------------------------------------------------------------------------- */

/* The daemon may name only files that the user named in this line. */
static char *allowed_file(const struct terminal *t, const char *name) {
    if (*name == '\0' || t->line == NULL || strstr(t->line, name) == NULL) {
        return NULL;
    }
    const char *home = getenv("HOME");
    return name[0] == '~' && name[1] == '/' && home != NULL ? mem_printf("%s%s", home, name + 1)
                                                            : mem_strdup(name);
}

static void on_save(void *arg, const char *file) {
    struct terminal *t = arg;
    char *name = allowed_file(t, file);
    t->save = name != NULL ? fopen(name, "we") : NULL;
    if (t->save == NULL) {
        fprintf(stderr, "error: %s: %s\n", file,
                name == NULL ? "not named in the command" : strerror(errno));
        t->enough = t->failed = true;
        mem_free(name);
        return;
    }
    t->save_name = name;
    t->saved_lines = 0;
}

static bool read_file(struct terminal *t, const char *file, struct buf *out, const char **why) {
    char *name = allowed_file(t, file);
    if (name == NULL) {
        *why = "the file is not named in the command";
        return false;
    }
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    mem_free(name);
    if (fd < 0) {
        *why = strerror(errno);
        return false;
    }
    char room[65536];
    ssize_t n;
    while ((n = read(fd, room, sizeof room)) > 0 && out->len <= FILE_MAX) {
        buf_add(out, room, (size_t)n);
    }
    *why = n < 0 ? strerror(errno) : out->len > FILE_MAX ? "the file is larger than 64 MiB" : "";
    close(fd);
    return n >= 0 && out->len <= FILE_MAX;
}

/* Lines up to end of input: Ctrl-D at the keyboard; in a script a line that is only ^D or "EOF", or
 * its end. */
static bool read_text(struct terminal *t, const char *prompt, struct buf *out) {
    if (t->script == NULL) {
        fprintf(stderr, "%s\n", prompt);
        bool more_lines;
        do {
            size_t before = out->len;
            more_lines = read_tty_line(out);
            if (more_lines || out->len > before) {
                buf_char(out, '\n');
            }
        } while (more_lines && out->len <= FILE_MAX);
        return !client_interrupted;
    }
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, t->script)) >= 0 && out->len <= FILE_MAX) {
        ++*t->script_line;
        if (strcmp(line, "\x04\n") == 0 || strcmp(line, "EOF\n") == 0) {
            break;
        }
        buf_add(out, line, (size_t)n);
    }
    free(line);
    return true;
}

static bool on_ask(void *arg, const char *kind, const char *prompt, const char *file,
                   struct buf *answer, const char **why) {
    struct terminal *t = arg;
    fflush(stdout);
    t->shown = 0;
    if (strcmp(kind, "file") == 0) {
        return read_file(t, file, answer, why);
    }
    if (strcmp(kind, "text") == 0) {
        return read_text(t, prompt, answer);
    }
    if (t->yes && strcmp(kind, "confirm") == 0) {
        fprintf(stderr, "%syes\n", prompt);
        buf_str(answer, "yes");
        return true;
    }
    if (!t->in_tty) {
        *why = "nobody is there to answer";
        return false;
    }
    if (strcmp(kind, "secret") == 0) {
        char *s = terminal_secret(prompt);
        if (s != NULL) {
            buf_str(answer, s);
        }
        mem_free(s);
        return s != NULL;
    }
    fputs(prompt, stderr);
    fflush(stderr);
    return read_tty_line(answer);
}

/* ---- frame
 * --------------------------------------------------------------------------------------------------
 */

static void on_paging(void *arg, bool on) {
    ((struct terminal *)arg)->paging = on;
}

static bool on_quit(void *arg) {
    return ((struct terminal *)arg)->enough;
}

const struct client_ops terminal_ops = {on_text,   on_note, on_error, on_save,
                                        on_paging, on_ask,  on_quit,  NULL};

void terminal_begin(struct terminal *t, const char *line) {
    t->line = line;
    t->paging = true;
    t->enough = t->failed = false;
    t->shown = t->column = 0;
    t->line_start = true;
    t->first = 0;
}

void terminal_end(struct terminal *t) {
    if (t->save != NULL) {
        bool bad = ferror(t->save) != 0;
        bad |= fclose(t->save) != 0;
        if (bad) {
            fprintf(stderr, "error: %s: could not be written completely\n", t->save_name);
            t->failed = true;
        } else {
            fprintf(stderr, "Wrote %zu %s of output to '%s'\n", t->saved_lines,
                    text_plural(t->saved_lines, "line", "lines"), t->save_name);
        }
        t->save = NULL;
        mem_free(t->save_name);
        t->save_name = NULL;
    }
    if (t->first != 0) {
        fputs(PLAIN, stdout);
    }
    if (t->out_tty && !t->line_start) {
        fputc('\n', stdout);
    }
    fflush(stdout);
}

void terminal_show(struct terminal *t, const char *p, size_t n) {
    terminal_begin(t, "");
    on_text(t, p, n);
    terminal_end(t);
}

void terminal_wrap(struct buf *out, const char *text, size_t indent, size_t columns) {
    size_t at = indent;
    for (const char *p = text; *p != '\0';) {
        p += strspn(p, " \n");
        size_t n = strcspn(p, " \n"), width = terminal_columns(p, n);
        if (at > indent && at + 1 + width > columns) {
            buf_printf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (at > indent) {
            buf_char(out, ' ');
            at++;
        }
        buf_add(out, p, n);
        at += width;
        p += n;
    }
}
