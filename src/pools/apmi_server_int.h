// SPDX-License-Identifier: Apache-2.0
/* Between apmi_server.c and apmi_admin.c. */
#ifndef POOLS_APMI_SERVER_INT_H
#define POOLS_APMI_SERVER_INT_H

#include "core/http_auth.h"
#include "net/grpc.h"
#include "pools/apmi_server.h"

enum { APMI_ADMIN_METHODS = 7 };

struct apmi_server {
    struct apmi_server_config cfg;
    struct http_server *http;
    struct grpc_server *grpc;
    struct http_auth_config auth;
    /* Of the admin call that is being handed over: who calls, or why he may not. */
    const struct actor *caller;
    const struct err *refusal;
    struct list auths; /* struct pending_auth */
    struct list conns; /* of sessions whose call is open */
    struct binding {   /* what is registered for a path */
        struct apmi_server *server;
        int method;
    } bindings[APMI_ADMIN_METHODS];
    size_t open; /* sessions and admin calls that still need the loop */
    bool closing;
    loop_fn *done;
    void *done_arg;
};

void apmi_admin_register(struct apmi_server *s);
void apmi_server_left(struct apmi_server *s); /* one of `open` is over */

#endif
