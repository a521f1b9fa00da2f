/* SPDX-License-Identifier: Apache-2.0 */
/* Every subcommand: argv[0] is its own name; the result is the exit code (docs/design.md 8). */
#ifndef LAPIDARY_COMMANDS_H
#define LAPIDARY_COMMANDS_H

int cmd_agent(int argc, char **argv);
int cmd_actions(int argc, char **argv);
int cmd_breaker(int argc, char **argv);
int cmd_breakers(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_crash(int argc, char **argv);
int cmd_crashes(int argc, char **argv);
int cmd_decisions(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_features(int argc, char **argv);
int cmd_gaps(int argc, char **argv);
int cmd_health(int argc, char **argv);
int cmd_incidents(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_worker(int argc, char **argv);
int cmd_workers(int argc, char **argv);

#endif
