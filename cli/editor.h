// SPDX-License-Identifier: Apache-2.0
/* The line that is typed: editing, history, completion, help. */
#ifndef CLI_EDITOR_H
#define CLI_EDITOR_H

#include "client.h"
#include "terminal.h"

struct editor;
/* Before the first thread is made: the window's size and the end of a stop are seen while a key is
 * waited for, and nowhere else. */
void editor_signals(void);
struct editor *editor_new(struct client *c, struct terminal *t);
void editor_free(struct editor *ed);
/* Shows the prompt and reads a line, without its newline; one that ends within a quote goes on in
 * the next one, and comes as text_one_line() makes it. mem_free. NULL: Ctrl-D on an empty line, or
 * the terminal is gone. */
char *editor_line(struct editor *ed);
/* Into the history, unless it held a secret. */
void editor_keep(struct editor *ed, const char *line);

#endif
