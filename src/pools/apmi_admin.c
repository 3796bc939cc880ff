// SPDX-License-Identifier: Apache-2.0
/*
 * ApmiAdmin: what the CLI and RESTCONF offer, for tools that speak gRPC. Callers authenticate as
 * with RESTCONF (core/http_auth.h) and need the rights of the rpcs of the same name.
 */
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/logger.h"
#include "core/rights.h"
#include "pools/apmi_server_int.h"
#include "pools/show.h"

enum { REQUEST_MAX = 4096, WATCH_QUEUE_MAX = 1 << 20 };

enum method { LIST_ENTITIES, GET_DOMAIN, LIST_ALARMS, DRAIN, ACTIVATE, RECLAIM, RELEASE };

static const struct {
    const char *name, *path;
    enum right right;
} methods[APMI_ADMIN_METHODS] = {
    [LIST_ENTITIES] = {"ListEntities", "/weft-apm:show-entity", RIGHT_READ},
    [GET_DOMAIN] = {"GetDomain", "/weft-apm:show-entity", RIGHT_READ},
    [LIST_ALARMS] = {"ListAlarms", "/weft-apm:show-alarms", RIGHT_READ},
    [DRAIN] = {"Drain", "/weft-apm:drain", RIGHT_EXEC},
    [ACTIVATE] = {"Activate", "/weft-apm:activate", RIGHT_EXEC},
    [RECLAIM] = {"Reclaim", "/weft-apm:reclaim", RIGHT_EXEC},
    [RELEASE] = {"ReleaseEntity", "/weft-apm:release-entity", RIGHT_EXEC},
};

/* One call: the request is gathered in the loop, worked in the writer, answered in the loop. */
struct admin {
    struct apmi_server *server;
    struct grpc_call *call; /* the loop's; NULL: closed */
    enum method method;
    struct actor who;
    bool asked;
    struct buf request;
    struct buf out; /* messages, each with a 32-bit length before it */
    struct err err;
};

static void admin_free(struct admin *a) {
    struct apmi_server *s = a->server;
    buf_free(&a->request);
    buf_free(&a->out);
    mem_free(a);
    apmi_server_left(s);
}

static void put_message(struct admin *a, const ProtobufCMessage *m) {
    size_t n = protobuf_c_message_get_packed_size(m);
    buf_u32(&a->out, (uint32_t)n);
    protobuf_c_message_pack(m, buf_extend(&a->out, n));
}

/* ---- in the writer ------------------------------------------------------------------------------
 */

static void list_entities(struct admin *a, struct pools *p, const Openapmi__V1__ListReq *req) {
    struct entity **all = entities_sorted(p);
    for (size_t i = 0; all[i] != NULL; i++) {
        const struct entity *en = all[i];
        if (req->entity[0] != '\0' && strcmp(req->entity, en->system_id) != 0) {
            continue;
        }
        struct domain **domains = domains_sorted(en);
        char **names = mem_alloc((en->domains.count + 1) * sizeof *names);
        Openapmi__V1__EntityInfo info = OPENAPMI__V1__ENTITY_INFO__INIT;
        for (size_t k = 0; domains[k] != NULL; k++) {
            names[info.n_domain++] = domains[k]->name;
        }
        info.system_id = en->system_id;
        info.reachable = en->session != NULL;
        info.security = (char *)(uintptr_t)security_name(en->security);
        info.version = en->version;
        info.address = en->address;
        info.domain = names;
        put_message(a, &info.base);
        mem_free(names);
        mem_free(domains);
    }
    mem_free(all);
}

static void alarm_info(struct admin *a, const struct domain *d, Openapmi__V1__AlarmType type,
                       const char *id, int64_t raised, int64_t retry, const char *info) {
    Openapmi__V1__AlarmInfo m = OPENAPMI__V1__ALARM_INFO__INIT;
    m.entity = d->entity->system_id;
    m.domain = d->name;
    m.type = type;
    m.alarm_id = (char *)(uintptr_t)id;
    m.raised_at = raised;
    m.retry_at = retry;
    m.info = (char *)(uintptr_t)info;
    put_message(a, &m.base);
}

static void domain_alarms(struct admin *a, const struct domain *d) {
    for (int i = 0; i < ALARM_TYPES; i++) {
        const struct alarm *al = d->alarms[i];
        if (al != NULL) {
            alarm_info(a, d,
                       i == ALARM_APPORTION ? OPENAPMI__V1__ALARM_TYPE__APPORTION
                                            : OPENAPMI__V1__ALARM_TYPE__RECLAIM,
                       al->id, al->first_s, al->retry_at, al->info);
        }
    }
    for (uint32_t i = 0; i < d->n_pools; i++) {
        if (d->pools[i].state == POOL_DRAINED) {
            char name[POOLS_NAME_MAX + 16];
            pool_name(d, &d->pools[i], name);
            alarm_info(a, d, OPENAPMI__V1__ALARM_TYPE__POOL_DRAINED, "", d->pools[i].since, 0,
                       name);
        }
    }
}

static void list_alarms(struct admin *a, struct pools *p, const Openapmi__V1__ListReq *req) {
    for (uint32_t i = 0; i < p->n_domains; i++) {
        const struct domain *d = p->domains[i];
        if (d != NULL && (req->entity[0] == '\0' || !strcmp(req->entity, d->entity->system_id)) &&
            (req->domain[0] == '\0' || strcmp(req->domain, d->name) == 0)) {
            domain_alarms(a, d);
        }
    }
}

static Openapmi__V1__PoolState wire_state(uint8_t state) {
    return state == POOL_DRAINED || state == POOL_REMOVING ? OPENAPMI__V1__POOL_STATE__DRAINED
           : state == POOL_DRAIN || state == POOL_DRAIN_SET || state == POOL_CONFLICT
               ? OPENAPMI__V1__POOL_STATE__DRAINING
               : OPENAPMI__V1__POOL_STATE__ACTIVE;
}

static enum err_code get_domain(struct admin *a, struct pools *p,
                                const Openapmi__V1__DomainKey *key, struct err *e) {
    const struct entity *en = pools_entity(p, key->entity);
    const struct domain *d = en ? entity_domain(en, key->domain) : NULL;
    if (d == NULL) {
        return err_set(e, ERR_ABSENT, NULL, "There is no such entity or domain.");
    }
    struct arena *ar = arena_new();
    Openapmi__V1__Pool **pools = arena_alloc(ar, (d->n_pools + 1) * sizeof *pools);
    for (uint32_t i = 0; i < d->n_pools; i++) {
        const struct pool *po = &d->pools[i];
        char name[POOLS_NAME_MAX + 16];
        Openapmi__V1__Pool *m = arena_alloc(ar, sizeof *m);
        Openapmi__V1__Prefix *px = arena_alloc(ar, sizeof *px);
        struct ip_addr *addr = arena_alloc(ar, sizeof *addr);
        openapmi__v1__pool__init(m);
        openapmi__v1__prefix__init(px);
        pool_name(d, po, name);
        *addr = po->prefix.addr;
        px->af = d->family == 6 ? OPENAPMI__V1__ADDRESS_FAMILY__IPV6
                                : OPENAPMI__V1__ADDRESS_FAMILY__IPV4;
        px->address = (ProtobufCBinaryData){d->family == 6 ? 16 : 4, addr->bytes};
        px->length = po->prefix.len;
        m->name = arena_strdup(ar, name);
        m->prefix = px;
        m->total = po->total;
        m->used = po->used;
        m->state = wire_state(po->state);
        pools[i] = m;
    }
    Openapmi__V1__Thresholds th;
    domain_thresholds(p, d, &th);
    Openapmi__V1__DomainInfo info = OPENAPMI__V1__DOMAIN_INFO__INIT;
    info.entity = en->system_id;
    info.domain = d->name;
    info.partition = d->partition->name;
    info.free = d->free;
    info.total = d->total;
    info.thresholds = &th;
    info.n_pool = d->n_pools;
    info.pool = pools;
    info.af =
        d->family == 6 ? OPENAPMI__V1__ADDRESS_FAMILY__IPV6 : OPENAPMI__V1__ADDRESS_FAMILY__IPV4;
    info.delegated_length = d->unit != ip_bits(d->family) ? d->unit : 0;
    info.allocations = d->stats.allocations;
    info.reclamations = d->stats.reclamations;
    enum err_code rc = ERR_OK;
    if (protobuf_c_message_get_packed_size(&info.base) > GRPC_MESSAGE_MAX) {
        rc = err_set(e, ERR_TOO_BIG, NULL, "The domain has too many pools for one message.");
    } else {
        put_message(a, &info.base);
    }
    arena_free(ar);
    return rc;
}

static enum err_code operate(struct admin *a, struct pools *p, struct txn *t, struct err *e) {
    struct buf text = BUF_INIT;
    enum err_code rc = err_set(e, ERR_MALFORMED, NULL, "The request can't be read.");
    const uint8_t *bytes = (const uint8_t *)buf_cstr(&a->request);
    if (a->method == RELEASE) {
        uint32_t n;
        Openapmi__V1__EntityRef *r = openapmi__v1__entity_ref__unpack(NULL, a->request.len, bytes);
        if (r != NULL) {
            rc = pools_release(p, t, r->entity, &n, &text, e);
            openapmi__v1__entity_ref__free_unpacked(r, NULL);
        }
    } else {
        Openapmi__V1__PoolRef *r = openapmi__v1__pool_ref__unpack(NULL, a->request.len, bytes);
        if (r != NULL) {
            rc = a->method == DRAIN
                     ? pools_drain(p, t, r->entity, r->domain, r->pool, r->force, &text, e)
                 : a->method == ACTIVATE
                     ? pools_activate(p, t, r->entity, r->domain, r->pool, &text, e)
                     : pools_reclaim(p, t, r->entity, r->domain, r->pool, r->force, &text, e);
            openapmi__v1__pool_ref__free_unpacked(r, NULL);
        }
    }
    if (rc == ERR_OK) {
        Openapmi__V1__OpResult res = OPENAPMI__V1__OP_RESULT__INIT;
        Openapmi__V1__Status st = OPENAPMI__V1__STATUS__INIT;
        res.status = &st;
        res.text = (char *)(uintptr_t)buf_cstr(&text);
        put_message(a, &res.base);
    }
    buf_free(&text);
    return rc;
}

static enum err_code admin_work(struct txn *t, void *arg, struct err *e) {
    struct admin *a = arg;
    struct pools *p = core_service_state(txn_core(t), "pools");
    const uint8_t *bytes = (const uint8_t *)buf_cstr(&a->request);
    ERR_TRY(
        rights_check(txn_snap(t), &a->who, methods[a->method].right, methods[a->method].path, e));
    if (a->method >= DRAIN) {
        ERR_TRY(core_maintenance_refusal(txn_core(t), e));
        return operate(a, p, t, e);
    }
    if (a->method == GET_DOMAIN) {
        Openapmi__V1__DomainKey *k = openapmi__v1__domain_key__unpack(NULL, a->request.len, bytes);
        if (k == NULL) {
            return err_set(e, ERR_MALFORMED, NULL, "The request can't be read.");
        }
        enum err_code rc = get_domain(a, p, k, e);
        openapmi__v1__domain_key__free_unpacked(k, NULL);
        return rc;
    }
    Openapmi__V1__ListReq *r = openapmi__v1__list_req__unpack(NULL, a->request.len, bytes);
    if (r == NULL) {
        return err_set(e, ERR_MALFORMED, NULL, "The request can't be read.");
    }
    if (a->method == LIST_ENTITIES) {
        list_entities(a, p, r);
    } else {
        list_alarms(a, p, r);
    }
    openapmi__v1__list_req__free_unpacked(r, NULL);
    return ERR_OK;
}

/* ---- in the loop --------------------------------------------------------------------------------
 */

static void admin_answer(void *arg) {
    struct admin *a = arg;
    if (a->call != NULL) {
        struct cur c = cur_of(a->out.data, a->out.len);
        bool ok = a->err.code == ERR_OK;
        while (ok && cur_left(&c) > 0) {
            uint32_t n = cur_u32(&c);
            ok = grpc_send(a->call, cur_bytes(&c, n), n) != SIZE_MAX;
        }
        if (a->err.code != ERR_OK) {
            grpc_finish_err(a->call, &a->err);
        } else if (!ok) {
            grpc_finish(a->call, GRPC_RESOURCE_EXHAUSTED, "the list is too long to be queued");
        } else {
            grpc_finish(a->call, GRPC_OK, "");
        }
        grpc_set_ops(a->call, NULL, NULL);
    }
    admin_free(a);
}

static void admin_done(void *arg, uint64_t index, const struct err *e) {
    struct admin *a = arg;
    a->err.code = ERR_OK;
    if (e != NULL) {
        a->err = *e;
    }
    loop_post(a->server->cfg.loop, admin_answer, a);
}

static void on_message(struct grpc_call *call, const uint8_t *p, size_t n, void *arg) {
    struct admin *a = arg;
    if (n > REQUEST_MAX) {
        grpc_finish(call, GRPC_RESOURCE_EXHAUSTED, "the request is too long");
        return;
    }
    buf_clear(&a->request);
    buf_add(&a->request, p, n);
}

static void on_half_closed(struct grpc_call *call, void *arg) {
    struct admin *a = arg;
    if (!a->asked) {
        a->asked = true;
        core_run(a->server->cfg.core, &a->who, admin_work, admin_done, a);
    }
}

static void on_closed(struct grpc_call *call, enum grpc_code status, const char *message,
                      void *arg) {
    struct admin *a = arg;
    a->call = NULL;
    if (!a->asked) {
        admin_free(a);
    }
}

static const struct grpc_call_ops admin_ops = {
    .message = on_message, .half_closed = on_half_closed, .closed = on_closed};

static void on_call(struct grpc_call *call, void *arg) {
    struct binding *b = arg;
    if (b->server->refusal != NULL) {
        grpc_finish_err(call, b->server->refusal);
        return;
    }
    struct admin *a = MEM_NEW(struct admin);
    a->server = b->server;
    a->call = call;
    a->method = (enum method)b->method;
    a->who = *b->server->caller;
    b->server->open++;
    grpc_set_ops(call, &admin_ops, a);
}

/* ---- Watch --------------------------------------------------------------------------------------
 */

/* A stream of events until the caller leaves. When it does not keep up it is told so and ended: it
 * begins anew with a look at the state. */
struct watch {
    struct apmi_server *server;
    struct grpc_call *call;
    struct actor who;
    uint64_t handle;
    bool started;
    _Atomic unsigned refs; /* the call's, and one for each event on its way */
};

struct watched {
    struct watch *w;
    size_t n;
    uint8_t bytes[];
};

static void watch_release(struct watch *w) {
    if (--w->refs == 0) {
        struct apmi_server *s = w->server;
        mem_free(w);
        apmi_server_left(s);
    }
}

static void watch_send(void *arg) {
    struct watched *e = arg;
    struct watch *w = e->w;
    if (w->call != NULL) {
        size_t queued = grpc_send(w->call, e->bytes, e->n);
        if (queued > WATCH_QUEUE_MAX) {
            grpc_finish(w->call, GRPC_RESOURCE_EXHAUSTED, "events are not read fast enough");
        }
    }
    mem_free(e);
    watch_release(w);
}

static void on_event(const struct event *ev, void *arg) {
    struct watch *w = arg;
    if (strncmp(ev->name, "weft-apm:", 9) != 0 && strcmp(ev->name, "resync") != 0) {
        return;
    }
    Openapmi__V1__Event m = OPENAPMI__V1__EVENT__INIT;
    m.time = ev->time_s;
    m.name = (char *)(uintptr_t)ev->name;
    m.json = (char *)(uintptr_t)(ev->json ? ev->json : "");
    size_t n = openapmi__v1__event__get_packed_size(&m);
    struct watched *e = mem_alloc(sizeof *e + n);
    e->w = w;
    e->n = n;
    openapmi__v1__event__pack(&m, e->bytes);
    w->refs++;
    loop_post(w->server->cfg.loop, watch_send, e);
}

static void watch_half_closed(struct grpc_call *call, void *arg) {
    struct watch *w = arg;
    struct snap *snap = core_snapshot(w->server->cfg.core);
    struct err e;
    enum err_code rc = rights_check(snap, &w->who, RIGHT_READ, "/weft-apm:show-alarms", &e);
    snap_release(snap);
    if (rc != ERR_OK) {
        grpc_finish_err(call, &e);
    } else if (!w->started) {
        w->started = true;
        w->handle = core_subscribe(w->server->cfg.core, 0, on_event, w);
    }
}

static void watch_closed(struct grpc_call *call, enum grpc_code status, const char *message,
                         void *arg) {
    struct watch *w = arg;
    w->call = NULL;
    if (w->started) {
        core_unsubscribe(w->server->cfg.core, w->handle);
    }
    watch_release(w);
}

static const struct grpc_call_ops watch_ops = {.half_closed = watch_half_closed,
                                               .closed = watch_closed};

static void on_watch(struct grpc_call *call, void *arg) {
    struct apmi_server *s = arg;
    if (s->refusal != NULL) {
        grpc_finish_err(call, s->refusal);
        return;
    }
    struct watch *w = MEM_NEW(struct watch);
    w->server = s;
    w->call = call;
    w->who = *s->caller;
    w->refs = 1;
    s->open++;
    grpc_set_ops(call, &watch_ops, w);
}

void apmi_admin_register(struct apmi_server *s) {
    for (int i = 0; i < APMI_ADMIN_METHODS; i++) {
        char path[80];
        struct binding *b = &s->bindings[i];
        *b = (struct binding){s, i};
        snprintf(path, sizeof path, "/openapmi.v1.ApmiAdmin/%s", methods[i].name);
        grpc_register(s->grpc, path, on_call, b);
    }
    grpc_register(s->grpc, "/openapmi.v1.ApmiAdmin/Watch", on_watch, s);
}
