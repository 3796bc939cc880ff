// SPDX-License-Identifier: Apache-2.0
/* Between wire.c and download.c. */
#ifndef PHONE_HOME_WIRE_INT_H
#define PHONE_HOME_WIRE_INT_H

#include <curl/curl.h>
#include <pthread.h>

#include "phone-home/wire.h"

struct wire_host {
    char name[SZTP_NAME_MAX + 1];
    uint16_t port;
    struct ip_addr addresses[WIRE_ADDRESSES_MAX];
    size_t n;
};

/* What a connection needs; made on the loop, used on the thread. */
struct wire_target {
    const struct wire_config *c;
    enum phc_verify verify;
    struct buf anchor; /* PEM */
    bool dates;        /* of certificates count */
    struct wire_host host;
    struct ip_addr preferred; /* that answered last time; family 0: none */
};

/* A connection that is open after an answer: the next request to the same server takes it when it
 * would trust it for the same reason. */
struct wire_open {
    CURL *handle; /* NULL: none */
    char name[SZTP_NAME_MAX + 1];
    uint16_t port;
    struct ip_addr address;
    enum phc_verify verify;
    bool dates;
    struct buf anchor;
};

struct wire {
    struct tasks *tasks;
    const struct wire_config *c;
    pthread_mutex_t lock; /* of `open`: requests run on threads */
    struct wire_open open;
    struct {
        char name[SZTP_NAME_MAX + 1];
        uint16_t port;
        struct ip_addr address;
    } known[8]; /* addresses that answered */
    size_t next;
};

/* Checks verification and host; ERR_INVALID, ERR_MISSING. */
enum err_code wire_target(struct wire *w, const char *host, uint16_t port, enum phc_verify verify,
                          const struct buf *anchor, struct wire_target *out, struct err *e);
void wire_target_free(struct wire_target *t);
/* Names into addresses, on the thread; the preferred one first. */
enum err_code wire_resolve(struct wire_target *t, const atomic_bool *stop, struct err *e);
/* Makes a handle ready for one try: TLS, address `i`, no environment. `resolve` is to be freed
 * behind it. */
void wire_handle(CURL *c, const struct wire_target *t, const char *scheme, size_t i,
                 const char *path, const atomic_bool *stop, struct curl_slist **resolve);
void wire_remember(struct wire *w, const struct wire_host *h, const struct ip_addr *a);
int64_t wire_now_ms(void);
/* Why a try failed; `why`: what libcurl left, may be "". Valid as long as `why`. */
const char *wire_why(CURLcode rc, const char *why, bool secure);

#endif
