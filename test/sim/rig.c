// SPDX-License-Identifier: Apache-2.0
#include "rig.h"

#include <dirent.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/job.h"
#include "core/system.h"
#include "model/model.h"

/* A crash here is one of the program, not of the machine: what was written is there without waiting
 * for the disk, which would be most of the time. Whether it is asked to is vfs_power's business. */
int fsync(int fd) {
    return 0;
}
int fdatasync(int fd) {
    return 0;
}

const struct service *rig_more;
static struct model *model; /* one for the process; loading takes longer than a test */

static void die(const char *what, const struct err *e) {
    fprintf(stderr, "rig: %s: %s %s\n", what, e->path, e->text);
    abort();
}

static void open_core(struct rig *r) {
    const struct service *const services[] = {&system_service, &job_service, &pools_service,
                                              rig_more, NULL};
    struct err e = {.code = ERR_OK};
    char store[160];
    snprintf(store, sizeof store, "sqlite:%s/%u/log.db", r->folder, r->generation);
    struct core_options o = {.store = r->store != NULL ? r->store : store,
                             .node = r->node,
                             .clock = &r->clock,
                             .model = model,
                             .services = services};
    if (core_open(&o, &r->core, &e) != ERR_OK) {
        die("open", &e);
    }
    r->pools = core_service_state(r->core, "pools");
    core_step(r->core);
}

static void make_folder(const struct rig *r) {
    char path[96];
    snprintf(path, sizeof path, "%s/%u", r->folder, r->generation);
    if (mkdir(path, 0700) != 0) {
        perror(path);
        abort();
    }
}

static void start(struct rig *r, int64_t wall_s) {
    struct err e = {.code = ERR_OK};
    memset(r, 0, sizeof *r);
    if (model == NULL && model_load(&model, &e) != ERR_OK) {
        die("model", &e);
    }
    clock_fake_init(&r->clock, wall_s * NS_PER_S);
}

void rig_open_node(struct rig *r, const char *store, const char *node, int64_t wall_s) {
    start(r, wall_s);
    r->store = store;
    r->node = node;
    open_core(r);
}

void rig_node_end(struct rig *r) {
    core_close(r->core);
    r->core = NULL;
}

void rig_node_begin(struct rig *r) {
    open_core(r);
}

void rig_open(struct rig *r, int64_t wall_s) {
    start(r, wall_s);
    bool shm = access("/dev/shm", W_OK) == 0;
    snprintf(r->folder, sizeof r->folder, "%s/weft-sim-XXXXXX", shm ? "/dev/shm" : "/tmp");
    if (mkdtemp(r->folder) == NULL) {
        perror("mkdtemp");
        abort();
    }
    make_folder(r);
    open_core(r);
}

/* Copies or removes the files of a generation; they are few and small. */
static void copy_file(const char *from, const char *to) {
    FILE *in = fopen(from, "rb"), *out = in ? fopen(to, "wb") : NULL;
    char part[65536];
    size_t n;
    if (in == NULL || out == NULL) {
        perror(from);
        abort();
    }
    while ((n = fread(part, 1, sizeof part, in)) > 0) {
        if (fwrite(part, 1, n, out) != n) {
            abort();
        }
    }
    fclose(in);
    fclose(out);
}

/* `to` UINT_MAX: removes them and their folder. Maps of shared memory are not copied: they are made
 * anew, as after a crash. */
static void each_file(const struct rig *r, unsigned from, unsigned to) {
    char folder[96], path[400], target[400];
    snprintf(folder, sizeof folder, "%s/%u", r->folder, from);
    DIR *dir = opendir(folder);
    for (struct dirent *d = dir ? readdir(dir) : NULL; d != NULL; d = readdir(dir)) {
        size_t n = strlen(d->d_name);
        snprintf(path, sizeof path, "%s/%s", folder, d->d_name);
        if (d->d_name[0] == '.') {
            continue;
        }
        if (to == UINT_MAX) {
            unlink(path);
        } else if (n < 4 || strcmp(d->d_name + n - 4, "-shm") != 0) {
            snprintf(target, sizeof target, "%s/%u/%s", r->folder, to, d->d_name);
            copy_file(path, target);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    if (to == UINT_MAX) {
        rmdir(folder);
    }
}

void rig_close(struct rig *r) {
    core_close(r->core);
    if (r->store == NULL) {
        each_file(r, r->generation, UINT_MAX);
        rmdir(r->folder);
    }
    buf_free(&r->before);
    r->core = NULL;
}

/* What was changed step by step equals what is folded anew (design 5: incremental). */
static void compare(struct rig *r) {
    struct buf now = BUF_INIT;
    rig_dump(r, &now);
    const char *a = buf_cstr(&r->before), *b = buf_cstr(&now);
    if (r->before.len > 0 && strcmp(a, b) != 0) {
        while (*a == *b) {
            a++;
            b++;
        }
        while (a > buf_cstr(&r->before) && a[-1] != '\n') {
            a--;
            b--;
        }
        fprintf(stderr, "rig: memory was \"%.200s\" and is folded to \"%.200s\"\n", a, b);
        abort();
    }
    buf_free(&now);
    buf_clear(&r->before);
}

void rig_restart(struct rig *r) {
    rig_step(r);
    rig_dump(r, &r->before);
    core_close(r->core);
    open_core(r);
    compare(r);
}

void rig_crash(struct rig *r) {
    rig_crash_begin(r);
    rig_crash_end(r);
}

void rig_crash_begin(struct rig *r) {
    unsigned old = r->generation++;
    make_folder(r);
    each_file(r, old, r->generation);
    rig_dump(r, &r->before);
}

void rig_crash_end(struct rig *r) {
    core_close(r->core); /* what it still does goes into files that nobody will read */
    each_file(r, r->generation - 1, UINT_MAX);
    open_core(r);
    compare(r);
}

void rig_step(struct rig *r) {
    while (!r->halted && core_step(r->core) > 0) {
    }
}

void rig_pass(struct rig *r, int64_t ns) {
    rig_step(r);
    while (ns > 0) {
        int64_t next = r->halted ? -1 : core_next_timer(r->core);
        int64_t leap = next < 0 || next > ns ? ns : next;
        clock_fake_advance(&r->clock, leap);
        ns -= leap;
        rig_step(r);
    }
}

int64_t rig_now(const struct rig *r) {
    return clock_wall_s(&r->clock);
}

void rig_set_time(struct rig *r, const char *iso) {
    int64_t to;
    if (!time_parse(iso, &to) || to < rig_now(r)) {
        fprintf(stderr, "rig: %s is not a later time\n", iso);
        abort();
    }
    /* No timer needs to fire on the way. */
    clock_fake_advance(&r->clock, to * NS_PER_S - clock_wall(&r->clock));
    rig_step(r);
}

/* ---- changes ---- */

static uint64_t last_index;

uint64_t rig_last_index(const struct rig *r) {
    return last_index;
}

static void change_done(struct change *ch, void *arg) {
    *(bool *)arg = true;
}

static enum err_code put(struct rig *r, const char *path, const char *json, bool force,
                         enum change_mode mode, struct buf *warnings, size_t *targets,
                         struct err *e) {
    struct change *ch = change_new(&actor_system);
    bool done = false;
    ch->force = force;
    ch->mode = mode;
    change_add(ch, json ? EDIT_REPLACE : EDIT_DELETE, path, json, json ? strlen(json) : 0,
               FORMAT_JSON);
    core_change(r->core, ch, change_done, &done);
    rig_step(r);
    if (!done) {
        fprintf(stderr, "rig: a change was not answered\n");
        abort();
    }
    enum err_code rc = ch->err.code;
    if (rc != ERR_OK && e != NULL) {
        *e = ch->err;
    }
    last_index = ch->index;
    if (warnings != NULL) {
        buf_add(warnings, ch->warnings.data, ch->warnings.len);
    }
    if (targets != NULL) {
        *targets = ch->n_targets;
    }
    change_free(ch);
    return rc;
}

enum err_code rig_put(struct rig *r, const char *path, const char *json, bool force,
                      struct err *e) {
    return put(r, path, json, force, CHANGE_COMMIT, NULL, NULL, e);
}

void rig_must_put(struct rig *r, const char *path, const char *json) {
    struct err e = {.code = ERR_OK};
    if (rig_put(r, path, json, false, &e) != ERR_OK) {
        die(path, &e);
    }
}

enum err_code rig_dry_run(struct rig *r, const char *path, const char *json, struct buf *warnings,
                          size_t *targets, struct err *e) {
    return put(r, path, json, false, CHANGE_DRY_RUN, warnings, targets, e);
}

enum err_code rig_try_partition(struct rig *r, const char *name, unsigned min, unsigned max,
                                const char *roots, bool force, struct err *e) {
    char path[128], json[4096];
    snprintf(path, sizeof path, "/weft-apm:apm/inet-pool/partition=%s", name);
    snprintf(json, sizeof json,
             "{\"weft-apm:partition\":[{\"name\":\"%s\",\"min-prefix-len\":%u,"
             "\"max-prefix-len\":%u,\"prefix\":[%s]}]}",
             name, min, max, roots);
    return rig_put(r, path, json, force, e);
}

void rig_partition(struct rig *r, const char *name, unsigned min, unsigned max, const char *roots) {
    struct err e = {.code = ERR_OK};
    if (rig_try_partition(r, name, min, max, roots, false, &e) != ERR_OK) {
        die(name, &e);
    }
}

enum err_code rig_try_partition6(struct rig *r, const char *name, unsigned min, unsigned max,
                                 unsigned delegated, const char *roots, bool force, struct err *e) {
    char path[128], json[4096], more[64] = "";
    snprintf(path, sizeof path, "/weft-apm:apm/inet-pool/partition=%s", name);
    if (delegated != 0) {
        snprintf(more, sizeof more, ",\"delegated-prefix-len\":%u", delegated);
    }
    snprintf(json, sizeof json,
             "{\"weft-apm:partition\":[{\"name\":\"%s\",\"address-family\":\"ipv6\","
             "\"min-prefix-len\":%u,\"max-prefix-len\":%u%s,\"prefix\":[%s]}]}",
             name, min, max, more, roots);
    return rig_put(r, path, json, force, e);
}

void rig_partition6(struct rig *r, const char *name, unsigned min, unsigned max, unsigned delegated,
                    const char *roots) {
    struct err e = {.code = ERR_OK};
    if (rig_try_partition6(r, name, min, max, delegated, roots, false, &e) != ERR_OK) {
        die(name, &e);
    }
}

enum err_code rig_try_profile(struct rig *r, const char *name, unsigned apportion, unsigned reclaim,
                              const char *more, bool force, struct err *e) {
    char path[128], json[1024];
    snprintf(path, sizeof path, "/weft-apm:apm/pool-domain-profile=%s", name);
    snprintf(json, sizeof json,
             "{\"weft-apm:pool-domain-profile\":[{\"name\":\"%s\",\"apportion-threshold\":%u,"
             "\"reclaim-threshold\":%u%s}]}",
             name, apportion, reclaim, more);
    return rig_put(r, path, json, force, e);
}

void rig_profile(struct rig *r, const char *name, unsigned apportion, unsigned reclaim,
                 const char *more) {
    struct err e = {.code = ERR_OK};
    if (rig_try_profile(r, name, apportion, reclaim, more, false, &e) != ERR_OK) {
        die(name, &e);
    }
}

void rig_match(struct rig *r, const char *system_id, const char *profile) {
    char path[128], json[512];
    snprintf(path, sizeof path, "/weft-apm:apm/entity-match=%s", system_id);
    snprintf(json, sizeof json,
             "{\"weft-apm:entity-match\":[{\"system-id\":\"%s\",\"pool-domain-profile\":\"%s\"}]}",
             system_id, profile);
    rig_must_put(r, path, json);
}

/* ---- calls ---- */

static void call_done(struct call *cl, void *arg) {
    *(bool *)arg = true;
}

enum err_code rig_call(struct rig *r, struct buf *text, struct buf *json, struct err *e,
                       const char *rpc, ...) {
    const char *names[8], *values[8];
    size_t n = 0;
    va_list ap;
    va_start(ap, rpc);
    for (const char *name = va_arg(ap, const char *); name != NULL && n < 8;
         name = va_arg(ap, const char *)) {
        names[n] = name;
        values[n++] = va_arg(ap, const char *);
    }
    va_end(ap);
    char full[64];
    snprintf(full, sizeof full, "%s%s", strchr(rpc, ':') != NULL ? "" : "weft-apm:", rpc);
    char *cursor = NULL;
    enum err_code rc;
    do {
        struct call *cl = call_new(&actor_system);
        bool done = false;
        struct err mine = {.code = ERR_OK};
        rc = rpc_input_words(model, model_rpc(full), names, values, n, cl->arena, &cl->in, &mine);
        if (rc != ERR_OK) {
            if (e != NULL) {
                *e = mine;
            }
            call_free(cl);
            break;
        }
        cl->cursor = cursor;
        cursor = NULL;
        core_call(r->core, cl, call_done, &done);
        rig_step(r);
        if (!done) {
            fprintf(stderr, "rig: %s was not answered\n", rpc);
            abort();
        }
        rc = cl->err.code;
        if (rc != ERR_OK && e != NULL) {
            *e = cl->err;
        }
        if (rc == ERR_OK) {
            if (text != NULL) {
                buf_add(text, cl->text.data, cl->text.len);
            }
            if (json != NULL) {
                buf_add(json, cl->json.data, cl->json.len);
            }
            struct buf out = BUF_INIT;
            struct print_options po = {.format = FORMAT_JSON};
            if (rpc_output_print(model, cl->in.rpc, buf_cstr(&cl->json), cl->json.len, &po, &out,
                                 &mine) != ERR_OK) {
                die(rpc, &mine); /* what an rpc puts out fits the model */
            }
            buf_free(&out);
        }
        cursor = rc == ERR_OK && cl->cursor ? mem_strdup(cl->cursor) : NULL;
        call_free(cl);
    } while (cursor != NULL);
    return rc;
}

static void look_done(struct look *l, void *arg) {
    *(bool *)arg = true;
}

void rig_look(struct rig *r, const char *path, struct buf *json) {
    struct look *l = look_new(&actor_system, path);
    bool done = false;
    core_look(r->core, l, look_done, &done);
    rig_step(r);
    if (!done || l->err.code != ERR_OK) {
        die(path, &l->err);
    }
    json_error_t je;
    json_t *j = json_loadb((const char *)l->json.data, l->json.len, JSON_DECODE_ANY, &je);
    if (j == NULL) {
        fprintf(stderr, "rig: %s: %s\n%s\n", path, je.text, buf_cstr(&l->json));
        abort();
    }
    json_decref(j);
    buf_add(json, l->json.data, l->json.len);
    look_free(l);
}

/* ---- verification ---- */

/* Kept by the fold, so that nobody has to look at all pools. */
static void verify_counts(const struct domain *d) {
    uint32_t bare = 0, unsettled = 0, end = 0;
    for (uint32_t i = 0; i < d->n_pools; i++) {
        const struct pool *po = &d->pools[i];
        bare += po->seq == SEQ_BARE;
        unsettled += pool_state_unsettled(po->state);
        end = po->seq < SEQ_FOREIGN && po->seq >= end ? po->seq + 1 : end;
    }
    if (bare != d->n_bare || unsettled != d->n_unsettled || end > d->seq_end) {
        fprintf(stderr, "verify: the counts of %s are wrong\n", d->name);
        abort();
    }
}

static void verify_answers(const struct pools *p) {
    size_t n = 0;
    int64_t before = 0;
    LIST_FOREACH (l, &p->answers) {
        const struct answer *a = CONTAINER_OF(l, struct answer, link);
        if (a->at_s < before) {
            fprintf(stderr, "verify: answers are not in the order of time\n");
            abort();
        }
        before = a->at_s;
        n++;
    }
    if (n != p->n_answers || n != p->answer_by_id.count) {
        fprintf(stderr, "verify: %zu answers, %zu counted\n", n, p->n_answers);
        abort();
    }
}

static void verify_domain(struct rig *r, const struct domain *d) {
    verify_counts(d);
    for (uint32_t i = 0; i < d->n_pools; i++) {
        const struct pool *po = &d->pools[i];
        struct ip_prefix px = pool_prefix(po);
        struct prefix_info info;
        char text[IP_TEXT_MAX];
        if (i > 0 && d->pools[i - 1].ordinal >= po->ordinal) {
            fprintf(stderr, "verify: pools of %s are out of order\n", d->name);
            abort();
        }
        if (!pool_state_managed(po->state)) {
            continue;
        }
        if (prefix_tree_lookup(d->partition->tree, &px, &info) != PREFIX_ALLOCATED ||
            !ip_prefix_eq(&info.prefix, &px) || info.owner != pool_owner(d, po->ordinal)) {
            fprintf(stderr, "verify: %s of %s domain %s is not its own in the tree\n",
                    ip_prefix_format(&px, text), d->entity->system_id, d->name);
            abort();
        }
    }
    (void)r;
}

void rig_verify(struct rig *r) {
    struct pools *p = r->pools;
    uint64_t pools = 0, managed = 0, in_trees = 0;
    verify_answers(p);
    for (uint32_t i = 0; i < p->n_domains; i++) {
        const struct domain *d = p->domains[i];
        if (d != NULL) {
            verify_domain(r, d);
            pools += d->n_pools;
            for (uint32_t k = 0; k < d->n_pools; k++) {
                managed += pool_state_managed(d->pools[k].state);
            }
        }
    }
    MAP_FOREACH (m, &p->partitions) {
        const struct partition *pt = m->value;
        struct prefix_stats st;
        struct err e = {.code = ERR_OK};
        if (pt->tree == NULL) {
            continue;
        }
        if (prefix_tree_check(pt->tree, &e) != ERR_OK) {
            die(pt->name, &e);
        }
        prefix_tree_stats(pt->tree, &st);
        in_trees += st.prefixes;
        if (st.prefixes != pt->n_pools || st.total != st.free + st.reserved + st.allocated) {
            fprintf(stderr, "verify: partition %s does not add up\n", pt->name);
            abort();
        }
    }
    if (pools != p->pool_count || managed != in_trees) {
        fprintf(stderr,
                "verify: %" PRIu64 " pools, %" PRIu64 " counted; %" PRIu64 " managed, %" PRIu64
                " in trees\n",
                pools, p->pool_count, managed, in_trees);
        abort();
    }
}
