// SPDX-License-Identifier: Apache-2.0
/* Several nodes on one store, against a real etcd: who leads, what the others see, and what a node
 * that was stopped, cut off or away may do. */
#include <inttypes.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/logger.h"
#include "base/mem.h"
#include "etcd/engine.h"
#include "etcd/engine_int.h"
#include "etcd/testing.h"
#include "log/testing.h"

enum { WAIT_MS = 30000, BIG = 3 << 20 };

static char dir[64];
static struct testing_etcd etcd;
static int stores;

static void nap(int ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NS_PER_MS}, NULL);
}

struct node {
    struct log *log;
    char name[8], url[300];
    uint64_t fence;
    _Atomic uint64_t seen;  /* the last entry that was told */
    _Atomic bool gap;       /* ... and one was left out */
    _Atomic unsigned turns; /* calls of log_on_turn */
};

static void see(const struct log_entry *entries, size_t n, void *arg) {
    struct node *d = arg;
    d->gap = d->gap || entries[0].index != d->seen + 1;
    d->seen = entries[n - 1].index;
}

static void turn(void *arg) {
    ((struct node *)arg)->turns++;
}

static void open_node(struct node *d, const char *name) {
    snprintf(d->name, sizeof d->name, "%s", name);
    snprintf(d->url, sizeof d->url, "etcd:http://127.0.0.1:%u/nodes-%d?replica=%s/%d-%s.db",
             etcd.port, stores, dir, stores, name);
    struct log_options o = {.node = d->name};
    OK(log_open(d->url, &o, &d->log, &e_));
    d->seen = log_head(d->log);
    log_watch(d->log, see, d);
    log_on_turn(d->log, turn, d);
}

static void close_node(struct node *d) {
    log_close(d->log);
    d->log = NULL;
}

static enum err_code lead(struct node *d, struct err *e) {
    struct log_lease l = {.holder = d->name, .ttl_ns = 10 * NS_PER_S};
    enum err_code rc = log_lease_acquire(d->log, &l, e);
    d->fence = rc == ERR_OK ? l.fence : d->fence;
    return rc;
}

/* As soon as it can be had. */
static void lead_soon(struct node *d) {
    enum err_code rc = ERR_LOCKED;
    for (int ms = 0; rc != ERR_OK && ms < WAIT_MS; ms += 50) {
        rc = lead(d, &e_);
        if (rc != ERR_OK) {
            nap(50);
        }
    }
    OK(rc == ERR_OK ? ERR_OK : err_set(&e_, rc, NULL, "%s never came to lead", d->name));
}

static enum err_code append(struct node *d, const char *key, const char *value, struct err *e) {
    struct log_op op = testing_put(LOG_STATE, key, value);
    struct log_entry entry = {.who = d->name, .ops = &op, .n_ops = 1};
    return log_append(d->log, log_head(d->log), d->fence, &entry, 1, e);
}

static void wait_for_head(struct node *d, uint64_t head) {
    for (int ms = 0; d->seen < head && ms < WAIT_MS; ms += 5) {
        nap(5);
    }
    assert_int_equal(d->seen, head);
    assert_int_equal(log_head(d->log), head);
    assert_false(d->gap);
}

static bool print_row(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
                      uint64_t modified, void *arg) {
    buf_printf(arg, "%.*s=%.*s@%" PRIu64 " ", (int)key_len, (const char *)key,
               (int)(value_len < 20 ? value_len : 20), (const char *)value, modified);
    return true;
}

static void expect(struct node *d, const char *want) {
    struct buf b = BUF_INIT;
    OK(log_snapshot(d->log, LOG_STATE, "", 0, NULL, print_row, &b, &e_));
    assert_string_equal(buf_cstr(&b), want);
    buf_free(&b);
}

static int set_up(void **state) {
    (void)state;
    stores++;
    return 0;
}

/* ---- who leads ---------------------------------------------------------------------------------
 */

static void test_one_leads(void **state) {
    struct node a = {.fence = 0}, b = {.fence = 0};
    struct log_turn t;
    open_node(&a, "a");
    open_node(&b, "b");
    OK(lead(&a, &e_));
    FAILS(lead(&b, &e_), ERR_LOCKED);
    assert_non_null(strstr(e_.text, "node a leads"));
    OK(append(&a, "k", "1", &e_));
    wait_for_head(&b, 1);
    expect(&b, "k=1@1 ");
    b.fence = a.fence;
    FAILS(append(&b, "k", "2", &e_), ERR_UNAVAILABLE);
    log_turn(a.log, &t);
    assert_true(t.shared && t.leads && t.reached && t.until_ns > 0);
    assert_string_equal(t.leader, "a");
    log_turn(b.log, &t);
    assert_true(t.shared && !t.leads && t.reached && t.until_ns == 0);
    assert_string_equal(t.leader, "a");
    assert_int_equal(t.fence, a.fence);

    /* Given back, it is the other's at once; who led does no more. */
    struct log_lease l = {.fence = a.fence};
    OK(log_lease_release(a.log, &l, &e_));
    FAILS(append(&a, "k", "3", &e_), ERR_UNAVAILABLE);
    uint64_t before = a.fence;
    OK(lead(&b, &e_));
    assert_true(b.fence > before);
    OK(append(&b, "k", "4", &e_));
    wait_for_head(&a, 2);
    expect(&a, "k=4@2 ");
    FAILS(append(&a, "k", "5", &e_), ERR_UNAVAILABLE);
    assert_true(a.turns > 0 && b.turns > 0);
    close_node(&b); /* it leaves in order: nobody waits for its time to live */
    OK(lead(&a, &e_));
    close_node(&a);
}

static void see_node(const struct log_node *n, void *arg) {
    buf_printf(arg, "%s%s%s:%.*s ", n->name, n->leads ? "*" : "", n->self ? "!" : "",
               (int)n->about_len, (const char *)n->about);
}

static void test_nodes(void **state) {
    struct node a = {.fence = 0}, b = {.fence = 0};
    struct buf list = BUF_INIT;
    open_node(&a, "a");
    open_node(&b, "b");
    OK(lead(&b, &e_));
    OK(log_announce(a.log, "at one", 6, &e_));
    OK(log_announce(b.log, "at two", 6, &e_));
    for (int ms = 0; ms < WAIT_MS && strcmp(buf_cstr(&list), "a!:at one b*:at two ") != 0;
         ms += 20) {
        nap(20);
        buf_clear(&list);
        OK(log_nodes(a.log, see_node, &list, &e_));
    }
    assert_string_equal(buf_cstr(&list), "a!:at one b*:at two ");
    close_node(&b);
    buf_clear(&list);
    OK(log_nodes(a.log, see_node, &list, &e_));
    assert_string_equal(buf_cstr(&list), "a!:at one ");
    char *large = mem_alloc(LOG_ABOUT_MAX + 1);
    FAILS(log_announce(a.log, large, LOG_ABOUT_MAX + 1, &e_), ERR_TOO_BIG);
    mem_free(large);
    buf_free(&list);
    close_node(&a);
}

static char said[4096];
static pthread_mutex_t said_lock = PTHREAD_MUTEX_INITIALIZER;

static void hear(enum logger_level level, const char *module, const char *line, void *arg) {
    (void)module, (void)arg;
    pthread_mutex_lock(&said_lock);
    if (level == LOGGER_ERROR) {
        size_t n = strlen(said);
        snprintf(said + n, sizeof said - n, "%s\n", line);
    }
    pthread_mutex_unlock(&said_lock);
}

static bool was_said(const char *what) {
    pthread_mutex_lock(&said_lock);
    bool is = strstr(said, what) != NULL;
    pthread_mutex_unlock(&said_lock);
    return is;
}

/* Two nodes of one name, on machines of their own: who has the other one is told. */
static void test_namesakes(void **state) {
    struct node a = {.fence = 0}, b = {.fence = 0};
    (void)state;
    open_node(&a, "twin");
    OK(log_announce(a.log, "at one", 6, &e_));
    snprintf(b.url, sizeof b.url, "etcd:http://127.0.0.1:%u/nodes-%d?replica=%s/%d-second.db",
             etcd.port, stores, dir, stores);
    struct log_options o = {.node = "twin"};
    logger_set_sink(hear, NULL);
    OK(log_open(b.url, &o, &b.log, &e_));
    OK(log_announce(b.log, "at two", 6, &e_));
    for (int ms = 0; ms < WAIT_MS && !(was_said("itself twin as well (at one)")); ms += 20) {
        nap(20);
    }
    assert_true(was_said("itself twin as well (at one)"));
    for (int ms = 0; ms < WAIT_MS && !(was_said("itself twin as well (at two)")); ms += 20) {
        nap(20);
    }
    assert_true(was_said("itself twin as well (at two)"));
    logger_set_sink(NULL, NULL);
    log_close(b.log);
    close_node(&a);
}

struct many {
    char last[8];
    size_t n, leads, self, bytes;
};

static void count_node(const struct log_node *n, void *arg) {
    struct many *m = arg;
    assert_true(strcmp(m->last, n->name) < 0); /* by name, each once */
    snprintf(m->last, sizeof m->last, "%s", n->name);
    m->n++;
    m->leads += n->leads;
    m->self += n->self;
    m->bytes += n->about_len;
}

/* More than fit into one message, with the largest that a node may say of itself. */
static void test_many_nodes(void **state) {
    enum { MANY = 20 };
    static struct node nodes[MANY];
    struct many m = {.n = 0};
    char *about = mem_alloc(LOG_ABOUT_MAX);
    memset(about, 'x', LOG_ABOUT_MAX);
    memset(nodes, 0, sizeof nodes);
    for (int i = 0; i < MANY; i++) { /* "n0", "n00", "n000": names that begin like others */
        char name[8];
        snprintf(name, sizeof name, "n%0*d", 1 + i % 3, i / 3);
        open_node(&nodes[i], name);
        OK(log_announce(nodes[i].log, about, LOG_ABOUT_MAX, &e_));
    }
    OK(lead(&nodes[7], &e_));
    for (int ms = 0; ms < WAIT_MS && m.bytes < (size_t)MANY * LOG_ABOUT_MAX; ms += 50) {
        nap(50);
        memset(&m, 0, sizeof m);
        OK(log_nodes(nodes[3].log, count_node, &m, &e_));
    }
    assert_int_equal(m.n, MANY);
    assert_int_equal(m.bytes, MANY * LOG_ABOUT_MAX);
    assert_int_equal(m.leads, 1);
    assert_int_equal(m.self, 1);
    mem_free(about);
    for (int i = 0; i < MANY; i++) {
        close_node(&nodes[i]);
    }
}

static void test_bad_nodes(void **state) {
    struct log *log;
    char url[300];
    const char *const names[] = {"", "Upper", "a/b", "a b"};
    snprintf(url, sizeof url, "etcd:http://127.0.0.1:%u/bad-%d?replica=%s/bad.db", etcd.port,
             stores, dir);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct log_options o = {.node = names[i]};
        FAILS(log_open(url, &o, &log, &e_), ERR_INVALID);
    }
    const char *const urls[] = {"etcd:",
                                "etcd:ftp://a/b?replica=/x",
                                "etcd:http://a?replica=/x",
                                "etcd:http:///b?replica=/x",
                                "etcd:http://a:0/b?replica=/x",
                                "etcd:http://a:70000/b?replica=/x",
                                "etcd:http://[::1/b?replica=/x",
                                "etcd:http://a,,c/b?replica=/x",
                                "etcd:http://a/B?replica=/x",
                                "etcd:http://a/b",
                                "etcd:http://a/b?replica=",
                                "etcd:http://a/b?replica=/x&more=1",
                                "etcd:http://a/b?replica=/x&cacert=/y",
                                "etcd:https://a/b?replica=/x&cert=/y",
                                "etcd:http://1,2,3,4,5,6,7,8,9,10/b?replica=/x"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        FAILS(log_open(urls[i], NULL, &log, &e_), ERR_INVALID);
    }
}

/* ---- a leader that is stopped ------------------------------------------------------------------
 */

struct report {
    enum err_code first, late;
};

/* Another process: leads, appends, says so, is stopped from outside, and tries again. */
static void stopped_leader(int say, int hear) {
    struct node a = {.fence = 0};
    struct report r;
    struct err e;
    char go;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    open_node(&a, "a");
    r.first = lead(&a, &e) == ERR_OK ? append(&a, "k", "a", &e) : e.code;
    if (write(say, &r, sizeof r) != sizeof r || read(hear, &go, 1) != 1) {
        _exit(1);
    }
    r.late = append(&a, "k", "late", &e);
    if (write(say, &r, sizeof r) != sizeof r) {
        _exit(1);
    }
    _exit(0); /* without a word to etcd */
}

static void test_a_stopped_leader_is_fenced(void **state) {
    int to[2], from[2], status;
    struct node b = {.fence = 0};
    struct report r;
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        stopped_leader(from[1], to[0]);
    }
    close(from[1]); /* one that dies is seen to */
    close(to[0]);
    assert_int_equal(read(from[0], &r, sizeof r), sizeof r);
    assert_int_equal(r.first, ERR_OK);
    open_node(&b, "b");
    expect(&b, "k=a@1 ");
    FAILS(lead(&b, &e_), ERR_LOCKED);
    kill(pid, SIGSTOP);
    int64_t start = et_now();
    lead_soon(&b);
    assert_true(et_now() - start < 10 * NS_PER_S);
    OK(append(&b, "k", "b", &e_));
    kill(pid, SIGCONT);
    assert_int_equal(write(to[1], "x", 1), 1);
    assert_int_equal(read(from[0], &r, sizeof r), sizeof r);
    assert_int_equal(r.late, ERR_UNAVAILABLE);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    OK(append(&b, "k", "c", &e_));
    expect(&b, "k=c@3 ");
    close_node(&b);
    close(to[1]);
    close(from[0]);
}

/* ---- sizes, absence ----------------------------------------------------------------------------
 */

static void test_more_than_one_value_takes(void **state) {
    struct node a = {.fence = 0}, b = {.fence = 0};
    open_node(&a, "a");
    open_node(&b, "b");
    OK(lead(&a, &e_));
    char *value = mem_alloc(BIG);
    memset(value, 'x', BIG);
    struct log_op op = {LOG_STATE, (const uint8_t *)"big", 3, (const uint8_t *)value, BIG};
    struct log_entry entries[2] = {{.ops = &op, .n_ops = 1}, {.ops = &op, .n_ops = 1}};
    OK(log_append(a.log, 0, a.fence, entries, 2, &e_));
    OK(append(&a, "small", "1", &e_));
    wait_for_head(&b, 3);
    expect(&b, "big=xxxxxxxxxxxxxxxxxxxx@2 small=1@3 ");
    mem_free(value);
    close_node(&a);
    OK(lead(&b, &e_)); /* sweeps parts that belong to nothing, and no others */
    close_node(&b);
    struct node c = {.fence = 0};
    open_node(&c, "c"); /* without a copy: reads all of it */
    expect(&c, "big=xxxxxxxxxxxxxxxxxxxx@2 small=1@3 ");
    close_node(&c);
}

static void no_finding(const char *where, const char *text, void *arg) {
    fail_msg("%s: %s", where, text);
}

static void make_base(struct node *d) {
    struct etcd_log *s = CONTAINER_OF(d->log, struct etcd_log, log);
    pthread_mutex_lock(&s->lock);
    s->base_bytes = SIZE_MAX / 2; /* as if so much had been appended */
    pthread_mutex_unlock(&s->lock);
    OK(log_fold(d->log, 0, NULL, &e_));
    assert_int_equal(s->base_index, log_head(d->log));
}

static void test_away_for_long(void **state) {
    struct node a = {.fence = 0}, b = {.fence = 0}, c = {.fence = 0};
    open_node(&a, "a");
    open_node(&b, "b");
    OK(lead(&a, &e_));
    OK(append(&a, "k1", "1", &e_));
    wait_for_head(&b, 1);
    close_node(&b);
    for (int i = 2; i <= 20; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i % 3);
        OK(append(&a, key, "x", &e_));
    }
    make_base(&a);
    OK(append(&a, "k9", "9", &e_));
    open_node(&b, "b"); /* its entries are gone: the base takes their place */
    expect(&b, "k0=x@18 k1=x@19 k2=x@20 k9=9@21 ");
    open_node(&c, "c"); /* the first time */
    expect(&c, "k0=x@18 k1=x@19 k2=x@20 k9=9@21 ");
    OK(append(&a, "k9", "10", &e_));
    wait_for_head(&b, 22);
    wait_for_head(&c, 22);
    struct node *all[] = {&a, &b, &c};
    for (int i = 0; i < 3; i++) {
        size_t findings = 1;
        OK(log_check(all[i]->log, no_finding, NULL, &findings, &e_));
        assert_int_equal(findings, 0);
        close_node(all[i]);
    }
}

/* ---- etcd is away ------------------------------------------------------------------------------
 */

static void test_etcd_is_away(void **state) {
    struct node a = {.fence = 0};
    struct log_turn t;
    struct log_status st;
    int64_t began = clock_mono(&clock_real);
    open_node(&a, "a");
    OK(lead(&a, &e_));
    OK(append(&a, "k", "1", &e_));
    testing_etcd_kill(&etcd);
    FAILS(append(&a, "k", "2", &e_), ERR_UNAVAILABLE);
    log_turn(a.log, &t);
    assert_false(t.leads);
    log_status(a.log, &st);
    assert_true(st.needs_reopen);
    FAILS(log_reopen(a.log, &e_), ERR_UNAVAILABLE);
    assert_non_null(strstr(e_.text, "etcd at 127.0.0.1:"));
    assert_non_null(strstr(e_.text, "refused"));
    expect(&a, "k=1@1 "); /* reading goes on */
    close_node(&a);
    open_node(&a, "a"); /* and a node starts with what it has */
    expect(&a, "k=1@1 ");
    log_turn(a.log, &t);
    assert_true(t.shared && !t.reached && !t.leads);
    /* What it shows was the newest when its last entry was written. */
    assert_true(t.heard_ns >= began && t.heard_ns < clock_mono(&clock_real));
    assert_int_not_equal(lead(&a, &e_), ERR_OK);
    testing_etcd_start(&etcd, dir);
    lead_soon(&a);
    /* What nobody knew of is there once or never. */
    uint64_t head = log_head(a.log);
    assert_true(head == 1 || head == 2);
    OK(append(&a, "k", "3", &e_));
    assert_int_equal(log_head(a.log), head + 1);
    close_node(&a);
}

static void test_reopened_after_etcd_was_away(void **state) {
    struct node a = {.fence = 0};
    open_node(&a, "a");
    OK(lead(&a, &e_));
    OK(append(&a, "k", "1", &e_));
    testing_etcd_kill(&etcd);
    FAILS(append(&a, "k", "2", &e_), ERR_UNAVAILABLE);
    testing_etcd_start(&etcd, dir);
    OK(log_reopen(a.log, &e_));
    uint64_t head = log_head(a.log);
    assert_true(head == 1 || head == 2);
    assert_int_equal(a.seen, head); /* one that came true after all was told */
    lead_soon(&a);
    OK(append(&a, "k", "3", &e_));
    close_node(&a);
}

static void test_a_copy_of_something_else(void **state) {
    struct node a = {.fence = 0};
    struct log *other;
    char url[300];
    open_node(&a, "a");
    OK(lead(&a, &e_));
    OK(append(&a, "k", "1", &e_));
    close_node(&a);
    snprintf(url, sizeof url, "etcd:http://127.0.0.1:%u/other-%d?replica=%s/%d-a.db", etcd.port,
             stores, dir, stores);
    FAILS(log_open(url, NULL, &other, &e_), ERR_CONFLICT);
    struct node b = {.fence = 0};
    open_node(&b, "b");
    OK(lead(&b, &e_));
    close_node(&b);
    snprintf(url, sizeof url, "etcd:http://127.0.0.1:%u/nodes-%d?replica=%s/%d-b.db", etcd.port,
             stores - 1, dir, stores);
    FAILS(log_open(url, NULL, &other, &e_), ERR_CONFLICT);
    open_node(&a, "a"); /* nothing was changed by that */
    expect(&a, "k=1@1 ");
    close_node(&a);
}

/* Takes one of the databases of a's copy its write-ahead log and its first bytes. */
static void damage(const char *suffix) {
    char path[300];
    snprintf(path, sizeof path, "%s/%d-a.db%s-wal", dir, stores, suffix);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/%d-a.db%s", dir, stores, suffix);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    for (int i = 0; i < 512; i++) {
        fputc('x', f);
    }
    fclose(f);
}

/* What etcd has can be had again; what no copy is, or is a newer one's, is not ours to put away. */
static void test_a_damaged_copy(void **state) {
    static const char *const suffixes[] = {"", "-tables"};
    for (int i = 0; i < 2; i++) {
        struct node a = {.fence = 0};
        char kept[300];
        stores++;
        open_node(&a, "a");
        OK(lead(&a, &e_));
        OK(append(&a, "k", "1", &e_));
        if (i == 1) {
            make_base(&a);
        }
        OK(append(&a, "k2", "2", &e_));
        close_node(&a);
        damage(suffixes[i]);
        open_node(&a, "a");
        expect(&a, "k=1@1 k2=2@2 ");
        snprintf(kept, sizeof kept, "%s/%d-a.db.damaged%s", dir, stores, suffixes[i]);
        assert_int_equal(access(kept, F_OK), i == 0 ? 0 : -1); /* tables come from the log */
        lead_soon(&a);
        OK(append(&a, "k3", "3", &e_));
        close_node(&a);
        open_node(&a, "a");
        expect(&a, "k=1@1 k2=2@2 k3=3@3 ");
        close_node(&a);
    }
}

/* ---- the members of etcd ---- */

struct members {
    size_t n;
    bool answers, leads;
    char text[128];
};

static void see_member(const struct log_member *m, void *arg) {
    struct members *s = arg;
    s->n++;
    s->answers = m->answers;
    s->leads = m->leads;
    snprintf(s->text, sizeof s->text, "%s|%s", m->address, m->answers ? m->version : m->why);
}

static void test_members(void **state) {
    (void)state;
    struct node a = {0};
    struct members m = {0};
    char start[64];
    open_node(&a, "a");
    OK(log_members(a.log, see_member, &m, &e_));
    snprintf(start, sizeof start, "127.0.0.1:%u|3.", etcd.port);
    assert_int_equal(m.n, 1);
    assert_true(m.answers && m.leads);
    assert_memory_equal(m.text, start, strlen(start));
    testing_etcd_kill(&etcd);
    OK(log_members(a.log, see_member, &m, &e_));
    testing_etcd_start(&etcd, dir);
    close_node(&a);
    assert_int_equal(m.n, 2);
    assert_false(m.answers || m.leads);
    assert_non_null(strstr(m.text, "|etcd at 127.0.0.1:"));
}

int main(void) {
#define T(name) cmocka_unit_test_setup(name, set_up)
    log_engine_add(&log_etcd);
    testing_quiet();
    testing_dir(dir);
    testing_etcd_start(&etcd, dir);
    const struct CMUnitTest tests[] = {
        T(test_one_leads),
        T(test_members),
        T(test_nodes),
        T(test_namesakes),
        T(test_many_nodes),
        T(test_bad_nodes),
        T(test_a_stopped_leader_is_fenced),
        T(test_more_than_one_value_takes),
        T(test_away_for_long),
        T(test_etcd_is_away),
        T(test_reopened_after_etcd_was_away),
        T(test_a_copy_of_something_else),
        T(test_a_damaged_copy),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    testing_etcd_stop(&etcd);
    testing_remove(dir);
    return failed;
}
