// SPDX-License-Identifier: Apache-2.0
/*
 * What the engine's tests stand on: an unthreaded core under a fake clock, and the toy module:
 * kinds that no line of the command line knows. What works for them works for every kind. A small
 * service answers their rpcs and has one target, "shelf", which does what the test says.
 */
#ifndef NORTH_CLI_RIG_H
#define NORTH_CLI_RIG_H

#include "north/cli/cli.h"

enum rig_shelf { SHELF_APPLIES, SHELF_REFUSES, SHELF_IS_SILENT };

struct rig {
    char folder[64];
    struct clock clock;
    struct model *model;
    struct core *core;
    struct candidates *candidates;
    struct cli *cli;
    struct cli_session *s;
    enum rig_shelf shelf;
    /* what the last command gave */
    struct buf text, notes;
    struct err fault;
    char shown[1024]; /* the fault's text for people */
    bool has_place;
    size_t start, end;
    char saved[64];
    const char *answer; /* to what is asked; NULL: end of input */
    unsigned asked;
    char prompt[512]; /* of the last question */
    int stop_after;   /* looks until it is interrupted; -1: never */
};
extern struct rig rig;

int rig_setup(void **state);
int rig_teardown(void **state);
/* A further session, of "admin" or of somebody else; both may do everything. */
struct cli_session *rig_session(const char *user, bool interactive);
/* Time passes, and what is due then happens. */
void rig_later(int64_t seconds);

/* Runs a line in a session, in rig.s. Returns its status. */
int rig_run_in(struct cli_session *s, const char *line);
int rig_run(const char *line);
/* It must succeed; and say exactly this. */
void rig_ok(const char *line);
void rig_says(const char *line, const char *want);
/* The last command said this somewhere: output, remarks, or why it failed. */
void rig_mentions(const char *want);
/* It is refused, about the word `at`, and says why. */
void rig_wrong(const char *line, const char *at, const char *why);
/* The suggestions at the end of `line`, blanks between; static. */
const char *rig_offers(const char *line);
/* What Tab inserts there; NULL: nothing. */
void rig_completes(const char *line, const char *want);

#endif
