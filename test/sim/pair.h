// SPDX-License-Identifier: Apache-2.0
/*
 * The service and gateways' real engines (agents/bng) in one process under a fake clock, with a
 * data plane for each gateway that outlives its agent, as Kea and FRR do. Every single thing that
 * happens is a step, and a step can fail: the message, the agent around it, in the middle of it or
 * while it makes something durable, the manager, either one's disk.
 *
 * At every moment: no address is in use at two gateways; what a gateway uses is its own in the
 * manager's book; addresses are announced before they are given out; no subnet id comes twice.
 */
#ifndef SIM_PAIR_H
#define SIM_PAIR_H

#include "base/list.h"
#include "base/map.h"
#include "bng/engine.h"
#include "pools/apmi.h"
#include "rig.h"

enum pair_failure {
    PAIR_NONE,
    /* at a step (a message's delivery, or a back end that does what it is told) */
    PAIR_BREAK_BEFORE,
    PAIR_BREAK_AFTER,
    PAIR_AGENT_BEFORE,
    PAIR_AGENT_AFTER,
    PAIR_APPLIED_UNTOLD, /* the back end did it, the agent dies before it knows */
    PAIR_MANAGER_BEFORE,
    PAIR_MANAGER_AFTER,
    PAIR_MANAGER_DISK, /* the manager's store can't be written while it takes this message */
    PAIR_STEP_FAILURES,
    /* at a commit of an agent */
    PAIR_COMMIT_LOST = PAIR_STEP_FAILURES, /* it dies before it is durable */
    PAIR_COMMIT_LAST,                      /* it dies with that as its last deed */
    PAIR_COMMIT_FAILS,                     /* its disk is full, this once */
    PAIR_FAILURES
};

struct pair_lane { /* a pool as the data plane has it */
    struct ip_prefix prefix;
    uint32_t subnet_id;
    bool route, dhcp, drain;
    uint64_t used, total;
};

enum { PAIR_LANES = 64, PAIR_GATEWAYS = 4, PAIR_STEPS_MAX = 2048, PAIR_DELEGATED = 56 };

/* What the gateways' subscribers get. */
enum pair_kind { PAIR_IPV4, PAIR_ADDRESSES6, PAIR_PREFIXES6, PAIR_KINDS };

/* Of a step: nothing happened between the one before it and itself, so that a failure before it is
 * the failure after that one. */
enum {
    PAIR_NEXT = 1,      /* the manager's */
    PAIR_NEXT_SAME = 2, /* also the gateway's: it is about the same one */
};

struct pair_moment; /* what tells two moments apart */

struct pair_link; /* a connection; outlives its gateway's interest in it */

struct pair_gateway {
    struct pair *pair;
    struct bng_profile profile;
    struct bng_settings settings;
    struct bng_engine *e;
    struct map disk, pending; /* key -> JSON text; pending: "" deletes */
    struct pair_link *link;   /* NULL: down */
    int64_t connect_at_s;     /* INT64_MAX: switched off */
    bool dying, untold;       /* the agent is to die when it returns */
    bool changed, ending;
    int64_t slow_s, changed_s; /* its back ends take so long */
    struct pair_lane lanes[PAIR_LANES];
    size_t n_lanes;
    struct map subnet_ids; /* decimal -> prefix text, as ever seen */
    uint64_t subscribers;  /* who want an address */
    struct ip_prefix own;  /* a subnet that its DHCP server has from somebody else; len 0: none */
    uint64_t refused;      /* pools refused for it */
};

struct pair {
    struct rig rig;
    struct pair_gateway gateways[PAIR_GATEWAYS];
    size_t n;
    uint64_t step, commits; /* so far */
    uint64_t at, at2;       /* step or commit that fails */
    enum pair_failure failure, failure2;
    bool hit;
    uint8_t next[PAIR_STEPS_MAX]; /* bits PAIR_NEXT... of each step */
    struct pair_moment *last;     /* after the last step */
    enum pair_kind kind;          /* of gateways that are added */
    bool released;                /* an operator released a gateway that lived: overlaps are his */
    unsigned pool_states;         /* bit set of the manager's pool states that were seen */
    unsigned phases;              /* of the gateways' */
};

extern char pair_context[200]; /* printed with every fault */

/* Would that failure at that step of the telling just ended be one that is tried at another step?
 */
bool pair_same_as_before(const struct pair *p, enum pair_failure f, uint64_t step);

void pair_open(struct pair *p, int64_t wall_s);
void pair_close(struct pair *p);
struct pair_gateway *pair_add(struct pair *p, const char *system_id, const char *partition,
                              unsigned length);
/* Lets everything run until nothing moves. Fails when it does not come to rest. */
void pair_settle(struct pair *p);
void pair_pass(struct pair *p, int seconds);
/* A gateway's agent and line are off, its data plane goes on; and back. */
void pair_off(struct pair_gateway *g);
void pair_on(struct pair_gateway *g);
void pair_verify(struct pair *p, bool agreed);
/* The domain of a gateway; its name. */
const struct bng_domain *pair_domain(const struct pair_gateway *g);

#endif
