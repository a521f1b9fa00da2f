// SPDX-License-Identifier: Apache-2.0
/*
 * lapidary agent: start and loop.
 *
 * The order of the start is the order of what may fail without a trace: words first (configuration,
 * rules), then the host (features), the spawner (before any thread and while all capabilities are there),
 * the store (whose lock keeps a second agent away), and only then the probes. After that the agent drops
 * every capability that it can work without.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/base/confine.h"
#include "user/base/file.h"
#include "user/base/log.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/cli/agent.h"
#include "user/cli/agent_proc.h"
#include "user/cli/commands.h"
#include "user/cli/help.h"

enum { MMAP_RING_PAGES = 32, DESCRIPTORS = 16384 };

static const struct help agent_help = {
	.synopsis = "agent [OPTION…]",
	.text = "Watches every Ruby process of this host, records each crash, and says what the rules make "
		"of it.\n"
		"Runs in the foreground and logs on stderr; SIGTERM or SIGINT stops it gracefully.\n",
	.options = "  --state-dir DIR   store and crash bundles (/var/lib/lapidary)\n"
		   "  --run-dir DIR     sockets (/run/lapidary)\n"
		   "  --rules DIR       rules\n"
		   "  --config FILE     settings (/etc/lapidary/lapidary.json)\n"
		   "  --record FILE     write every input of the model to FILE, for lapidary replay\n"
		   "  …                 lapidary config show lists every setting with its flag\n",
	.examples = "  lapidary agent --state-dir /tmp/state --run-dir /tmp/run\n"
		    "  lapidary agent --record /tmp/today.rec --log-format json\n",
};

/* --- opening, in the order of the essay above; each says its own line ------------------------------- */

static int open_words(struct agent *agent)
{
	char why[512];
	enum log_level level;

	log_level_parse(agent->config.log_level, &level);
	log_setup(level, strcmp(agent->config.log_format, "json") == 0);
	gethostname(agent->host, sizeof(agent->host) - 1);
	if (rules_load(agent->config.rules_dir, &agent->rules, why, sizeof(why)) != 0)
		return command_error(EXIT_USAGE, "rules: %s", why);
	if (diagnoses_load(agent->config.rules_dir, &agent->diagnoses, why, sizeof(why)) != 0)
		return command_error(EXIT_USAGE, "diagnosis: %s", why);
	return 0;
}

/*
 * Each probe of a file is a descriptor, and there may be 256 files of a dozen; a soft limit of 1024 would be
 * reached at a third of that.
 */
static void raise_limits(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < DESCRIPTORS) {
		files.rlim_cur = files.rlim_max < DESCRIPTORS ? files.rlim_max : DESCRIPTORS;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

static int open_host(struct agent *agent)
{
	const struct feature_state *missing;
	int err;

	features_probe(&agent->features);
	missing = features_missing(&agent->features);
	if (missing)
		return command_error(EXIT_HOST, "%s: %s; lapidary features shows what this host offers",
				     missing->name, missing->detail);
	err = spawner_start(&agent->spawner);
	if (err)
		return command_error(EXIT_HOST, "spawner: %s", strerror(-err));
	raise_limits();
	/* not before: libuv's fork handler closes what it takes for its own descriptors in every child's
	 * child */
	agent->loop_open = uv_loop_init(&agent->loop) == 0;
	return agent->loop_open ? 0 : command_error(EXIT_INTERNAL, "the event loop could not be set up");
}

static void tell_store_start(const struct store_start *start, const char *why)
{
	char from[WHEN_SIZE], to[WHEN_SIZE];

	if (why[0])
		log_say(LOG_WARN, "store", "%s", why);
	if (start->removed || start->recovered || start->missing)
		log_say(LOG_WARN, "reconcile",
			"%u half-written bundles removed, %u finished ones recovered, %u bundles missing",
			start->removed, start->recovered, start->missing);
	if (start->unfinished)
		log_say(LOG_WARN, "reconcile",
			"%u actions had no outcome when the agent ended; they may have happened",
			start->unfinished);
	if (start->first || !start->unwatched_to_ns)
		return;
	when_rfc3339(start->unwatched_from_ns, from);
	when_rfc3339(start->unwatched_to_ns, to);
	log_say(LOG_WARN, "unwatched", "nobody watched from %s to %s (%.1f s)%s", from, to,
		(double)(start->unwatched_to_ns - start->unwatched_from_ns) / 1e9,
		start->unclean ? "; the agent before this one did not stop gracefully" : "");
}

static int open_store(struct agent *agent)
{
	struct store_options options = {.state_dir = agent->config.state_dir,
					.quota_bytes = agent->config.crash_quota,
					.age_ns = agent->config.crash_max_age_days * 86400000000000ull,
					.group_bundles = agent->config.crash_group_bundles,
					.group_window_ns = agent->config.crash_group_window_ms * 1000000ull};
	struct store_start start = {0};
	char why[512] = "";
	int err = store_open(&options, when_wall_now(), &agent->store, &start, why, sizeof(why));

	if (err)
		return command_error(EXIT_PROBLEMS, "store: %s", why);
	tell_store_start(&start, why);
	if (agent->config.record[0]) {
		err = recorder_open(agent->config.record, agent->config.record_limit, &agent->recorder);
		if (err)
			return command_error(EXIT_PROBLEMS,
					     "record: %s: %s; name a file that does not exist yet",
					     agent->config.record, strerror(-err));
	}
	return 0;
}

static int open_model(struct agent *agent)
{
	struct model_limits limits = {0};

	later_init(&agent->later);
	agent->started_ns = when_boot_now();
	agent->wall_offset_ns = when_wall_now() - agent->started_ns;
	agent->pipeline = pipeline_new(agent->rules, agent->wall_offset_ns ^ agent->started_ns, &limits);
	agent->gaps = gaps_new();
	agent->maps = maps_new();
	agent->scratch = malloc(EV_RECORD_MAX);
	decide_wire(agent);
	if (!agent->pipeline || !agent->gaps || !agent->maps || !agent->scratch ||
	    crash_stage_new(agent) != 0 || reports_new(agent) != 0 || acting_new(agent) != 0 ||
	    watch_new(agent, &agent->watch) != 0 || mappings_new(&agent->mappings) != 0 ||
	    proc_open(agent) != 0)
		return command_error(EXIT_INTERNAL, "no memory");
	return 0;
}

/* The probes take what the most generous app may have; crash_confirmed keeps each app to its own. */
static const char *widest_capture(const struct config *config)
{
	static const char *const levels[] = {"none", "registers", "stack"};
	int widest = 0;

	for (int level = 0; level < 3; level++) {
		if (strcmp(config->capture, levels[level]) == 0)
			widest = level;
		for (size_t i = 0; i < config->app_count; i++)
			if (level > widest && strcmp(config->apps[i].capture, levels[level]) == 0)
				widest = level;
	}
	return levels[widest];
}

static int open_probes(struct agent *agent)
{
	const char *capture = widest_capture(&agent->config);
	struct probe_options options = {
		.life_ring_bytes = agent->config.life_ring,
		.capture_ring_bytes = agent->config.capture_ring,
		.flow_ring_bytes = agent->config.flow_ring,
		.stack_bytes = strcmp(capture, "stack") == 0 ? agent->config.stack_bytes : 0,
		.no_captures = strcmp(capture, "none") == 0,
		.no_uprobe_multi = !agent->config.uprobe_multi,
	};
	char why[512] = "";
	int err = probe_open(&options, &agent->features, &agent->probe, why, sizeof(why));

	if (err)
		return command_error(EXIT_HOST, "probes: %s", why);
	if (agent->features.state[FEATURE_PERF_MMAP].present) {
		err = mmap_records_open(MMAP_RING_PAGES, &agent->mmap_records);
		if (err)
			return command_error(EXIT_HOST, "perf mmap records: %s", strerror(-err));
	}
	return 0;
}

static int open_targets(struct agent *agent)
{
	struct targets_options options = {
		.probe = agent->probe,
		.spawner = agent->spawner,
		.examiner_uid = agent->config.examiner_uid,
		.uprobe_multi =
			agent->config.uprobe_multi && agent->features.state[FEATURE_UPROBE_MULTI].present,
	};
	struct targets_events events = {.context = agent};
	int err;

	watch_wire(&events);
	events.prober = tests_prober;
	events.unwinder = examine_started;
	err = targets_new(&options, &events, &agent->targets);
	return err ? command_error(EXIT_INTERNAL, "targets: %s", strerror(-err)) : 0;
}

static int open_loop(struct agent *agent)
{
	char why[512] = "";

	mode_t mask = umask(0022); /* apps of other users reach their socket through this directory */
	int err = file_make_dirs(agent->config.run_dir, 0755);

	umask(mask);
	if (err != 0 || control_listen(&agent->loop, agent->config.run_dir, agent_answer, agent,
				       &agent->control, why, sizeof(why)) != 0)
		return command_error(EXIT_PROBLEMS, "control socket: %s",
				     why[0] ? why : "its directory cannot be made; choose another --run-dir");
	if (agent_loop_open(agent) != 0)
		return command_error(EXIT_INTERNAL, "the event loop could not be set up");
	return 0;
}

static int open_app_socket(struct agent *agent)
{
	return acting_listen(agent) == 0 ? 0
					 : command_error(EXIT_PROBLEMS, "the app socket could not be set up");
}

static int drop_privileges(struct agent *agent)
{
	const struct confine_capability *kept;
	const char *missing = "";
	size_t count;
	int err = confine_agent(&missing);

	if (err)
		return command_error(
			EXIT_HOST, "capability %s: %s; run as root, or with the capabilities of lapidary(8)",
			missing, strerror(-err));
	log_say(LOG_INFO, "start", "lapidary %s on %s, state in %s, %zu rules", LAPIDARY_VERSION, agent->host,
		agent->config.state_dir, rules_count(agent->rules));
	urgency_init(&agent->urgency);
	log_say(LOG_DEBUG, "start", "wakes by %s", urgency_name(agent->urgency.means));
	kept = confine_agent_capabilities(&count);
	for (size_t i = 0; i < count; i++)
		log_say(LOG_DEBUG, "start", "keeps %s: %s", kept[i].name, kept[i].why);
	return 0;
}

static int start(struct agent *agent)
{
	int (*const steps[])(struct agent *) = {open_words,      open_host,    open_store, open_model,
						open_probes,     open_targets, open_loop,  open_app_socket,
						drop_privileges, reports_start};
	int code = 0;

	for (size_t i = 0; !code && i < sizeof(steps) / sizeof(steps[0]); i++)
		code = steps[i](agent);
	return code;
}

int cmd_agent(int argc, char **argv)
{
	struct agent *agent;
	char why[512] = "";
	int code;

	if (argc > 1 && strcmp(argv[1], "--help") == 0)
		return help_print(&agent_help);
	agent = calloc(1, sizeof(*agent));
	if (!agent)
		return command_error(EXIT_INTERNAL, "no memory");
	if (config_load(&argc, argv, &agent->config, why, sizeof(why)) != 0 || argc > 1) {
		free(agent);
		return why[0] ? usage_error("%s", why)
			      : usage_error("agent: %s: not an option; see --help", argv[1]);
	}
	umask(0077);
	mallopt(M_ARENA_MAX,
		2); /* the readers of /proc allocate little; an arena each would hold what they freed */
	agent->exit_code = start(agent);
	if (agent->exit_code == 0) {
		agent_begin(agent);
		watch_scan(agent);
		agent_loop_run(agent);
	}
	agent_stop(agent);
	code = agent->exit_code;
	if (agent->reading > 0)
		_exit(code); /* they have the agent */
	free(agent);
	return code;
}
