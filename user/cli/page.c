// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "user/base/text.h"
#include "user/cli/page.h"

enum { NAME = 14, TEXT = 4096 };

int page_width(FILE *out)
{
	struct winsize size = {0};

	if (!isatty(fileno(out)) || ioctl(fileno(out), TIOCGWINSZ, &size) < 0 || !size.ws_col)
		return 100;
	return size.ws_col < 60 ? 60 : size.ws_col > 200 ? 200 : size.ws_col;
}

static bool begins(char byte)
{
	return ((unsigned char)byte & 0xc0) != 0x80;
}

/* Bytes of the text that fit `width` columns. */
static size_t fitting(const char *text, int width)
{
	size_t at = 0;

	for (int used = 0; text[at]; at++)
		if (begins(text[at]) && ++used > width)
			break;
	return at;
}

/* Bytes of the next line: broken at the last blank that fits, in the middle of a long word if there is none.
 */
static size_t line_break(const char *text, int width)
{
	size_t size = fitting(text, width), at = size;

	if (!text[size])
		return size;
	while (at && text[at] != ' ')
		at--;
	return at > size / 3 ? at : size;
}

void page_head(const struct page *page, const char *text)
{
	fputc('\n', page->out);
	tint_print(page->out, page->colour, TINT_BOLD, text);
	fputc('\n', page->out);
}

static void text_lines(const struct page *page, const char *name, int lines, const char *text)
{
	int width = page->width - 2 - NAME;

	for (bool first = true; *text; first = false) {
		size_t size = line_break(text, lines == 1 ? width - 2 : width);

		fputs("  ", page->out);
		if (first && page->colour)
			fprintf(page->out, "\033[2m%-*s\033[0m", NAME, name);
		else
			fprintf(page->out, "%-*s", NAME, first ? name : "");
		fprintf(page->out, "%.*s%s\n", (int)size, text, text[size] && lines == 1 ? " …" : "");
		if (!--lines)
			return;
		text += size;
		text += strspn(text, " ");
	}
}

static void format_lines(const struct page *page, const char *name, int lines, const char *format,
			 va_list args) __attribute__((format(printf, 4, 0)));

static void format_lines(const struct page *page, const char *name, int lines, const char *format,
			 va_list args)
{
	char text[TEXT];

	vsnprintf(text, sizeof(text), format, args);
	text_clean(text);
	text_lines(page, name, lines, text);
}

void page_text(const struct page *page, const char *name, int lines, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	format_lines(page, name, lines, format, args);
	va_end(args);
}

void page_line(const struct page *page, const char *name, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	format_lines(page, name, 3, format, args);
	va_end(args);
}

void page_raw(const struct page *page, enum tint tint, const char *format, ...)
{
	char text[TEXT];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	text_clean(text);
	text[fitting(text, page->width)] = '\0';
	tint_print(page->out, page->colour, tint, text);
	fputc('\n', page->out);
}
