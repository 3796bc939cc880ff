// SPDX-License-Identifier: Apache-2.0
/*
 * Prefixes that an entity could not take, such as one where its DHCP server has a subnet of its
 * own. They are free, and being free they would be the first choice for the next alarm of the same
 * entity, and of the next, while others wait beside them. So each entity's are left out of its own
 * choices for a while. Volatile: after a restart, and in a new session, it may be asked once more.
 */
#include "pools/internal.h"

/* Stands for no domain: ids of domains never get there. */
static const prefix_owner nobody = UINT64_MAX;

struct refused {
    struct list link; /* in entity.refused, oldest first */
    struct ip_prefix prefix;
    int64_t until_s;
};

static void forget(struct entity *en, struct refused *r) {
    list_remove(&r->link);
    mem_free(r);
    en->n_refused--;
}

void entity_refused_clear(struct entity *en) {
    LIST_FOREACH_SAFE (l, &en->refused) {
        forget(en, CONTAINER_OF(l, struct refused, link));
    }
}

void entity_refuses(struct entity *en, const struct ip_prefix *px, int64_t now_s) {
    LIST_FOREACH_SAFE (l, &en->refused) {
        struct refused *r = CONTAINER_OF(l, struct refused, link);
        if (ip_prefix_eq(&r->prefix, px) || r->until_s <= now_s) {
            forget(en, r);
        }
    }
    if (en->n_refused == POOLS_REFUSED_MAX) {
        forget(en, CONTAINER_OF(en->refused.next, struct refused, link));
    }
    struct refused *r = MEM_NEW(struct refused);
    r->prefix = *px;
    r->until_s = now_s + POOLS_REFUSED_S;
    list_append(&en->refused, &r->link);
    en->n_refused++;
}

size_t entity_refused_hide(const struct entity *en, struct partition *pt, prefix_tag tag,
                           int64_t now_s, struct ip_prefix hidden[POOLS_REFUSED_MAX]) {
    size_t n = 0;
    LIST_FOREACH (l, &en->refused) {
        const struct refused *r = CONTAINER_OF(l, struct refused, link);
        if (r->until_s > now_s &&
            prefix_tree_allocate_exact(pt->tree, &r->prefix, tag, nobody, NULL, NULL) == ERR_OK) {
            hidden[n++] = r->prefix;
        }
    }
    return n;
}

void entity_refused_unhide(struct partition *pt, const struct ip_prefix *hidden, size_t n) {
    for (size_t i = 0; i < n; i++) {
        prefix_tree_release(pt->tree, &hidden[i], NULL, NULL, NULL);
    }
}

void entity_refused_text(const struct entity *en, const struct partition *pt, int64_t now_s,
                         struct buf *out) {
    LIST_FOREACH (l, &en->refused) {
        const struct refused *r = CONTAINER_OF(l, struct refused, link);
        struct prefix_info info;
        char text[IP_TEXT_MAX];
        if (r->until_s > now_s && pt->tree != NULL &&
            prefix_tree_lookup(pt->tree, &r->prefix, &info) == PREFIX_AVAILABLE) {
            buf_printf(out, "%s%s", out->len > 0 ? ", " : "", ip_prefix_format(&r->prefix, text));
        }
    }
}
