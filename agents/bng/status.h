// SPDX-License-Identifier: Apache-2.0
/* What operators and monitoring see: the texts of spec 3.2 (gateway side) and Prometheus metrics.
 */
#ifndef BNG_STATUS_H
#define BNG_STATUS_H

#include "base/buf.h"
#include "bng/dhcp.h"
#include "bng/frr.h"
#include "bng/session.h"
#include "net/http.h"

struct status_view {
    struct loop *loop;
    const struct bng_config *c;
    const struct bng_engine *e;
    const struct dhcp *dhcp, *dhcp6; /* NULL: no such server */
    const struct frr *frr;
    const struct session *session;
    int64_t started_s; /* UTC */
};

void status_text(const struct status_view *v, struct buf *out);
bool status_domain(const struct status_view *v, const char *name,
                   struct buf *out); /* false: none */
void status_domains(const struct status_view *v, struct buf *out);
void status_alarms(const struct status_view *v, int64_t now_s, struct buf *out);
void status_adoption(const struct status_view *v, struct buf *out);
void status_metrics(const struct status_view *v, struct buf *out);
/* Everything as JSON, for tools. */
void status_json(const struct status_view *v, struct buf *out);
/* An http_handler; arg is the struct status_view. GET only: /status /domains /domain?name=N /alarms
 * /adoption /state.json /metrics /healthz */
void status_http(struct http_req *r, void *arg);

#endif
