// SPDX-License-Identifier: Apache-2.0
/* clang-format off */
/*
 * The command line on the HTTP stack, for the weft program, the page's console and whoever wants
 * to. A session is a resource:
 *
 *   POST   /cli/v1/sessions                {"interactive":true,"rows":24,"columns":80}
 *          201                             {"id":"...","number":7,"user":"admin","prompt":"..."}
 *   POST   /cli/v1/sessions/ID/execute     {"line":"show apm entity"}; the answer is a stream of
 *                                          JSON objects, one a line (application/jsonl):
 *          {"text":"..."}                  output
 *          {"note":"..."}                  a remark: warnings, progress; not filtered by pipes
 *          {"error":{"code":"unknown-element","text":"...","path":"...","shown":"...",
 *                    "start":5,"end":9}}   shown: for people, perhaps with a line "[edit ...]" before
 *                                          it; start and end: bytes of the line, when it is about one
 *          {"save":"FILE"}                 what follows belongs into that file at the terminal
 *          {"paging":false}                do not stop at the end of the screen
 *          {"ask":{"kind":"confirm","prompt":"..."}}   confirm, secret, text, file: see input
 *          {"end":{"status":0,"prompt":"...","ended":false,"secret":false,"rows":24,"columns":80,
 *                  "complete-on-space":true,"way-back":"configure\nedit apm\n","index":7}}
 *                                          always the last; secret: keep the line in no history;
 *                                          way-back: lines that lead a new session to this place;
 *                                          index: of the newest commit that this node shows
 *   POST   /cli/v1/sessions/ID/input       the answer to an ask, as it is; ?none=REASON instead of
 *                                          one: end of input, a file that can't be read. 204
 *   POST   /cli/v1/sessions/ID/interrupt   ends the command that runs. 204
 *   POST   /cli/v1/sessions/ID/complete    {"line":"show ap","cursor":7}
 *          200                             {"from":5,"insert":"apm ","items":[...],"more":false}
 *   POST   /cli/v1/sessions/ID/terminal    {"rows":50,"columns":132}. 204
 *   DELETE /cli/v1/sessions/ID             204
 *
 * Who asks is found out as for every dialect (core/http_auth.h), at each request; a session belongs
 * to its user and is not found by others. One that is not there is 404; one of the daemon before
 * its last start is 410. Memory: what a slow terminal has not taken is bounded by
 * CLI_OUT_HIGH and then holds the command; lines, answers and sessions are bounded in cli.h.
 */
/* clang-format on */
#ifndef NORTH_CLI_HTTP_H
#define NORTH_CLI_HTTP_H

#include "core/http_auth.h"
#include "net/http.h"
#include "north/cli/cli.h"
#include "north/relay.h"

enum { CLI_OUT_HIGH = 256 << 10, CLI_BODY_MAX = 128 << 10, CLI_ONE_SHOT_IDLE_S = 60 };

struct cli_http;
/* `auth` is copied; its dialect is "cli". Everything from the loop's thread. */
struct cli_http *cli_http_new(struct cli *cli, const struct http_auth_config *auth);
/* What only the leader can do is done there (docs/cluster.md); NULL, as at first: it is refused
 * where this node does not lead. The relay is freed after this. */
void cli_http_set_relay(struct cli_http *h, struct relay *relay);
/* Ends all sessions, waiting for commands that run. After the servers were freed and loop_run()
 * has returned; before core_close() and loop_free(). */
void cli_http_free(struct cli_http *h);
/* Is the path one of these? Then hand it over. */
bool cli_http_mine(const struct http_req *r);
/* An error of the server itself, in our form: see http_server_on_error. */
void cli_http_write_error(struct http_req *r, int status, const char *why);
void cli_http_handle(struct cli_http *h, struct http_req *r);

#endif
