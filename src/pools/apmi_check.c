// SPDX-License-Identifier: Apache-2.0
#include "pools/apmi_check.h"

#include <string.h>

#include "base/ip.h"
#include "pools/apmi.h"
#include "pools/internal.h"

typedef Openapmi__V1__EntityMsg entity_msg;

/* What people may have written is not refused for its form, only made fit for a terminal. */
static enum err_code text(char *s, size_t max, const char *what, struct err *e) {
    size_t n = strnlen(s, max + 1);
    if (n > max) {
        return err_set(e, ERR_TOO_BIG, NULL, "%s has at most %zu characters", what, max);
    }
    for (size_t i = 0; i < n; i++) {
        if (s[i] < ' ' || s[i] > '~') {
            s[i] = '?';
        }
    }
    return ERR_OK;
}

/* Printable ASCII, no blanks at the ends: what weft-types calls a label. */
static enum err_code label(const char *s, size_t min, size_t max, const char *what, struct err *e) {
    size_t n = strnlen(s, max + 1);
    if (n < min || n > max) {
        return err_set(e, ERR_INVALID, NULL, "%s has %zu to %zu characters", what, min, max);
    }
    for (size_t i = 0; i < n; i++) {
        bool edge = i == 0 || i == n - 1;
        if (s[i] < (edge ? '!' : ' ') || s[i] > '~') {
            return err_set(e, ERR_INVALID, NULL, "%s is printable ASCII without blanks at the ends",
                           what);
        }
    }
    return ERR_OK;
}

static enum err_code system_id(const char *s, struct err *e) {
    ERR_TRY(label(s, 1, POOLS_SYSTEM_ID_MAX, "a system id", e));
    if (strchr(s, ' ') != NULL) {
        return err_set(e, ERR_INVALID, NULL, "a system id has no blanks");
    }
    return ERR_OK;
}

/* A partition's name may contain nothing that its own definition would refuse. */
static enum err_code partition_name(const char *s, bool required, struct err *e) {
    ERR_TRY(label(s, required ? 1 : 0, 63, "a partition name", e));
    for (size_t i = 0; s[i] != '\0'; i++) {
        char c = s[i];
        bool word =
            (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
        if (!word && (i == 0 || (c != '.' && c != '-'))) {
            return err_set(e, ERR_INVALID, NULL,
                           "a partition name is made of letters, digits, _, dots and dashes");
        }
    }
    return ERR_OK;
}

/* Which family a domain is of only the session knows: it looks again. */
static enum err_code prefix_length(uint32_t len, unsigned most, struct err *e) {
    if (len > most) {
        return err_set(e, ERR_INVALID, NULL, "a preferred length is at most %u", most);
    }
    return ERR_OK;
}

static enum err_code family(Openapmi__V1__AddressFamily af, uint32_t delegated, struct err *e) {
    if (af != OPENAPMI__V1__ADDRESS_FAMILY__AF_UNSPECIFIED &&
        af != OPENAPMI__V1__ADDRESS_FAMILY__IPV4 && af != OPENAPMI__V1__ADDRESS_FAMILY__IPV6) {
        return err_set(e, ERR_INVALID, NULL, "the address family is unknown");
    }
    if (delegated > 127 || (delegated > 0 && af != OPENAPMI__V1__ADDRESS_FAMILY__IPV6)) {
        return err_set(e, ERR_INVALID, NULL,
                       "delegated_length is 0 to 127, and 0 unless the family is IPv6");
    }
    return ERR_OK;
}

static enum err_code pool(const Openapmi__V1__Pool *p, struct err *e) {
    ERR_TRY(label(p->name, 1, POOLS_NAME_MAX, "a pool name", e));
    const Openapmi__V1__Prefix *px = p->prefix;
    bool wide = px != NULL && px->af == OPENAPMI__V1__ADDRESS_FAMILY__IPV6;
    if ((!wide && p->total > UINT32_MAX) || p->used > p->total) {
        return err_set(e, ERR_INVALID, NULL, "pool %s: used is above total, or total above 2^32",
                       p->name);
    }
    if (p->local) {
        return ERR_OK; /* whatever it is, it is not ours */
    }
    struct ip_prefix check = {.addr.family = wide ? 6 : 4};
    if (px == NULL || (!wide && px->af != OPENAPMI__V1__ADDRESS_FAMILY__IPV4) ||
        px->address.len != (wide ? 16 : 4) || px->length < 1 ||
        px->length > ip_bits(check.addr.family)) {
        return err_set(e, ERR_INVALID, NULL, "pool %s has no IPv4 or IPv6 prefix", p->name);
    }
    memcpy(check.addr.bytes, px->address.data, px->address.len);
    check.len = (uint8_t)px->length;
    if (!ip_prefix_aligned(&check)) {
        return err_set(e, ERR_INVALID, NULL, "the prefix of pool %s has host bits set", p->name);
    }
    return ERR_OK;
}

static enum err_code hello(const Openapmi__V1__Hello *h, struct err *e) {
    ERR_TRY(system_id(h->system_id, e));
    ERR_TRY(text(h->software, 255, "the software's name", e));
    ERR_TRY(label(h->address, 0, 64, "the address", e));
    if (h->kind != OPENAPMI__V1__HELLO__KIND__BNG && h->kind != OPENAPMI__V1__HELLO__KIND__CPI &&
        h->kind != OPENAPMI__V1__HELLO__KIND__KIND_UNSPECIFIED) {
        return err_set(e, ERR_INVALID, NULL, "the kind of the entity is unknown");
    }
    return ERR_OK;
}

static enum err_code pool_sync(const Openapmi__V1__PoolSync *ps, struct err *e) {
    ERR_TRY(label(ps->domain, 1, POOLS_DOMAIN_NAME_MAX, "a domain name", e));
    ERR_TRY(partition_name(ps->partition, false, e));
    ERR_TRY(prefix_length(ps->preferred_length, ip_bits(6), e));
    ERR_TRY(family(ps->af, ps->delegated_length, e));
    if (ps->digest.len != 0 && ps->digest.len != 32) {
        return err_set(e, ERR_INVALID, NULL, "a digest has 32 bytes");
    }
    for (size_t i = 0; i < ps->n_pool; i++) {
        ERR_TRY(pool(ps->pool[i], e));
    }
    return ERR_OK;
}

static enum err_code create_domain(const Openapmi__V1__CreateDomain *cd, struct err *e) {
    ERR_TRY(label(cd->domain, 1, POOLS_DOMAIN_NAME_MAX, "a domain name", e));
    ERR_TRY(label(cd->domain_profile, 0, POOLS_NAME_MAX, "a domain profile", e));
    ERR_TRY(label(cd->subscriber_group, 0, POOLS_NAME_MAX, "a subscriber group", e));
    ERR_TRY(label(cd->routing_instance, 0, POOLS_NAME_MAX, "a routing instance", e));
    ERR_TRY(partition_name(cd->partition, true, e));
    ERR_TRY(family(cd->af, cd->delegated_length, e));
    bool six = cd->af == OPENAPMI__V1__ADDRESS_FAMILY__IPV6;
    return prefix_length(cd->preferred_length, ip_bits(six ? 6 : 4), e);
}

static enum err_code alarm(const Openapmi__V1__Alarm *a, struct err *e) {
    ERR_TRY(label(a->alarm_id, 1, 64, "an alarm id", e));
    ERR_TRY(label(a->domain, 1, POOLS_DOMAIN_NAME_MAX, "a domain name", e));
    ERR_TRY(prefix_length(a->preferred_length, ip_bits(6), e));
    if (a->type < OPENAPMI__V1__ALARM_TYPE__APPORTION ||
        a->type > OPENAPMI__V1__ALARM_TYPE__ABATE) {
        return err_set(e, ERR_INVALID, NULL, "the type of alarm %s is unknown", a->alarm_id);
    }
    for (size_t i = 0; i < a->n_candidate_pool; i++) {
        ERR_TRY(label(a->candidate_pool[i], 1, POOLS_NAME_MAX, "a pool name", e));
    }
    if (a->type == OPENAPMI__V1__ALARM_TYPE__POOL_DRAINED && a->n_candidate_pool != 1) {
        return err_set(e, ERR_INVALID, NULL, "a pool-drained alarm names exactly one pool");
    }
    for (size_t i = 0; i < a->n_abated; i++) {
        ERR_TRY(label(a->abated[i], 1, 64, "an alarm id", e));
    }
    if (a->raised_at < 0 || a->raised_at > INT64_C(253402300799)) {
        return err_set(e, ERR_INVALID, NULL, "raised_at is not a time");
    }
    return ERR_OK;
}

static enum err_code body(const entity_msg *m, struct err *e) {
    switch (m->body_case) {
    case OPENAPMI__V1__ENTITY_MSG__BODY_HELLO:
        return hello(m->hello, e);
    case OPENAPMI__V1__ENTITY_MSG__BODY_DOMAIN_SYNC:
        for (size_t i = 0; i < m->domain_sync->n_domain; i++) {
            ERR_TRY(label(m->domain_sync->domain[i], 1, POOLS_DOMAIN_NAME_MAX, "a domain name", e));
        }
        return ERR_OK;
    case OPENAPMI__V1__ENTITY_MSG__BODY_POOL_SYNC:
        return pool_sync(m->pool_sync, e);
    case OPENAPMI__V1__ENTITY_MSG__BODY_CREATE_DOMAIN:
        return create_domain(m->create_domain, e);
    case OPENAPMI__V1__ENTITY_MSG__BODY_DELETE_DOMAIN:
        return label(m->delete_domain->domain, 1, POOLS_DOMAIN_NAME_MAX, "a domain name", e);
    case OPENAPMI__V1__ENTITY_MSG__BODY_ALARM:
        return alarm(m->alarm, e);
    case OPENAPMI__V1__ENTITY_MSG__BODY_ORDER_RESULT:
        ERR_TRY(label(m->order_result->order_id, 1, 128, "an order id", e));
        if (m->order_result->status != NULL) {
            ERR_TRY(text(m->order_result->status->text, 512, "the text of a status", e));
        }
        return m->order_result->pool == NULL
                   ? ERR_OK
                   : label(m->order_result->pool->name, 0, POOLS_NAME_MAX, "a pool name", e);
    case OPENAPMI__V1__ENTITY_MSG__BODY_STATS:
        ERR_TRY(label(m->stats->domain, 1, POOLS_DOMAIN_NAME_MAX, "a domain name", e));
        for (size_t i = 0; i < m->stats->n_pool; i++) {
            ERR_TRY(label(m->stats->pool[i]->name, 1, POOLS_NAME_MAX, "a pool name", e));
        }
        return ERR_OK;
    case OPENAPMI__V1__ENTITY_MSG__BODY_SYNC_DONE:
    case OPENAPMI__V1__ENTITY_MSG__BODY_PING:
        return ERR_OK;
    default:
        return err_set(e, ERR_INVALID, NULL, "the message has no body that is known here");
    }
}

entity_msg *apmi_check(const void *p, size_t n, struct err *e) {
    if (n > APMI_MESSAGE_MAX) {
        err_set(e, ERR_TOO_BIG, NULL, "a message has at most %d bytes", APMI_MESSAGE_MAX);
        return NULL;
    }
    entity_msg *m = openapmi__v1__entity_msg__unpack(NULL, n, p);
    if (m == NULL) {
        err_set(e, ERR_MALFORMED, NULL, "the bytes are not an EntityMsg");
        return NULL;
    }
    enum err_code rc =
        m->msg_id == 0 ? err_set(e, ERR_INVALID, NULL, "msg_id is not 0 (P-13)") : body(m, e);
    if (rc != ERR_OK) {
        openapmi__v1__entity_msg__free_unpacked(m, NULL);
        return NULL;
    }
    return m;
}
