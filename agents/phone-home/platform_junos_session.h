// SPDX-License-Identifier: Apache-2.0
/*
 * A NETCONF session with the device that we run on, as a client: over the standard input and output
 * of a local program, or over a local socket. Framing is end-of-message (base:1.0). One RPC at a
 * time, each with a limit for its time, each answer with one for its size.
 */
#ifndef PHONE_HOME_PLATFORM_JUNOS_SESSION_H
#define PHONE_HOME_PLATFORM_JUNOS_SESSION_H

#include "net/loop.h"
#include "phone-home/config.h"
#include "phone-home/platform_junos_answer.h"

struct junos_session;

/* The answer (valid during the call) or the error, which names the RPC. After an error other than
 * ERR_REFUSED and ERR_LOCKED the session is dead: each further RPC ends with the same error. */
typedef void junos_answer_fn(void *arg, const struct dom *reply, const struct err *e);

/* Begins to connect; what fails is told to the first RPC. `c` outlives it. */
struct junos_session *junos_session_new(struct loop *l, const struct junos_config *c);
/* `body` is the inside of <rpc>; copied. `fn` is called once, never from inside, unless the session
 * is freed before. `secret`: nothing of `body` may stand in an error. */
void junos_session_ask(struct junos_session *s, const char *rpc, const void *body, size_t n,
                       bool secret, int64_t timeout_ms, junos_answer_fn *fn, void *arg);
bool junos_session_dead(const struct junos_session *s);
/* Ends the program with it. Allowed in a callback of it; NULL is allowed. */
void junos_session_free(struct junos_session *s);

#endif
