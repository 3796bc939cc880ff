// SPDX-License-Identifier: Apache-2.0
/* How a session begins (P-01, P-02), and which controller it is with (P-24). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "pools/apmi_session_int.h"

LOGGER_MODULE(apmi);

static void hello_refuse(struct pools *p, struct txn *t, struct apmi_session *s, uint64_t msg_id,
                         int code, const char *text) {
    manager_msg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    Openapmi__V1__HelloAck ack = OPENAPMI__V1__HELLO_ACK__INIT;
    Openapmi__V1__Status st = OPENAPMI__V1__STATUS__INIT;
    st.code = (uint32_t)code;
    st.text = (char *)(uintptr_t)text;
    ack.status = &st;
    ack.version = APMI_VERSION;
    m.in_reply_to = msg_id;
    m.body_case = OPENAPMI__V1__MANAGER_MSG__BODY_HELLO_ACK;
    m.hello_ack = &ack;
    p->stats.refused_sessions++;
    L_WARN_RL(10, "session from %s is refused: %s", s->peer.source, text);
    apmi_send(t, s, &m);
    apmi_end(t, s, code, text);
}

static uint8_t security_of(const struct apmi_session *s) {
    if (!s->peer.tls) {
        return SECURITY_CLEAR;
    }
    return s->peer.verified ? SECURITY_MUTUAL : SECURITY_TLS;
}

const char *apmi_node(struct pools *p, const struct apmi_session *s) {
    if (s->peer.via[0] == '\0') {
        struct core_turn t; /* an entity has a session where this node leads, and nowhere else */
        core_turn(p->core, &t);
        snprintf(p->node, sizeof p->node, "%s", t.shared ? t.leader : "");
        return p->node;
    }
    return s->peer.via;
}

bool apmi_can_move(const struct apmi_session *s) {
    return s->can_move;
}

const char *apmi_moving_to(const struct apmi_session *s) {
    return s->moving;
}

void apmi_move(struct apmi_session *s, const char *node) {
    manager_msg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    Openapmi__V1__Move mv = OPENAPMI__V1__MOVE__INIT;
    snprintf(s->moving, sizeof s->moving, "%s", node);
    mv.node = s->moving;
    m.body_case = OPENAPMI__V1__MANAGER_MSG__BODY_MOVE;
    m.move = &mv;
    apmi_send_now(s, &m);
}

static struct entity *hello_record(struct pools *p, struct txn *t, const struct apmi_session *s,
                                   const Openapmi__V1__Hello *h) {
    struct entity *en = pools_entity(p, h->system_id);
    struct entity_rec r = {
        .system_id = h->system_id,
        .address = h->address[0] ? h->address : (char *)(uintptr_t)s->peer.address,
        .software = h->software,
        .kind = (uint8_t)h->kind,
        .security = security_of(s),
        .version = (uint8_t)(h->max_version < APMI_VERSION ? h->max_version : APMI_VERSION),
        .boot_epoch = h->boot_epoch,
        .first_s = en ? en->first_s : txn_now_s(t)};
    bool same = en != NULL && strcmp(en->address, r.address) == 0 &&
                strcmp(en->software, r.software) == 0 && en->kind == r.kind &&
                en->security == r.security && en->version == r.version &&
                en->boot_epoch == r.boot_epoch;
    return same ? en : entity_put(p, t, &r, en ? en->id : UINT32_MAX);
}

static void connected_after(void *arg, bool committed) {
    struct apmi_session *s = arg;
    if (committed && s->entity != NULL && s->entity->session == s && s->entity->target != NULL) {
        target_connected(s->entity->target);
    }
    apmi_release(s);
}

void apmi_hello(struct pools *p, struct txn *t, struct apmi_session *s, uint64_t msg_id,
                const Openapmi__V1__Hello *h) {
    char text[200];
    if (map_get(&p->matches, h->system_id) == NULL) {
        snprintf(text, sizeof text, "no entity-match admits system id %s", h->system_id);
        hello_refuse(p, t, s, msg_id, CODE_PERMISSION_DENIED, text);
        return;
    }
    if (s->peer.verified && !s->peer.names(s->conn, h->system_id)) {
        snprintf(text, sizeof text, "the certificate is not for system id %s", h->system_id);
        hello_refuse(p, t, s, msg_id, CODE_PERMISSION_DENIED, text);
        return;
    }
    if (h->min_version > APMI_VERSION || h->max_version < APMI_VERSION_MIN) {
        snprintf(text, sizeof text,
                 "versions %" PRIu32 " to %" PRIu32 " are not spoken here, %d to %d are",
                 h->min_version, h->max_version, APMI_VERSION_MIN, APMI_VERSION);
        hello_refuse(p, t, s, msg_id, CODE_FAILED_PRECONDITION, text);
        return;
    }
    struct entity *en = pools_entity(p, h->system_id);
    if (en != NULL && en->session != NULL) {
        struct apmi_session *old = en->session;
        if (h->boot_epoch < old->boot_epoch) {
            hello_refuse(p, t, s, msg_id, CODE_ABORTED,
                         "a session of a later start of this entity is open");
            return;
        }
        apmi_detach(p, t, old, "a newer session took over");
        apmi_end(t, old, CODE_ABORTED, "a newer session took over");
    }
    en = hello_record(p, t, s, h);
    en->session = s;
    en->since_s = txn_now_s(t);
    s->entity = en;
    s->boot_epoch = h->boot_epoch;
    for (size_t i = 0; i < h->n_capability; i++) {
        s->can_move |= strcmp(h->capability[i], "move") == 0;
    }
    s->phase = PHASE_DOMAINS;
    apmi_unconfirmed(p, t, en); /* what a restart of ours left behind */
    entity_refused_clear(en);   /* it may have made room */
    L_INFO("entity %s is reachable from %s", en->system_id, s->peer.source);

    manager_msg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    Openapmi__V1__HelloAck ack = OPENAPMI__V1__HELLO_ACK__INIT;
    Openapmi__V1__Status st = OPENAPMI__V1__STATUS__INIT;
    ack.version = en->version;
    ack.status = &st;
    ack.manager_epoch = p->manager_epoch;
    ack.node = (char *)(uintptr_t)apmi_node(p, s);
    ack.stats_interval_s = POOLS_STATS_INTERVAL_S;
    m.in_reply_to = msg_id;
    m.body_case = OPENAPMI__V1__MANAGER_MSG__BODY_HELLO_ACK;
    m.hello_ack = &ack;
    apmi_send(t, s, &m);
    apmi_hold(s);
    txn_after(t, connected_after, s);
    struct buf b = BUF_INIT;
    struct ip_addr addr;
    buf_str(&b, "{\"entity\":");
    text_json(&b, en->system_id);
    if (ip_addr_parse(en->address, &addr, NULL) == ERR_OK) {
        buf_str(&b, ",\"address\":");
        text_json(&b, en->address);
    }
    buf_char(&b, '}');
    txn_event(t, "weft-apm:entity-reachable", buf_cstr(&b));
    buf_free(&b);
}
