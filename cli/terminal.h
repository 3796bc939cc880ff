// SPDX-License-Identifier: Apache-2.0
/* The screen: output page by page, colour, questions, files. */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include <stdio.h>

#include "client.h"

struct terminal {
    bool out_tty, in_tty, err_tty; /* standard output, input, error */
    bool colour;
    bool json_errors;
    bool yes;               /* to every question of yes or no */
    unsigned rows, columns; /* rows 0: no paging */
    unsigned window_rows, window_columns;
    bool resized; /* the daemon has not been told */
    /* the command that runs */
    const char *line; /* as typed; files are only touched when they stand in it */
    bool several;     /* it was typed, or stands in the script, on several lines */
    size_t prompt_columns;
    size_t line_number; /* of a script; 0: typed */
    FILE *save;
    char *save_name;
    size_t saved_lines;
    bool paging, enough;
    bool failed; /* a file could not be written */
    unsigned shown, column;
    bool line_start;
    char first; /* of the line at hand: + and - get a colour */
    /* scripts: where `load ... terminal` reads on */
    FILE *script;
    size_t *script_line;
};

void terminal_init(struct terminal *t);
void terminal_size(struct terminal *t); /* looks how large the window is now */
/* Before and after each command. */
void terminal_begin(struct terminal *t, const char *line);
void terminal_end(struct terminal *t);
/* Text of our own, page by page like that of a command. */
void terminal_show(struct terminal *t, const char *p, size_t n);
/* Adds text broken at blanks, so that lines which begin `indent` columns in end before `columns`;
 * the first one has its indentation already. */
void terminal_wrap(struct buf *out, const char *text, size_t indent, size_t columns);
/* A caret under byte `start` of a line that was just written, `before` columns in; where the line
 * takes several rows, under the piece with that byte, which is shown once more. */
void terminal_point(const struct terminal *t, FILE *out, size_t before, const char *line,
                    size_t start);
extern const struct client_ops terminal_ops; /* with arg = the terminal */
/* Reads a line without echo from the controlling terminal, of PEM all lines up to its end;
 * mem_free. NULL: none. */
char *terminal_secret(const char *prompt);
/* Columns that n bytes of UTF-8 take. */
size_t terminal_columns(const char *p, size_t n);

#endif
