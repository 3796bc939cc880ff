// SPDX-License-Identifier: Apache-2.0
/* Sessions, the audit trail's writing side, and the ring of log lines. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/logger.h"
#include "base/logger_out.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/internal.h"
#include "core/system.h"
#include "core/system_int.h"
#include "model/kinds.h"

/* ---- sessions -------------------------------------------------------------------------------- */

static pthread_mutex_t sessions_lock = PTHREAD_MUTEX_INITIALIZER;
enum { SESSIONS_DEFAULT = 500, SESSIONS_OF_USER_DEFAULT = 32 };
static struct list sessions = {&sessions, &sessions};
static uint64_t last_session;

enum err_code session_admit(struct core *c, const struct actor *who, struct err *e) {
    unsigned all = 0, own = 0, max_all = SESSIONS_DEFAULT, max_own = SESSIONS_OF_USER_DEFAULT;
    struct snap *snap = core_snapshot(c);
    const struct object *o = snap_get(snap, "/weft-system:system/settings");
    if (o != NULL) {
        const struct system_settings *s = o->doc->data;
        max_all = s->sessions.max_sessions;
        max_own = s->sessions.max_per_user;
    }
    snap_release(snap);
    pthread_mutex_lock(&sessions_lock);
    LIST_FOREACH (l, &sessions) {
        all++;
        own += strcmp(CONTAINER_OF(l, struct session, link)->user, who->user) == 0;
    }
    pthread_mutex_unlock(&sessions_lock);
    if (who->superuser || (all < max_all && own < max_own)) {
        return ERR_OK;
    }
    return own >= max_own
               ? err_set(e, ERR_LIMIT, NULL, "%s has %u sessions already", who->user, own)
               : err_set(e, ERR_LIMIT, NULL, "there are %u sessions already", all);
}

uint64_t session_open(const char *user, const char *dialect, const char *from) {
    struct session *s = MEM_NEW(struct session);
    snprintf(s->user, sizeof s->user, "%s", user);
    snprintf(s->dialect, sizeof s->dialect, "%s", dialect);
    snprintf(s->from, sizeof s->from, "%s", from);
    s->since_s = clock_wall_s(&clock_real);
    pthread_mutex_lock(&sessions_lock);
    s->id = ++last_session;
    list_append(&sessions, &s->link);
    uint64_t id = s->id;
    pthread_mutex_unlock(&sessions_lock);
    return id;
}

static struct session *find_session(uint64_t id) {
    LIST_FOREACH (l, &sessions) {
        struct session *s = CONTAINER_OF(l, struct session, link);
        if (s->id == id) {
            return s;
        }
    }
    return NULL;
}

void session_configuring(uint64_t id, bool on) {
    pthread_mutex_lock(&sessions_lock);
    struct session *s = find_session(id);
    if (s != NULL) {
        s->configuring = on;
    }
    pthread_mutex_unlock(&sessions_lock);
}

void session_close(uint64_t id) {
    pthread_mutex_lock(&sessions_lock);
    struct session *s = find_session(id);
    if (s != NULL) {
        list_remove(&s->link);
        mem_free(s);
    }
    pthread_mutex_unlock(&sessions_lock);
}

void sessions_each(void (*fn)(const struct session *s, void *arg), void *arg) {
    pthread_mutex_lock(&sessions_lock);
    LIST_FOREACH (l, &sessions) {
        fn(CONTAINER_OF(l, struct session, link), arg);
    }
    pthread_mutex_unlock(&sessions_lock);
}

/* ---- audit ----------------------------------------------------------------------------------- */

static void put(struct txn *t, const char *prefix, uint64_t n, const struct buf *value) {
    char key[64];
    snprintf(key, sizeof key, "%s%020" PRIu64, prefix, n);
    if (value != NULL) {
        txn_put_state(t, key, strlen(key), value->data, value->len);
    } else {
        txn_delete_state(t, key, strlen(key));
    }
}

/* Texts may say what somebody else has written: one record is one line. */
static void add_line(struct buf *b, const char *text) {
    char line[ERR_PATH_MAX + ERR_TEXT_MAX];
    text_line(line, sizeof line, text);
    buf_blob_str(b, line);
}

/* Numbers go over both trails, so that their order is one. */
static void add(struct txn *t, bool login, const char *user, const char *source, const char *action,
                const char *result) {
    struct system *sys = core_service_state(txn_core(t), "system");
    if (sys == NULL) {
        return;
    }
    struct trail *tr = login ? &sys->logins : &sys->audit;
    const char *prefix = login ? LOGIN_PREFIX : AUDIT_PREFIX;
    size_t kept = login ? AUDIT_LOGINS_KEPT : AUDIT_KEPT;
    uint64_t a = trail_last(&sys->audit), l = trail_last(&sys->logins);
    struct buf b = BUF_INIT;
    buf_u8(&b, AUDIT_VERSION);
    buf_u64(&b, (uint64_t)txn_now_s(t));
    add_line(&b, user);
    add_line(&b, source);
    add_line(&b, action);
    add_line(&b, result);
    put(t, prefix, (a > l ? a : l) + 1, &b);
    while (tr->n > kept) {
        put(t, prefix, trail_at(tr, 0)->number, NULL);
    }
    buf_free(&b);
}

void audit_put(struct txn *t, const char *action, const char *result) {
    const struct actor *who = txn_actor(t);
    add(t, false, who->user, who->source, action, result);
}

const char *commit_remark(const char *label, const char *comment, char out[REMARK_MAX]) {
    snprintf(out, REMARK_MAX, "%s%s%s", label, label[0] && comment[0] ? ": " : "", comment);
    return out;
}

void audit_commit(struct txn *t) {
    char action[32], remark[REMARK_MAX];
    snprintf(action, sizeof action, "commit %" PRIu64, txn_index(t));
    commit_remark(t->label, t->comment, remark);
    audit_put(t, action, remark[0] ? remark : "done");
}

void audit_put_login(struct txn *t, const char *user, const char *source, const char *result) {
    struct buf b = BUF_INIT;
    add(t, true, user, source, "login", result);
    buf_str(&b, "{\"user\":");
    text_json(&b, user);
    buf_str(&b, ",\"from\":");
    text_json(&b, source);
    buf_str(&b, ",\"success\":false,\"reason\":");
    text_json(&b, result);
    buf_char(&b, '}');
    txn_event(t, "weft-system:login", buf_cstr(&b));
    buf_free(&b);
}

LOGGER_MODULE(audit);

struct note {
    char *user, *source, *action, *result;
};

static enum err_code note_work(struct txn *t, void *arg, struct err *e) {
    struct note *n = arg;
    (void)e;
    audit_put(t, n->action, n->result);
    return ERR_OK;
}

static void note_done(void *arg, uint64_t index, const struct err *e) {
    struct note *n = arg;
    (void)index;
    if (e != NULL) { /* a node that follows can't write it: its own log is where it stays */
        L_INFO("not in the audit trail (%s): %s (%s) %s: %s", e->text, n->user, n->source,
               n->action, n->result);
    }
    mem_free(n->user);
    mem_free(n->source);
    mem_free(n->action);
    mem_free(n->result);
    mem_free(n);
}

void audit_note(struct core *c, const struct actor *who, const char *action, const char *result) {
    struct note *n = MEM_NEW(struct note);
    n->user = mem_strdup(who->user);
    n->source = mem_strdup(who->source);
    n->action = mem_strdup(action);
    n->result = mem_strdup(result);
    core_run(c, who, note_work, note_done, n);
}

/* ---- log lines ------------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    struct {
        int level;
        char *module, *line;
    } ring[LOGRING_KEPT];
    uint64_t written;
} lines = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void keep_line(enum logger_level level, const char *module, const char *line, void *arg) {
    char when[TIME_TEXT_MAX];
    static const char *const names[] = {"ERROR", "WARN", "INFO", "DEBUG"};
    (void)arg;
    time_format(clock_wall_s(&clock_real), 0, when);
    char *whole = mem_printf("%s %s %s: %s", when, names[level], module, line);
    logger_out(level, module, line);
    pthread_mutex_lock(&lines.lock);
    size_t i = lines.written++ % LOGRING_KEPT;
    mem_free(lines.ring[i].line);
    mem_free(lines.ring[i].module);
    lines.ring[i].level = (int)level;
    lines.ring[i].module = mem_strdup(module);
    lines.ring[i].line = whole;
    pthread_mutex_unlock(&lines.lock);
}

void logring_install(void) {
    logger_set_sink(keep_line, NULL);
}

void logring_each(int level, const char *module, size_t last,
                  void (*fn)(const char *line, void *arg), void *arg) {
    pthread_mutex_lock(&lines.lock);
    uint64_t oldest = lines.written > LOGRING_KEPT ? lines.written - LOGRING_KEPT : 0;
    uint64_t from = lines.written;
    for (size_t found = 0; from > oldest && found < last; from--) {
        size_t i = (from - 1) % LOGRING_KEPT;
        found += lines.ring[i].level <= level &&
                 (module == NULL || strcmp(module, lines.ring[i].module) == 0);
    }
    for (; from < lines.written; from++) {
        size_t i = from % LOGRING_KEPT;
        if (lines.ring[i].level <= level &&
            (module == NULL || strcmp(module, lines.ring[i].module) == 0)) {
            fn(lines.ring[i].line, arg);
        }
    }
    pthread_mutex_unlock(&lines.lock);
}

void logring_after(uint64_t *seen, void (*fn)(const char *line, void *arg), void *arg) {
    pthread_mutex_lock(&lines.lock);
    uint64_t oldest = lines.written > LOGRING_KEPT ? lines.written - LOGRING_KEPT : 0;
    uint64_t from = *seen < oldest ? oldest : *seen;
    for (; from < lines.written; from++) {
        fn(lines.ring[from % LOGRING_KEPT].line, arg);
    }
    *seen = lines.written;
    pthread_mutex_unlock(&lines.lock);
}
