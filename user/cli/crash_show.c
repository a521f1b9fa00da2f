/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `lapidary crash show ID`: one crash for a person, in the order of the questions asked at night: what died,
 * where in the code, why, since when and how often, what to do; the evidence stands below.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/cli/commands.h"
#include "user/cli/grid.h"
#include "user/cli/listing.h"

static const struct help crash_help = {
	"crash show ID [--json]",
	"Shows one crash in full. The first letters of its id suffice while they fit no other.\n",
	"  --json   report.json as it is in the bundle\n",
	"  lapidary crash show 3f2a\n"
	"  lapidary crash show 3f2a --json | jq .registers\n",
};

struct page {
	const cJSON *report;
	bool colour;
};

static const cJSON *part(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

/* "  name      text", cleaned: much of it a watched process chose. */
static void line(const struct page *page, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void line(const struct page *page, const char *name, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	text_clean(text);
	if (!*text)
		return;
	printf("  ");
	if (page->colour)
		printf("\033[2m%-14s\033[0m", name);
	else
		printf("%-14s", name);
	printf("%s\n", text);
}

static void head(const struct page *page, const char *text)
{
	putchar('\n');
	tint_print(stdout, page->colour, TINT_BOLD, text);
	putchar('\n');
}

static void print_what(const struct page *page, const char *bundle)
{
	const cJSON *report = page->report, *parent = part(report, "parent");
	char title[256];

	snprintf(title, sizeof(title), "%s: %s of %s (%s), process %.0f", json_text(report, "id"),
		 json_text(report, "signal"),
		 *json_text(report, "app") ? json_text(report, "app") : "no known app",
		 json_text(report, "comm"), json_number(report, "pid", 0));
	text_clean(title);
	tint_print(stdout, page->colour, TINT_RED, title);
	putchar('\n');
	line(page, "when", "%s", json_text(report, "time"));
	line(page, "process", "%s of user %.0f, started %s, parent %.0f", json_text(report, "role"),
	     json_number(report, "uid", 0), json_text(report, "start_time"), json_number(parent, "pid", 0));
	line(page, "runs", "%s%s%s%s", *json_text(report, "ruby") ? "Ruby " : "", json_text(report, "ruby"),
	     *json_text(report, "server") ? " under " : "", json_text(report, "server"));
	line(page, "known by", "%s", json_text(report, "confirmed_by"));
	line(page, "bundle", "%s", bundle);
}

static void print_why(const struct page *page)
{
	const cJSON *report = page->report, *blame = part(report, "blame"),
		    *location = part(report, "location");
	const cJSON *vm = part(report, "vm_error");

	head(page, "Why");
	line(page, "cause", "%s: %s", json_text(report, "cause"), json_text(report, "cause_evidence"));
	line(page, "address", "%s", json_text(report, "fault_address"));
	if (*json_text(location, "module"))
		line(page, "where", "%s + %s (build-id %s)", json_text(location, "module"),
		     json_text(location, "offset"),
		     *json_text(location, "build_id") ? json_text(location, "build_id") : "unknown");
	else if (cJSON_IsObject(location))
		line(page, "where", "%s, in no known file", json_text(location, "address"));
	line(page, "blame", "%s%s%s%s%s, confidence %s", json_text(blame, "module"),
	     *json_text(blame, "gem") ? ", gem " : "", json_text(blame, "gem"),
	     *json_text(blame, "version") ? " " : "", json_text(blame, "version"),
	     json_text(blame, "confidence"));
	line(page, "because", "%s", json_text(blame, "how"));
	if (cJSON_IsObject(vm))
		line(page, "Ruby said", "%s: %s", json_text(vm, "function"), json_text(vm, "message"));
}

static void print_sql(const struct page *page)
{
	const cJSON *sql = part(page->report, "sql");

	if (!cJSON_IsObject(sql))
		return;
	head(page, "Last statement of the thread");
	line(page, "statement", "%s", json_text(sql, "statement"));
	line(page, "target", "%s", json_text(sql, "target"));
	line(page, "state", "%s", json_true(sql, "in_flight") ? "in flight" : "finished before");
}

/* How often: like crashes in the store, and since when. */
static void print_history(const struct page *page, struct store_reader *reader)
{
	struct store_filter filter = {.fingerprint = json_text(page->report, "fingerprint"), .limit = 100000};
	const cJSON *list, *oldest;
	char first[24], last[24];
	cJSON *all = NULL;
	int count;

	head(page, "How often");
	if (!*filter.fingerprint || store_crashes(reader, &filter, &all))
		return;
	list = part(all, "crashes");
	count = cJSON_GetArraySize(list);
	oldest = cJSON_GetArrayItem(list, count - 1);
	line(page, "fingerprint", "%s", filter.fingerprint);
	if (count)
		line(page, "seen", "%d time%s, first %s, last %s UTC", count, count == 1 ? "" : "s",
		     time_short(json_text(oldest, "time"), first),
		     time_short(json_text(cJSON_GetArrayItem(list, 0), "time"), last));
	cJSON_Delete(all);
}

static void print_remedies(const struct page *page)
{
	const cJSON *one;
	char text[1024];

	head(page, "What to do");
	cJSON_ArrayForEach(one, part(page->report, "remedies"))
	{
		text_copy(text, sizeof(text), cJSON_IsString(one) ? one->valuestring : "");
		text_clean(text);
		printf("  - %s\n", text);
	}
}

static void print_frames(const struct page *page)
{
	struct grid *grid = grid_new("  |address>|module|offset>|found by");
	const cJSON *frame;
	int number = 0;

	head(page, "Native frames");
	cJSON_ArrayForEach(frame, part(page->report, "native_frames"))
	{
		bool first = number == 0;

		if (!grid || number == 12)
			break;
		grid_cell(grid, TINT_DIM, "%3d", number++);
		grid_cell(grid, TINT_NONE, "%s", json_text(frame, "address"));
		grid_cell(grid, first ? TINT_YELLOW : TINT_NONE, "%s", json_text(frame, "module"));
		grid_cell(grid, TINT_NONE, "%s", json_text(frame, "offset"));
		grid_cell(grid, TINT_DIM, "%s", first ? "instruction pointer" : "word on the stack");
	}
	if (grid && number)
		grid_print(grid, stdout, page->colour);
	grid_free(grid);
}

static void print_registers(const struct page *page)
{
	static const char *const names[] = {"rip", "rsp", "rbp", "rax", "rbx", "rcx", "rdx", "rsi", "rdi",
					    "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15", "eflags"};
	const cJSON *registers = part(page->report, "registers");

	if (!cJSON_IsObject(registers))
		return;
	head(page, "Registers");
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		printf("  %-6s %-18s%s", names[i], json_text(registers, names[i]), i % 3 == 2 ? "\n" : "");
}

static void print_gems(const struct page *page)
{
	const cJSON *gem;
	char text[900] = "", seen[128];
	size_t used = 0;

	cJSON_ArrayForEach(gem, part(page->report, "gems"))
	{
		snprintf(seen, sizeof(seen), "%s%s%s", json_text(gem, "name"),
			 *json_text(gem, "version") ? " " : "", json_text(gem, "version"));
		if (!strstr(text, seen))
			text_add(text, sizeof(text), &used, "%s%s", used ? ", " : "", seen);
	}
	if (!used)
		return;
	head(page, "Native gems loaded");
	line(page, "", "%s", text);
}

static void print_parts(const struct page *page)
{
	const cJSON *one;

	head(page, "Parts of this report");
	cJSON_ArrayForEach(one, part(page->report, "parts"))
		line(page, one->string, "%s%s%s", json_text(one, "state"), *json_text(one, "why") ? ": " : "",
		     json_text(one, "why"));
	if (json_number(page->report, "lost_records", 0) > 0)
		line(page, "lost", "%.0f records in the 10 s before",
		     json_number(page->report, "lost_records", 0));
}

static int show(const struct listing *listing, struct store_reader *reader, const char *id)
{
	struct page page = {.colour = listing->colour};
	cJSON *report = NULL;
	char bundle[4608];
	int err = store_report(reader, id, &report, bundle, sizeof(bundle)), code = EXIT_FINE;

	if (err == -ENOENT)
		return command_error(
			EXIT_PROBLEMS,
			"crash: no crash whose id begins with '%s'; 'lapidary crashes' lists them", id);
	if (err == -ENOTUNIQ)
		return command_error(EXIT_PROBLEMS, "crash: '%s' fits several crashes; give more letters",
				     id);
	if (err == -ESTALE)
		return command_error(EXIT_PROBLEMS,
				     "crash: %s: its bundle is gone, taken by the quota or by hand; its row "
				     "remains in 'lapidary crashes'",
				     id);
	if (err)
		return command_error(
			EXIT_PROBLEMS,
			"crash: %s: damaged bundle; what else is in its folder may still be of use", bundle);
	if (listing->json) {
		code = print_json(report);
	} else {
		page.report = report;
		print_what(&page, bundle);
		print_why(&page);
		print_sql(&page);
		print_history(&page, reader);
		print_remedies(&page);
		print_frames(&page);
		print_registers(&page);
		print_gems(&page);
		print_parts(&page);
	}
	cJSON_Delete(report);
	return code;
}

int cmd_crash(int argc, char **argv)
{
	struct store_reader *reader = NULL;
	struct listing listing;
	int code = listing_start(&listing, argc, argv, &crash_help, 0, 2);

	if (code >= 0)
		return code;
	if (listing.count != 2 || strcmp(listing.words[0], "show"))
		code = usage_error("crash: 'show ID' is missing; see 'lapidary crash --help'");
	else
		code = listing_store(&listing, argv[0], &reader);
	if (code < 0) {
		code = show(&listing, reader, listing.words[1]);
		store_reader_close(reader);
	}
	listing_done(&listing);
	return code;
}
