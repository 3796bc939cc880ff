// SPDX-License-Identifier: Apache-2.0
/*
 * Carries the engine's requests and downloads: HTTPS by libcurl, each on a thread of its own.
 * No proxy, no redirect, no configuration of the environment's is followed; every body, head
 * and time is bounded. All addresses of a host are tried (PH-143). A connection is kept for the
 * next request to the same server, so that a run makes one handshake for its answer and all its
 * reports.
 */
#ifndef PHONE_HOME_WIRE_H
#define PHONE_HOME_WIRE_H

#include "phone-home/engine.h"
#include "phone-home/resolver.h"
#include "phone-home/storage.h"
#include "phone-home/tasks.h"

enum { WIRE_HEAD_MAX = 64 << 10, WIRE_ADDRESSES_MAX = 16, WIRE_PASSWORD_MAX = 255 };

struct wire_config {
    const char *anchors;     /* PEM file of PHC_BUILT_IN; "" none */
    const char *certificate; /* PEM files of the device's own (IDevID), with its chain; "" none */
    const char *key;
    const char *password_file;       /* of Basic: its first line; "" an empty password (PH-111) */
    bool password_to_untrusted;      /* the password is also sent to servers nobody vouches for */
    const char *folder;              /* that downloads go to */
    int64_t connect_ms;              /* to one address, at most */
    int64_t stall_ms;                /* a download that gets no byte for so long is given up */
    uint64_t image_max;              /* bytes of a download */
    const struct storage *storage;   /* what file: URIs mean */
    const struct resolver *resolver; /* names below .local; may be NULL */
    bool (*clock_ok)(void *arg); /* false: the dates of certificates are not looked at. NULL: ok */
    /* With PHC_EV_DONE of that order; never from inside a call. */
    void (*done)(void *arg, const struct phc_event *ev);
    void *arg;
};

struct wire;
/* `c` and what it points to outlive the wire. */
struct wire *wire_new(struct tasks *t, const struct wire_config *c);
void wire_free(struct wire *w); /* behind tasks_free */

void wire_idle(struct wire *w); /* nothing more will be asked soon: closes what is open */

/* Both copy what the action points to. A request ends without error whenever a server answered,
 * whatever the status. Of several addresses the first whose answer is 2xx or 400 counts, else the
 * first answer. */
void wire_request(struct wire *w, uint64_t order, const struct phc_request *r);
/* Into FOLDER/NAME, by way of NAME.part, which a later call goes on with when server and medium
 * still have the same (ETag or Last-Modified). http: needs a hash; https: without an anchor as
 * well. A file that is there and has the hashes is taken as it is. `checksum` of the event: the
 * bytes were not those wanted, and are gone. ERR_LIMIT: no room. */
void wire_download(struct wire *w, uint64_t order, const struct phc_download *d);

#endif
