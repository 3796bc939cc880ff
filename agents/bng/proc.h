// SPDX-License-Identifier: Apache-2.0
/* A child process whose standard output is collected, on the loop; one at a time per struct. */
#ifndef BNG_PROC_H
#define BNG_PROC_H

#include <stdbool.h>
#include <stddef.h>

#include "net/loop.h"

enum { PROC_OUTPUT_MAX = 64 << 20 };

struct proc; /* opaque */

/* status: the exit status, or -1 with the reason in `output` (it could not be started, took too
 * long, wrote too much). */
typedef void proc_fn(int status, const char *output, size_t n, void *arg);

struct proc *proc_new(struct loop *l);
/* argv ends with NULL; copied by the kernel. No shell. Standard input is /dev/null, standard error
 * goes where standard output goes. Not while one runs. */
void proc_run(struct proc *p, const char *const *argv, int64_t timeout_ms, proc_fn *fn, void *arg);
bool proc_busy(const struct proc *p);
void proc_free(struct proc *p); /* kills what runs; no callback */

#endif
