// SPDX-License-Identifier: Apache-2.0
/*
 * gem_tree over roots that are made here: what is to be found, and what must do no harm: links that lead
 * out, loops, FIFOs, devices, folders that may not be read, depths, a child that stops.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/probe/gem_tree.h"

static char root[64];

static void run(const char *command)
{
	char all[4096];

	snprintf(all, sizeof(all), "cd %s && %s", root, command);
	assert_int_equal(system(all), 0);
}

static int make_root(void **state)
{
	(void)state;
	strcpy(root, "/tmp/lapidary-tree-XXXXXX");
	assert_non_null(mkdtemp(root));
	return chmod(root, 0755);
}

static int forget_root(void **state)
{
	char command[200];

	(void)state;
	snprintf(command, sizeof(command), "chmod -R u+rwx %s; rm -r %s", root, root);
	return system(command);
}

static struct gem_tree *walk(const struct tree_place *places, size_t count)
{
	struct gem_tree *tree;

	assert_int_equal(gem_tree_new(root, &tree), 0);
	assert_int_equal(gem_tree_walk(tree, places, count), 0);
	return tree;
}

static struct gem_tree *walk_gems(const char *path)
{
	const struct tree_place place = {PLACE_GEMS, path};

	return walk(&place, 1);
}

static const struct tree_entry *find(const struct gem_tree *tree, enum tree_kind kind, const char *path)
{
	for (size_t i = 0; i < gem_tree_count(tree); i++) {
		const struct tree_entry *entry = gem_tree_entry(tree, i);

		if (entry->kind == kind && strcmp(entry->path, path) == 0)
			return entry;
	}
	return NULL;
}

static size_t count_of(const struct gem_tree *tree, enum tree_kind kind)
{
	size_t count = 0;

	for (size_t i = 0; i < gem_tree_count(tree); i++)
		count += gem_tree_entry(tree, i)->kind == kind;
	return count;
}

#define FOUND(kind, path)     assert_non_null(find(tree, kind, path))
#define NOT_FOUND(kind, path) assert_null(find(tree, kind, path))
#define PROBLEM(path, why)                                                                                   \
	do {                                                                                                 \
		const struct tree_entry *problem_ = find(tree, TREE_PROBLEM, path);                          \
		assert_non_null(problem_);                                                                   \
		assert_int_equal(problem_->result, why);                                                     \
	} while (0)

static void rubies_wherever_they_are_put(void **state)
{
	static const char *const programs[] = {
		"/usr/bin/ruby3.1",
		"/usr/local/bin/ruby",
		"/opt/rubies/ruby-3.3.0/bin/ruby",
		"/opt/gitlab/embedded/bin/ruby",
		"/home/shop/.rbenv/versions/3.2.2/bin/ruby",
		"/root/.asdf/installs/ruby/3.4.1/bin/ruby",
	};
	static const char *const libraries[] = {
		"/usr/lib/x86_64-linux-gnu/libruby-3.1.so.3.1.2",
		"/home/shop/.rbenv/versions/3.2.2/lib/libruby.so.3.2.2",
	};
	static const char *const extensions[] = {
		"/usr/lib/x86_64-linux-gnu/ruby/vendor_ruby/3.1.0/pg_ext.so",
		"/var/lib/gems/3.1.0/extensions/x86_64-linux/3.1.0/bcrypt-3.1.18/bcrypt_ext.so",
		"/home/shop/.rbenv/versions/3.2.2/lib/ruby/gems/3.2.0/gems/pg-1.5.4/lib/pg_ext.so",
		"/home/shop/.gem/ruby/3.2.0/gems/oj-3.0.0/lib/oj/oj.so",
		"/usr/local/bundle/gems/msgpack-1.7.0/lib/msgpack/msgpack.so",
	};
	const struct tree_place place = {PLACE_SYSTEM, NULL};
	struct gem_tree *tree;
	char command[600];

	(void)state;
	for (size_t i = 0; i < sizeof(programs) / sizeof(*programs); i++) {
		snprintf(command, sizeof(command), "mkdir -p .$(dirname %s) && echo x > .%s", programs[i],
			 programs[i]);
		run(command);
	}
	for (size_t i = 0; i < 2; i++) {
		snprintf(command, sizeof(command), "mkdir -p .$(dirname %s) && echo x > .%s", libraries[i],
			 libraries[i]);
		run(command);
	}
	for (size_t i = 0; i < sizeof(extensions) / sizeof(*extensions); i++) {
		snprintf(command, sizeof(command), "mkdir -p .$(dirname %s) && echo x > .%s", extensions[i],
			 extensions[i]);
		run(command);
	}
	run("ln -s ruby3.1 usr/bin/ruby && echo x > usr/bin/rubygems && mkdir -p etc/ld.so.conf.d && "
	    "echo /opt/lib > etc/ld.so.conf.d/a.conf && echo x > etc/ld.so.conf && echo /lib > "
	    "etc/ld-musl-x86_64.path");
	tree = walk(&place, 1);
	for (size_t i = 0; i < sizeof(programs) / sizeof(*programs); i++)
		FOUND(TREE_PROGRAM, programs[i]);
	for (size_t i = 0; i < 2; i++)
		FOUND(TREE_LIBRUBY, libraries[i]);
	for (size_t i = 0; i < sizeof(extensions) / sizeof(*extensions); i++)
		FOUND(TREE_EXTENSION, extensions[i]);
	FOUND(TREE_PROGRAM, "/usr/bin/ruby");
	assert_int_equal(find(tree, TREE_PROGRAM, "/usr/bin/ruby")->inode,
			 find(tree, TREE_PROGRAM, "/usr/bin/ruby3.1")->inode);
	NOT_FOUND(TREE_PROGRAM, "/usr/bin/rubygems");
	assert_int_equal(count_of(tree, TREE_LINK_CONF), 3);
	assert_int_equal(count_of(tree, TREE_PROBLEM), 0);
	gem_tree_free(tree);
}

static void an_app_and_what_belongs_to_a_gem(void **state)
{
	const struct tree_place places[] = {{PLACE_APP, "/srv/shop"},
					    {PLACE_LOCKFILE, "/srv/other/gems.locked"}};
	struct gem_tree *tree;

	(void)state;
	run("mkdir -p srv/shop/.bundle srv/other && cd srv/shop && echo x > Gemfile.lock && echo x > "
	    ".bundle/config && "
	    "echo x > ../other/gems.locked && "
	    "mkdir -p vendor/bundle/ruby/3.1.0 && cd vendor/bundle/ruby/3.1.0 && "
	    "mkdir -p specifications/default gems/pg-1.5.4/lib gems/pg-1.5.4/ext gems/pg-1.5.4/spec "
	    "gems/noise doc cache && "
	    "mkdir -p extensions/x86_64-linux/3.1.0/pg-1.5.4 && "
	    "echo x > specifications/pg-1.5.4.gemspec && echo x > gems/pg-1.5.4/pg.gemspec && "
	    "echo x > gems/pg-1.5.4/lib/pg_ext.so && echo x > gems/pg-1.5.4/lib/pg.rb && "
	    "echo x > gems/pg-1.5.4/ext/pg_ext.so && echo x > gems/pg-1.5.4/spec/fixture.so && echo x > "
	    "cache/x.so && "
	    "cd extensions/x86_64-linux/3.1.0/pg-1.5.4 && echo x > gem.build_complete && echo x > "
	    "gem_make.out && "
	    "echo x > mkmf.log && echo x > pg_ext.so");
	tree = walk(places, 2);
#define GEMS "/srv/shop/vendor/bundle/ruby/3.1.0"
	FOUND(TREE_LOCKFILE, "/srv/shop/Gemfile.lock");
	FOUND(TREE_LOCKFILE, "/srv/other/gems.locked");
	FOUND(TREE_BUNDLE_CONFIG, "/srv/shop/.bundle/config");
	FOUND(TREE_SPECIFICATION, GEMS "/specifications/pg-1.5.4.gemspec");
	FOUND(TREE_GEM, GEMS "/gems/pg-1.5.4");
	FOUND(TREE_EXTENSION, GEMS "/gems/pg-1.5.4/lib/pg_ext.so");
	FOUND(TREE_EXTENSION, GEMS "/extensions/x86_64-linux/3.1.0/pg-1.5.4/pg_ext.so");
	FOUND(TREE_BUILT, GEMS "/extensions/x86_64-linux/3.1.0/pg-1.5.4/gem.build_complete");
	assert_int_equal(count_of(tree, TREE_BUILD_LOG), 2);
	/* what no Ruby loads */
	assert_int_equal(count_of(tree, TREE_EXTENSION), 2);
	assert_int_equal(count_of(tree, TREE_SPECIFICATION), 1);
	assert_int_equal(count_of(tree, TREE_GEM), 1);
	assert_int_equal(count_of(tree, TREE_PROBLEM), 0);
	/* a second walk adds nothing twice */
	assert_int_equal(gem_tree_walk(tree, places, 1), 0);
	assert_int_equal(count_of(tree, TREE_EXTENSION), 2);
	gem_tree_free(tree);
}

static void links_stay_inside_the_root(void **state)
{
	struct gem_tree *tree;
	const char *paths[] = {"/gems/out.so", "/gems/absolute.so", "/gems/../../../../../../etc/passwd"};
	int fds[3];

	(void)state;
	run("mkdir -p gems/a gems/b real etc && echo real > real/real.so && echo inside > etc/passwd && "
	    "ln -s ../../../../../../../../etc/hostname gems/out.so && ln -s /real/real.so gems/absolute.so "
	    "&& "
	    "ln -s ../b gems/a/to_b && ln -s ../a gems/b/to_a && ln -s . gems/self && ln -s loop.so "
	    "gems/loop.so && "
	    "ln -s /proc/self/root gems/magic && ln -s /real gems/folder && ln -s nowhere gems/harmless");
	tree = walk_gems("/gems");
	PROBLEM("/gems/out.so", -ENOENT);
	PROBLEM("/gems/loop.so", -ELOOP);
	FOUND(TREE_EXTENSION, "/gems/absolute.so");
	FOUND(TREE_EXTENSION, "/gems/folder/real.so");
	assert_int_equal(count_of(tree, TREE_EXTENSION), 2);
	assert_int_equal(count_of(tree, TREE_PROBLEM), 2);
	gem_tree_open(tree, paths, 3, fds, NULL);
	assert_int_equal(fds[0], -ENOENT);
	assert_true(fds[1] >= 0 && fds[2] >= 0);
	for (int i = 1; i < 3; i++) {
		char text[16] = "";

		assert_true(read(fds[i], text, sizeof(text)) > 0);
		assert_string_equal(text, i == 1 ? "real\n" : "inside\n"); /* not this host's */
		close(fds[i]);
	}
	gem_tree_free(tree);
}

static void what_is_no_file_is_not_opened(void **state)
{
	struct gem_tree *tree;
	const char *paths[] = {"/gems/fifo.so", "/gems/folder.so", "/gems/good.so", "/gems/null.so",
			       "/nothing"};
	int fds[5], reader;

	(void)state;
	run("mkdir -p gems/folder.so && mkfifo gems/fifo.so && ln -s fifo.so gems/linked.so && echo x > "
	    "gems/good.so && "
	    "mkfifo gems/harmless");
	if (geteuid() == 0)
		run("mknod gems/null.so c 1 3");
	tree = walk_gems("/gems");
	PROBLEM("/gems/fifo.so", -EINVAL);
	PROBLEM("/gems/linked.so", -EINVAL);
	FOUND(TREE_EXTENSION, "/gems/good.so");
	assert_int_equal(count_of(tree, TREE_EXTENSION), 1);
	gem_tree_open(tree, paths, 5, fds, NULL);
	assert_int_equal(fds[0], -EINVAL);
	assert_int_equal(fds[1], -EISDIR);
	assert_true(fds[2] >= 0);
	close(fds[2]);
	assert_int_equal(fds[3], geteuid() == 0 ? -EINVAL : -ENOENT);
	assert_int_equal(fds[4], -ENOENT);
	/* nobody reads from the FIFO: a writer that does not wait is refused */
	{
		char fifo[100];

		snprintf(fifo, sizeof(fifo), "%s/gems/fifo.so", root);
		reader = open(fifo, O_WRONLY | O_NONBLOCK);
		assert_int_equal(reader, -1);
		assert_int_equal(errno, ENXIO);
	}
	gem_tree_free(tree);
}

static void an_unreadable_folder_is_told(void **state)
{
	struct gem_tree *tree;
	pid_t pid;
	int status;

	(void)state;
	run("mkdir -p gems/closed gems/open && echo x > gems/open/good.so && chmod 0 gems/closed");
	pid = fork(); /* as root nothing is unreadable */
	if (pid == 0) {
		if (geteuid() == 0 && setuid(64322) != 0)
			_exit(9);
		tree = walk_gems("/gems");
		PROBLEM("/gems/closed", -EACCES);
		FOUND(TREE_EXTENSION, "/gems/open/good.so");
		_exit(7);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
}

static void depths_and_long_names_are_bounded(void **state)
{
	struct gem_tree *tree;

	(void)state;
	run("mkdir -p gems && cd gems && for i in $(seq 60); do mkdir d && cd d && echo x > x.so; done");
	tree = walk_gems("/gems");
	assert_int_equal(count_of(tree, TREE_EXTENSION), TREE_DEPTH);
	assert_int_equal(count_of(tree, TREE_PROBLEM), 1);
	gem_tree_free(tree);
	run("rm -r gems/d && cd gems && n=$(printf 'y%.0s' $(seq 250)) && for i in $(seq 15); do mkdir $n && "
	    "cd $n; done; "
	    "mkdir $n; cd $n && echo x > deep.so");
	tree = walk_gems("/gems");
	for (size_t i = 0; i < gem_tree_count(tree); i++)
		assert_true(gem_tree_entry(tree, i)->kind == TREE_PROBLEM ||
			    strlen(gem_tree_entry(tree, i)->path) < 4096);
	gem_tree_free(tree);
}

static void ten_thousand_extensions(void **state)
{
	struct timespec begin, end;
	struct gem_tree *tree;

	(void)state;
	run("mkdir -p gems/many && cd gems/many && seq -f %g.so 10000 | xargs touch");
	clock_gettime(CLOCK_MONOTONIC, &begin);
	tree = walk_gems("/gems");
	clock_gettime(CLOCK_MONOTONIC, &end);
	print_message("10,000 extensions found in %.1f ms\n",
		      (double)(end.tv_sec - begin.tv_sec) * 1e3 +
			      (double)(end.tv_nsec - begin.tv_nsec) / 1e6);
	assert_int_equal(count_of(tree, TREE_EXTENSION), 10000);
	for (size_t i = 1; i < gem_tree_count(tree); i++)
		assert_true(strcmp(gem_tree_entry(tree, i - 1)->path, gem_tree_entry(tree, i)->path) < 0);
	gem_tree_free(tree);
}

static pid_t only_child(void)
{
	char name[64], text[64] = "";
	FILE *file;

	snprintf(name, sizeof(name), "/proc/self/task/%d/children", getpid());
	file = fopen(name, "r");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	return (pid_t)atoi(text);
}

/* As on a file system that hangs: the child does not answer, and the caller goes on without it. */
static void a_child_that_stops_is_replaced(void **state)
{
	const struct tree_place place = {PLACE_GEMS, "/more"};
	const char *paths[] = {"/more/late.so", "/more/other.so"};
	struct gem_tree *tree;
	size_t before;
	int fds[2];
	pid_t child;

	(void)state;
	run("mkdir -p gems more && echo x > gems/good.so && echo x > more/late.so && echo x > more/other.so");
	tree = walk_gems("/gems");
	before = gem_tree_count(tree);
	child = only_child();
	assert_int_equal(kill(child, SIGSTOP), 0);
	assert_int_equal(gem_tree_walk(tree, &place, 1), 0);
	FOUND(TREE_EXTENSION, "/gems/good.so");
	FOUND(TREE_EXTENSION, "/more/late.so");
	assert_int_equal(gem_tree_count(tree), before + 3);
	assert_int_equal(count_of(tree, TREE_PROBLEM), 1);
	assert_int_equal(kill(child, 0), -1); /* it is gone, and was waited for */
	assert_int_equal(kill(only_child(), SIGSTOP), 0);
	gem_tree_open(tree, paths, 2, fds, NULL);
	assert_true(fds[0] >= 0 && fds[1] >= 0);
	close(fds[0]);
	close(fds[1]);
	gem_tree_free(tree);
}

static void a_root_that_is_none(void **state)
{
	const struct tree_place place = {PLACE_SYSTEM, NULL};
	struct gem_tree *tree;

	(void)state;
	assert_int_equal(gem_tree_new("/nonexistent/root", &tree), -ENOENT);
	tree = walk(&place, 1); /* an empty one */
	assert_int_equal(gem_tree_count(tree), 0);
	gem_tree_free(tree);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, forget_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rubies_wherever_they_are_put), TEST(an_app_and_what_belongs_to_a_gem),
		TEST(links_stay_inside_the_root),   TEST(what_is_no_file_is_not_opened),
		TEST(an_unreadable_folder_is_told), TEST(depths_and_long_names_are_bounded),
		TEST(ten_thousand_extensions),      TEST(a_child_that_stops_is_replaced),
		TEST(a_root_that_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
