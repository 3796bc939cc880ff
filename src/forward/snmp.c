// SPDX-License-Identifier: Apache-2.0
/*
 * Notifications of WEFT-MIB: SNMPv2c, and SNMPv3 with USM. An inform is taken when the receiver has
 * acknowledged it, a trap when it was sent.
 *
 * net-snmp keeps users and engines for the whole process, so one notification is sent at a time
 * (`one_at_a_time`); a receiver that does not answer an inform holds up other SNMP targets for
 * SNMP_WAIT_S.
 */
#include <net-snmp/net-snmp-config.h>

#include <net-snmp/net-snmp-includes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "forward/internal.h"

enum { SNMP_WAIT_S = 3, DATA_MAX = 1024, NOTE_TYPE = 1 };
#define WEFT_MIB 1, 3, 6, 1, 4, 1, 32473, 1

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Of the process: net-snmp reads no files, keeps none, and says nothing by itself. */
static void set_up(void) {
    netsnmp_ds_set_boolean(NETSNMP_DS_LIBRARY_ID, NETSNMP_DS_LIB_DONT_READ_CONFIGS, 1);
    netsnmp_ds_set_boolean(NETSNMP_DS_LIBRARY_ID, NETSNMP_DS_LIB_DONT_PERSIST_STATE, 1);
    netsnmp_ds_set_boolean(NETSNMP_DS_LIBRARY_ID, NETSNMP_DS_LIB_DISABLE_PERSISTENT_LOAD, 1);
    netsnmp_ds_set_boolean(NETSNMP_DS_LIBRARY_ID, NETSNMP_DS_LIB_DISABLE_PERSISTENT_SAVE, 1);
    netsnmp_ds_set_string(NETSNMP_DS_LIBRARY_ID, NETSNMP_DS_LIB_MIBDIRS, "");
    setenv("MIBS", "", 1);
    snmp_disable_log();
    init_snmp("weft");
}

static enum err_code fault(struct err *e, const char *what, netsnmp_session *s) {
    char *text = NULL;
    int a, b;
    snmp_error(s, &a, &b, &text);
    enum err_code rc = err_set(e, ERR_IO, NULL, "%s: %s", what, text != NULL ? text : "no reason");
    free(text); /* snmp_error's own */
    return rc;
}

static size_t unhex(const char *hex, u_char *out, size_t max) {
    size_t n = 0;
    for (unsigned v; n < max && hex[2 * n] != '\0' && sscanf(hex + 2 * n, "%2x", &v) == 1;) {
        out[n++] = (u_char)v;
    }
    return n;
}

static enum err_code key(const struct forward_target_snmp *c, const char *password, u_char *out,
                         size_t *len, struct err *e) {
    static oid sha256[] = {1, 3, 6, 1, 6, 3, 10, 1, 1, 5}; /* usmHMAC192SHA256AuthProtocol */
    (void)c;
    *len = USM_AUTH_KU_LEN;
    return generate_Ku(sha256, 10, (const u_char *)password, strlen(password), out, len) ==
                   SNMPERR_SUCCESS
               ? ERR_OK
               : err_set(e, ERR_INTERNAL, NULL, "no key can be made from the password");
}

/* RFC 3414: the sender of a trap is its authority, so boots and time are ours; boots must grow with
 * each start, which the time of the start does. */
static enum err_code set_user(const struct sender *s, const struct forward_target_snmp *c,
                              netsnmp_session *n, u_char *engine, struct err *e) {
    static oid sha256[] = {1, 3, 6, 1, 6, 3, 10, 1, 1, 5};
    n->securityName = (char *)(uintptr_t)c->user;
    n->securityNameLen = strlen(c->user);
    n->securityModel = USM_SEC_MODEL_NUMBER;
    n->securityLevel = c->auth_password == NULL   ? SNMP_SEC_LEVEL_NOAUTH
                       : c->priv_password == NULL ? SNMP_SEC_LEVEL_AUTHNOPRIV
                                                  : SNMP_SEC_LEVEL_AUTHPRIV;
    if (c->auth_password != NULL) {
        n->securityAuthProto = sha256;
        n->securityAuthProtoLen = 10;
        ERR_TRY(key(c, c->auth_password, n->securityAuthKey, &n->securityAuthKeyLen, e));
    }
    if (c->priv_password != NULL) {
        n->securityPrivProto = usmAESPrivProtocol;
        n->securityPrivProtoLen = USM_PRIV_PROTO_AES_LEN;
        ERR_TRY(key(c, c->priv_password, n->securityPrivKey, &n->securityPrivKeyLen, e));
    }
    if (!c->inform) {
        n->securityEngineID = n->contextEngineID = engine;
        n->securityEngineIDLen = n->contextEngineIDLen = unhex(c->engine_id, engine, 32);
        n->engineBoots = (u_int)(s->started_s & 0x7fffffff);
        n->engineTime = (u_int)(clock_wall_s(&clock_real) - s->started_s);
        set_enginetime(engine, (u_int)n->securityEngineIDLen, n->engineBoots, n->engineTime, TRUE);
    }
    return ERR_OK;
}

static void put(netsnmp_pdu *p, oid last, u_char type, const void *value, size_t n) {
    oid name[] = {WEFT_MIB, 1, last, 0}; /* scalars: instance 0 */
    snmp_pdu_add_variable(p, name, OID_LENGTH(name), type, value, n);
}

static void put_number(netsnmp_pdu *p, oid last, uint64_t v) {
    struct counter64 c = {.high = (u_long)(v >> 32), .low = (u_long)(v & 0xffffffff)};
    put(p, last, ASN_COUNTER64, &c, sizeof c);
}

static netsnmp_pdu *pdu_of(const struct sender *s, const struct forward_target_snmp *c,
                           const struct message *m) {
    static const oid up[] = {1, 3, 6, 1, 2, 1, 1, 3, 0};          /* sysUpTime.0 */
    static const oid which[] = {1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0}; /* snmpTrapOID.0 */
    static const oid event[] = {WEFT_MIB, 0, NOTE_TYPE};          /* weftEvent */
    netsnmp_pdu *p = snmp_pdu_create(c->inform ? SNMP_MSG_INFORM : SNMP_MSG_TRAP2);
    long ticks = (long)(((clock_wall_s(&clock_real) - s->started_s) * 100) & 0xffffffff);
    long severity = (long)m->severity + 1;
    time_t at = (time_t)m->time_s;
    struct tm tm;
    gmtime_r(&at, &tm);
    u_char when[8] = {(u_char)((tm.tm_year + 1900) >> 8),
                      (u_char)((tm.tm_year + 1900) & 0xff),
                      (u_char)(tm.tm_mon + 1),
                      (u_char)tm.tm_mday,
                      (u_char)tm.tm_hour,
                      (u_char)tm.tm_min,
                      (u_char)tm.tm_sec,
                      0};
    size_t data = strlen(m->json);
    snmp_pdu_add_variable(p, up, OID_LENGTH(up), ASN_TIMETICKS, &ticks, sizeof ticks);
    snmp_pdu_add_variable(p, which, OID_LENGTH(which), ASN_OBJECT_ID, event, sizeof event);
    put_number(p, 1, m->id);
    put_number(p, 2, m->previous);
    put(p, 3, ASN_OCTET_STR, when, sizeof when);
    put(p, 4, ASN_INTEGER, &severity, sizeof severity);
    put(p, 5, ASN_OCTET_STR, m->name, strlen(m->name));
    put(p, 6, ASN_OCTET_STR, s->controller, strlen(s->controller));
    put(p, 7, ASN_OCTET_STR, m->json, data < DATA_MAX ? data : DATA_MAX);
    return p;
}

static enum err_code deliver(const struct sender *s, void *session, netsnmp_session *n,
                             const struct forward_target_snmp *c, const struct message *m,
                             struct err *e) {
    netsnmp_pdu *p = pdu_of(s, c, m), *answer = NULL;
    if (!c->inform) {
        if (snmp_sess_send(session, p) == 0) {
            enum err_code rc = fault(e, "can't send", snmp_sess_session(session));
            snmp_free_pdu(p);
            return rc;
        }
        return ERR_OK;
    }
    int status = snmp_sess_synch_response(session, p, &answer);
    enum err_code rc = ERR_OK;
    (void)n;
    if (status == STAT_TIMEOUT) {
        rc = err_set(e, ERR_TIMEOUT, NULL, "the inform was not acknowledged within %d s",
                     (int)SNMP_WAIT_S);
    } else if (status != STAT_SUCCESS) {
        rc = fault(e, "not acknowledged", snmp_sess_session(session));
    } else if (answer->command != SNMP_MSG_RESPONSE || answer->errstat != SNMP_ERR_NOERROR) {
        rc = err_set(e, ERR_REFUSED, NULL, "the receiver answers: %s",
                     answer->command == SNMP_MSG_RESPONSE ? snmp_errstring((int)answer->errstat)
                                                          : "a report of SNMPv3");
    }
    if (answer != NULL) {
        snmp_free_pdu(answer);
    }
    return rc;
}

size_t snmp_notify(struct sender *s, const struct forward_target *t, const struct message *m,
                   size_t n, struct err *e) {
    const struct forward_target_snmp *c = &t->snmp;
    netsnmp_session want;
    u_char engine[32];
    char peer[300];
    size_t i = 0;
    pthread_once(&once, set_up);
    snprintf(peer, sizeof peer, strchr(c->host, ':') != NULL ? "udp6:[%s]:%u" : "udp:%s:%u",
             c->host, c->port);
    pthread_mutex_lock(&one_at_a_time);
    snmp_sess_init(&want);
    want.peername = peer;
    want.retries = 2;
    want.timeout = SNMP_WAIT_S * 1000000L / (want.retries + 1);
    enum err_code rc = ERR_OK;
    if (c->version == FORWARD_TARGET_SNMP_VERSION_V2C) {
        want.version = SNMP_VERSION_2c;
        want.community = (u_char *)(uintptr_t)c->community;
        want.community_len = strlen(c->community);
    } else {
        want.version = SNMP_VERSION_3;
        rc = set_user(s, c, &want, engine, e);
    }
    void *session = rc == ERR_OK ? snmp_sess_open(&want) : NULL;
    if (rc == ERR_OK && session == NULL) {
        rc = fault(e, "no session", &want);
    }
    while (rc == ERR_OK && i < n && !atomic_load(s->stop)) {
        rc = deliver(s, session, &want, c, &m[i], e);
        i += rc == ERR_OK;
    }
    if (rc == ERR_OK && i < n) {
        err_set(e, ERR_UNAVAILABLE, NULL, "told to stop");
    }
    if (session != NULL) {
        snmp_sess_close(session);
    }
    pthread_mutex_unlock(&one_at_a_time);
    return i;
}
