// SPDX-License-Identifier: Apache-2.0
/*
 * weft: the terminal of Weft. It sends the line and the cursor to the daemon and shows what comes
 * back; every command, completion and help text lives there.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "client.h"
#include "editor.h"
#include "terminal.h"
#include "voucher.h"

enum { LINE_MAX_BYTES = 128 << 10, COMMANDS_MAX = 64, SECRET_FILE_MAX = 4096 };

struct program {
    struct client *client;
    struct client_ops ops;
    struct terminal t;
};

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

static void take_signals(void) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0) {
        client_wake_fd = fds[0];
        wake_write = fds[1];
    }
    /* Without SA_RESTART: a read of an answer ends at Ctrl-C. */
    struct sigaction sa = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    editor_signals(); /* before there are other threads */
}

/* The terminal hangs up, or somebody ends us: a session that is left behind would keep its lock and
 * its edits until it has been idle for long enough. */
struct ending {
    const struct client *client;
    sigset_t signals;
    bool tty;
    struct termios was;
};

static void *wait_for_end(void *arg) {
    const struct ending *e = arg;
    int signo = SIGTERM;
    sigwait(&e->signals, &signo);
    client_abandon(e->client);
    if (e->tty) {
        tcsetattr(STDIN_FILENO, TCSANOW, &e->was);
    }
    _exit(128 + signo);
}

static void watch_for_end(struct ending *e, const struct client *c) {
    pthread_t thread;
    e->client = c;
    e->tty = tcgetattr(STDIN_FILENO, &e->was) == 0;
    sigemptyset(&e->signals);
    sigaddset(&e->signals, SIGHUP);
    sigaddset(&e->signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &e->signals, NULL);
    if (pthread_create(&thread, NULL, wait_for_end, e) != 0) {
        pthread_sigmask(SIG_UNBLOCK, &e->signals, NULL);
    } else {
        pthread_detach(thread);
    }
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
    client_screen(p->client, &p->t.rows, &p->t.columns);
    return p->t.failed ? WEFT_FAILED : status;
}

static void tell_size(struct program *p) {
    terminal_size(&p->t);
    if (p->t.resized) {
        p->t.resized = false;
        client_resize(p->client, p->t.rows, p->t.columns);
    }
}

/* ---- interactive
 * ---------------------------------------------------------------------------------------- */

/* Ctrl-D on an empty line is `exit`: a level, configuration mode with its question, the session. A
 * terminal that is gone answers nothing more. */
static char *end_of_line(const struct program *p) {
    struct termios there;
    bool gone = !p->t.in_tty || tcgetattr(STDIN_FILENO, &there) != 0;
    puts(gone ? "" : "\b\b  \b\bexit"); /* over the ^D of the editor */
    return gone ? NULL : mem_strdup("exit");
}

/* The daemon went away and may be on its way back: a new session, where the old one was. */
static int reconnect(struct program *p) {
    enum { TRIES = 40, EVERY_MS = 250 };
    static const struct timespec pause = {.tv_nsec = EVERY_MS * 1000000L};
    char *way = mem_strdup(client_way_back(p->client)), *save = NULL;
    int status = WEFT_NOT_CONNECTED;
    client_interrupted = 0;
    for (int i = 0; i < TRIES && status == WEFT_NOT_CONNECTED && !client_interrupted; i++) {
        if (i == 1) {
            fprintf(stderr, "weft: trying to connect again for %d s; Ctrl-C ends it\n",
                    TRIES * EVERY_MS / 1000);
        }
        if (i > 0) {
            nanosleep(&pause, NULL);
        }
        status = client_reopen(p->client, p->t.rows, p->t.columns);
    }
    if (status == WEFT_OK) {
        fprintf(stderr, "weft: connected again, in a new session%s\n",
                way[0] != '\0' ? "; edits that were not committed are gone" : "");
        for (char *l = strtok_r(way, "\n", &save); l != NULL && execute(p, l) == WEFT_OK;) {
            l = strtok_r(NULL, "\n", &save);
        }
    }
    mem_free(way);
    return status;
}

static int interact(struct program *p) {
    int status = WEFT_OK;
    struct editor *ed = editor_new(p->client, &p->t);
    while (!client_ended(p->client) && status != WEFT_NOT_CONNECTED) {
        char *line = editor_line(ed);
        bool typed = line != NULL;
        if (!typed && (line = end_of_line(p)) == NULL) {
            break;
        }
        tell_size(p);
        status = execute(p, line);
        if (typed) {
            editor_keep(ed, line);
        }
        mem_free(line);
        if (client_lost(p->client) && (status = reconnect(p)) != WEFT_OK) {
            break;
        }
    }
    editor_free(ed);
    return status == WEFT_NOT_CONNECTED || client_lost(p->client) ? status : WEFT_OK;
}

/* Adds the lines that follow one with an open quote, up to the one that closes it; true: there were
 * some. */
static bool read_on(FILE *f, struct buf *all, size_t *number) {
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    bool some = false;
    while (all->len <= LINE_MAX_BYTES && text_one_line(NULL, buf_cstr(all), all->len) != 0 &&
           (n = getline(&line, &cap, f)) >= 0) {
        ++*number;
        some = true;
        buf_char(all, '\n');
        buf_add(all, line, strcspn(line, "\r\n"));
    }
    free(line);
    return some;
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
        struct buf all = BUF_INIT, one = BUF_INIT;
        p->t.line_number = ++number;
        buf_add(&all, line, strcspn(line, "\r\n"));
        p->t.several = read_on(f, &all, &number);
        text_one_line(&one, buf_cstr(&all), all.len);
        int status = execute(p, buf_cstr(&one));
        buf_free(&all);
        buf_free(&one);
        first = first == WEFT_OK ? status : first;
        if (status == WEFT_NOT_CONNECTED || status == WEFT_INTERRUPTED ||
            (status != WEFT_OK && !keep_going)) {
            break;
        }
    }
    free(line);
    return first;
}

/* What is given all at once ends in configuration mode: leaving says what becomes of edits. */
static void leave_mode(struct program *p, int status) {
    bool there = status != WEFT_NOT_CONNECTED && status != WEFT_INTERRUPTED;
    if (there && !client_ended(p->client) && client_way_back(p->client)[0] != '\0') {
        p->t.script = NULL;
        execute(p, "exit configuration-mode");
    }
}

static bool needs_quotes(const char *w) {
    return *w == '\0' || strpbrk(w, " \t\n\"'|#") != NULL;
}

/* One argument is a line as it is; of several, each is a word, but | stays a pipe. */
static char *join(char **args, int n) {
    struct buf b = BUF_INIT;
    for (int i = 0; i < n; i++) {
        buf_str(&b, i > 0 ? " " : "");
        if (n == 1) {
            text_one_line(&b, args[i], strlen(args[i]));
            continue;
        }
        if (strcmp(args[i], "|") == 0 || !needs_quotes(args[i])) {
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
    return buf_take(&b);
}

/* What the shell's completion shows: "word TAB help" lines; without a word: a file may stand there.
 */
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
        bool typed = kind != NULL && (strcmp(kind, "word") == 0 || strcmp(kind, "value") == 0);
        if (kind != NULL && word != NULL && (typed || strcmp(kind, "file") == 0)) {
            printf("%s\t%s\n", typed ? word : "", help ? help : "");
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
    "      --cert FILE           log in by this certificate (weftd issue --user), with ...\n"
    "      --key FILE            ... its key\n"
    "      --ca FILE             the authority of the controller's certificate\n"
    "      --socket PATH         the local daemon's socket (or WEFT_SOCKET)\n"
    "  -c, --command LINE        run LINE; may be given several times\n"
    "  -k, --keep-going          go on after a line that failed\n"
    "  -y, --yes                 answer every yes-or-no question with yes\n"
    "  -j, --json                data and errors as JSON\n"
    "      --no-color            no colour (or NO_COLOR)\n"
    "  -V, --version\n"
    "  -h, --help\n"
    "\n"
    "Exit status: 0 done, 1 failed or refused, 2 not understood, 3 not connected, 4 no right,\n"
    "5 a target refused the commit or it was taken back, 6 not every target has applied it in\n"
    "time, 130 interrupted.\n";

struct options {
    struct client_options c;
    char *commands[COMMANDS_MAX];
    size_t n_commands;
    char *secrets[2]; /* read from files, freed at the end */
    char *host;
    bool keep_going, yes, json, no_colour;
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

enum {
    OPT_TOKEN = 256,
    OPT_PASSWORD,
    OPT_CERT,
    OPT_KEY,
    OPT_CA,
    OPT_SOCKET,
    OPT_NO_COLOUR,
    OPT_COMPLETE
};

/* HOST, HOST:PORT, an IPv6 address with brackets or without. */
static void take_host(struct options *o, const char *arg) {
    const char *colon = strrchr(arg, ':'), *bracket = strrchr(arg, ']');
    bool port = colon != NULL && (bracket == NULL ? strchr(arg, ':') == colon : colon > bracket);
    bool bare = !port && colon != NULL && bracket == NULL; /* an IPv6 address alone */
    mem_free(o->host);
    o->host = mem_printf(bare ? "[%s]%s" : "%s%s", arg, port ? "" : ":8443");
    o->c.host = o->host;
}

/* False: *status is the program's. */
static bool take_option(struct options *o, int c, int *status) {
    switch (c) {
    case 'H':
        take_host(o, optarg);
        break;
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
    case OPT_CERT:
        o->c.cert_file = optarg;
        break;
    case OPT_KEY:
        o->c.key_file = optarg;
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
    case 'y':
        o->yes = true;
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
    return true;
}

/* False: *status is the program's. */
static bool read_options(int argc, char **argv, struct options *o, int *status) {
    static const struct option longs[] = {{"host", required_argument, NULL, 'H'},
                                          {"user", required_argument, NULL, 'u'},
                                          {"password-file", required_argument, NULL, OPT_PASSWORD},
                                          {"token-file", required_argument, NULL, OPT_TOKEN},
                                          {"cert", required_argument, NULL, OPT_CERT},
                                          {"key", required_argument, NULL, OPT_KEY},
                                          {"ca", required_argument, NULL, OPT_CA},
                                          {"socket", required_argument, NULL, OPT_SOCKET},
                                          {"command", required_argument, NULL, 'c'},
                                          {"keep-going", no_argument, NULL, 'k'},
                                          {"yes", no_argument, NULL, 'y'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"no-color", no_argument, NULL, OPT_NO_COLOUR},
                                          {"complete", required_argument, NULL, OPT_COMPLETE},
                                          {"version", no_argument, NULL, 'V'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int c;
    *status = WEFT_SYNTAX;
    while ((c = getopt_long(argc, argv, "+H:u:c:kyjVh", longs, NULL)) != -1) {
        if (!take_option(o, c, status)) {
            return false;
        }
    }
    if ((o->c.cert_file == NULL) != (o->c.key_file == NULL)) {
        fputs("weft: --cert and --key go together\n", stderr);
        return false;
    }
    if (o->c.cert_file != NULL && o->c.host == NULL) {
        fputs("weft: --cert is for a controller elsewhere, --host HOST\n", stderr);
        return false;
    }
    return true;
}

static int run_commands(struct program *p, const struct options *o, char **args, int n) {
    int first = WEFT_OK;
    for (size_t i = 0; i < o->n_commands + (n > 0) && !client_ended(p->client); i++) {
        char *line = i < o->n_commands ? join((char *[]){o->commands[i]}, 1) : join(args, n);
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
    static struct ending ending; /* its thread outlives this */
    struct program p = {0};
    terminal_init(&p.t);
    p.t.colour = p.t.colour && !o->no_colour;
    p.t.json_errors = o->c.json = o->json;
    p.t.yes = o->yes;
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
        watch_for_end(&ending, p.client);
        if (o->complete != NULL) {
            status = print_completions(&p, o->complete, n > 0 ? args[0] : NULL);
        } else if (single) {
            status = run_commands(&p, o, args, n);
            leave_mode(&p, status);
        } else if (interactive) {
            status = interact(&p);
        } else {
            status = run_script(&p, stdin, o->keep_going);
            leave_mode(&p, status);
        }
    }
    client_free(p.client);
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
    if (argc > 1 && strcmp(argv[1], "voucher") == 0) {
        return voucher_main(argc - 1, argv + 1);
    }
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
