// SPDX-License-Identifier: Apache-2.0
/*
 * Going back to a former configuration. What is weft:no-history, credentials above all, has no
 * version but that of now: it stays as it is, so what was ended stays ended and what was made
 * since stays good.
 */
#ifndef CORE_GO_BACK_H
#define CORE_GO_BACK_H

#include "core/object.h"

/* *then, a former configuration, gives way to what going back to it from `now` makes: an object of
 * a kind without history is there when it is in `now` and what it refers to is in *then as well;
 * other objects have their nodes without history from `now`. An object that comes back comes
 * without; `said` gets a line about each (NULL: nobody reads them). On errors *then stays. */
enum err_code snap_go_back(const struct model *m, const struct snap *now, struct snap **then,
                           struct buf *said, struct err *e);

#endif
