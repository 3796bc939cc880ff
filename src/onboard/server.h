// SPDX-License-Identifier: Apache-2.0
/*
 * The listeners for devices, as the configuration has them: opened, changed and closed as it
 * changes. Everything here happens in the loop's thread. One for each process.
 */
#ifndef ONBOARD_SERVER_H
#define ONBOARD_SERVER_H

#include "core/core.h"
#include "core/workers.h"
#include "net/http.h"
#include "net/loop.h"

struct onboard_server;

struct onboard_server_config {
    struct core *core; /* outlives the server; has onboard_service */
    struct loop *loop;
    struct workers *workers; /* make answers: templates, hashes, signatures */
    unsigned max_conns;      /* of all listeners together; 0: 10,000 each */
    /* Takes over what a node that follows can't decide, with the field that says what it has seen
     * of the device; or returns false. NULL: nothing is passed on. */
    bool (*relay)(struct http_req *r, const char *name, const char *value, void *arg);
    void *relay_arg;
};

/* What a node has seen of a device whose request it passes on: "LISTENER;FINGERPRINT;CERTIFICATE",
 * the last two empty when none was verified. Refused from anybody but a node. */
#define ONBOARD_DEVICE_FIELD "weft-device"
/* Copies the struct. Listeners that the configuration has are open when it returns, or say why not
 * (`show onboard listeners`, the log); they are tried again. onboard_set_paths comes first. */
enum err_code onboard_server_new(const struct onboard_server_config *cfg,
                                 struct onboard_server **out, struct err *e);
/* Certificates are read again. */
void onboard_server_reload(struct onboard_server *s);
/* A request that came in at the port for nodes with ONBOARD_DEVICE_FIELD, from a node. */
void onboard_server_passed(struct onboard_server *s, struct http_req *r);
/* Takes no more, lets what runs end for a while, cuts the rest; then `done` (may be NULL) is called
 * in the loop and the server is gone. The loop must run until then, the core and the workers may
 * not end before. */
void onboard_server_close(struct onboard_server *s, loop_fn *done, void *arg);

#endif
