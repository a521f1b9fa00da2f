/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One validated place for every setting. Flags beat environment, which beats the file, which beats the
 * default; every setting has all three (settings.def is the table: key, type, bounds, default, variable,
 * flag, help). An unknown key, a wrong type or a value out of range is refused with its place.
 */
#ifndef LAPIDARY_CONFIG_H
#define LAPIDARY_CONFIG_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "bpf/event.h"

enum { CONFIG_APPS = 64, CONFIG_DATABASES = 4 };

#define CONFIG_FILE "/etc/lapidary/lapidary.json"

/* SETTING_state_dir, … : the index of a setting in settings.def. */
enum setting_index {
#define SETTING(key, ...) SETTING_##key,
#include "user/cli/settings.def"
#undef SETTING
	SETTING_COUNT
};

enum config_source { SOURCE_DEFAULT, SOURCE_FILE, SOURCE_ENVIRONMENT, SOURCE_FLAG };

/*
 * "databases": [{"target": "postgres://db:5432/shop", "user": "probe", "password_file": "/etc/lapidary/pw"},
 * {"target": "…", "service": "shop", "service_file": "/etc/pg_service.conf"}]: with what the prober tests it.
 * An entry with databases needs uid or cgroup, because a command is the process's own to choose.
 */
struct config_database {
	char target[192];
	char user[64], password_file[256];
	char service[64], service_file[256];
};

/* "apps": [{"name": "shop", "uid": 1000, "cgroup": "/system.slice/shop*", "command": "puma*", "capture":
 * "stack"}] */
struct config_app {
	char name[64];
	int64_t uid;      /* -1: any */
	char cgroup[160]; /* shell pattern, "" any */
	char command[64]; /* shell pattern on comm, or on the program or script of its title (base names); ""
			     any */
	char capture[12]; /* "none", "registers", "stack"; config.capture when the entry has none */
	bool exclude;     /* not watched at all */
	bool act;         /* may be acted on by signals, holds and orders that its library does not accept */
	bool signal_init; /* its process 1 of a pid namespace may be signalled */
	struct config_database databases[CONFIG_DATABASES];
	size_t database_count;
};

struct config {
	char state_dir[256];
	char run_dir[256];
	char rules_dir[256];
	char log_level[8];
	char log_format[8];
	char color[8];
	char record[256];      /* write a recording here; "" none */
	uint64_t record_limit; /* bytes */
	uint32_t stack_bytes;
	char capture[12];
	uint32_t life_ring, capture_ring, flow_ring; /* bytes */
	uint32_t examiner_uid;
	uint32_t sample_interval_ms;
	uint64_t crash_quota; /* bytes of bundles */
	uint32_t crash_group_bundles, crash_group_window_ms, crash_max_age_days;
	char stderr_capture[12];
	uint32_t stop_timeout_ms;
	char act[256];       /* "", "all", or names with commas */
	char peer_uids[256]; /* with commas */
	uint32_t lease_ms;
	uint32_t breaker_max_open_ms, breaker_wait_ms, breaker_wait_max_ms;
	uint32_t probe_interval_ms, probe_timeout_ms, prober_uid;
	uint32_t restart_deadline_ms, restarts_per_minute, hold_max_ms;
	bool uprobe_multi; /* false: perf uprobes through the spawner, for old kernels and tests */
	struct config_app apps[CONFIG_APPS];
	size_t app_count;
	char file[256];                 /* what was read, "" when there was none */
	uint8_t sources[SETTING_COUNT]; /* enum config_source of each setting */
};

/*
 * Builds the configuration from file, environment and flags (argv after the subcommand; consumed flags
 * are removed, *argc shrinks). Returns 0, or 2 (usage) with one line in `why`.
 */
int config_load(int *argc, char **argv, struct config *out, char *why, size_t why_size);
/*
 * Every setting with its value and where it came from:
 * {"file","settings":[{key,value,source,variable,flag,type,allowed,default,help}],"apps":[…]}. The caller
 * deletes it.
 */
cJSON *config_show(const struct config *config);
/* The first entry that a process matches (comm, program or script of its title: base names), or NULL. */
const struct config_app *config_app_of(const struct config *config, uint32_t uid, const char *cgroup,
				       const char *comm, const char *title);

/* Whether the configuration lets Lapidary act on this app beyond what its library accepts: apps[].act of
 * its entry (NULL: it has none), or the setting `act`. */
bool config_acts(const struct config *config, const struct config_app *entry, const char *app);
/* Whether `peer_uids` lets processes of this user speak at the app socket. */
bool config_peer_uid(const struct config *config, uint32_t uid);

#endif
