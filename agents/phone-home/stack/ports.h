// SPDX-License-Identifier: Apache-2.0
/* VCP links: interfaces on which a stack's frames go as Ethernet frames of a type of their own, to
 * a group address that bridges don't know. Needs CAP_NET_RAW. */
#ifndef PHONE_HOME_STACK_PORTS_H
#define PHONE_HOME_STACK_PORTS_H

#include "net/loop.h"
#include "phone-home/stack/wire.h"

enum { PORTS_ETHERTYPE = 0x88b5 /* IEEE 802: for local experiments */ };

struct ports;
typedef void ports_fn(void *arg, unsigned port, const void *frame, size_t n);
/* An interface that is not there, or goes, is looked for again every second. */
struct ports *ports_new(struct loop *l, const stack_port *names, unsigned n, ports_fn *fn,
                        void *arg);
void ports_send(struct ports *p, unsigned port, const void *frame, size_t n); /* or not */
void ports_free(struct ports *p);

#endif
