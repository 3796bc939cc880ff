// SPDX-License-Identifier: Apache-2.0
/* Showing the configuration, and data that a service gave no layout for. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "north/cli/run.h"

/* ---- configuration ------------------------------------------------------------------------------
 */

static enum err_code write_text(void *arg, const char *p, size_t n, struct err *e) {
    struct run *r = arg;
    run_text(r, p, n);
    r->at_line_start = n > 0 ? p[n - 1] == '\n' : r->at_line_start;
    return run_stopped(r) ? err_set(e, ERR_TIMEOUT, NULL, "interrupted") : ERR_OK;
}

static void print_compare(struct run *r, const char *path) {
    struct snap *other;
    if (r->pipes.compare_rollback >= 0) {
        struct commit_info list[50];
        size_t n = core_history(r->cli->core, list, 50);
        struct err e;
        if ((size_t)r->pipes.compare_rollback >= n) {
            run_fail(r, ERR_ABSENT, "there is no rollback %" PRId64, r->pipes.compare_rollback);
            return;
        }
        if (core_snapshot_at(r->cli->core, list[r->pipes.compare_rollback].index, &other, &e) !=
            ERR_OK) {
            run_fault(r, &e);
            return;
        }
    } else {
        other = core_snapshot(r->cli->core);
    }
    struct buf out = BUF_INIT;
    snap_diff_text(r->cli->model, other, r->snap,
                   r->pipes.display && r->pipes.format == FORMAT_SET ? FORMAT_SET : FORMAT_TEXT,
                   false, path, readable, r, &out);
    run_text(r, (const char *)out.data, out.len);
    buf_free(&out);
    snap_release(other);
}

void print_config(struct run *r, const char *path) {
    if (r->pipes.compare) {
        print_compare(r, path);
        return;
    }
    struct print_options o = {.format = r->pipes.format, .pretty = true};
    struct err e;
    if (o.format == FORMAT_XML && strcmp(path, "/") == 0) { /* one element around them all */
        o.wrap = "ietf-netconf:config";
        o.wrap_ns = "urn:ietf:params:xml:ns:netconf:base:1.0";
    }
    r->at_line_start = true;
    enum err_code rc = model_print(r->cli->model, &r->view, NULL, path, &o, write_text, r, &e);
    if (rc == ERR_OK && !r->at_line_start) {
        run_text(r, "\n", 1);
    } else if (rc == ERR_ABSENT) {
        struct buf words = BUF_INIT;
        place_words(r->cli->model, path, &words);
        run_fail(r, ERR_ABSENT, "%s: there is no such thing in the configuration",
                 buf_cstr(&words));
        buf_free(&words);
    } else if (rc != ERR_OK && rc != ERR_TIMEOUT) {
        run_fault(r, &e);
    }
}

/* ---- data without a layout
 * ------------------------------------------------------------------------- */

enum { INDENT = 2, CELL_MAX = 40, COLUMNS_MAX = 12 };

/* A JSON scalar as text, in `room` when it has to be made. */
static const char *scalar(const json_t *v, char *room, size_t size) {
    switch (json_typeof(v)) {
    case JSON_STRING:
        return json_string_value(v);
    case JSON_INTEGER:
        snprintf(room, size, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        return room;
    case JSON_REAL:
        snprintf(room, size, "%g", json_real_value(v));
        return room;
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    default:
        return "yes"; /* an `empty` leaf: [null] */
    }
}

static bool is_scalar(const json_t *v) {
    return !json_is_object(v) &&
           (!json_is_array(v) || (json_array_size(v) == 1 && json_is_null(json_array_get(v, 0))));
}

static const json_t *member(const json_t *o, const struct node *n) {
    json_t *v = json_object_get(o, n->name);
    if (v == NULL) {
        char full[256];
        snprintf(full, sizeof full, "%s:%s", n->module, n->name);
        v = json_object_get(o, full);
    }
    return v;
}

/* Can the list be a table: scalars only, not too many? */
static size_t table_columns(const struct node *list, const struct node **columns) {
    size_t n = 0;
    for (size_t i = 0; i < list->n_children; i++) {
        if (list->children[i]->type != NODE_LEAF || n == COLUMNS_MAX) {
            return 0;
        }
        columns[n++] = list->children[i];
    }
    return n;
}

static void print_table(struct run *r, const json_t *list, const struct node *const *columns,
                        size_t n, int indent) {
    size_t width[COLUMNS_MAX];
    size_t i;
    json_t *row;
    char room[40];
    for (size_t c = 0; c < n; c++) {
        width[c] = strlen(columns[c]->name);
        json_array_foreach(list, i, row) {
            const json_t *v = member(row, columns[c]);
            size_t len = v != NULL ? strlen(scalar(v, room, sizeof room)) : 0;
            width[c] = len > width[c] ? len : width[c];
        }
    }
    run_printf(r, "%*s", indent, "");
    for (size_t c = 0; c < n; c++) {
        run_printf(r, "%-*s%s", c + 1 < n ? (int)width[c] : 0, columns[c]->name,
                   c + 1 < n ? "  " : "\n");
    }
    json_array_foreach(list, i, row) {
        run_printf(r, "%*s", indent, "");
        for (size_t c = 0; c < n; c++) {
            const json_t *v = member(row, columns[c]);
            run_printf(r, "%-*s%s", c + 1 < n ? (int)width[c] : 0,
                       v != NULL ? scalar(v, room, sizeof room) : "", c + 1 < n ? "  " : "\n");
        }
        if (run_stopped(r)) {
            return;
        }
    }
}

static void print_members(struct run *r, const struct node *n, const json_t *o, int indent) {
    char room[40];
    int widest = 0;
    for (size_t i = 0; i < n->n_children; i++) {
        const json_t *v = member(o, n->children[i]);
        int len = (int)strlen(n->children[i]->name);
        widest = v != NULL && is_scalar(v) && len > widest ? len : widest;
    }
    for (size_t i = 0; i < n->n_children && !run_stopped(r); i++) {
        const struct node *c = n->children[i];
        const json_t *v = member(o, c);
        const struct node *columns[COLUMNS_MAX];
        size_t at, k;
        json_t *item;
        if (v == NULL) {
            continue;
        }
        if (is_scalar(v)) {
            run_printf(r, "%*s%-*s: %s%s%s\n", indent, "", widest, c->name,
                       c->secret ? MODEL_SECRET_MASK : scalar(v, room, sizeof room),
                       c->units ? " " : "", c->units ? c->units : "");
        } else if (c->type == NODE_LEAF_LIST) {
            run_printf(r, "%*s%s:\n", indent, "", c->name);
            json_array_foreach(v, at, item) {
                run_printf(r, "%*s%s\n", indent + INDENT, "", scalar(item, room, sizeof room));
            }
        } else if (json_is_object(v)) {
            run_printf(r, "%*s%s:\n", indent, "", c->name);
            print_members(r, c, v, indent + INDENT);
        } else if (json_is_array(v) && (k = table_columns(c, columns)) > 0) {
            run_printf(r, "%*s%s:\n", indent, "", c->name);
            print_table(r, v, columns, k, indent + INDENT);
        } else if (json_is_array(v)) {
            json_array_foreach(v, at, item) {
                run_printf(r, "%*s%s:\n", indent, "", c->name);
                print_members(r, c, item, indent + INDENT);
            }
        }
    }
}

void render_json(struct run *r, const struct node *output, const json_t *members) {
    print_members(r, output, members, 0);
}
