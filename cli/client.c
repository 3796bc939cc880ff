// SPDX-License-Identifier: Apache-2.0
#include "client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

enum { ANSWER_MAX = 16 << 20, EVENT_MAX = 4 << 20, CONNECT_S = 10 };

volatile int client_interrupted;
int client_wake_fd = -1;

struct client {
    struct client_options o;
    CURL *stream, *quick; /* the command that runs; everything that happens beside it */
    CURLM *multi;
    char *base;   /* "https://host:port" or "http://localhost" */
    char id[129]; /* of the session; "": none. In place: client_abandon() may read it any time */
    char *prompt, *way_back;
    bool ended, secret, plain_space, lost;
    long rows, columns; /* -1: not said */
    /* the command that runs */
    const struct client_ops *ops;
    struct buf line; /* an event that is not complete yet */
    int status;
    bool got_end, told;
    char why[CURL_ERROR_SIZE]; /* curl's own words for the last failure */
};

struct client *client_new(const struct client_options *o) {
    struct client *c = MEM_NEW(struct client);
    c->o = *o;
    c->rows = c->columns = -1;
    c->way_back = mem_strdup("");
    c->base = o->host != NULL ? mem_printf("https://%s", o->host) : mem_strdup("http://localhost");
    curl_global_init(CURL_GLOBAL_DEFAULT);
    c->stream = curl_easy_init();
    c->quick = curl_easy_init();
    c->multi = curl_multi_init();
    return c;
}

/* ---- one request
 * ------------------------------------------------------------------------------------ */

static size_t collect(char *p, size_t size, size_t n, void *arg) {
    struct buf *b = arg;
    if (b->len + size * n > ANSWER_MAX) {
        return 0;
    }
    buf_add(b, p, size * n);
    return size * n;
}

static struct curl_slist *prepare(const struct client *c, CURL *h, const char *method,
                                  const char *path, const void *body, size_t n) {
    char url[2048];
    snprintf(url, sizeof url, "%s/cli/v1/sessions%s", c->base, path);
    curl_easy_reset(h);
    curl_easy_setopt(h, CURLOPT_URL, url);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method);
    if (body != NULL) {
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)n);
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, body);
    }
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
    headers = curl_slist_append(headers, "Content-Type: application/json");
    if (c->o.host == NULL) {
        curl_easy_setopt(h, CURLOPT_UNIX_SOCKET_PATH, c->o.socket);
    } else {
        curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "https");
        if (c->o.ca_file != NULL) {
            curl_easy_setopt(h, CURLOPT_CAINFO, c->o.ca_file);
        }
        if (c->o.cert_file != NULL) {
            curl_easy_setopt(h, CURLOPT_SSLCERT, c->o.cert_file);
            curl_easy_setopt(h, CURLOPT_SSLKEY, c->o.key_file);
        }
    }
    if (c->o.token != NULL) {
        char *field = mem_printf("Authorization: Bearer %s", c->o.token);
        headers = curl_slist_append(headers, field);
        mem_free(field);
    } else if (c->o.user != NULL && c->o.password != NULL) {
        curl_easy_setopt(h, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(h, CURLOPT_USERNAME, c->o.user);
        curl_easy_setopt(h, CURLOPT_PASSWORD, c->o.password);
    }
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
    return headers;
}

/* Why the local socket can't be reached: curl only says that it can't. */
static void say_socket(const struct client *c) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", c->o.socket);
    int why = fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) != 0 ? errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    if (why == EACCES || why == EPERM) {
        fprintf(stderr, "weft: no right to use %s: %s\n", c->o.socket, strerror(why));
    } else {
        fprintf(stderr,
                "weft: the daemon is not running here (%s: %s).\n"
                "      Start weftd, name its socket with --socket or WEFT_SOCKET, or give another "
                "machine with -H host:port.\n",
                c->o.socket, why != 0 ? strerror(why) : "no answer");
    }
}

static int say_unreachable(const struct client *c, CURLcode rc) {
    if (c->o.host == NULL) {
        say_socket(c);
    } else if (rc == CURLE_PEER_FAILED_VERIFICATION && strstr(c->why, "subject name") != NULL) {
        fprintf(stderr,
                "weft: %s: the controller's certificate is for other names. Use one of those, or "
                "have it made for this one too (weftd --hostname).\n",
                c->o.host);
    } else if (rc == CURLE_SSL_CACERT_BADFILE) {
        fprintf(stderr, "weft: %s: no certificate can be read from it\n", c->o.ca_file);
    } else if (rc == CURLE_PEER_FAILED_VERIFICATION && c->o.ca_file != NULL) {
        fprintf(stderr, "weft: %s: its certificate is not from the authority in %s\n", c->o.host,
                c->o.ca_file);
    } else if (rc == CURLE_SSL_CERTPROBLEM) {
        fprintf(stderr, "weft: %s and %s are no certificate and its key\n", c->o.cert_file,
                c->o.key_file);
    } else if (rc == CURLE_PEER_FAILED_VERIFICATION) {
        fprintf(stderr,
                "weft: %s: its certificate is not trusted. Give the controller's authority with "
                "--ca FILE.\n",
                c->o.host);
    } else {
        fprintf(stderr, "weft: %s: %s\n", c->o.host, c->why[0] ? c->why : curl_easy_strerror(rc));
    }
    return WEFT_NOT_CONNECTED;
}

/* The text of an error answer. */
static int say_refused(const struct buf *answer, long http) {
    json_t *root = json_loadb((const char *)answer->data, answer->len, 0, NULL);
    const char *text = json_string_value(json_object_get(json_object_get(root, "error"), "text"));
    fprintf(stderr, "weft: %s%s\n", text ? text : "the daemon's answer is not understood",
            http == 401 ? " (--user NAME, --token-file FILE, --cert FILE)" : "");
    json_decref(root);
    return http == 401 || http == 403   ? WEFT_DENIED
           : http == 404 || http == 410 ? WEFT_NOT_CONNECTED
                                        : WEFT_FAILED;
}

/* Returns the HTTP status, 0 when there was no answer. */
static long quick(struct client *c, const char *method, const char *path, const void *body,
                  size_t n, struct buf *answer, CURLcode *why) {
    struct curl_slist *headers = prepare(c, c->quick, method, path, body, n);
    long http = 0;
    curl_easy_setopt(c->quick, CURLOPT_ERRORBUFFER, c->why);
    curl_easy_setopt(c->quick, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(c->quick, CURLOPT_WRITEDATA, answer);
    *why = curl_easy_perform(c->quick);
    if (*why == CURLE_OK) {
        curl_easy_getinfo(c->quick, CURLINFO_RESPONSE_CODE, &http);
    }
    curl_slist_free_all(headers);
    return http;
}

static void tell(struct client *c, const char *method, const char *what, const void *body,
                 size_t n) {
    struct buf answer = BUF_INIT;
    CURLcode why;
    char path[512];
    snprintf(path, sizeof path, "/%s%s", c->id, what);
    quick(c, method, path, body, n, &answer, &why);
    buf_free(&answer);
}

/* ---- sessions
 * ------------------------------------------------------------------------------------------ */

static int open_session(struct client *c, bool interactive, unsigned rows, unsigned columns,
                        bool quietly) {
    char body[128];
    struct buf answer = BUF_INIT;
    CURLcode why;
    snprintf(body, sizeof body, "{\"interactive\":%s,\"rows\":%u,\"columns\":%u,\"json\":%s}",
             interactive ? "true" : "false", rows, columns, c->o.json ? "true" : "false");
    long http = quick(c, "POST", "", body, strlen(body), &answer, &why);
    int status = WEFT_OK;
    if (http == 0 || (http == 503 && quietly)) { /* 503: it is stopping */
        status = quietly ? WEFT_NOT_CONNECTED : say_unreachable(c, why);
    } else if (http != 201) {
        status = say_refused(&answer, http);
    } else {
        json_t *root = json_loadb((const char *)answer.data, answer.len, 0, NULL);
        const char *id = json_string_value(json_object_get(root, "id"));
        const char *prompt = json_string_value(json_object_get(root, "prompt"));
        if (id == NULL || strlen(id) >= sizeof c->id || prompt == NULL) {
            fprintf(stderr, "weft: what answers there is not weftd\n");
            status = WEFT_NOT_CONNECTED;
        } else {
            mem_free(c->prompt);
            memcpy(c->id, id, strlen(id) + 1);
            c->prompt = mem_strdup(prompt);
            c->lost = c->plain_space = false;
            const char *notice = json_string_value(json_object_get(root, "notice"));
            if (notice != NULL && notice[0] != '\0' && !quietly) {
                fprintf(stderr, "note: %s\n", notice);
            }
        }
        json_decref(root);
    }
    buf_free(&answer);
    return status;
}

int client_open(struct client *c, bool interactive, unsigned rows, unsigned columns) {
    return open_session(c, interactive, rows, columns, false);
}

int client_reopen(struct client *c, unsigned rows, unsigned columns) {
    return open_session(c, true, rows, columns, true);
}

void client_abandon(const struct client *c) {
    enum { PATIENCE_S = 3 };
    char path[256];
    CURL *h = curl_easy_init();
    if (h != NULL && c->id[0] != '\0') {
        struct buf answer = BUF_INIT;
        snprintf(path, sizeof path, "/%s", c->id);
        struct curl_slist *headers = prepare(c, h, "DELETE", path, NULL, 0);
        curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, collect);
        curl_easy_setopt(h, CURLOPT_WRITEDATA, &answer);
        curl_easy_setopt(h, CURLOPT_TIMEOUT, (long)PATIENCE_S);
        curl_easy_perform(h);
        curl_slist_free_all(headers);
        buf_free(&answer);
    }
    curl_easy_cleanup(h);
}

void client_free(struct client *c) {
    if (c == NULL) {
        return;
    }
    if (c->id[0] != '\0' && !c->ended && !c->lost) {
        tell(c, "DELETE", "", NULL, 0);
    }
    curl_multi_cleanup(c->multi);
    curl_easy_cleanup(c->stream);
    curl_easy_cleanup(c->quick);
    mem_free(c->base);
    mem_free(c->prompt);
    mem_free(c->way_back);
    buf_free(&c->line);
    mem_free(c);
}

const char *client_prompt(const struct client *c) {
    return c->prompt;
}
bool client_ended(const struct client *c) {
    return c->ended;
}
bool client_lost(const struct client *c) {
    return c->lost;
}
const char *client_way_back(const struct client *c) {
    return c->way_back;
}
bool client_secret(const struct client *c) {
    return c->secret;
}
void client_screen(const struct client *c, unsigned *rows, unsigned *columns) {
    *rows = c->rows >= 0 ? (unsigned)c->rows : *rows;
    *columns = c->columns > 0 ? (unsigned)c->columns : *columns;
}
bool client_complete_on_space(const struct client *c) {
    return !c->plain_space;
}

void client_resize(struct client *c, unsigned rows, unsigned columns) {
    char body[64];
    snprintf(body, sizeof body, "{\"rows\":%u,\"columns\":%u}", rows, columns);
    tell(c, "POST", "/terminal", body, strlen(body));
}

json_t *client_complete(struct client *c, const char *line, size_t cursor) {
    struct buf answer = BUF_INIT;
    CURLcode why;
    char path[512];
    json_t *body = json_pack("{s:s,s:I}", "line", line, "cursor", (json_int_t)cursor);
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_t *root = NULL;
    snprintf(path, sizeof path, "/%s/complete", c->id);
    if (text != NULL && quick(c, "POST", path, text, strlen(text), &answer, &why) == 200) {
        root = json_loadb((const char *)answer.data, answer.len, 0, NULL);
    }
    json_decref(body);
    free(text);
    buf_free(&answer);
    return root;
}

/* ---- commands
 * ------------------------------------------------------------------------------------------ */

static void on_ask(struct client *c, const json_t *ask) {
    struct buf answer = BUF_INIT;
    const char *why = "end of input";
    const char *kind = json_string_value(json_object_get(ask, "kind"));
    const char *prompt = json_string_value(json_object_get(ask, "prompt"));
    const char *file = json_string_value(json_object_get(ask, "file"));
    if (c->ops->ask(c->ops->arg, kind ? kind : "confirm", prompt ? prompt : "", file ? file : "",
                    &answer, &why)) {
        tell(c, "POST", "/input", buf_cstr(&answer), answer.len);
    } else {
        char *escaped = curl_easy_escape(c->quick, why, 0);
        char *what = mem_printf("/input?none=%s", escaped ? escaped : "");
        tell(c, "POST", what, "", 0);
        mem_free(what);
        curl_free(escaped);
    }
    buf_free(&answer);
}

static long number(const json_t *o, const char *name) {
    const json_t *v = json_object_get(o, name);
    return json_is_integer(v) ? (long)json_integer_value(v) : -1;
}

static const char *member(const json_t *o, const char *name) {
    const char *s = json_string_value(json_object_get(o, name));
    return s != NULL ? s : "";
}

static void on_end(struct client *c, const json_t *end) {
    const char *prompt = json_string_value(json_object_get(end, "prompt"));
    c->status = (int)json_integer_value(json_object_get(end, "status"));
    c->ended = json_is_true(json_object_get(end, "ended"));
    c->secret = json_is_true(json_object_get(end, "secret"));
    c->rows = number(end, "rows");
    c->columns = number(end, "columns");
    c->plain_space = json_is_false(json_object_get(end, "complete-on-space"));
    c->got_end = true;
    if (prompt != NULL) {
        mem_free(c->prompt);
        c->prompt = mem_strdup(prompt);
    }
    mem_free(c->way_back);
    c->way_back = mem_strdup(member(end, "way-back"));
}

static void on_event(struct client *c, const char *p, size_t n) {
    json_t *root = json_loadb(p, n, JSON_ALLOW_NUL, NULL);
    const char *name = json_object_iter_key(json_object_iter(root));
    const json_t *v = json_object_iter_value(json_object_iter(root));
    const struct client_ops *ops = c->ops;
    if (name == NULL) {
        json_decref(root);
        return;
    }
    if (strcmp(name, "text") == 0 && json_is_string(v)) {
        ops->text(ops->arg, json_string_value(v), json_string_length(v));
    } else if (strcmp(name, "note") == 0 && json_is_string(v)) {
        ops->note(ops->arg, json_string_value(v));
    } else if (strcmp(name, "error") == 0 && json_is_object(v)) {
        struct client_error e = {.code = member(v, "code"),
                                 .path = member(v, "path"),
                                 .text = member(v, "text"),
                                 .shown = member(v, "shown"),
                                 .start = number(v, "start"),
                                 .end = number(v, "end")};
        ops->error(ops->arg, &e);
    } else if (strcmp(name, "save") == 0 && json_is_string(v)) {
        ops->save(ops->arg, json_string_value(v));
    } else if (strcmp(name, "paging") == 0) {
        ops->paging(ops->arg, json_is_true(v));
    } else if (strcmp(name, "ask") == 0) {
        on_ask(c, v);
    } else if (strcmp(name, "end") == 0) {
        on_end(c, v);
    }
    json_decref(root);
}

static void interrupt_if_asked(struct client *c) {
    if (!c->told && (client_interrupted || c->ops->quit(c->ops->arg))) {
        c->told = true;
        tell(c, "POST", "/interrupt", "", 0);
    }
}

static size_t on_bytes(char *p, size_t size, size_t n, void *arg) {
    struct client *c = arg;
    long http = 0;
    curl_easy_getinfo(c->stream, CURLINFO_RESPONSE_CODE, &http);
    n *= size;
    for (size_t i = 0; i < n;) {
        const char *nl = http == 200 ? memchr(p + i, '\n', n - i) : NULL;
        size_t part = nl ? (size_t)(nl - (p + i)) : n - i;
        if (c->line.len + part > EVENT_MAX) {
            return 0;
        }
        buf_add(&c->line, p + i, part);
        if (nl != NULL) {
            on_event(c, (const char *)c->line.data, c->line.len);
            buf_clear(&c->line);
            interrupt_if_asked(c);
            part++;
        }
        i += part;
    }
    return n;
}

/* A signal wakes the poll at once instead of at curl's next look around. */
static CURLcode perform(struct client *c) {
    CURLcode rc = CURLE_OK;
    int running = 1;
    curl_multi_add_handle(c->multi, c->stream);
    while (running > 0) {
        struct curl_waitfd wake = {.fd = client_wake_fd, .events = CURL_WAIT_POLLIN};
        if (curl_multi_perform(c->multi, &running) != CURLM_OK) {
            rc = CURLE_FAILED_INIT;
            break;
        }
        if (running > 0) {
            curl_multi_poll(c->multi, &wake, client_wake_fd >= 0, 1000, NULL);
        }
        if (wake.revents != 0) {
            char drop[64];
            ssize_t ignored = read(client_wake_fd, drop, sizeof drop);
            (void)ignored;
        }
        interrupt_if_asked(c);
        if (client_interrupted > 1) { /* twice: don't wait for the daemon */
            rc = CURLE_ABORTED_BY_CALLBACK;
            break;
        }
    }
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left)) != NULL;) {
        rc = m->msg == CURLMSG_DONE ? m->data.result : rc;
    }
    curl_multi_remove_handle(c->multi, c->stream);
    return rc;
}

/* One of several controllers that is cut off from the others says so above what it shows. */
static size_t on_header(char *p, size_t size, size_t n, void *arg) {
    static const char name[] = "weft-stale:";
    size_t len = size * n, skip = sizeof name - 1;
    (void)arg;
    if (len > skip && strncasecmp(p, name, skip) == 0) {
        fprintf(stderr,
                "weft: this controller is cut off from the store; what it shows is%.*s s old\n",
                (int)strcspn(p + skip, "\r\n"), p + skip);
    }
    return len;
}

int client_execute(struct client *c, const char *line, const struct client_ops *ops) {
    char path[512];
    long http = 0;
    json_t *body = json_pack("{s:s}", "line", line);
    if (body == NULL) {
        static const char why[] = "the line is not UTF-8";
        ops->error(ops->arg, &(struct client_error){"malformed-message", "", why, why, -1, -1});
        return WEFT_SYNTAX;
    }
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    snprintf(path, sizeof path, "/%s/execute", c->id);
    c->ops = ops;
    c->got_end = c->told = c->secret = false;
    c->status = WEFT_FAILED;
    client_interrupted = 0;
    buf_clear(&c->line);
    struct curl_slist *headers = prepare(c, c->stream, "POST", path, text, strlen(text));
    curl_easy_setopt(c->stream, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c->stream, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(c->stream, CURLOPT_WRITEDATA, c);
    CURLcode rc = perform(c);
    if (rc == CURLE_OK) {
        curl_easy_getinfo(c->stream, CURLINFO_RESPONSE_CODE, &http);
    }
    curl_slist_free_all(headers);
    free(text);
    if (c->got_end) {
        return c->status;
    }
    if (rc == CURLE_ABORTED_BY_CALLBACK) {
        return WEFT_INTERRUPTED;
    }
    c->lost = http == 410 || http == 503 || http == 200 ||
              (rc != CURLE_OK && rc != CURLE_PEER_FAILED_VERIFICATION);
    if (rc == CURLE_OK && http != 200) {
        return say_refused(&c->line, http);
    }
    if (rc == CURLE_OK || rc == CURLE_PARTIAL_FILE || rc == CURLE_RECV_ERROR) {
        fprintf(stderr,
                "weft: the connection ended before the command did: see whether it was carried "
                "out\n");
        return WEFT_NOT_CONNECTED;
    }
    return say_unreachable(c, rc);
}
