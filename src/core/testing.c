// SPDX-License-Identifier: Apache-2.0
#include "core/testing.h"

#include <ftw.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/logger.h"

struct testing testing;

/* ---- the book -------------------------------------------------------------------------------- */

static void send_nothing(struct target_session *t, void *arg, uint64_t from, uint64_t to) {
    struct book *b = arg;
    b->sent = to;
    b->sends++;
}
static const struct target_codec codec = {"test", send_nothing};

static void *create(struct core *c) {
    testing.book = MEM_NEW(struct book);
    testing.book->core = c;
    return testing.book;
}

static void free_record(void *p) {
    buf_free(p);
    mem_free(p);
}

static void destroy(void *self) {
    struct book *b = self;
    target_free(b->target);
    map_free(&b->records, free_record);
    mem_free(b);
    testing.book = NULL;
}

static enum err_code start(void *self, struct err *e) {
    struct book *b = self;
    b->target = testing.no_target ? NULL : target_new(b->core, &codec, "t1", b);
    return ERR_OK;
}

static void stop(void *self) {
    testing.stopped = true;
}

static enum err_code complete(void *self, struct txn *t, struct err *e) {
    return testing.complete ? testing.complete(t, e) : ERR_OK;
}

static enum err_code check(void *self, struct txn *t, struct err *e) {
    return testing.refuse ? err_set(e, ERR_REFUSED, "/here", "the book says no") : ERR_OK;
}

static void add(struct book *b, const struct object *o, int sign) {
    if (o != NULL && o->doc->kind == &apm_pool_domain_profile_kind) {
        const struct apm_pool_domain_profile *p = o->doc->data;
        b->profiles += (size_t)sign;
        b->value_sum += (uint64_t)(sign * (int64_t)p->apportion_threshold);
    }
}

static void config(void *self, const struct object *old, const struct object *new_) {
    add(self, old, -1);
    add(self, new_, 1);
}

static void after_change(void *self, struct txn *t) {
    struct book *b = self;
    if (testing.touches) {
        target_touch(b->target, t, "something");
    }
}

static bool encode(void *self, const char *key, size_t n, struct buf *out) {
    struct book *b = self;
    struct buf *r = map_get_n(&b->records, key + 5, n - 5);
    if (r == NULL) {
        return false;
    }
    buf_add(out, r->data, r->len);
    return true;
}

static enum err_code fold(void *self, const char *key, size_t n, const void *v, size_t len,
                          struct err *e) {
    struct book *b = self;
    struct buf *r = NULL;
    if (v != NULL) {
        r = MEM_NEW(struct buf);
        buf_add(r, v, len);
        r = map_put_n(&b->records, key + 5, n - 5, r);
    } else {
        r = map_del_n(&b->records, key + 5, n - 5);
    }
    if (r != NULL) {
        free_record(r);
    }
    return ERR_OK;
}

static const struct service book_service = {
    .name = "book",
    .state_prefix = "book/",
    .create = create,
    .destroy = destroy,
    .start = start,
    .stop = stop,
    .complete = complete,
    .check = check,
    .config = config,
    .changed = after_change,
    .state_encode = encode,
    .state_fold = fold,
};
static const struct service *const services[] = {&system_service, &book_service, NULL};

void book_put(struct txn *t, const char *key, const char *value) {
    char k[64];
    int n = snprintf(k, sizeof k, "book/%s", key);
    if (value != NULL) {
        txn_put_state(t, k, (size_t)n, value, strlen(value));
    } else {
        txn_delete_state(t, k, (size_t)n);
    }
}

const char *book_get(const char *key) {
    struct buf *r = map_get(&testing.book->records, key);
    return r ? buf_cstr(r) : NULL;
}

/* ---- the core -------------------------------------------------------------------------------- */

void testing_open(void) {
    struct core_options o = {.store = testing.store,
                             .clock = testing.threaded ? &clock_real : &testing.clock,
                             .model = testing.model,
                             .threaded = testing.threaded,
                             .log_kept = testing.log_kept,
                             .services = services};
    struct err e;
    if (core_open(&o, &testing.core, &e) != ERR_OK) {
        fail_msg("%s: %s", e.path, e.text);
    }
}

void testing_close(void) {
    core_close(testing.core);
    testing.core = NULL;
}

static void swallow(enum logger_level level, const char *module, const char *line, void *arg) {
}

int testing_setup(void **state) {
    struct err e;
    logger_set_sink(swallow, NULL);
    if (testing.model == NULL && model_load(&testing.model, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    testing.complete = NULL;
    testing.refuse = testing.touches = testing.stopped = testing.no_target = false;
    /* In memory where there is such a place: what a sync is worth is the log's to test. */
    snprintf(testing.folder, sizeof testing.folder, "%s/weft-core-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(testing.folder));
    snprintf(testing.store, sizeof testing.store, "sqlite:%s/log", testing.folder);
    clock_fake_init(&testing.clock, INT64_C(1700000000) * NS_PER_S);
    testing_open();
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    return remove(path);
}

int testing_teardown(void **state) {
    testing_close();
    return nftw(testing.folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void testing_last(void) {
    model_free(testing.model);
}

void testing_advance(int64_t ns) {
    clock_fake_advance(&testing.clock, ns);
    core_step(testing.core);
}

struct change *testing_profile(enum edit_op op, const char *name, unsigned apportion) {
    struct change *ch = change_new(&actor_system);
    char path[128], body[256];
    snprintf(path, sizeof path, PROFILES "=%s", name);
    snprintf(body, sizeof body,
             "{\"weft-apm:pool-domain-profile\":[{\"name\":\"%s\",\"apportion-threshold\":%u,"
             "\"reclaim-threshold\":%u}]}",
             name, apportion, 16000000);
    bool removes = op == EDIT_DELETE || op == EDIT_REMOVE;
    change_add(ch, op, path, removes ? NULL : body, removes ? 0 : strlen(body), FORMAT_JSON);
    return ch;
}

static void set_flag(struct change *ch, void *arg) {
    atomic_store((_Atomic bool *)arg, true);
}

enum err_code testing_run(struct change *ch) {
    _Atomic bool done = false;
    core_change(testing.core, ch, set_flag, &done);
    while (testing.threaded && !atomic_load(&done)) {
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
    if (!testing.threaded) {
        core_step(testing.core);
    }
    assert_true(done);
    return ch->err.code;
}

void testing_must(struct change *ch) {
    if (testing_run(ch) != ERR_OK) {
        fail_msg("%s: %s", ch->err.path, ch->err.text);
    }
    change_free(ch);
}

enum err_code testing_fails(struct change *ch) {
    enum err_code rc = testing_run(ch);
    change_free(ch);
    return rc;
}

unsigned testing_apportion_in(const struct snap *s, const char *name) {
    char path[128];
    snprintf(path, sizeof path, PROFILES "=%s", name);
    const struct object *o = snap_get(s, path);
    return o ? ((const struct apm_pool_domain_profile *)o->doc->data)->apportion_threshold : 0;
}

unsigned testing_apportion(const char *name) {
    struct snap *s = core_snapshot(testing.core);
    unsigned v = testing_apportion_in(s, name);
    snap_release(s);
    return v;
}

static void call_over(struct call *cl, void *arg) {
    *(bool *)arg = true;
}

struct call *testing_call(const struct actor *who, const struct node *rpc, const char *body) {
    struct call *cl = call_new(who);
    struct err e;
    bool done = false;
    char *input = mem_printf("{\"%s:input\":%s}", rpc->module, body);
    if (rpc_input_parse(testing.model, rpc, input, strlen(input), FORMAT_JSON, cl->arena, &cl->in,
                        &e) != ERR_OK) {
        fail_msg("%s: %s", e.path, e.text);
    }
    mem_free(input);
    core_call(testing.core, cl, call_over, &done);
    core_step(testing.core);
    assert_true(done);
    return cl;
}
