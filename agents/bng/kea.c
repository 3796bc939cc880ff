// SPDX-License-Identifier: Apache-2.0
#include "bng/kea.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/stream.h"

LOGGER_MODULE(kea)

const double kea_seconds_buckets[KEA_BUCKETS] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                 0.5,   1,    2.5,   5,    10,  30};
const double kea_leases_buckets[KEA_BUCKETS] = {0,     10,    100,   1000,   2000,   5000,
                                                10000, 20000, 50000, 100000, 200000, 500000};

typedef void answer_fn(struct kea *k, json_t *answer, const char *failure);

struct kea {
    struct loop *loop;
    const struct bng_config *c;
    const struct bng_kea_config *kc;
    unsigned family;
    struct bng_engine *e;
    loop_fn *poke;
    void *arg;
    struct loop_timer *timer, *timeout;
    struct kea_stats stats;
    /* the command under way */
    struct stream *stream;
    struct buf in;
    char *out;
    answer_fn *then;
    char command[32];
    /* what is known of Kea */
    bool verified; /* its configuration was compared since it last came up */
    bool dirty, urgent;
    int64_t dirty_at, urgent_at, reload_end, last_duration, backoff;
    int64_t poll_due;
    int64_t configured_at; /* when Kea's configuration was last set or compared */
    /* the change under way */
    uint64_t generation;
    struct bng_subnet *want;
    size_t n_want;
    json_t *next, *base;
    uint32_t *wipe;
    size_t n_wipe;
    int64_t set_started;
    struct bng_foreign *foreign;
    size_t n_foreign;
    uint64_t counted;
    uint64_t discovers;
    bool discovers_known;
    bool report; /* look, touch nothing */
};

static void think(void *arg);
static void wake(struct kea *k, int64_t after_ms) {
    loop_timer_start(k->timer, after_ms > 0 ? after_ms : 0);
}

/* ---------------------------------------------------------------- one command */

static void finish(struct kea *k, json_t *answer, const char *failure) {
    answer_fn *then = k->then;
    stream_free(k->stream);
    k->stream = NULL;
    k->then = NULL;
    loop_timer_stop(k->timeout);
    buf_free(&k->in);
    mem_free(k->out);
    k->out = NULL;
    then(k, answer, failure);
    json_decref(answer);
}

static void on_ready(struct stream *s, void *arg) {
    struct kea *k = arg;
    stream_write(s, k->out, strlen(k->out));
}

static void on_data(struct stream *s, const uint8_t *p, size_t n, void *arg) {
    struct kea *k = arg;
    if (k->in.len + n > KEA_ANSWER_MAX) {
        finish(k, NULL, "an answer of more than 256 MiB");
        return;
    }
    buf_add(&k->in, p, n);
}

static void on_closed(struct stream *s, const char *why, void *arg) {
    struct kea *k = arg;
    json_error_t je;
    if (k->in.len == 0) { /* `why` lives with the stream */
        char text[256];
        snprintf(text, sizeof text, "%s", why);
        finish(k, NULL, text);
        return;
    }
    json_t *a = json_loadb((const char *)k->in.data, k->in.len, 0, &je);
    finish(k, a, a == NULL ? "an answer that is no JSON, or not all of it" : NULL);
}

static void on_timeout(void *arg) {
    finish(arg, NULL, "no answer in time");
}

static const struct stream_ops stream_ops = {
    .ready = on_ready, .data = on_data, .closed = on_closed};

/* Kea takes one command per connection. Takes the reference of `args` (may be NULL). */
static void command(struct kea *k, const char *name, json_t *args, answer_fn *then) {
    json_t *c = json_pack("{s:s}", "command", name);
    if (args != NULL) {
        json_object_set_new(c, "arguments", args);
    }
    char *text = json_dumps(c, JSON_COMPACT);
    k->out = mem_strdup(text);
    free(text);
    json_decref(c);
    snprintf(k->command, sizeof k->command, "%s", name);
    k->then = then;
    loop_timer_start(k->timeout, k->kc->timeout_ms);
    struct stream_target t = {.unix_path = k->kc->socket};
    k->stream = stream_connect(k->loop, &t, &stream_ops, k);
}

static bool ok(const json_t *answer) {
    return answer != NULL && json_is_integer(json_object_get(answer, "result")) &&
           json_integer_value(json_object_get(answer, "result")) == 0;
}

static const char *text_of(const json_t *answer, const char *failure) {
    const char *s = json_string_value(json_object_get(answer, "text"));
    return failure != NULL ? failure : s != NULL ? s : "no reason given";
}

/* ---------------------------------------------------------------- the change */

static void drop_change(struct kea *k) {
    json_decref(k->next);
    json_decref(k->base);
    k->next = k->base = NULL;
    mem_free(k->want);
    mem_free(k->wipe);
    k->want = NULL;
    k->wipe = NULL;
    k->n_want = k->n_wipe = 0;
}

/* Something went wrong on the way: try again later, with what is wanted then. */
static void retry(struct kea *k, const char *what, const char *why) {
    text_linef(k->stats.error, sizeof k->stats.error, "%s: %s", what, why);
    L_WARN_RL(30, "Kea: %s", k->stats.error);
    drop_change(k);
    k->verified = k->stats.in_line = false;
    k->backoff = k->backoff > 0 && k->backoff < 30000 ? k->backoff * 2 : 500;
    wake(k, k->backoff);
}

static void lost(struct kea *k, const char *why) {
    if (k->stats.up) {
        L_WARN("Kea doesn't answer on %s: %s", k->kc->socket, why);
    }
    text_linef(k->stats.error, sizeof k->stats.error, "%s: %s", k->kc->socket, why);
    k->stats.up = k->stats.in_line = k->verified = false;
    k->stats.failures++;
    drop_change(k);
    wake(k, 500);
}

/* The name of a domain's shared network: domains whose subscribers ask together share one, named
 * like the first of them. */
static const struct bng_profile *network_of(const struct kea *k, const struct bng_profile *p) {
    for (const struct bng_profile *f = k->c->profiles; f < p; f++) {
        if (bng_profile_together(f, p)) {
            return f;
        }
    }
    return p;
}

/* Pools of one network stand together, in the order of the networks and then of their domains. */
static int by_network(const void *a, const void *b) {
    const struct bng_subnet *p = a, *q = b;
    if (p->network != q->network) {
        return p->network < q->network ? -1 : 1;
    }
    return p->id < q->id ? -1 : p->id > q->id;
}

static void gather(struct kea *k) {
    size_t n = 0;
    for (size_t i = 0; i < bng_engine_domains(k->e); i++) {
        n += bng_engine_domain(k->e, i)->n_pools;
    }
    mem_free(k->want);
    k->want = mem_alloc((n + 1) * sizeof *k->want);
    k->n_want = 0;
    k->generation = bng_engine_generation(k->e);
    for (size_t i = 0; i < bng_engine_domains(k->e); i++) {
        const struct bng_domain *d = bng_engine_domain(k->e, i);
        for (size_t j = 0; j < d->n_pools; j++) {
            const struct bng_pool *p = d->pools[j];
            if (d->profile->family == k->family && bng_pool_wants_dhcp(p)) {
                struct bng_subnet *s = &k->want[k->n_want++];
                s->id = p->subnet_id;
                s->prefix = p->prefix;
                s->drain = bng_pool_wants_drain(p);
                s->profile = d->profile;
                s->network = network_of(k, d->profile);
                bng_domain_name(s->network, s->domain);
            }
        }
    }
    if (k->family == 6 && k->n_want > 0) {
        qsort(k->want, k->n_want, sizeof *k->want, by_network);
    }
}

static bool wanted(const struct kea *k, uint32_t id) {
    const struct bng_pool *p = bng_engine_subnet(k->e, id);
    return p != NULL && bng_pool_wants_dhcp(p);
}

static void applied(struct kea *k) {
    uint64_t g = k->generation;
    k->stats.in_line = k->verified = true;
    k->configured_at = loop_now(k->loop);
    k->stats.error[0] = '\0';
    k->backoff = 0;
    drop_change(k);
    bng_engine_dhcp_applied(k->e, k->family, g);
    k->poll_due = 0; /* counts under the new configuration */
    wake(k, 0);
    k->poke(k->arg);
}

/* Whole or not at all, also when the power goes: Kea reads it at its next start. */
static bool write_file(struct kea *k, const json_t *config, struct err *err) {
    const char *path = k->kc->config_file;
    char tmp[600], dir[600];
    snprintf(tmp, sizeof tmp, "%s.weft-new", path);
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    snprintf(slash != NULL ? slash + 1 : dir, 2, "%s", slash != NULL ? "" : ".");
    struct stat st;
    bool old = stat(path, &st) == 0;
    mode_t mode = old ? st.st_mode & 0777 : 0640;
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    /* Kea is another user: our umask may not keep it out. */
    bool good = fd >= 0 && fchmod(fd, mode) == 0 && json_dumpfd(config, fd, JSON_INDENT(2)) == 0 &&
                fsync(fd) == 0;
    /* Who is not root can keep the group at least, by which Kea may read it. */
    if (good && old && fchown(fd, st.st_uid, st.st_gid) != 0 &&
        fchown(fd, (uid_t)-1, st.st_gid) != 0) {
        L_DBG("%s keeps our owner: %s", path, strerror(errno));
    }
    if (!good) {
        err_errno(err, errno, tmp, "can't be written");
    }
    if (fd >= 0) {
        close(fd);
    }
    if (good && rename(tmp, path) != 0) {
        err_errno(err, errno, path, "can't be replaced");
        good = false;
    }
    int d = good ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (d >= 0) {
        fsync(d);
        close(d);
    }
    return good;
}

static size_t bucket(const double *bounds, double v) {
    size_t i = 0;
    while (i < KEA_BUCKETS && v > bounds[i]) {
        i++;
    }
    return i;
}

static void measured(struct kea *k, int64_t ns) {
    struct kea_stats *s = &k->stats;
    double sec = (double)ns / (double)NS_PER_S;
    s->reloads++;
    s->last_seconds = sec;
    s->longest_seconds = sec > s->longest_seconds ? sec : s->longest_seconds;
    s->total_seconds += sec;
    s->last_leases = s->leases;
    s->leases_sum += (double)s->leases;
    s->seconds_bucket[bucket(kea_seconds_buckets, sec)]++;
    s->leases_bucket[bucket(kea_leases_buckets, (double)s->leases)]++;
}

static void after_set(struct kea *k, json_t *answer, const char *failure) {
    k->last_duration = loop_now(k->loop) - k->set_started;
    k->reload_end = loop_now(k->loop);
    if (failure != NULL) {
        lost(k, failure); /* it may be applied or not: compared when Kea is back */
        return;
    }
    measured(k, k->last_duration);
    if (!ok(answer)) {
        k->stats.refused++;
        retry(k, "config-set", text_of(answer, NULL));
        return;
    }
    struct err err;
    if (!write_file(k, k->next, &err)) {
        L_ERR("%s: %s; a restarted Kea will be set right over its socket", err.path, err.text);
    }
    L_INFO("Kea has %zu subnets of IPv%u of ours, set in %.0f ms with %" PRIu64 " leases",
           k->n_want, k->family, (double)k->last_duration / 1e6, k->stats.leases);
    applied(k);
}

static void do_set(struct kea *k) {
    k->set_started = loop_now(k->loop);
    command(k, "config-set", json_incref(k->next), after_set);
}

static void after_base_test(struct kea *k, json_t *answer, const char *failure) {
    if (failure != NULL) {
        lost(k, failure);
        return;
    }
    if (!ok(answer)) {
        retry(k, "Kea finds its own configuration wrong", text_of(answer, NULL));
        return;
    }
    /* The operator's part is fine, so it is our new pools. */
    size_t refused = 0;
    char why[BNG_TEXT_MAX];
    text_linef(why, sizeof why, "Kea refuses it: %s", k->stats.error);
    for (size_t i = 0; i < k->n_want; i++) {
        const struct bng_pool *p = bng_engine_subnet(k->e, k->want[i].id);
        if (p != NULL && p->phase == BNG_ADD_DHCP) {
            bng_engine_pool_refused(k->e, k->want[i].id, why);
            refused++;
        }
    }
    if (refused == 0) {
        retry(k, "config-test", why);
        return;
    }
    drop_change(k);
    k->verified = false;
    wake(k, 0);
    k->poke(k->arg);
}

static void after_test(struct kea *k, json_t *answer, const char *failure) {
    if (failure != NULL) {
        lost(k, failure);
        return;
    }
    if (!ok(answer)) {
        k->stats.refused++;
        text_line(k->stats.error, sizeof k->stats.error, text_of(answer, NULL));
        L_ERR("Kea: config-test: %s", k->stats.error);
        json_t *base = json_deep_copy(k->base);
        json_object_del(base, "hash");
        command(k, "config-test", base, after_base_test);
        return;
    }
    do_set(k);
}

static void wipe_next(struct kea *k);

static void after_wipe(struct kea *k, json_t *answer, const char *failure) {
    if (failure != NULL) {
        lost(k, failure);
        return;
    }
    json_int_t r = json_integer_value(json_object_get(answer, "result"));
    if (r != 0 && r != 3) { /* 3: there were none */
        L_WARN("Kea: leases of a subnet that goes: %s", text_of(answer, NULL));
    }
    k->n_wipe--;
    wipe_next(k);
}

/* Leases would outlive their subnet in Kea's file. */
static void wipe_next(struct kea *k) {
    if (k->n_wipe > 0) {
        command(k, k->family == 6 ? "lease6-wipe" : "lease4-wipe",
                json_pack("{s:I}", "subnet-id", (json_int_t)k->wipe[k->n_wipe - 1]), after_wipe);
        return;
    }
    command(k, "config-test", json_incref(k->next), after_test);
}

static void look_for_foreign(struct kea *k, const json_t *config) {
    struct bng_foreign *f = mem_array(NULL, KEA_FOREIGN_MAX, sizeof *f);
    k->n_foreign =
        bng_keaconf_foreign(config, k->c->profiles, k->c->n_profiles, f, KEA_FOREIGN_MAX);
    mem_free(k->foreign);
    k->foreign = f;
    for (size_t i = 0; i < k->n_foreign && k->kc->adopt == BNG_ADOPT_YES; i++) {
        struct err err;
        if (f[i].domain[0] == '\0' || bng_engine_subnet(k->e, f[i].id) != NULL) {
            continue;
        }
        if (bng_engine_adopt(k->e, f[i].domain, f[i].id, &f[i].prefix, &err) != ERR_OK) {
            text_line(f[i].why, sizeof f[i].why, err.text);
            f[i].domain[0] = '\0';
            continue;
        }
        L_INFO("subnet %" PRIu32 " (%s), which was there before, is adopted by domain %s", f[i].id,
               f[i].text, f[i].domain);
    }
}

static void after_get(struct kea *k, json_t *answer, const char *failure) {
    struct err err;
    size_t culprit;
    json_t *config = json_object_get(answer, "arguments");
    if (failure != NULL) {
        lost(k, failure);
        return;
    }
    if (!ok(answer) || !json_is_object(config)) {
        retry(k, "config-get", text_of(answer, NULL));
        return;
    }
    json_object_del(config, "hash");
    look_for_foreign(k, config);
    if (k->report) {
        k->poke(k->arg);
        return;
    }
    gather(k);
    for (size_t i = 0; i < k->n_want && k->kc->adopt == BNG_ADOPT_YES; i++) {
        bng_keaconf_take(config, k->want[i].id);
    }
    k->dirty = k->urgent = false;
    if (bng_keaconf_same(config, k->want, k->n_want)) {
        applied(k);
        return;
    }
    k->next = bng_keaconf_build(config, k->c->profiles, k->c->n_profiles, k->want, k->n_want,
                                &culprit, &err);
    if (k->next == NULL) {
        if (culprit != SIZE_MAX) {
            const struct bng_pool *p = bng_engine_subnet(k->e, k->want[culprit].id);
            if (p != NULL && p->phase == BNG_ADD_DHCP) {
                bng_engine_pool_refused(k->e, k->want[culprit].id, err.text);
                drop_change(k);
                wake(k, 0);
                k->poke(k->arg);
                return;
            }
        }
        retry(k, "the new configuration", err.text);
        return;
    }
    k->base = json_incref(config);
    size_t n = bng_keaconf_ids(config, NULL, 0);
    uint32_t *ids = mem_alloc((n + 1) * sizeof *ids);
    bng_keaconf_ids(config, ids, n);
    k->wipe = mem_alloc((n + 1) * sizeof *ids);
    k->n_wipe = 0;
    for (size_t i = 0; i < n; i++) {
        if (!wanted(k, ids[i])) {
            k->wipe[k->n_wipe++] = ids[i];
        }
    }
    mem_free(ids);
    wipe_next(k);
}

/* ---------------------------------------------------------------- looking */

static void count(uint32_t subnet_id, uint64_t used, uint64_t cumulative, void *arg) {
    struct kea *k = arg;
    if (bng_engine_subnet(k->e, subnet_id) != NULL) {
        bng_engine_count(k->e, subnet_id, used, cumulative);
        k->counted += used;
    }
}

/* The counter of subscribers that look for a server. */
static const char *solicits(const struct kea *k) {
    return k->family == 6 ? "pkt6-solicit-received" : "pkt4-discover-received";
}

static void after_discovers(struct kea *k, json_t *answer, const char *failure) {
    if (failure != NULL) {
        lost(k, failure);
        return;
    }
    const json_t *samples = json_object_get(json_object_get(answer, "arguments"), solicits(k));
    json_int_t v = json_integer_value(json_array_get(json_array_get(samples, 0), 0));
    if (k->discovers_known && v > 0 && (uint64_t)v > k->discovers) {
        for (size_t i = 0; i < k->c->n_profiles; i++) {
            bng_engine_demand(k->e, k->family, k->c->profiles[i].interface);
        }
        k->poke(k->arg);
    }
    k->discovers = v > 0 ? (uint64_t)v : 0;
    k->discovers_known = true;
    wake(k, k->kc->interval_ms);
}

static const char *stat_command(const struct kea *k) {
    return k->family == 6 ? "stat-lease6-get" : "stat-lease4-get";
}

static void after_stats(struct kea *k, json_t *answer, const char *failure) {
    if (failure != NULL) {
        lost(k, failure);
        return;
    }
    json_int_t r = json_integer_value(json_object_get(answer, "result"));
    k->poll_due = loop_now(k->loop) + (int64_t)k->kc->interval_ms * NS_PER_MS;
    if (r == 2) {
        retry(k, stat_command(k), "Kea has no hook libdhcp_stat_cmds.so loaded");
        return;
    }
    k->counted = 0;
    if (ok(answer) && bng_keaconf_stats(answer, count, k)) {
        k->stats.leases = k->counted;
        bng_engine_counted(k->e);
        k->poke(k->arg);
    } else if (r != 3) { /* 3: no subnet at all */
        retry(k, stat_command(k), text_of(answer, NULL));
        return;
    }
    for (size_t i = 0; i < bng_engine_domains(k->e); i++) {
        const struct bng_domain *d = bng_engine_domain(k->e, i);
        if (d->profile->family == k->family && d->state == BNG_DOMAIN_ABSENT) {
            command(k, "statistic-get", json_pack("{s:s}", "name", solicits(k)), after_discovers);
            return;
        }
    }
    k->discovers_known = false;
    wake(k, 0);
}

static void after_status(struct kea *k, json_t *answer, const char *failure) {
    if (failure != NULL) {
        lost(k, failure);
        return;
    }
    if (!ok(answer)) {
        retry(k, "status-get", text_of(answer, NULL));
        return;
    }
    const json_t *a = json_object_get(answer, "arguments");
    int64_t pid = json_integer_value(json_object_get(a, "pid"));
    int64_t reload = json_integer_value(json_object_get(a, "reload"));
    int64_t now = loop_now(k->loop);
    if (!k->stats.up || pid != k->stats.pid) {
        if (k->stats.pid != 0 && pid != k->stats.pid) {
            k->stats.restarts++;
            L_INFO("Kea was restarted (process %" PRId64 ")", pid);
        }
        k->verified = false;
    } else if (k->verified && now - reload * NS_PER_S > k->configured_at + 2 * NS_PER_S) {
        /* Somebody else has configured it since. Seconds are all the precision there is. */
        L_INFO("Kea was reconfigured by somebody else: compared again");
        k->verified = false;
    }
    k->stats.up = true;
    k->stats.pid = pid;
    if (!k->verified) {
        command(k, "config-get", NULL, after_get);
        return;
    }
    command(k, stat_command(k), NULL, after_stats);
}

static int64_t sooner(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* What to do next, when no command is under way. */
static void think(void *arg) {
    struct kea *k = arg;
    int64_t now = loop_now(k->loop), due = INT64_MAX;
    if (k->then != NULL) {
        return;
    }
    if (k->dirty && k->verified) {
        int64_t floor = k->reload_end + (int64_t)k->kc->min_reload_ms * NS_PER_MS;
        int64_t rest = k->reload_end + 10 * k->last_duration;
        if (k->reload_end == 0) {
            floor = rest = 0;
        }
        int64_t calm = k->dirty_at + (int64_t)k->kc->batch_ms * NS_PER_MS;
        calm = calm > floor ? calm : floor;
        due = calm > rest ? calm : rest;
        if (k->urgent) {
            int64_t soon = k->urgent_at + (int64_t)k->kc->coalesce_ms * NS_PER_MS;
            due = sooner(due, soon > floor ? soon : floor);
        }
        if (now >= due) {
            command(k, "config-get", NULL, after_get);
            return;
        }
    }
    if (now >= k->poll_due || !k->verified) {
        command(k, "status-get", NULL, after_status);
        return;
    }
    wake(k, (sooner(due, k->poll_due) - now) / NS_PER_MS + 1);
}

void kea_changed(struct kea *k, bool urgent) {
    int64_t now = loop_now(k->loop);
    if (!k->dirty) {
        k->dirty_at = now;
    }
    if (urgent && !k->urgent) {
        k->urgent_at = now;
        k->urgent = true;
    }
    k->dirty = true;
    if (k->then == NULL && k->backoff == 0) {
        wake(k, 0);
    }
}

struct kea *kea_new(struct loop *l, const struct bng_config *c, unsigned family,
                    struct bng_engine *e, loop_fn *poke, void *arg) {
    struct kea *k = MEM_NEW(struct kea);
    k->loop = l;
    k->c = c;
    k->kc = family == 6 ? &c->kea6 : &c->kea;
    k->family = family;
    k->e = e;
    k->poke = poke;
    k->arg = arg;
    k->timer = loop_timer_new(l, think, k);
    k->timeout = loop_timer_new(l, on_timeout, k);
    wake(k, 0);
    return k;
}

void kea_report(struct kea *k) {
    k->report = true;
}

void kea_free(struct kea *k) {
    if (k == NULL) {
        return;
    }
    stream_free(k->stream);
    loop_timer_free(k->timer);
    loop_timer_free(k->timeout);
    drop_change(k);
    buf_free(&k->in);
    mem_free(k->out);
    mem_free(k->foreign);
    mem_free(k);
}

const struct kea_stats *kea_stats(const struct kea *k) {
    return &k->stats;
}

const struct bng_foreign *kea_foreign(const struct kea *k, size_t *n) {
    *n = k->n_foreign;
    return k->foreign;
}
