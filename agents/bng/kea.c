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
#include "bng/keawire.h"
#include "net/stream.h"
#include "net/tls.h"

LOGGER_MODULE(kea)

const double kea_seconds_buckets[KEA_BUCKETS] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                 0.5,   1,    2.5,   5,    10,  30};
const double kea_leases_buckets[KEA_BUCKETS] = {0,     10,    100,   1000,   2000,   5000,
                                                10000, 20000, 50000, 100000, 200000, 500000};

enum { LOOK_TIMEOUT_MS = 5000 };

typedef void answer_fn(struct kea *k, json_t *answer, const char *failure);

struct kea {
    struct loop *loop;
    const struct bng_config *c;
    const struct bng_kea_config *kc;
    const struct bng_kea_server *srv;
    const struct bng_profile *profiles; /* as on this server: with its interfaces */
    struct bng_profile *own_profiles;   /* NULL: those of the configuration */
    struct tls_ctx *tls;
    unsigned family;
    struct bng_engine *e;
    struct kea_host host;
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
    struct pair_member pair;
    bool hurry;
    bool continued,
        told_alone; /* ha-continue and ha-maintenance-start were sent since it started */
    bool waits;     /* for its turn, since: */
    int64_t waits_since, turn_due;
    const char *errand; /* a command of the host's, not sent yet */
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
    struct counts {
        uint32_t id;
        uint64_t used, cumulative;
    } * counts;
    size_t n_counts, cap_counts;
    bool counts_good;
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
    char text[256];
    if (k->in.len == 0) { /* `why` lives with the stream */
        snprintf(text, sizeof text, "%s", why);
        finish(k, NULL, text);
        return;
    }
    json_t *a = keawire_answer(k->srv, k->in.data, k->in.len, text, sizeof text);
    finish(k, a, a == NULL ? text : NULL);
}

static void on_timeout(void *arg) {
    finish(arg, NULL, "no answer in time");
}

static const struct stream_ops stream_ops = {
    .ready = on_ready, .data = on_data, .closed = on_closed};

/* Kea takes one command per connection. Takes the reference of `args` (may be NULL). */
static void command(struct kea *k, const char *name, json_t *args, answer_fn *then) {
    const struct bng_kea_server *v = k->srv;
    k->out = keawire_request(v, k->family, name, args);
    snprintf(k->command, sizeof k->command, "%s", name);
    k->then = then;
    /* Of a pair it must be known soon when one is away, also when its host swallows all. */
    bool look = k->kc->n_servers > 1 && strcmp(name, "status-get") == 0;
    int64_t patience =
        look && k->kc->timeout_ms > LOOK_TIMEOUT_MS ? LOOK_TIMEOUT_MS : k->kc->timeout_ms;
    loop_timer_start(k->timeout, patience);
    struct stream_target t = {.unix_path = v->socket};
    if (v->host[0] != '\0') {
        t = (struct stream_target){.host = v->host, .port = v->port, .tls = k->tls};
    }
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

static const char *name_of(const struct kea *k) {
    return k->srv->name[0] != '\0' ? k->srv->name : "Kea";
}

/* Something went wrong on the way: try again later, with what is wanted then. */
static void retry(struct kea *k, const char *what, const char *why) {
    text_linef(k->stats.error, sizeof k->stats.error, "%s: %s", what, why);
    L_WARN_RL(30, "%s: %s", name_of(k), k->stats.error);
    drop_change(k);
    k->verified = k->stats.in_line = k->waits = k->pair.in_line = false;
    k->pair.has = 0;
    k->backoff = k->backoff > 0 && k->backoff < 30000 ? k->backoff * 2 : 500;
    wake(k, k->backoff);
    k->host.looked(k->host.arg);
}

/* What it has stays known: nobody else changes that, and a restart shows by its process. */
static void lost(struct kea *k, const char *why) {
    const struct bng_kea_server *v = k->srv;
    const char *place = v->host[0] != '\0' ? v->host : v->socket;
    const char *errand = k->errand;
    if (k->stats.up) {
        L_WARN("%s doesn't answer on %s: %s", name_of(k), place, why);
    }
    text_linef(k->stats.error, sizeof k->stats.error, "%s: %s", place, why);
    k->stats.up = k->stats.in_line = k->verified = k->waits = k->counts_good = false;
    k->pair.answers = k->pair.in_line = false;
    k->pair.down = keawire_down(v, why);
    k->stats.failures++;
    k->errand = NULL;
    drop_change(k);
    wake(k, 500);
    if (errand != NULL) {
        k->host.errand_done(k->host.arg, k, errand, false);
    }
    k->host.looked(k->host.arg);
}

/* The name of a domain's shared network: domains whose subscribers ask together share one, named
 * like the first of them. */
static const struct bng_profile *network_of(const struct kea *k, const struct bng_profile *p) {
    for (const struct bng_profile *f = k->profiles; f < p; f++) {
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
                s->profile = &k->profiles[d->profile - k->c->profiles];
                s->network = network_of(k, s->profile);
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
    k->waits = k->counts_good = false;
    k->pair.has = g;
    k->pair.in_line = !k->dirty;
    k->configured_at = loop_now(k->loop);
    k->stats.error[0] = '\0';
    k->backoff = 0;
    drop_change(k);
    k->poll_due = 0; /* counts under the new configuration */
    wake(k, 0);
    k->host.looked(k->host.arg);
}

/* Whole or not at all, also when the power goes: Kea reads it at its next start. */
static bool write_file(struct kea *k, const json_t *config, struct err *err) {
    const char *path = k->srv->config_file;
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

static void after_write(struct kea *k, json_t *answer, const char *failure) {
    if (failure != NULL || !ok(answer)) {
        L_ERR("%s can't write its configuration: %s; after a restart it will be set right",
              name_of(k), text_of(answer, failure));
    }
    if (failure != NULL) {
        lost(k, failure);
        return;
    }
    applied(k);
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
    L_INFO("%s has %zu subnets of IPv%u of ours, set in %.0f ms with %" PRIu64 " leases",
           name_of(k), k->n_want, k->family, (double)k->last_duration / 1e6, k->stats.leases);
    if (k->kc->n_servers > 1) { /* the hook has started anew with it */
        k->pair.state = PAIR_WAITING;
        k->pair.serves = k->continued = k->told_alone = false;
    }
    if (k->srv->config_file[0] == '\0') {
        command(k, "config-write", NULL, after_write);
        return;
    }
    if (!write_file(k, k->next, &err)) {
        L_ERR("%s: %s; a restarted Kea will be set right over its socket", err.path, err.text);
    }
    applied(k);
}

/* Its turn has not come: the change is made anew when it has, from what Kea has then. */
static bool wait_for_turn(struct kea *k) {
    int64_t now = loop_now(k->loop);
    if (k->host.turn(k->host.arg, k)) {
        return false;
    }
    if (!k->waits) {
        k->waits_since = now;
    }
    k->waits = true;
    k->turn_due = now + 100 * NS_PER_MS;
    k->stats.in_line = k->pair.in_line = false;
    drop_change(k);
    return true;
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
    k->host.poke(k->host.arg);
}

static void after_test(struct kea *k, json_t *answer, const char *failure) {
    if (failure != NULL) {
        lost(k, failure);
        return;
    }
    if (!ok(answer)) {
        k->stats.refused++;
        text_line(k->stats.error, sizeof k->stats.error, text_of(answer, NULL));
        L_ERR("%s: config-test: %s", name_of(k), k->stats.error);
        json_t *base = json_deep_copy(k->base);
        json_object_del(base, "hash");
        command(k, "config-test", base, after_base_test);
        return;
    }
    if (wait_for_turn(k)) {
        k->dirty = true; /* generation and all: seen anew */
        wake(k, 0);
        k->host.looked(k->host.arg);
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
    k->n_foreign = bng_keaconf_foreign(config, k->profiles, k->c->n_profiles, f, KEA_FOREIGN_MAX);
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
    k->pair.fenced = keawire_fenced(config);
    look_for_foreign(k, config);
    if (k->report) {
        k->host.poke(k->host.arg);
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
    k->pair.has = k->verified ? k->pair.has : 0;
    k->next = bng_keaconf_build(config, k->profiles, k->c->n_profiles, k->want, k->n_want, &culprit,
                                &err);
    if (k->next == NULL) {
        if (culprit != SIZE_MAX) {
            const struct bng_pool *p = bng_engine_subnet(k->e, k->want[culprit].id);
            if (p != NULL && p->phase == BNG_ADD_DHCP) {
                bng_engine_pool_refused(k->e, k->want[culprit].id, err.text);
                drop_change(k);
                wake(k, 0);
                k->host.poke(k->host.arg);
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
        if (k->n_counts == k->cap_counts) {
            k->cap_counts = k->cap_counts > 0 ? 2 * k->cap_counts : 64;
            k->counts = mem_array(k->counts, k->cap_counts, sizeof *k->counts);
        }
        k->counts[k->n_counts++] = (struct counts){subnet_id, used, cumulative};
        k->counted += used;
    }
}

static int by_id(const void *a, const void *b) {
    const struct counts *p = a, *q = b;
    return p->id < q->id ? -1 : p->id > q->id;
}

bool kea_used(const struct kea *k, uint32_t subnet_id, uint64_t *used, uint64_t *cumulative) {
    const struct counts key = {.id = subnet_id};
    const struct counts *c =
        k->n_counts > 0 ? bsearch(&key, k->counts, k->n_counts, sizeof key, by_id) : NULL;
    *used = c != NULL ? c->used : 0;
    *cumulative = c != NULL ? c->cumulative : 0;
    return k->counts_good && c != NULL;
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
        k->host.poke(k->host.arg);
    }
    k->discovers = v > 0 ? (uint64_t)v : 0;
    k->discovers_known = true;
    wake(k, 0);
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
    int64_t interval = k->hurry && k->kc->interval_ms > 100 ? 100 : k->kc->interval_ms;
    k->poll_due = loop_now(k->loop) + interval * NS_PER_MS;
    if (r == 2) {
        retry(k, stat_command(k), "Kea has no hook libdhcp_stat_cmds.so loaded");
        return;
    }
    k->counted = 0;
    k->n_counts = 0;
    if (r != 3 && !(ok(answer) && bng_keaconf_stats(answer, count, k))) { /* 3: no subnet at all */
        retry(k, stat_command(k), text_of(answer, NULL));
        return;
    }
    if (k->n_counts > 0) {
        qsort(k->counts, k->n_counts, sizeof *k->counts, by_id);
    }
    k->stats.leases = k->counted;
    k->counts_good = true;
    k->host.counted(k->host.arg);
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

static void after_continue(struct kea *k, json_t *answer, const char *failure);

/* It has what it is to serve: it need not stay paused. One that was alone before its hook started
 * anew is told so first, or it would look for its partner as long as at any start
 * (max-response-delay); should that answer it, all the better. The machine stays paused over that
 * and is in any of these states then, also when an earlier run of the agent has told it. */
static bool go_on(struct kea *k) {
    enum pair_state s = k->pair.state;
    bool waiting = s == PAIR_WAITING;
    if (!k->verified || (!waiting && k->continued)) {
        return false;
    }
    if (waiting && !k->told_alone && k->host.alone(k->host.arg, k)) {
        k->told_alone = true;
        k->continued = false;
        command(k, "ha-maintenance-start", NULL, after_continue);
        return true;
    }
    k->continued = !waiting;
    if (waiting || s == PAIR_PARTNER_DOWN || s == PAIR_PARTNER_IN_MAINTENANCE ||
        s == PAIR_IN_MAINTENANCE) {
        command(k, "ha-continue", NULL, after_continue);
        return true;
    }
    return false;
}

static void after_continue(struct kea *k, json_t *answer, const char *failure) {
    if (failure != NULL) {
        lost(k, failure);
        return;
    }
    if (!ok(answer)) {
        L_WARN_RL(30, "%s: %s: %s", name_of(k), k->command, text_of(answer, NULL));
    }
    if (strcmp(k->command, "ha-continue") != 0) {
        command(k, "ha-continue", NULL, after_continue);
        return;
    }
    command(k, stat_command(k), NULL, after_stats);
}

static void after_errand(struct kea *k, json_t *answer, const char *failure) {
    const char *what = k->errand;
    k->errand = NULL;
    if (failure != NULL) {
        k->errand = what;
        lost(k, failure);
        return;
    }
    if (!ok(answer)) {
        L_WARN_RL(30, "%s: %s: %s", name_of(k), what, text_of(answer, NULL));
    }
    k->poll_due = 0;
    wake(k, 0);
    k->host.errand_done(k->host.arg, k, what, ok(answer));
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
            L_INFO("%s was restarted (process %" PRId64 ")", name_of(k), pid);
        }
        k->verified = k->waits = k->continued = k->told_alone = false;
    } else if (k->verified && now - reload * NS_PER_S > k->configured_at + 2 * NS_PER_S) {
        /* Somebody else has configured it since. Seconds are all the precision there is. */
        L_INFO("Kea was reconfigured by somebody else: compared again");
        k->verified = false;
    }
    k->stats.up = k->pair.answers = true;
    k->pair.down = false;
    k->stats.pid = pid;
    bool ha = keawire_ha(a, &k->pair);
    if (k->kc->n_servers == 1) {
        k->pair.state = PAIR_NONE;
        k->pair.serves = true;
    } else if (!ha) {
        /* Two that know nothing of each other would give one address twice. */
        retry(k, "status-get",
              "no high availability (libdhcp_ha.so, hot-standby or load-balancing)");
        return;
    }
    if (!k->verified && !k->waits) {
        k->pair.has = 0;
        k->counts_good = k->pair.in_line = false;
        k->host.looked(k->host.arg);
        command(k, "config-get", NULL, after_get);
        return;
    }
    k->host.looked(k->host.arg);
    if (k->kc->n_servers > 1 && go_on(k)) {
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
    if (k->errand != NULL && k->stats.up) {
        command(k, k->errand, NULL, after_errand);
        return;
    }
    if (k->waits) {
        due = k->turn_due;
        if (now >= due && !wait_for_turn(k)) {
            command(k, "config-get", NULL, after_get);
            return;
        }
        due = k->turn_due;
    } else if (k->dirty && k->verified) {
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
    if (now >= k->poll_due || (!k->verified && !k->waits)) {
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
    k->pair.in_line = false;
    if (k->then == NULL && k->backoff == 0) {
        wake(k, 0);
    }
}

void kea_hurry(struct kea *k, bool hurry) {
    if (hurry && !k->hurry) {
        k->poll_due = 0;
        if (k->then == NULL && k->backoff == 0) {
            wake(k, 0);
        }
    }
    k->hurry = hurry;
}

bool kea_errand(struct kea *k, const char *name) {
    if (k->errand != NULL || !k->stats.up) {
        return false;
    }
    k->errand = name;
    if (k->then == NULL) {
        wake(k, 0);
    }
    return true;
}

/* The profiles with this server's names of the interfaces. */
static void map_interfaces(struct kea *k) {
    const struct bng_kea_server *v = k->srv;
    k->profiles = k->c->profiles;
    if (v->n_interfaces == 0) {
        return;
    }
    k->own_profiles = mem_array(NULL, k->c->n_profiles, sizeof *k->own_profiles);
    memcpy(k->own_profiles, k->c->profiles, k->c->n_profiles * sizeof *k->own_profiles);
    k->profiles = k->own_profiles;
    for (size_t i = 0; i < k->c->n_profiles; i++) {
        struct bng_profile *p = &k->own_profiles[i];
        for (size_t j = 0; j < v->n_interfaces; j++) {
            const struct bng_kea_interface *f = &v->interfaces[j];
            if (strcmp(k->c->profiles[i].interface, f->profile) == 0) {
                snprintf(p->interface, sizeof p->interface, "%s", f->name);
                p->server_address = f->address.family != 0 ? f->address : p->server_address;
            }
        }
    }
}

/* A server that is away was fenced if its file says so: nobody but us writes it. */
static void read_fence(struct kea *k) {
    json_t *file =
        k->srv->config_file[0] != '\0' ? json_load_file(k->srv->config_file, 0, NULL) : NULL;
    k->pair.fenced = keawire_fenced(file);
    json_decref(file);
}

enum err_code kea_new(struct loop *l, const struct bng_config *c, unsigned family, size_t which,
                      struct bng_engine *e, const struct kea_host *host, struct kea **out,
                      struct err *err) {
    struct kea *k = MEM_NEW(struct kea);
    k->loop = l;
    k->c = c;
    k->kc = family == 6 ? &c->kea6 : &c->kea;
    k->srv = &k->kc->servers[which];
    k->family = family;
    k->e = e;
    k->host = *host;
    if (k->srv->tls) {
        const struct bng_kea_server *v = k->srv;
        struct tls_config t = {.cert_file = v->certificate[0] != '\0' ? v->certificate : NULL,
                               .key_file = v->key[0] != '\0' ? v->key : NULL,
                               .ca_file = v->ca};
        enum err_code rc = tls_client_new(&t, &k->tls, err);
        if (rc != ERR_OK) {
            mem_free(k);
            return rc;
        }
    }
    k->pair.trusts = k->kc->trust_partner_down;
    map_interfaces(k);
    read_fence(k);
    k->timer = loop_timer_new(l, think, k);
    k->timeout = loop_timer_new(l, on_timeout, k);
    wake(k, 0);
    *out = k;
    return ERR_OK;
}

void kea_reload(struct kea *k) {
    struct err err;
    if (k->tls != NULL && tls_reload(k->tls, &err) != ERR_OK) {
        L_ERR("%s: %s; the old ones stay in use", err.path, err.text);
    }
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
    mem_free(k->counts);
    mem_free(k->own_profiles);
    tls_ctx_free(k->tls);
    mem_free(k);
}

const struct pair_member *kea_member(const struct kea *k) {
    return &k->pair;
}

const struct bng_kea_server *kea_server(const struct kea *k) {
    return k->srv;
}

const struct kea_stats *kea_stats(const struct kea *k) {
    return &k->stats;
}

const struct bng_foreign *kea_foreign(const struct kea *k, size_t *n) {
    *n = k->n_foreign;
    return k->foreign;
}
