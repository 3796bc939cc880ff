// SPDX-License-Identifier: Apache-2.0
#include "phone-home/driver.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/rng.h"
#include "phone-home/platform_hooks.h"
#include "phone-home/platform_junos.h"
#include "phone-home/platform_linux.h"
#include "phone-home/script.h"
#include "phone-home/source.h"
#include "phone-home/wire.h"

LOGGER_MODULE(phone_home)

enum { LEGACY_MS = 60 * 1000, CANCELLED_MAX = 32 };

struct driver {
    struct loop *loop;
    struct driver_config d;
    const struct phone_home_config *c;
    struct statedir state;
    struct platform *platform;
    struct cms_certs *voucher_anchors;
    struct cms_key *device;
    struct tasks *tasks;
    struct wire *wire;
    struct wire_config wire_config;
    struct resolver resolver; /* for names below .local */
    struct phc_engine *engine;
    struct loop_timer *deadline;
    struct loop_deferred over; /* at the end of this turn */
    struct script *legacy;
    uint64_t cancelled[CANCELLED_MAX]; /* the platform's orders that nobody waits for */
    size_t next_cancelled;
    bool enabled, given_up, ended, success;
};

static const struct platform_ops *ops_of(const struct driver *d) {
    return *(const struct platform_ops *const *)d->platform;
}

/* ---- the end ---- */

static void call_over(void *arg) {
    struct driver *d = arg;
    if (d->d.over != NULL) {
        d->d.over(d->d.arg, d->success);
    }
}

static void end(struct driver *d, bool success) {
    if (!d->ended) {
        d->ended = true;
        d->success = success;
        wire_idle(d->wire);
        d->over = (struct loop_deferred){.fn = call_over, .arg = d};
        loop_defer(d->loop, &d->over);
    }
}

/* ---- actions ---- */

static void pump(struct driver *d);

static void event(struct driver *d, const struct phc_event *ev) {
    if (d->engine != NULL) { /* it is gone when the device was zeroized */
        phc_event(d->engine, ev);
        pump(d);
    }
}

struct lookup {
    struct driver *d;
    uint64_t order;
    enum phc_source source;
    char serial[CMS_SERIAL_MAX + 1];
    int64_t now_s;
    bool ran;
    struct source_findings found;
    struct err err;
};

static void run_lookup(void *job, const atomic_bool *stop) {
    struct lookup *l = job;
    l->err.code = ERR_OK;
    source_lookup(l->source, l->d->c, l->serial, l->now_s, stop, &l->found, &l->err);
}

static void end_lookup(void *job, bool cancelled) {
    struct lookup *l = job;
    for (size_t i = 0; i < l->found.n && !cancelled; i++) {
        struct phc_event ev = {.kind = PHC_EV_FOUND, .order = l->order, .found = &l->found.list[i]};
        event(l->d, &ev);
    }
    struct phc_event done = {
        .kind = PHC_EV_DONE, .order = l->order, .error = l->err.code != ERR_OK ? &l->err : NULL};
    if (!cancelled) {
        event(l->d, &done);
    }
    source_findings_free(&l->found);
    mem_free(l);
}

static int64_t wall_s(void *arg) {
    return clock_wall_s(&clock_real);
}

static void do_lookup(struct driver *d, const struct phc_action *a) {
    struct lookup *l = MEM_NEW(struct lookup);
    struct platform_identity id;
    l->d = d;
    l->order = a->order;
    l->source = a->u.lookup;
    err_set(&l->err, ERR_LIMIT, NULL, "too many things at once");
    if (ops_of(d)->identity(d->platform, &id, NULL) == ERR_OK) {
        memcpy(l->serial, id.serial, sizeof l->serial);
        l->now_s = id.clock_ok ? wall_s(d) : 0;
    }
    tasks_start(d->tasks, a->order, run_lookup, end_lookup, l);
}

static void do_platform(struct driver *d, const struct phc_action *a) {
    struct platform *p = d->platform;
    const struct platform_ops *o = ops_of(d);
    switch (a->u.platform.op) {
    case PHC_FREEZE:
        o->freeze(p, a->order);
        break;
    case PHC_THAW:
        o->thaw(p, a->order);
        break;
    case PHC_INSTALL:
        o->install(p, a->order, a->u.platform.n_members > 0 ? a->u.platform.members[0] : 0,
                   a->u.platform.image, a->u.platform.os_version);
        break;
    case PHC_REBOOT:
        o->reboot(p, a->order, a->u.platform.members, a->u.platform.n_members);
        break;
    case PHC_SCRIPT:
        o->script(p, a->order, a->u.platform.which, a->u.platform.p, a->u.platform.n,
                  a->u.platform.deadline_ms);
        break;
    case PHC_APPLY:
        o->apply(p, a->order, a->u.platform.p, a->u.platform.n, a->u.platform.handling,
                 a->u.platform.deadline_ms);
        break;
    case PHC_CONFIRM:
        o->confirm(p, a->order);
        break;
    case PHC_ROLLBACK:
        o->rollback(p, a->order);
        break;
    case PHC_REPLICATE:
        o->replicate(p, a->order, a->u.platform.p, a->u.platform.n);
        break;
    case PHC_KEY:
        o->key(p, a->order, a->u.platform.p, a->u.platform.n);
        break;
    }
}

static void do_log(int priority, const char *text) {
    if (priority <= LOG_ERR) {
        L_ERR("%s", text);
    } else if (priority == LOG_WARNING) {
        L_WARN("%s", text);
    } else if (priority == LOG_DEBUG) {
        L_DBG("%s", text);
    } else {
        L_INFO("%s", text);
    }
}

/* What was to be durable is not: going on could leave a device half done. The next life goes on
 * from the former record. */
static void not_durable(const struct err *e) {
    L_ERR("%s: %s: ends, since its state can't be kept", e->path, e->text);
    _exit(1); /* at once: threads are under way */
}

static void legacy_done(void *arg, struct script_result *r, const struct err *e) {
    struct driver *d = arg;
    d->legacy = NULL;
    if (e != NULL) {
        L_ERR("%s: %s", d->c->legacy_command, e->text);
    }
    end(d, e == NULL);
}

static void do_legacy(struct driver *d) {
    d->given_up = true;
    if (d->c->legacy_command[0] == '\0') {
        end(d, true);
        return;
    }
    struct script_config c = {
        .file = d->c->legacy_command, .deadline_ms = LEGACY_MS, .keep_group = true};
    d->legacy = script_start(d->loop, &c, legacy_done, d);
}

static void do_action(struct driver *d, const struct phc_action *a) {
    struct err e;
    switch (a->kind) {
    case PHC_SAVE:
        if (statedir_save(&d->state, a->u.save.p, a->u.save.n, &e) != ERR_OK) {
            not_durable(&e);
        }
        break;
    case PHC_LOOKUP:
        do_lookup(d, a);
        break;
    case PHC_REQUEST:
        wire_request(d->wire, a->order, &a->u.request);
        break;
    case PHC_DOWNLOAD:
        wire_download(d->wire, a->order, &a->u.download);
        break;
    case PHC_PLATFORM:
        do_platform(d, a);
        break;
    case PHC_LOG:
        do_log(a->u.log.priority, a->u.log.text);
        break;
    case PHC_LEGACY:
        do_legacy(d);
        break;
    case PHC_DISABLE:
        if (statedir_enable(&d->state, false, &e) != ERR_OK) {
            not_durable(&e);
        }
        d->enabled = false;
        break;
    case PHC_CANCEL:
        tasks_cancel(d->tasks, a->order);
        d->cancelled[d->next_cancelled] = a->order;
        d->next_cancelled = (d->next_cancelled + 1) % CANCELLED_MAX;
        break;
    }
}

static void pump(struct driver *d) {
    struct phc_action a;
    while (phc_action(d->engine, &a)) {
        do_action(d, &a);
    }
    int64_t due = phc_deadline(d->engine), now = clock_mono(&clock_real) / NS_PER_MS;
    if (due < 0) {
        loop_timer_stop(d->deadline);
    } else {
        loop_timer_start(d->deadline, due > now ? due - now : 0);
    }
    enum phc_state s = phc_state(d->engine);
    if (s == PHC_ST_DONE) {
        end(d, true);
    } else if (d->d.once && phc_rounds(d->engine) > 0) {
        end(d, false);
    }
}

/* ---- what comes back ---- */

static void on_wire(void *arg, const struct phc_event *ev) {
    event(arg, ev);
}

static void on_platform(void *arg, uint64_t order, const struct err *e) {
    struct driver *d = arg;
    struct phc_event ev = {.kind = PHC_EV_DONE, .order = order, .error = e};
    for (size_t i = 0; i < CANCELLED_MAX; i++) {
        if (order != 0 && d->cancelled[i] == order) {
            return;
        }
    }
    event(d, &ev);
}

static void simple_event(struct driver *d, enum phc_event_kind kind) {
    struct phc_event ev = {.kind = kind};
    event(d, &ev);
}

static void on_members(void *arg) {
    simple_event(arg, PHC_EV_MEMBERS);
}

static void on_primary(void *arg) {
    simple_event(arg, PHC_EV_PRIMARY);
}

static void on_deadline(void *arg) {
    simple_event(arg, PHC_EV_TIME);
}

static int64_t now_ms(void *arg) {
    return clock_mono(&clock_real) / NS_PER_MS;
}

static void random_bytes(void *arg, void *p, size_t n) {
    rng_secure(p, n);
}

static bool clock_ok(void *arg) {
    struct driver *d = arg;
    struct platform_identity id;
    return ops_of(d)->identity(d->platform, &id, NULL) == ERR_OK && id.clock_ok;
}

/* ---- the start ---- */

static enum err_code open_platform(struct driver *d, struct err *e) {
    struct platform_events ev = {.done = on_platform,
                                 .members_changed = on_members,
                                 .primary_changed = on_primary,
                                 .arg = d};
    struct platform_identity id;
    switch (d->c->platform.kind) {
    case PHC_HOOKS:
        d->platform = platform_hooks_new(d->loop, d->c, &ev);
        break;
    case PHC_LINUX_STACK:
        d->platform = platform_linux_new(
            d->loop,
            &(struct platform_linux_config){.socket = d->c->platform.socket, .state = d->c->state},
            &ev);
        break;
    case PHC_JUNOS: /* it tells who it is as soon as the device has answered */
        d->platform = platform_junos_new(d->loop, &d->c->platform.junos, d->c->state, &ev);
        return ERR_OK;
    }
    return ops_of(d)->identity(d->platform, &id, e);
}

static enum err_code load_trust(struct driver *d, struct err *e) {
    d->voucher_anchors = cms_certs_new();
    if (d->c->voucher_anchors[0] != '\0') {
        ERR_TRY(cms_certs_add_file(d->voucher_anchors, d->c->voucher_anchors, e));
    }
    if (d->c->certificate[0] != '\0') {
        ERR_TRY(cms_key_load(d->c->certificate, d->c->key, &d->device, e));
    }
    if (d->c->server_anchors[0] != '\0') { /* here, where somebody reads the error */
        struct cms_certs *anchors = cms_certs_new();
        enum err_code rc = cms_certs_add_file(anchors, d->c->server_anchors, e);
        cms_certs_free(anchors);
        return rc;
    }
    return ERR_OK;
}

static void open_wire(struct driver *d) {
    const struct phone_home_config *c = d->c;
    source_resolver(c, 0, &d->resolver);
    d->wire_config = (struct wire_config){.anchors = c->server_anchors,
                                          .certificate = c->certificate,
                                          .key = c->key,
                                          .password_file = c->password_file,
                                          .password_to_untrusted = c->password_to_untrusted,
                                          .folder = d->state.path,
                                          .connect_ms = c->connect_ms,
                                          .stall_ms = c->stall_ms,
                                          .image_max = c->image_max,
                                          .storage = &c->storage,
                                          .resolver = &d->resolver,
                                          .clock_ok = clock_ok,
                                          .done = on_wire,
                                          .arg = d};
    d->tasks = tasks_new(d->loop);
    d->wire = wire_new(d->tasks, &d->wire_config);
}

static enum err_code start(struct driver *d, struct err *e) {
    struct buf record = BUF_INIT;
    ERR_TRY(statedir_open(d->c->state, &d->state, e));
    ERR_TRY(statedir_enabled(&d->state, &d->enabled, e));
    ERR_TRY(load_trust(d, e));
    ERR_TRY(open_platform(d, e));
    open_wire(d);
    if (!d->enabled) {
        L_INFO("bootstrapping is switched off: nothing to do until the device is zeroized");
        end(d, true);
        return ERR_OK;
    }
    ERR_TRY(statedir_load(&d->state, &record, e));
    struct phc_world w = {.now_ms = now_ms,
                          .wall_s = wall_s,
                          .random = random_bytes,
                          .platform = d->platform,
                          .voucher_anchors = d->voucher_anchors,
                          .device = d->device,
                          .arg = d};
    d->engine = phc_new(&d->c->engine, &w, record.data, record.len);
    buf_free(&record);
    simple_event(d, PHC_EV_START);
    return ERR_OK;
}

enum err_code driver_new(struct loop *l, const struct driver_config *c, struct driver **out,
                         struct err *e) {
    struct driver *d = MEM_NEW(struct driver);
    d->loop = l;
    d->d = *c;
    d->c = c->c;
    d->state.lock = -1;
    d->deadline = loop_timer_new(l, on_deadline, d);
    enum err_code rc = start(d, e);
    if (rc != ERR_OK) {
        driver_free(d);
        return rc;
    }
    *out = d;
    return ERR_OK;
}

void driver_stop(struct driver *d) {
    simple_event(d, PHC_EV_STOP);
    end(d, false);
}

void driver_wake(struct driver *d) {
    simple_event(d, PHC_EV_WAKE);
}

void driver_zeroize(struct driver *d) {
    struct err e;
    if (d->engine != NULL) { /* what was under way must leave nothing behind, no record either */
        loop_timer_stop(d->deadline);
        phc_free(d->engine);
        d->engine = NULL;
    }
    if (statedir_clear(&d->state, &e) != ERR_OK) {
        not_durable(&e);
    }
    d->enabled = true;
    L_INFO("the device goes back to factory default");
    ops_of(d)->zeroize(d->platform, 0);
}

void driver_status(struct driver *d, struct buf *json) {
    struct platform_identity id;
    json_t *o = NULL;
    if (d->engine != NULL) {
        struct buf engine = BUF_INIT;
        phc_status(d->engine, &engine);
        o = json_loadb(buf_cstr(&engine), engine.len, 0, NULL);
        buf_free(&engine);
    }
    o = o != NULL ? o : json_object();
    json_object_set_new(o, "enabled", json_boolean(d->enabled));
    json_object_set_new(o, "left-to-legacy-provisioning", json_boolean(d->given_up));
    json_object_set_new(o, "platform", json_string(ops_of(d)->name));
    if (ops_of(d)->identity(d->platform, &id, NULL) == ERR_OK) {
        json_object_set_new(o, "serial-number", json_string(id.serial));
        json_object_set_new(o, "os-version", json_string(id.os_version));
    }
    char *text = json_dumps(o, JSON_INDENT(2));
    buf_str(json, text != NULL ? text : "{}");
    buf_char(json, '\n');
    free(text);
    json_decref(o);
}

void driver_free(struct driver *d) {
    if (d == NULL) {
        return;
    }
    if (d->ended) {
        loop_defer_cancel(&d->over);
    }
    loop_timer_free(d->deadline);
    if (d->engine != NULL) {
        phc_free(d->engine);
        d->engine = NULL;
    }
    tasks_free(d->tasks);
    wire_free(d->wire);
    script_cancel(d->legacy);
    if (d->platform != NULL) {
        ops_of(d)->free(d->platform);
    }
    cms_certs_free(d->voucher_anchors);
    cms_key_free(d->device);
    statedir_close(&d->state);
    mem_free(d);
}
