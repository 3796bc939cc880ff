// SPDX-License-Identifier: Apache-2.0
/*
 * weft: the terminal of Weft. It sends the line and the cursor to the daemon and shows what comes
 * back; every command, completion and help text lives there.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <histedit.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "client.h"
#include "terminal.h"

enum { COMMANDS_MAX = 64, HISTORY_KEPT = 1000, SECRET_FILE_MAX = 4096 };

struct program {
    struct client *client;
    struct client_ops ops;
    struct terminal t;
    EditLine *el;
    History *history;
    char *history_file;
    char *prompt; /* the last line of it */
};

static volatile sig_atomic_t resized;
static int wake_write = -1;

/* ---- signals
 * ---------------------------------------------------------------------------------------------- */

static void on_interrupt(int signo) {
    (void)signo;
    int was = errno;
    client_interrupted++;
    ssize_t ignored = write(wake_write, "", 1);
    (void)ignored;
    errno = was;
}

static void on_resize(int signo) {
    (void)signo;
    resized = 1;
}

static void take_signals(void) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0) {
        client_wake_fd = fds[0];
        wake_write = fds[1];
    }
    /* Without SA_RESTART: a read of an answer ends at Ctrl-C. */
    struct sigaction sa = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &sa, NULL);
    sa.sa_handler = on_resize;
    sa.sa_flags = SA_RESTART;
    sigaction(SIGWINCH, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* ---- running lines
 * -------------------------------------------------------------------------------------- */

static int execute(struct program *p, const char *line) {
    terminal_begin(&p->t, line);
    int status = client_execute(p->client, line, &p->ops);
    terminal_end(&p->t);
    if (client_interrupted && p->t.out_tty) {
        fputc('\n', stdout);
    }
    if (client_rows(p->client) >= 0) {
        p->t.rows = (unsigned)client_rows(p->client);
    }
    return p->t.failed ? WEFT_FAILED : status;
}

static void tell_size(struct program *p) {
    if (resized) {
        resized = 0;
        if (terminal_size(&p->t)) {
            client_resize(p->client, p->t.rows, p->t.columns);
        }
    }
}

/* ---- the interactive line
 * ---------------------------------------------------------------------------------- */

static char *el_prompt(EditLine *el) {
    struct program *p;
    el_get(el, EL_CLIENTDATA, &p);
    return p->prompt;
}

/* "[edit apm]" goes above, the rest is what the editor draws. */
static void show_prompt(struct program *p) {
    const char *all = client_prompt(p->client), *nl = strrchr(all, '\n');
    if (nl != NULL) {
        printf("%.*s", (int)(nl + 1 - all), all);
        fflush(stdout);
    }
    mem_free(p->prompt);
    p->prompt = mem_strdup(nl ? nl + 1 : all);
    p->t.prompt_columns = terminal_columns(p->prompt, strlen(p->prompt));
}

/* Characters in the n bytes at p; the editor counts those. */
static int chars(const char *p, size_t n) {
    return (int)terminal_columns(p, n);
}

static void print_items(struct program *p, const json_t *root) {
    const json_t *items = json_object_get(root, "items"), *item;
    size_t i, widest = 0;
    json_array_foreach(items, i, item) {
        const char *w = json_string_value(json_object_get(item, "word"));
        size_t n = w ? terminal_columns(w, strlen(w)) : 0;
        widest = n > widest ? n : widest;
    }
    widest = widest > 30 ? 30 : widest;
    printf("\n%s\n",
           json_array_size(items) > 0 ? "Possible completions:" : "Nothing may follow here");
    json_array_foreach(items, i, item) {
        const char *w = json_string_value(json_object_get(item, "word"));
        const char *help = json_string_value(json_object_get(item, "help"));
        size_t used = 2 + widest + 2;
        size_t room = p->t.columns > used + 10 ? p->t.columns - used : 200;
        size_t n = help ? strlen(help) : 0;
        n = n > room ? room : n;
        while (help != NULL && n > 0 && ((unsigned char)help[n] & 0xC0) == 0x80) {
            n--;
        }
        printf("  %-*s  %.*s\n", (int)widest, w ? w : "", (int)n, help ? help : "");
    }
    if (json_is_true(json_object_get(root, "more"))) {
        printf("  ... and more\n");
    }
}

static void print_why(struct program *p, const json_t *error) {
    long start = (long)json_integer_value(json_object_get(error, "start"));
    const char *text = json_string_value(json_object_get(error, "text"));
    printf("\n%*s^\n%s\n", (int)p->t.prompt_columns + (int)start, "", text ? text : "");
}

static unsigned char complete(EditLine *el, bool help) {
    struct program *p;
    const LineInfo *li = el_line(el);
    el_get(el, EL_CLIENTDATA, &p);
    size_t n = (size_t)(li->lastchar - li->buffer), cursor = (size_t)(li->cursor - li->buffer);
    char *line = mem_strndup(li->buffer, n);
    json_t *root = client_complete(p->client, line, cursor);
    unsigned char result = CC_ERROR;
    const json_t *error = json_object_get(root, "error");
    const char *insert = json_string_value(json_object_get(root, "insert"));
    size_t from = (size_t)json_integer_value(json_object_get(root, "from"));
    if (root == NULL) {
        result = CC_ERROR;
    } else if (error != NULL) {
        print_why(p, error);
        result = CC_REDISPLAY;
    } else if (!help && insert != NULL && from <= cursor) {
        el_deletestr(el, chars(line + from, cursor - from));
        el_insertstr(el, insert);
        result = CC_REFRESH;
    } else {
        print_items(p, root);
        result = CC_REDISPLAY;
    }
    json_decref(root);
    mem_free(line);
    return result;
}

static unsigned char on_tab(EditLine *el, int ch) {
    (void)ch;
    return complete(el, false);
}

static unsigned char on_question(EditLine *el, int ch) {
    (void)ch;
    const LineInfo *li = el_line(el);
    char quote = 0; /* inside quotes a ? is a ? */
    for (const char *c = li->buffer; c < li->cursor; c++) {
        if (quote == 0 && (*c == '"' || *c == '\'')) {
            quote = *c;
        } else if (*c == quote) {
            quote = 0;
        }
    }
    if (quote != 0) {
        el_insertstr(el, "?");
        return CC_REFRESH;
    }
    return complete(el, true);
}

static unsigned char on_ctrl_c(EditLine *el, int ch) {
    (void)ch;
    const LineInfo *li = el_line(el);
    int after = chars(li->cursor, (size_t)(li->lastchar - li->cursor));
    fputs("^C\n", stdout);
    el_cursor(el, after);
    li = el_line(el);
    el_deletestr(el, chars(li->buffer, (size_t)(li->lastchar - li->buffer)));
    return CC_REDISPLAY;
}

static char *history_path(void) {
    const char *given = getenv("WEFT_HISTORY"), *home = getenv("HOME");
    return given != NULL  ? mem_strdup(given)
           : home != NULL ? mem_printf("%s/.weft_history", home)
                          : NULL;
}

static void start_editing(struct program *p) {
    HistEvent ev;
    p->el = el_init("weft", stdin, stdout, stderr);
    p->history = history_init();
    history(p->history, &ev, H_SETSIZE, HISTORY_KEPT);
    history(p->history, &ev, H_SETUNIQUE, 1);
    p->history_file = history_path();
    if (p->history_file != NULL && *p->history_file != '\0') {
        history(p->history, &ev, H_LOAD, p->history_file);
    }
    el_set(p->el, EL_CLIENTDATA, p);
    el_set(p->el, EL_PROMPT, el_prompt);
    el_set(p->el, EL_EDITOR, "emacs");
    el_set(p->el, EL_HIST, history, p->history);
    el_set(p->el, EL_SIGNAL, 0);
    /* Ctrl-C while a line is typed is a key that drops the line, not a signal. */
    el_set(p->el, EL_SETTY, "-d", "-isig", NULL);
    el_set(p->el, EL_ADDFN, "weft-complete", "Complete the word", on_tab);
    el_set(p->el, EL_ADDFN, "weft-help", "What may be typed here", on_question);
    el_set(p->el, EL_ADDFN, "weft-drop", "Drop the line", on_ctrl_c);
    el_set(p->el, EL_BIND, "^I", "weft-complete", NULL);
    el_set(p->el, EL_BIND, "?", "weft-help", NULL);
    el_set(p->el, EL_BIND, "^C", "weft-drop", NULL);
    el_set(p->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(p->el, NULL);
}

static void keep_line(struct program *p, const char *line) {
    HistEvent ev;
    if (line[strspn(line, " \t")] == '\0' || client_secret(p->client)) {
        return;
    }
    history(p->history, &ev, H_ENTER, line);
    if (p->history_file != NULL && *p->history_file != '\0') {
        mode_t was = umask(077);
        history(p->history, &ev, H_SAVE, p->history_file);
        umask(was);
    }
}

static int interact(struct program *p) {
    int status = WEFT_OK;
    start_editing(p);
    while (!client_ended(p->client)) {
        int n;
        show_prompt(p);
        const char *text = el_gets(p->el, &n);
        if (text == NULL || n <= 0) {
            putchar('\n');
            break;
        }
        char *line = mem_strndup(text, (size_t)n);
        line[strcspn(line, "\r\n")] = '\0';
        tell_size(p);
        status = execute(p, line);
        keep_line(p, line);
        mem_free(line);
        if (status == WEFT_NOT_CONNECTED) {
            break;
        }
    }
    history_end(p->history);
    el_end(p->el);
    p->el = NULL;
    return status == WEFT_NOT_CONNECTED ? status : WEFT_OK;
}

/* ---- scripts and single commands
 * ------------------------------------------------------------------------------ */

static int run_script(struct program *p, FILE *f, bool keep_going) {
    char *line = NULL;
    size_t cap = 0, number = 0;
    int first = WEFT_OK;
    ssize_t n;
    p->t.script = f;
    p->t.script_line = &number;
    while (!client_ended(p->client) && (n = getline(&line, &cap, f)) >= 0) {
        p->t.line_number = ++number;
        line[strcspn(line, "\r\n")] = '\0';
        int status = execute(p, line);
        first = first == WEFT_OK ? status : first;
        if (status == WEFT_NOT_CONNECTED || status == WEFT_INTERRUPTED ||
            (status != WEFT_OK && !keep_going)) {
            break;
        }
    }
    free(line);
    return first;
}

static bool needs_quotes(const char *w) {
    return *w == '\0' || strpbrk(w, " \t\n\"'|#") != NULL;
}

/* One argument is a line as it is; of several, each is a word, but | stays a pipe. */
static char *join(char **args, int n, bool json) {
    struct buf b = BUF_INIT;
    bool display = n == 1 && strstr(args[0], "display") != NULL;
    for (int i = 0; i < n; i++) {
        buf_str(&b, i > 0 ? " " : "");
        display = display || strcmp(args[i], "display") == 0;
        if (n == 1 || strcmp(args[i], "|") == 0 || !needs_quotes(args[i])) {
            buf_str(&b, args[i]);
            continue;
        }
        buf_char(&b, '"');
        for (const char *c = args[i]; *c != '\0'; c++) {
            if (*c == '"' || *c == '\\') {
                buf_char(&b, '\\');
            }
            if (*c == '\n') {
                buf_str(&b, "\\n");
            } else {
                buf_char(&b, *c);
            }
        }
        buf_char(&b, '"');
    }
    if (json && !display) {
        buf_str(&b, " | display json");
    }
    return buf_take(&b);
}

/* What the shell's completion shows: "word TAB help" lines. */
static int print_completions(struct program *p, const char *line, const char *cursor) {
    char *end;
    size_t at = cursor != NULL ? strtoul(cursor, &end, 10) : strlen(line);
    json_t *root = client_complete(p->client, line, at);
    const json_t *items = json_object_get(root, "items"), *item;
    size_t i;
    json_array_foreach(items, i, item) {
        const char *kind = json_string_value(json_object_get(item, "kind"));
        const char *word = json_string_value(json_object_get(item, "word"));
        const char *help = json_string_value(json_object_get(item, "help"));
        if (kind != NULL && word != NULL &&
            (strcmp(kind, "word") == 0 || strcmp(kind, "value") == 0)) {
            printf("%s\t%s\n", word, help ? help : "");
        }
    }
    bool ok = root != NULL;
    json_decref(root);
    return ok ? WEFT_OK : WEFT_FAILED;
}

/* ---- options
 * ------------------------------------------------------------------------------------------------------
 */

static const char usage[] =
    "Usage: weft [OPTION]... [COMMAND]...\n"
    "The terminal of Weft. Without COMMAND it is interactive, or, when standard input is no\n"
    "terminal, runs the lines it reads there.\n"
    "\n"
    "  -H, --host HOST[:PORT]    a controller elsewhere, over TLS (port 8443)\n"
    "  -u, --user NAME           log in by password; asked for, or from --password-file\n"
    "      --password-file FILE  its first line is the password\n"
    "      --token-file FILE     its first line is an API token (or WEFT_TOKEN)\n"
    "      --ca FILE             the authority of the controller's certificate\n"
    "      --socket PATH         the local daemon's socket (or WEFT_SOCKET)\n"
    "  -c, --command LINE        run LINE; may be given several times\n"
    "  -k, --keep-going          go on after a line that failed\n"
    "  -j, --json                data and errors as JSON\n"
    "      --no-color            no colour (or NO_COLOR)\n"
    "  -V, --version\n"
    "  -h, --help\n"
    "\n"
    "Exit status: 0 done, 1 failed or refused, 2 not understood, 3 not connected, 4 no right,\n"
    "5 a target refused the commit or it was taken back, 130 interrupted.\n";

struct options {
    struct client_options c;
    char *commands[COMMANDS_MAX];
    size_t n_commands;
    char *secrets[2]; /* read from files, freed at the end */
    char *host;
    bool keep_going, json, no_colour;
    const char *complete;
};

/* The first line of a file; NULL with a message. */
static char *first_line(const char *name) {
    char room[SECRET_FILE_MAX];
    FILE *f = fopen(name, "re");
    if (f == NULL || fgets(room, sizeof room, f) == NULL) {
        fprintf(stderr, "weft: %s: %s\n", name, f == NULL ? strerror(errno) : "is empty");
        if (f != NULL) {
            fclose(f);
        }
        return NULL;
    }
    fclose(f);
    room[strcspn(room, "\r\n")] = '\0';
    return mem_strdup(room);
}

enum { OPT_TOKEN = 256, OPT_PASSWORD, OPT_CA, OPT_SOCKET, OPT_NO_COLOUR, OPT_COMPLETE };

/* False: *status is the program's. */
static bool read_options(int argc, char **argv, struct options *o, int *status) {
    static const struct option longs[] = {{"host", required_argument, NULL, 'H'},
                                          {"user", required_argument, NULL, 'u'},
                                          {"password-file", required_argument, NULL, OPT_PASSWORD},
                                          {"token-file", required_argument, NULL, OPT_TOKEN},
                                          {"ca", required_argument, NULL, OPT_CA},
                                          {"socket", required_argument, NULL, OPT_SOCKET},
                                          {"command", required_argument, NULL, 'c'},
                                          {"keep-going", no_argument, NULL, 'k'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"no-color", no_argument, NULL, OPT_NO_COLOUR},
                                          {"complete", required_argument, NULL, OPT_COMPLETE},
                                          {"version", no_argument, NULL, 'V'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int c;
    *status = WEFT_SYNTAX;
    while ((c = getopt_long(argc, argv, "+H:u:c:kjVh", longs, NULL)) != -1) {
        switch (c) {
        case 'H': {
            const char *colon = strrchr(optarg, ':'), *bracket = strrchr(optarg, ']');
            bool port =
                colon != NULL && (bracket == NULL ? strchr(optarg, ':') == colon : colon > bracket);
            bool bare = !port && colon != NULL && bracket == NULL; /* an IPv6 address alone */
            mem_free(o->host);
            o->host = mem_printf(bare ? "[%s]%s" : "%s%s", optarg, port ? "" : ":8443");
            o->c.host = o->host;
            break;
        }
        case 'u':
            o->c.user = optarg;
            break;
        case OPT_PASSWORD:
            o->c.password = o->secrets[0] = first_line(optarg);
            if (o->secrets[0] == NULL) {
                return false;
            }
            break;
        case OPT_TOKEN:
            o->c.token = o->secrets[1] = first_line(optarg);
            if (o->secrets[1] == NULL) {
                return false;
            }
            break;
        case OPT_CA:
            o->c.ca_file = optarg;
            break;
        case OPT_SOCKET:
            o->c.socket = optarg;
            break;
        case 'c':
            if (o->n_commands == COMMANDS_MAX) {
                fprintf(stderr, "weft: more than %d commands\n", COMMANDS_MAX);
                return false;
            }
            o->commands[o->n_commands++] = optarg;
            break;
        case 'k':
            o->keep_going = true;
            break;
        case 'j':
            o->json = true;
            break;
        case OPT_NO_COLOUR:
            o->no_colour = true;
            break;
        case OPT_COMPLETE:
            o->complete = optarg;
            break;
        case 'V':
            printf("weft %s\n", WEFT_VERSION);
            *status = WEFT_OK;
            return false;
        case 'h':
            fputs(usage, stdout);
            *status = WEFT_OK;
            return false;
        default:
            fputs("Try: weft --help\n", stderr);
            return false;
        }
    }
    return true;
}

static int run_commands(struct program *p, const struct options *o, char **args, int n) {
    int first = WEFT_OK;
    for (size_t i = 0; i < o->n_commands + (n > 0) && !client_ended(p->client); i++) {
        char *line = i < o->n_commands ? join((char *[]){o->commands[i]}, 1, o->json)
                                       : join(args, n, o->json);
        int status = execute(p, line);
        mem_free(line);
        first = first == WEFT_OK ? status : first;
        if (status == WEFT_NOT_CONNECTED || (status != WEFT_OK && !o->keep_going)) {
            break;
        }
    }
    return first;
}

static int run(struct options *o, char **args, int n) {
    struct program p = {0};
    terminal_init(&p.t);
    p.t.colour = p.t.colour && !o->no_colour;
    p.t.json_errors = o->json;
    p.ops = terminal_ops;
    p.ops.arg = &p.t;
    take_signals();
    if (o->c.host != NULL && o->c.user != NULL && o->c.password == NULL && o->c.token == NULL) {
        char *prompt = mem_printf("Password of %s at %s: ", o->c.user, o->c.host);
        o->secrets[0] = terminal_secret(prompt);
        o->c.password = o->secrets[0];
        mem_free(prompt);
    }
    p.client = client_new(&o->c);
    bool single = n > 0 || o->n_commands > 0 || o->complete != NULL;
    bool interactive = !single && p.t.in_tty;
    /* Questions are asked of whoever sits at a terminal, also for a single command. */
    bool somebody = p.t.in_tty && p.t.out_tty && o->complete == NULL;
    int status = client_open(p.client, somebody, p.t.rows, p.t.columns);
    if (status == WEFT_OK) {
        if (o->complete != NULL) {
            status = print_completions(&p, o->complete, n > 0 ? args[0] : NULL);
        } else if (single) {
            status = run_commands(&p, o, args, n);
        } else if (interactive) {
            status = interact(&p);
        } else {
            status = run_script(&p, stdin, o->keep_going);
        }
    }
    client_free(p.client);
    mem_free(p.prompt);
    mem_free(p.history_file);
    return status;
}

/* Where a daemon of this machine listens: under the unit file, or started by hand. */
static const char *default_socket(void) {
    static const char run_socket[] = "/run/weft/weft.sock",
                      data_socket[] = "/var/lib/weft/weft.sock";
    return access(run_socket, F_OK) != 0 && access(data_socket, F_OK) == 0 ? data_socket
                                                                           : run_socket;
}

int main(int argc, char **argv) {
    struct options o = {.c.socket = getenv("WEFT_SOCKET"), .c.token = getenv("WEFT_TOKEN")};
    int status;
    setlocale(LC_ALL, "");
    if (o.c.socket == NULL || *o.c.socket == '\0') {
        o.c.socket = default_socket();
    }
    if (o.c.token != NULL && *o.c.token == '\0') {
        o.c.token = NULL;
    }
    if (read_options(argc, argv, &o, &status)) {
        status = run(&o, argv + optind, argc - optind);
    }
    for (size_t i = 0; i < 2; i++) {
        mem_free(o.secrets[i]);
    }
    mem_free(o.host);
    return status;
}
