// SPDX-License-Identifier: Apache-2.0
/*
 * Candidate configurations: what somebody is editing and has not committed. A candidate is two
 * snapshots, the one it began from and the one with the edits, which share all that was not
 * touched; so `compare` costs what the difference costs, and the generation of every object edited
 * is that of the first snapshot. One candidate is shared (NETCONF's, `configure`), any number are
 * private. Objects in a candidate are drafts: names and types are checked as they are edited,
 * everything else at check and commit.
 *
 * Conflicts: an object edited here that was changed by somebody else since the candidate began. A
 * commit names them by path and does nothing; candidate_update() brings the candidate up to date.
 *
 * All functions may be called from any thread; a candidate is locked for the time of a call.
 */
#ifndef CORE_CANDIDATE_H
#define CORE_CANDIDATE_H

#include "core/core.h"

struct candidates; /* those of one core */
struct candidate;

struct candidates *candidates_new(struct core *c);
void candidates_free(struct candidates *cs); /* all candidates must have been released */

/* The shared candidate, or a new private one, with a reference for the caller. */
struct candidate *candidate_shared(struct candidates *cs);
struct candidate *candidate_private(struct candidates *cs);
void candidate_release(struct candidate *c); /* NULL is allowed */
bool candidate_is_private(const struct candidate *c);

/* The lock of `configure exclusive` and NETCONF's <lock>: while somebody holds it only he may edit
 * or commit any candidate. `session` identifies the holder (never 0). Taking it a second time is an
 * error, as is taking it while the shared candidate has changes (RFC 6241 7.5).
 * ERR_LOCKED names the holder. */
enum err_code candidates_lock(struct candidates *cs, uint64_t session, const char *who,
                              struct err *e);
/* The same whether or not the shared candidate has changes; *holder gets the session that has it.
 */
enum err_code candidates_lock_running(struct candidates *cs, uint64_t session, const char *who,
                                      uint64_t *holder, struct err *e);
/* ERR_ABSENT when that session does not hold it. */
enum err_code candidates_unlock(struct candidates *cs, uint64_t session, struct err *e);
/* ERR_LOCKED when a session other than `session` holds the lock. */
enum err_code candidates_may_edit(struct candidates *cs, uint64_t session, struct err *e);

/* The content; a reference for the caller. A candidate without changes follows the running one. */
struct snap *candidate_snapshot(struct candidate *c);
bool candidate_changed(struct candidate *c);

/* Whose edits it holds, for those who share it: adds "bob, carol" but for `except` (NULL: nobody is
 * left out); nothing when there are none. */
void candidate_editors(struct candidate *c, const char *except, struct buf *out);

/* Those below ask for the right of `who` to write each object that they would change in the
 * candidate, by the roles of the running configuration: a commit checks those of who commits, and
 * nobody may slip something into the shared candidate that another one commits. Without it
 * ERR_DENIED, and the candidate stays as it was. */

/* Applies edits in order: all, or none of them with *bad (may be NULL) the one that failed. Objects
 * made by other objects are refused (ERR_DENIED). */
enum err_code candidate_edit(struct candidate *c, const struct actor *who,
                             const struct model_edit *edits, size_t n, size_t *bad, struct err *e);
/* Replaces the content by `s` in what operators own; made objects stay as they are. */
enum err_code candidate_set(struct candidate *c, const struct actor *who, const struct snap *s,
                            struct err *e);
/* Puts every operators' object of `s` in the place of the one with its path. */
enum err_code candidate_put_all(struct candidate *c, const struct actor *who, const struct snap *s,
                                struct err *e);
/* As the configuration was `n` commits ago, but for what has no history, and its commit says so in
 * the history; 0 takes all edits back. `said`: see snap_go_back(). */
enum err_code candidate_rollback(struct candidate *c, const struct actor *who, unsigned n,
                                 struct buf *said, struct err *e);
/* All edits taken back, whoever made them. */
void candidate_discard(struct candidate *c);

/* Brings the edits onto the newest configuration, leaf by leaf where an object was changed on both
 * sides (what was edited here wins). `conflicts`: the paths of those, a line each. */
enum err_code candidate_update(struct candidate *c, struct buf *conflicts, struct err *e);

/* Validates everything that was edited; the first error. References are checked by core. */
enum err_code candidate_check(struct candidate *c, struct err *e);
/* Adds the edits to a change, with the generations they are based on. ERR_CONFLICT names all paths
 * changed by others meanwhile. `sent`: what was committed, for candidate_committed(). */
enum err_code candidate_change(struct candidate *c, struct change *ch, struct snap **sent,
                               struct err *e);
/* After core said yes: edits made since candidate_change() stay. Takes over `sent`. */
void candidate_committed(struct candidate *c, struct snap *sent);

/* ---- for all who read snapshots ---------------------------------------------------------------
 */

/* A view of a snapshot for model_edit and model_print; valid as long as the snapshot is held. */
struct model_view snap_view(const struct snap *s);
/* Differences as text, object by object in schema order: FORMAT_SET or FORMAT_TEXT. `made`: also
 * of made objects. `below`: only at or below this path; NULL: all. `readable`: may leave objects
 * out; NULL: all. Returns how many objects differ. */
size_t snap_diff_text(const struct model *m, const struct snap *from, const struct snap *to,
                      enum model_format format, bool made, const char *below,
                      bool (*readable)(void *arg, const char *path), void *arg, struct buf *out);

#endif
