// SPDX-License-Identifier: Apache-2.0
/*
 * A platform in memory: a virtual chassis (or one device) with its own clock, whose members boot,
 * elect, take images and fail as a test says (spec 5.2). Nothing happens but in sim_step. The same
 * seed makes the same run. It also watches what no client may ever do: `broken` says the first such
 * thing in words.
 */
#ifndef PHONE_HOME_PLATFORM_SIM_H
#define PHONE_HOME_PLATFORM_SIM_H

#include "base/rng.h"
#include "phone-home/platform.h"

struct sim_fault {          /* of one member */
    unsigned install_fails; /* so many installations */
    unsigned reboot_fails;  /* so many orders to reboot it, the others are rebooted */
    bool never_returns;     /* from a reboot */
    unsigned returns_old;   /* from so many reboots with the former version */
    bool wrong_serial;      /* another box stands in its place after its reboot */
    int64_t late_ms;        /* comes back so much later */
};

struct sim_member {
    int id;
    char serial[CMS_SERIAL_MAX + 1];
    char version[SZTP_NAME_MAX + 1], slot[SZTP_NAME_MAX + 1]; /* slot "": nothing was installed */
    enum sztp_role role;
    bool up, cut; /* cut: runs, and no link leads to it */
    unsigned installs, reboots;
    struct sim_fault fault;
    /* of the world only */
    const struct platform_ops *ops; /* the platform that a client on this member has */
    struct sim *sim;
    struct platform_events events; /* done NULL: no client runs */
    uint64_t life;                 /* of the client; orders of former ones end unheard */
    struct buf inherited;
    struct platform_script_result result;
};

enum sim_config { SIM_DEFAULT, SIM_APPLIED, SIM_CONFIRMED };
struct sim_event;
struct sim {
    struct rng rng;
    int64_t now_ms;
    bool chassis;
    size_t n;
    struct sim_member m[SZTP_MEMBERS_MAX];
    int old_master; /* the last one that went away as primary; -1: none */
    bool frozen;
    enum sim_config config;
    struct buf text; /* of the configuration that is or was in force */
    struct buf key;  /* that came before it, PEM; empty: none */
    unsigned keys;
    unsigned applies, rollbacks, scripts[2], freezes, thaws, replicates;
    /* scripted: so many fail */
    unsigned apply_fails, confirm_fails, script_fails[2], freeze_fails, thaw_fails, replicate_fails,
        rollback_fails, key_fails;
    const char *lint_says;                 /* NULL: nothing */
    char image_version[SZTP_NAME_MAX + 1]; /* of images whose version was not said */
    int64_t boot_ms, install_ms;
    bool clock_ok;
    char broken[256]; /* "": nothing yet */
    /* of the rig that runs clients: the member booted, or lost power or rebooted */
    void (*booted)(void *arg, int member);
    void (*down)(void *arg, int member);
    void *arg;
    struct sim_event *events;
    size_t n_events;
    uint64_t seq;
};

/* Members 0..n-1 with serial numbers "SIM0".., version "1"; 0 is primary, 1 backup. */
struct sim *sim_new(size_t n, bool chassis, uint64_t seed);
void sim_free(struct sim *s);
/* Runs `fire` after so many ms and a little more, by chance. */
void sim_after(struct sim *s, int64_t ms, void (*fire)(void *arg, uint64_t a, uint64_t b),
               void *arg, uint64_t a, uint64_t b);
/* Goes to the next thing that happens, or to `limit_ms` when that comes first; false: then. */
bool sim_step(struct sim *s, int64_t limit_ms);
/* What a client that runs on the member is given; `ev` NULL: it ended. */
struct platform *sim_attach(struct sim *s, int member, const struct platform_events *ev);
void sim_power_cut(struct sim *s, int member); /* and it boots again */
void sim_link(struct sim *s, int member, bool cut);
int sim_primary(const struct sim *s); /* -1: none now */

#endif
