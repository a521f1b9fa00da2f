/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket, RUN_DIR/control.sock (0600): one line of text asks, "COMMAND ARGUMENT", one JSON
 * document answers, and the connection closes. The argument is a word, or a JSON object where a command
 * takes several. Only the agent's own uid and root are answered. It serves the client commands; apps have a
 * socket of their own.
 */
#ifndef LAPIDARY_CONTROL_H
#define LAPIDARY_CONTROL_H

#include <cjson/cJSON.h>
#include <stddef.h>
#include <uv.h>

enum { CONTROL_LINE_MAX = 4096 }; /* of a question, its newline included */

/*
 * Asks the agent: "workers", "doctor 1234". Returns 0 with *answer (the caller deletes it), or an exit code
 * with one line in `why`: 4 when nothing answers within two seconds, 1 when the agent refuses.
 */
int control_ask(const char *run_dir, const char *command, cJSON **answer, char *why, size_t why_size);

/* The same with a JSON argument (borrowed; NULL: none): `breaker {"do":"open",…}`. */
int control_ask_with(const char *run_dir, const char *command, const cJSON *argument, cJSON **answer,
		     char *why, size_t why_size);

struct control; /* the agent's side */

/* Answers one command; NULL: unknown. The document becomes the server's. */
typedef cJSON *(*control_fn)(void *context, const char *command, const char *argument);

/* Listens. -EADDRINUSE: an agent answers there already; a dead agent's socket is replaced. */
int control_listen(uv_loop_t *loop, const char *run_dir, control_fn fn, void *context, struct control **out,
		   char *why, size_t why_size);
/*
 * Listens anew where nothing is at its path any more; what somebody else put there stays. 1: it did, 0: there
 * was no need, -EIO: it could not (to be tried again).
 */
int control_keep(struct control *control);
/* Removes the socket and closes the handles; call control_free when the loop has run their callbacks. */
void control_close(struct control *control);
void control_free(struct control *control);

#endif
