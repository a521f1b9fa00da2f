/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Application servers, and what they understand (FACTS.md 6). Pure tables. What a process is, is decided by
 * kernel facts: the server's own native extension among its mappings, beside its title; a title alone is the
 * process's to choose and earns nothing but the treatment of a plain preforking parent's child.
 */
#ifndef LAPIDARY_SERVER_H
#define LAPIDARY_SERVER_H

#include "user/act/scope.h"

enum server { SERVER_UNKNOWN, SERVER_PUMA, SERVER_UNICORN, SERVER_PITCHFORK, SERVER_IODINE, SERVER_PREFORK };

/* The base name of a mapped file ("puma_http11.so") to its server; SERVER_UNKNOWN for any other. */
enum server server_of_file(const char *base);
/* The title's word and the mapped extension must agree; else SERVER_PREFORK for a worker or master, else
 * SERVER_UNKNOWN. */
enum server server_recognise(const char *title_server, enum server mapped, enum app_role role);
const char *server_name(enum server server);

/* The signal that replaces one worker gracefully; 0: there is none. */
int server_worker_signal(enum server server, enum app_role role);
/* The signal to a master that rolls all its workers; 0: none. Puma with preload_app restarts whole by it. */
int server_roll_signal(enum server server);

#endif
