// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "user/probe/app_name.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void the_strongest_source_names_the_app(void **state)
{
	static const struct {
		const char *cgroup, *title, *comm, *name;
	} cases[] = {
		{"/system.slice/shop.service", "puma: cluster worker 0: 7 [web]", "puma", "shop"},
		{"/user.slice/user-1000.slice/user@1000.service", "puma 5.6.5 (unix://x) [web]", "ruby",
		 "web"},
		{"/user.slice/user-0.slice/session-3.scope", "ruby /srv/blog/server.rb", "ruby", "server"},
		{"/docker/" ID, "ruby x.rb", "ruby", "0123456789ab"},
		{"/kubepods.slice/cri-containerd-" ID ".scope", "ruby x.rb", "ruby", "0123456789ab"},
		{"/", "puma: cluster worker 0: 7 [shop]", "ruby", "shop"},
		{"/", "ruby -e", "ruby", "ruby"},
		{"/", "sidekiq 6.5 shop [0 of 5 busy] x", "bundle", "sidekiq"},
		{"", "", "", "ruby"},
		{"/", "x []", "y", "x"},
		{"/", "/usr/bin/ruby3.1 bin/rails server", "ruby", "rails"},
		{"/", "", "work\nr", "work?r"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char name[64];

		app_name(cases[i].cgroup, cases[i].title, cases[i].comm, name, sizeof(name));
		assert_string_equal(name, cases[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(the_strongest_source_names_the_app)};

	return cmocka_run_group_tests_name("probe: app name", tests, NULL, NULL);
}
