// SPDX-License-Identifier: Apache-2.0
/* The engine's durable state as JSON documents: "meta", and "domain/NAME" for each domain. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/text.h"
#include "bng/engine_int.h"

LOGGER_MODULE(store)

enum { STORE_VERSION = 1 };

static const char *const phase_name[BNG_PHASES] = {
    "add-route", "add-dhcp", "active",      "drain-set",    "undrain",
    "draining",  "drained",  "remove-dhcp", "remove-route",
};

json_t *bng_store_meta(const struct bng_engine *e) {
    return json_pack("{s:i, s:I, s:I}", "version", (int)STORE_VERSION, "boot-epoch",
                     (json_int_t)e->boot_epoch, "next-subnet-id", (json_int_t)e->next_subnet_id);
}

static json_t *store_alarm(const struct bng_alarm *a) {
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:s}", "id", a->id, "attempt",
                     (json_int_t)a->attempt, "raised-at", (json_int_t)a->raised_at, "retry-at",
                     (json_int_t)a->retry_at, "free-sent", (json_int_t)a->free_sent, "pool",
                     a->pool);
}

json_t *bng_store_domain(const struct bng_domain *d) {
    json_t *pools = json_array(), *alarms = json_object();
    for (size_t i = 0; i < d->n_pools; i++) {
        const struct bng_pool *p = d->pools[i];
        char text[IP_TEXT_MAX];
        json_array_append_new(
            pools, json_pack("{s:s, s:s, s:I, s:s, s:b, s:b, s:s}", "name", p->name, "prefix",
                             ip_prefix_format(&p->prefix, text), "subnet-id",
                             (json_int_t)p->subnet_id, "phase", phase_name[p->phase], "local",
                             p->local, "unmanaged", p->unmanaged, "refused", p->refused));
    }
    for (unsigned k = 0; k < BNG_ALARM_KINDS; k++) {
        if (d->alarm[k].raised) {
            json_object_set_new(alarms, bng_alarm_kind_name((enum bng_alarm_kind)k),
                                store_alarm(&d->alarm[k]));
        }
    }
    return json_pack("{s:i, s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:o, s:o}", "version",
                     (int)STORE_VERSION, "profile", d->profile->name, "absent",
                     d->state == BNG_DOMAIN_ABSENT, "has-thresholds", d->has_thresholds,
                     "apportion", (json_int_t)d->apportion, "reclaim", (json_int_t)d->reclaim,
                     "hold-down", (json_int_t)d->hold_down_s, "local-seq", (json_int_t)d->local_seq,
                     "alarms", alarms, "pools", pools);
}

static json_int_t get_int(const json_t *o, const char *key) {
    json_int_t v = json_integer_value(json_object_get(o, key));
    return v > 0 ? v : 0;
}

static void get_str(const json_t *o, const char *key, char *out, size_t n) {
    const char *s = json_string_value(json_object_get(o, key));
    snprintf(out, n, "%s", s != NULL ? s : "");
}

static enum err_code load_pool(struct bng_domain *d, const json_t *o, struct err *err) {
    struct bng_engine *e = d->engine;
    const char *prefix = json_string_value(json_object_get(o, "prefix"));
    const char *phase = json_string_value(json_object_get(o, "phase"));
    struct bng_pool *p = MEM_NEW(struct bng_pool);
    if (prefix == NULL || ip_prefix_parse(prefix, &p->prefix, err) != ERR_OK ||
        p->prefix.addr.family != d->profile->family) {
        mem_free(p);
        return err_set(err, ERR_INVALID, d->name,
                       "a stored pool has no IPv%u prefix; the profile may have another "
                       "address-family than before",
                       d->profile->family);
    }
    p->domain = d;
    get_str(o, "name", p->name, sizeof p->name);
    get_str(o, "refused", p->refused, sizeof p->refused);
    p->subnet_id = (uint32_t)get_int(o, "subnet-id");
    p->local = json_is_true(json_object_get(o, "local"));
    p->unmanaged = json_is_true(json_object_get(o, "unmanaged"));
    p->phase = BNG_PHASES;
    for (unsigned i = 0; i < BNG_PHASES; i++) {
        if (phase != NULL && strcmp(phase, phase_name[i]) == 0) {
            p->phase = (enum bng_phase)i;
        }
    }
    if (p->phase == BNG_PHASES || p->name[0] == '\0' || p->subnet_id == 0 ||
        bng_find_subnet(e, p->subnet_id) != NULL) {
        mem_free(p);
        return err_set(err, ERR_INVALID, d->name,
                       "a stored pool lacks name, phase or a subnet id of its own");
    }
    if (p->phase == BNG_DRAINED) {
        p->phase = BNG_DRAINING; /* counted anew before it is believed */
    }
    p->gen = e->generation;
    p->total = bng_profile_total(d->profile, &p->prefix);
    d->pools = mem_array(d->pools, d->n_pools + 1, sizeof(struct bng_pool *));
    d->pools[d->n_pools++] = p;
    map_put_n(&e->subnets, &p->subnet_id, sizeof p->subnet_id, p);
    if (p->subnet_id >= e->next_subnet_id) {
        e->next_subnet_id = p->subnet_id + 1;
    }
    return ERR_OK;
}

static enum err_code load_domain(struct bng_engine *e, const char *name, const json_t *doc,
                                 struct err *err) {
    char profile[BNG_PART_NAME_MAX + 1];
    const struct bng_profile *found = NULL;
    get_str(doc, "profile", profile, sizeof profile);
    for (size_t i = 0; i < e->settings.n_profiles; i++) {
        char domain[BNG_DOMAIN_NAME_MAX + 1];
        bng_domain_name(&e->settings.profiles[i], domain);
        if (strcmp(domain, name) == 0) {
            found = &e->settings.profiles[i];
        }
    }
    const json_t *pools = json_object_get(doc, "pools"), *alarms = json_object_get(doc, "alarms");
    if (found == NULL) {
        if (json_array_size(pools) == 0) {
            L_INFO("domain %s has no profile any more and no pools: forgotten", name);
            return ERR_OK;
        }
        return err_set(err, ERR_REFERENCE, name,
                       "this domain has %zu %s, but the configuration has no profile %s for it "
                       "any more: put it back, or drain its pools first",
                       json_array_size(pools), text_plural(json_array_size(pools), "pool", "pools"),
                       profile);
    }
    struct bng_domain *d = bng_add_domain(e, found);
    if (json_is_true(json_object_get(doc, "absent"))) {
        d->state = BNG_DOMAIN_ABSENT;
    }
    d->has_thresholds = json_is_true(json_object_get(doc, "has-thresholds"));
    d->apportion = (uint64_t)get_int(doc, "apportion");
    d->reclaim = (uint64_t)get_int(doc, "reclaim");
    d->hold_down_s = (uint32_t)get_int(doc, "hold-down");
    d->local_seq = (uint32_t)get_int(doc, "local-seq");
    for (unsigned k = 0; k < BNG_ALARM_KINDS; k++) {
        const json_t *o = json_object_get(alarms, bng_alarm_kind_name((enum bng_alarm_kind)k));
        if (o != NULL) {
            struct bng_alarm *a = &d->alarm[k];
            a->raised = true;
            get_str(o, "id", a->id, sizeof a->id);
            get_str(o, "pool", a->pool, sizeof a->pool);
            a->attempt = (uint32_t)get_int(o, "attempt");
            a->raised_at = get_int(o, "raised-at");
            a->retry_at = get_int(o, "retry-at");
            a->free_sent = (uint64_t)get_int(o, "free-sent");
        }
    }
    for (size_t i = 0; i < json_array_size(pools); i++) {
        ERR_TRY(load_pool(d, json_array_get(pools, i), err));
    }
    return ERR_OK;
}

enum err_code bng_engine_load(struct bng_engine *e, const char *key, const json_t *doc,
                              struct err *err) {
    if (get_int(doc, "version") != STORE_VERSION) {
        return err_set(err, ERR_UNSUPPORTED, key,
                       "stored with version %" JSON_INTEGER_FORMAT ", this program reads %d",
                       get_int(doc, "version"), (int)STORE_VERSION);
    }
    if (strcmp(key, "meta") == 0) {
        e->boot_epoch = (uint64_t)get_int(doc, "boot-epoch");
        uint32_t next = (uint32_t)get_int(doc, "next-subnet-id");
        e->next_subnet_id = next > e->next_subnet_id ? next : e->next_subnet_id;
        return ERR_OK;
    }
    if (strncmp(key, "domain/", 7) == 0) {
        return load_domain(e, key + 7, doc, err);
    }
    return err_set(err, ERR_UNKNOWN, key, "not a document of this program");
}
