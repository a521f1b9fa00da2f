/* SPDX-License-Identifier: Apache-2.0 */
/* `lapidary config check` and `lapidary config show`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/cli/commands.h"
#include "user/cli/grid.h"
#include "user/cli/help.h"
#include "user/cli/listing.h"
#include "user/cli/setting.h"

static const char *const source_names[] = {
	[SOURCE_DEFAULT] = "default",
	[SOURCE_FILE] = "file",
	[SOURCE_ENVIRONMENT] = "environment",
	[SOURCE_FLAG] = "flag",
};

static const struct help config_help = {
	"config check [FILE] [--json] | config show [--json]",
	"check reads the configuration as the agent would and says whether it is sound; FILE instead of the\n"
	"one in force. show prints every setting, its value, and where that came from: flags beat "
	"environment\n"
	"variables, which beat the file, which beats the default.\n",
	"  --json          one JSON object instead of a table\n"
	"  --config FILE   the configuration file (default " CONFIG_FILE ")\n",
	"  lapidary config check /etc/lapidary/lapidary.json\n"
	"  lapidary config show --json | jq '.settings[] | select(.source != \"default\")'\n",
};

static cJSON *show_setting(const struct setting *setting, const struct config *config)
{
	cJSON *one = cJSON_CreateObject();
	char allowed[160];

	setting_allowed(setting, allowed, sizeof(allowed));
	cJSON_AddStringToObject(one, "key", setting->key);
	cJSON_AddItemToObject(one, "value", setting_value(setting, config));
	cJSON_AddStringToObject(one, "source", source_names[config->sources[setting - settings]]);
	cJSON_AddStringToObject(one, "variable", setting->variable);
	cJSON_AddStringToObject(one, "flag", setting->flag);
	cJSON_AddStringToObject(one, "type", setting_type_name(setting));
	cJSON_AddStringToObject(one, "allowed", allowed);
	cJSON_AddStringToObject(one, "default", setting->fallback);
	cJSON_AddStringToObject(one, "help", setting->help);
	return one;
}

static cJSON *show_database(const struct config_database *database)
{
	cJSON *one = cJSON_CreateObject();

	json_add_text(one, "target", database->target);
	json_add_text(one, "user", database->user);
	json_add_text(one, "password_file", database->password_file);
	json_add_text(one, "service", database->service);
	json_add_text(one, "service_file", database->service_file);
	return one;
}

static cJSON *show_app(const struct config_app *app)
{
	cJSON *one = cJSON_CreateObject(), *databases;

	json_add_text(one, "name", app->name);
	if (app->uid >= 0)
		cJSON_AddNumberToObject(one, "uid", (double)app->uid);
	else
		cJSON_AddNullToObject(one, "uid");
	json_add_text(one, "cgroup", app->cgroup);
	json_add_text(one, "command", app->command);
	json_add_text(one, "capture", app->capture);
	cJSON_AddBoolToObject(one, "exclude", app->exclude);
	cJSON_AddBoolToObject(one, "act", app->act);
	cJSON_AddBoolToObject(one, "signal_init", app->signal_init);
	databases = cJSON_AddArrayToObject(one, "databases");
	for (size_t i = 0; i < app->database_count; i++)
		cJSON_AddItemToArray(databases, show_database(&app->databases[i]));
	return one;
}

cJSON *config_show(const struct config *config)
{
	cJSON *all = cJSON_CreateObject(), *list, *apps;

	json_add_text(all, "file", config->file);
	list = cJSON_AddArrayToObject(all, "settings");
	for (size_t i = 0; i < SETTING_COUNT; i++)
		cJSON_AddItemToArray(list, show_setting(&settings[i], config));
	apps = cJSON_AddArrayToObject(all, "apps");
	for (size_t i = 0; i < config->app_count; i++)
		cJSON_AddItemToArray(apps, show_app(&config->apps[i]));
	return all;
}

static void print_value(struct grid *grid, const cJSON *value)
{
	char *text = cJSON_PrintUnformatted(value);

	if (cJSON_IsString(value))
		grid_cell(grid, TINT_NONE, "%s", value->valuestring);
	else
		grid_cell(grid, TINT_NONE, "%s", text ? text : "?");
	cJSON_free(text);
}

/* What an entry adds to the orders that the app's library accepts, which need no consent from here. */
static const char *acting_word(const struct config *config, const struct config_app *app)
{
	if (app->exclude || !config_acts(config, app, app->name))
		return "as accepted";
	return app->signal_init ? "yes, its process 1 too" : "yes";
}

static void print_databases(struct grid *grid, const struct config_app *app)
{
	char list[(sizeof(app->databases[0].target) + 2) * CONFIG_DATABASES];
	size_t used = 0;

	list[0] = '\0';
	for (size_t i = 0; i < app->database_count; i++)
		text_add(list, sizeof(list), &used, "%s%s", used ? ", " : "", app->databases[i].target);
	grid_cell(grid, TINT_NONE, "%s", used ? list : "-");
}

static void print_apps(const struct config *config, bool colour)
{
	struct grid *grid = config->app_count
				    ? grid_new("app|uid|cgroup|command|capture|watched|acted on|databases")
				    : NULL;

	if (!grid)
		return;
	for (size_t i = 0; i < config->app_count; i++) {
		const struct config_app *app = &config->apps[i];

		grid_cell(grid, TINT_BOLD, "%s", app->name);
		if (app->uid >= 0)
			grid_cell(grid, TINT_NONE, "%lld", (long long)app->uid);
		else
			grid_cell(grid, TINT_DIM, "any");
		grid_cell(grid, TINT_NONE, "%s", app->cgroup[0] ? app->cgroup : "any");
		grid_cell(grid, TINT_NONE, "%s", app->command[0] ? app->command : "any");
		grid_cell(grid, TINT_NONE, "%s", app->capture);
		grid_cell(grid, TINT_NONE, "%s", app->exclude ? "no" : "yes");
		grid_cell(grid, TINT_NONE, "%s", acting_word(config, app));
		print_databases(grid, app);
	}
	putchar('\n');
	grid_print(grid, stdout, colour);
	grid_free(grid);
}

static int print_settings(const struct config *config)
{
	bool colour = colour_wanted(config->color, stdout);
	struct grid *grid = grid_new("setting|value|source|flag|variable");
	cJSON *all = config_show(config);
	const cJSON *one;

	if (!grid || !all) {
		grid_free(grid);
		cJSON_Delete(all);
		return command_error(EXIT_INTERNAL, "config: out of memory");
	}
	cJSON_ArrayForEach(one, cJSON_GetObjectItem(all, "settings"))
	{
		const char *source = json_text(one, "source");

		grid_cell(grid, TINT_BOLD, "%s", json_text(one, "key"));
		print_value(grid, cJSON_GetObjectItem(one, "value"));
		grid_cell(grid, strcmp(source, "default") ? TINT_CYAN : TINT_DIM, "%s", source);
		grid_cell(grid, TINT_NONE, "%s", json_text(one, "flag"));
		grid_cell(grid, TINT_DIM, "%s", json_text(one, "variable"));
	}
	grid_print(grid, stdout, colour);
	grid_free(grid);
	cJSON_Delete(all);
	printf("\nfile: %s\n", config->file[0] ? config->file : "none");
	print_apps(config, colour);
	return EXIT_FINE;
}

static int print_check(const struct config *config, bool json, int err, const char *why)
{
	if (json) {
		cJSON *answer = cJSON_CreateObject();

		cJSON_AddBoolToObject(answer, "valid", err == 0);
		json_add_text(answer, "file", config->file);
		json_add_text(answer, "problem", err ? why : "");
		print_json(answer);
		cJSON_Delete(answer);
		return err;
	}
	if (err)
		return command_error(err, "config: %s", why);
	printf("%s: fine\n", config->file[0] ? config->file : "no file, the defaults, environment and flags");
	return EXIT_FINE;
}

/* "check FILE" is "check --config FILE": one way to name the file, and one to read it. */
static int words_arrange(int argc, char **argv, char **out)
{
	int count = 0;

	for (int i = 0; i < argc; i++) {
		if (i == 2 && argv[i][0] != '-' && !strcmp(argv[1], "check"))
			out[count++] = (char *)"--config";
		out[count++] = argv[i];
	}
	out[count] = NULL;
	return count;
}

static int config_run(int argc, char **argv, struct config *config)
{
	bool json = option_take(&argc, argv, "--json");
	char why[512];
	int err;

	if (option_take(&argc, argv, "--help") || option_take(&argc, argv, "-h"))
		return help_print(&config_help);
	if (argc < 2 || (strcmp(argv[1], "check") && strcmp(argv[1], "show")))
		return usage_error("config: 'check' or 'show' is missing; see 'lapidary config --help'");
	err = config_load(&argc, argv, config, why, sizeof(why));
	if (!err && argc > 2)
		return usage_error("config: '%s' is not known; see 'lapidary config --help'", argv[2]);
	if (!strcmp(argv[1], "check"))
		return print_check(config, json, err, why);
	if (err)
		return command_error(err, "config: %s", why);
	if (json) {
		cJSON *all = config_show(config);

		err = print_json(all);
		cJSON_Delete(all);
		return err;
	}
	return print_settings(config);
}

int cmd_config(int argc, char **argv)
{
	struct config *config = calloc(1, sizeof(*config));
	char **words = calloc((size_t)argc + 2, sizeof(*words));
	int code;

	if (config && words)
		code = config_run(words_arrange(argc, argv, words), words, config);
	else
		code = command_error(EXIT_INTERNAL, "config: out of memory");
	free(words);
	free(config);
	return code;
}
