// SPDX-License-Identifier: Apache-2.0
/* How the members of etcd are, each asked by itself. */
#include <stdio.h>
#include <string.h>

#include "etcd/engine_int.h"

/* A member that is asked answers at once or is as good as away. */
enum { MEMBER_MS = 1000 };

static void ask(const struct etcd_url *url, size_t i, log_member_fn *each, void *arg) {
    struct etcd_url one = *url;
    struct etcd *c = NULL;
    Weft__Etcd__StatusResponse *r = NULL;
    struct err why = {.code = ERR_OK};
    const struct etcd_endpoint *to = &url->endpoints[i];
    char address[sizeof to->host + 16];
    bool bare = strchr(to->host, ':') != NULL;
    one.endpoints[0] = *to;
    one.n_endpoints = 1;
    snprintf(address, sizeof address, bare ? "[%s]:%u" : "%s:%u", to->host, (unsigned)to->port);
    struct log_member m = {.address = address, .version = "", .why = ""};
    enum err_code rc = etcd_open(&one, &c, &why);
    rc = rc == ERR_OK ? etcd_status(c, MEMBER_MS, &r, &why) : rc;
    if (rc == ERR_OK) {
        m.answers = true;
        m.version = r->version;
        m.bytes = r->db_size > 0 ? (uint64_t)r->db_size : 0;
        m.has_leader = r->leader != 0;
        m.leads = m.has_leader && r->header != NULL && r->header->member_id == r->leader;
    } else {
        m.why = why.text;
    }
    each(&m, arg);
    if (r != NULL) {
        weft__etcd__status_response__free_unpacked(r, NULL);
    }
    etcd_close(c);
}

enum err_code et_members(struct log *log, log_member_fn *each, void *arg, struct err *e) {
    const struct etcd_url *url = &((struct etcd_log *)log)->url;
    (void)e;
    for (size_t i = 0; i < url->n_endpoints; i++) {
        ask(url, i, each, arg);
    }
    return ERR_OK;
}
