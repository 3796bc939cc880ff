// SPDX-License-Identifier: Apache-2.0
/* Devices that phone home, as they come up: a line whenever one has moved, until all are done. */
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"
#include "model/kinds.h"
#include "north/cli/run.h"

enum {
    LOOK_AGAIN_S = 5, /* also without an event: commits enter devices and take them away */
    REST_FACTOR = 10, /* at most a tenth of the time is spent on looking */
};

struct watch {
    struct map last; /* serial number -> what the line was */
    size_t complete, total;
    bool said;
};

static void on_event(const struct event *ev, void *arg) {
    if (strncmp(ev->name, "weft-onboard:", strlen("weft-onboard:")) == 0 ||
        strcmp(ev->name, "resync") == 0) {
        atomic_store((atomic_bool *)arg, true);
    }
}

static const char *text(const json_t *o, const char *name) {
    const char *t = json_string_value(json_object_get(o, name));
    return t != NULL ? t : "";
}

/* All devices as `show onboard devices` has them; NULL: a fault was shown. */
static json_t *look(struct run *r) {
    struct call *cl = call_new(&r->s->who);
    json_t *all = NULL;
    if (rpc_input_words(r->cli->model, onboard_show_onboard_devices_rpc, NULL, NULL, 0, cl->arena,
                        &cl->in, &cl->err) == ERR_OK) {
        run_call(r, cl);
    }
    if (cl->err.code != ERR_OK) {
        run_fault(r, &cl->err);
    } else {
        all = json_loadb((const char *)cl->json.data, cl->json.len, 0, NULL);
    }
    call_free(cl);
    return all;
}

/* A + or - in front is green or red on the screen. */
static char mark_of(const char *status) {
    return strcmp(status, "complete") == 0                                   ? '+'
           : strcmp(status, "failed") == 0 || strcmp(status, "blocked") == 0 ? '-'
                                                                             : ' ';
}

static void show_moved(struct run *r, struct watch *w, const json_t *device) {
    const char *serial = text(device, "serial-number"), *status = text(device, "status"),
               *progress = text(device, "progress"), *message = text(device, "message");
    struct buf line = BUF_INIT;
    buf_printf(&line, "%-20s  %-10s  %s%s%s", serial, status, progress,
               progress[0] != '\0' && message[0] != '\0' ? ": " : "", message);
    while (line.len > 0 && line.data[line.len - 1] == ' ') {
        line.len--;
    }
    const char *old = map_get(&w->last, serial);
    bool first = old == NULL && strcmp(status, "complete") == 0 && !w->said;
    if (old == NULL || strcmp(old, buf_cstr(&line)) != 0) {
        mem_free((char *)(uintptr_t)old);
        map_put(&w->last, serial, mem_strdup(buf_cstr(&line)));
        if (!first) { /* those that were done before are counted, not listed */
            char time[TIME_TEXT_MAX];
            time_format(clock_wall_s(core_clock(r->cli->core)), 0, time);
            run_printf(r, "%c %s  %s\n", mark_of(status), time, buf_cstr(&line));
        }
    }
    buf_free(&line);
}

/* False: there is nothing to wait for any more. */
static bool pass(struct run *r, struct watch *w) {
    json_t *all = look(r), *device;
    size_t i, complete = 0, total = 0;
    if (all == NULL) {
        return false;
    }
    json_array_foreach(json_object_get(all, "device"), i, device) {
        show_moved(r, w, device);
        if (json_is_true(json_object_get(device, "configured")) &&
            strcmp(text(device, "status"), "blocked") != 0) { /* those get nothing */
            total++;
            complete += strcmp(text(device, "status"), "complete") == 0;
        }
    }
    json_decref(all);
    if (total == 0) {
        run_fail(r, ERR_ABSENT,
                 w->said ? "no device is configured any more" : "no device is configured");
        return false;
    }
    if (!w->said || complete != w->complete || total != w->total) {
        run_printf(r, "%c %zu of %zu %s complete\n", complete == total ? '+' : ' ', complete, total,
                   text_plural(total, "device is", "devices are"));
    }
    w->said = true;
    w->complete = complete;
    w->total = total;
    return complete < total;
}

void cmd_monitor_onboard(struct run *r) {
    if (!run_ready(r, NULL)) {
        return;
    }
    struct watch w = {.said = false};
    atomic_bool moved = true;
    const struct clock *clock = core_clock(r->cli->core);
    uint64_t handle = core_subscribe(r->cli->core, 0, on_event, &moved);
    run_note(r, "ends when all are complete; Ctrl-C ends it before");
    int64_t not_before = 0, again = 0;
    bool more = true;
    while (more && !run_stopped(r)) {
        int64_t now = clock_mono(clock);
        if (now >= not_before && (now >= again || atomic_load(&moved))) {
            atomic_store(&moved, false);
            more = pass(r, &w);
            int64_t end = clock_mono(clock);
            not_before = end + REST_FACTOR * (end - now);
            again = end + LOOK_AGAIN_S * NS_PER_S;
            r->s->used_s = clock_wall_s(clock);
        }
        if (more) {
            run_pause(r->s);
        }
    }
    core_unsubscribe(r->cli->core, handle);
    map_free(&w.last, mem_free);
}
