// SPDX-License-Identifier: Apache-2.0
/*
 * What the gate of the agent promises for any input: no literal passes, what passed passes again unchanged,
 * nothing crashes it, and no lost record goes uncounted. LAPIDARY_SEED repeats a run.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "user/base/digest.h"
#include "user/base/parse.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/probe/decode.h"
#include "user/probe/sql.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static uint64_t seed;

static uint64_t draw(uint64_t below)
{
	return digest_mix(seed += 0x9e3779b97f4a7c15ull) % below;
}

/* Text that stands for what must not be seen: no three bytes of it occur in anything else that is made. */
static const char WORDS[] = "QZJXVWKYQ";
static const char DIGITS[] = "86753098";

static void assert_scrubbed(const void *bytes, size_t size)
{
	for (size_t i = 0; i + 3 < sizeof(WORDS); i++)
		assert_null(memmem(bytes, size, WORDS + i, 3));
	for (size_t i = 0; i + 3 < sizeof(DIGITS); i++)
		assert_null(memmem(bytes, size, DIGITS + i, 3));
}

/* None of these can, beside another, begin or end a literal or a comment. */
static const char *const harmless[] = {
	"select", "from",    "where", " ",        "\n",   "\t",   ",",       "(",       ")",
	"in (",   "IN(",     "=",     "::text",   "a",    "t1.c", "\"a'b\"", "\"$x$\"", "\"a\"\"b\"",
	"$1",     "$2",      "a$b$",  "- ",       "+",    "*",    "/ ",      ";",       "||",
	"e",      "U&\"x\"", "n",     "\xc3\xa9", "\xff", "$ ",   "::",      "1",       "null",
	"copy",   "stdin",   "e1",    "x",        ".",    "\\",
};

static const char *const secret[] = {
	"'QZJXVWKYQ'",
	"'a''QZJXVWKYQ''b'",
	"E'\\'QZJXVWKYQ'",
	"e'\\\\\\'QZJXVWKYQ\\\\'",
	"N'QZJXVWKYQ'",
	"U&'\\0041QZJXVWKYQ'",
	"b'QZJXVWKYQ'",
	"X'86753098'",
	"$$QZJXVWKYQ$$",
	"$$'QZJXVWKYQ$$",
	"$t$ $$ QZJXVWKYQ $u$ ' $t$",
	"$\xc3\xa9$QZJXVWKYQ$\xc3\xa9$",
	"86753098",
	"86753.098e-86753098",
	".86753098",
	"0x86753098",
	"-86753098.",
	"8_6_7 ",
	"'x' \n 'QZJXVWKYQ'",
	"E'x' -- '\n '\\'QZJXVWKYQ'",
	"-- QZJXVWKYQ '\n",
	"/* ' QZJXVWKYQ /* \" */ QZJXVWKYQ */",
	"'QZJXVWKYQ\\\\'",
	"E'\xff\\'QZJXVWKYQ'",
	"in (86753098, 'QZJXVWKYQ', -867530.98)",
	"password 'QZJXVWKYQ'",
	"; copy t from stdin;\nQZJXVWKYQ\t86753098\n\\.\n",
	"'\"QZJXVWKYQ'",
	"'--QZJXVWKYQ'",
	"'/*QZJXVWKYQ'",
	"'$$QZJXVWKYQ'",
};

static size_t statement(char *out, size_t size)
{
	size_t used = 0, pieces = 1 + draw(16);

	out[0] = '\0';
	while (pieces-- > 0) {
		bool open = draw(3) == 0;
		const char *piece = open ? secret[draw(COUNT(secret))] : harmless[draw(COUNT(harmless))];
		bool touches = (open && (*piece != '\'' || strchr(piece, '\\'))) ? false : draw(4) == 0;

		text_add(out, size, &used, "%s%s", touches ? "" : " ", piece);
	}
	/* whether this literal ends depends on a setting: what follows would be a name for one of the two */
	if (draw(8) == 0)
		text_add(out, size, &used, " 'QZJXVWKYQ\\'QZJXVWKYQ'");
	return used;
}

static void check_normal(const char *text, size_t length, size_t room)
{
	char out[2048], again[2048];
	size_t size = sql_normalise(text, length, out, room);

	assert_true(size < room);
	assert_int_equal(strlen(out), size);
	assert_scrubbed(out, size);
	sql_normalise(out, size, again, room);
	if (strcmp(out, again) != 0)
		print_error("of: %.*s|\n", (int)length, text);
	assert_string_equal(out, again);
	assert_int_equal(text_clean(out), 0);
}

static void no_literal_survives_wherever_it_is_cut(void **state)
{
	char text[1024];

	(void)state;
	for (int i = 0; i < 1500; i++) {
		size_t length = statement(text, sizeof(text));

		for (size_t cut = 0; cut <= length; cut++) {
			/* an exact allocation, so that a look beyond the cut is seen */
			char *exact = memcpy(malloc(cut + 1), text, cut);

			check_normal(exact, cut, 2048);
			check_normal(exact, cut, 1 + draw(64));
			free(exact);
		}
	}
}

static void normal_form_of_any_bytes_is_normal(void **state)
{
	static const char nasty[] =
		"''''\"\"$$$\\\\EeUu&nxb--/**/();,.:019_aIN \n\t\xc3\xa9\xe2\x80\xa6\xff\x01";
	char text[300], out[1200], again[1200];

	(void)state;
	for (int i = 0; i < 50000; i++) {
		size_t length = draw(sizeof(text)), room = draw(2) ? sizeof(out) : 1 + draw(100), size;

		for (size_t k = 0; k < length; k++)
			text[k] = draw(16) ? nasty[draw(sizeof(nasty) - 1)] : (char)draw(256);
		size = sql_normalise(text, length, out, room);
		assert_int_equal(sql_normalise(out, size, again, room), size);
		assert_string_equal(out, again);
	}
}

struct room {
	_Alignas(8) unsigned char bytes[EV_RECORD_MAX];
};

static void check_identity(const struct ev_head *ev)
{
	static struct room again;
	const char *why = NULL;

	memset(&again, 0xa5, sizeof(again));
	assert_int_equal(decode(ev, ev->size, (struct ev_head *)again.bytes, &why), 0);
	assert_memory_equal(ev, again.bytes, ev->size);
}

static void fill_random(void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((unsigned char *)bytes)[i] = (unsigned char)draw(256);
}

static struct ev_head head_of(uint16_t type, uint8_t lane, size_t size)
{
	return (struct ev_head){.size = (uint32_t)size, .type = type, .lane = lane, .seq = 1, .tgid = 1};
}

static void make_query(struct ev_query_start *start)
{
	char text[EV_SQL_MAX];
	size_t length = statement(text, sizeof(text));

	/* what lies behind the text is of another record */
	memset(start, 'Q', sizeof(*start) + EV_SQL_MAX + 64);
	memcpy(start->text + length, WORDS, sizeof(WORDS));
	start->head = head_of(EV_QUERY_START, LANE_FLOW, sizeof(*start) + EV_SQL_MAX);
	start->kind = QUERY_SIMPLE + (uint32_t)draw(3);
	start->text_len = (uint32_t)draw(length + 1);
	memcpy(start->text, text, length);
}

static void make_fault(struct ev_fault *fault)
{
	char text[EV_SQL_LAST];
	size_t length = statement(text, sizeof(text));

	memset(fault, 0, sizeof(*fault) + 64);
	fault->head = head_of(EV_FAULT, LANE_CAPTURE, sizeof(*fault) + 64);
	fault->stack_len = (uint32_t)draw(65);
	fault->sql_len = (uint32_t)draw(length + 1);
	memcpy(fault->sql, text, length);
	memcpy(fault->comm, "abc\0QZJXVWKYQ", 13);
}

static void make_conn(struct ev_conn *conn)
{
	static const char *const hosts[] = {"u:QZJXVWKYQ@h", "postgres://QZJXVWKYQ", "password=QZJXVWKYQ"};

	memset(conn, 0, sizeof(*conn));
	conn->head = head_of(EV_CONN, LANE_LIFE, sizeof(*conn));
	conn->what = CONN_OPEN + (uint32_t)draw(4);
	text_copy(conn->host, sizeof(conn->host), hosts[draw(COUNT(hosts))]);
	text_copy(conn->database, sizeof(conn->database), hosts[draw(COUNT(hosts))]);
	memcpy(conn->port, "5432\0ZJX", 8);
	snprintf(conn->message, sizeof(conn->message), "FATAL: password authentication failed for QZJXVWKYQ");
}

static void decoded_records_hold_no_literal(void **state)
{
	static struct room in, out;
	const char *why = NULL;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		struct ev_head *ev = (struct ev_head *)in.bytes, *decoded = (struct ev_head *)out.bytes;

		switch (i % 3) {
		case 0:
			make_query((struct ev_query_start *)ev);
			break;
		case 1:
			make_fault((struct ev_fault *)ev);
			break;
		default:
			make_conn((struct ev_conn *)ev);
		}
		assert_int_equal(decode(ev, ev->size, decoded, &why), 0);
		assert_scrubbed(decoded, decoded->size);
		check_identity(decoded);
	}
}

static void decoding_any_bytes_refuses_or_settles(void **state)
{
	static struct room in, out;
	struct ev_head *ev = (struct ev_head *)in.bytes, *decoded = (struct ev_head *)out.bytes;
	static const size_t sizes[] = {
		sizeof(struct ev_head),      sizeof(struct ev_birth),    sizeof(struct ev_exec),
		sizeof(struct ev_kill),      sizeof(struct ev_fatal),    sizeof(struct ev_confirm),
		sizeof(struct ev_conn),      sizeof(struct ev_fault),    sizeof(struct ev_query_start),
		sizeof(struct ev_query_end), sizeof(struct ev_begin),    sizeof(struct ev_info),
		sizeof(struct ev_sample),    sizeof(struct ev_location), sizeof(struct ev_gap),
		sizeof(struct ev_hello),     sizeof(struct ev_probe),    sizeof(struct ev_breaker),
		sizeof(struct ev_action),    sizeof(struct ev_ruby),     sizeof(struct ev_written),
		sizeof(struct ev_state),
	};
	uint64_t accepted[EV_TYPE_END] = {0}, types = 0;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		uint32_t *words = (uint32_t *)(in.bytes + sizeof(*ev));
		const char *why = NULL;
		int err;

		fill_random(in.bytes, 400);
		for (size_t k = 0; k < 90; k++)
			words[k] = draw(8) ? (uint32_t)draw(EV_FORMAT + 1) : words[k];
		ev->type = (uint16_t)(draw(2) ? 1 + draw(EV_WRITTEN)
					      : EV_BEGIN + draw(EV_TYPE_END - EV_BEGIN + 1));
		ev->lane = (uint8_t)draw(LANE_COUNT + 1);
		ev->size = (uint32_t)(sizes[draw(COUNT(sizes))] + (draw(4) ? 0 : draw(64)));
		err = decode(in.bytes, draw(4) ? ev->size : draw(2048), decoded, &why);
		assert_true(err == 0 || (err == -EBADMSG && why));
		if (err)
			continue;
		accepted[ev->type]++;
		check_identity(decoded);
	}
	for (size_t type = 0; type < EV_TYPE_END; type++)
		types += accepted[type] > 0;
	assert_int_equal(types, EV_WRITTEN + EV_TYPE_END - EV_BEGIN);
}

struct arrival {
	uint64_t key, seq;
	uint8_t lane;
};

static int by_key(const void *a, const void *b)
{
	uint64_t x = ((const struct arrival *)a)->key, y = ((const struct arrival *)b)->key;

	return x < y ? -1 : x > y;
}

/* Numbers 1 to last of a lane: some are dropped, the rest comes in an order out by 16 places at most. */
static size_t lane_arrivals(struct arrival *out, uint8_t lane, uint64_t last, uint64_t *dropped)
{
	uint64_t drop_of = 2 + draw(30), burst = 0;
	size_t count = 0;

	*dropped = 0;
	for (uint64_t seq = 1; seq <= last; seq++) {
		if (burst == 0 && draw(200) == 0)
			burst = draw(120);
		burst -= burst > 0;
		if (seq < last && (burst || draw(drop_of) == 0))
			++*dropped;
		else
			out[count++] = (struct arrival){.seq = seq, .lane = lane};
	}
	for (size_t i = 0; i < count; i++)
		out[i].key = ((i + draw(17)) << 20) + i;
	qsort(out, count, sizeof(*out), by_key);
	return count;
}

static void note(struct gaps *gaps, uint16_t type, uint8_t lane, uint64_t seq, uint64_t time)
{
	struct ev_head ev = {.size = sizeof(ev), .type = type, .lane = lane, .seq = seq, .time_ns = time};

	gaps_note(gaps, &ev);
}

static void every_loss_is_counted_once(void **state)
{
	enum { LAST = 800 };
	static struct arrival arrivals[LANE_USER * LAST];

	(void)state;
	for (int i = 0; i < 500; i++) {
		uint64_t dropped[LANE_USER], told[LANE_USER] = {0}, time = 1;
		struct gaps *gaps = gaps_new();
		struct ev_gap gap;
		size_t count = 0;

		for (uint8_t lane = 0; lane < LANE_USER; lane++)
			count += lane_arrivals(arrivals + count, lane, 1 + draw(LAST), &dropped[lane]);
		for (size_t k = 0; k < count; k++) {
			note(gaps, EV_EXIT, arrivals[k].lane, arrivals[k].seq, time++);
			while (draw(3) == 0 && gaps_next(gaps, &gap))
				told[gap.of_lane] += gap.lost;
		}
		note(gaps, EV_TICK, LANE_USER, 1, time++);
		note(gaps, EV_TICK, LANE_USER, 2, time++);
		while (gaps_next(gaps, &gap)) {
			told[gap.of_lane] += gap.lost;
			assert_true(gap.from_ns <= gap.to_ns && gap.to_ns <= gap.head.time_ns);
		}
		for (uint8_t lane = 0; lane < LANE_USER; lane++) {
			assert_int_equal(told[lane], dropped[lane]);
			assert_int_equal(gaps_lost(gaps, lane), dropped[lane]);
		}
		gaps_free(gaps);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_literal_survives_wherever_it_is_cut),
		cmocka_unit_test(normal_form_of_any_bytes_is_normal),
		cmocka_unit_test(decoded_records_hold_no_literal),
		cmocka_unit_test(decoding_any_bytes_refuses_or_settles),
		cmocka_unit_test(every_loss_is_counted_once),
	};
	const char *given = getenv("LAPIDARY_SEED");

	if (!given || !parse_u64(given, &seed))
		seed = when_wall_now();
	printf("LAPIDARY_SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
