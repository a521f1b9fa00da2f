// SPDX-License-Identifier: Apache-2.0
/*
 * The nursery forks spawners and does nothing else that could hang: it touches no file of anyone. A spawner
 * that is stuck in the kernel dies when the kernel lets go of it; until then its successor is at work.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "user/base/confine.h"
#include "user/probe/message.h"
#include "user/probe/spawner_wire.h"

enum { LINGER_MS = 1000, PACE_MS = 100, FAREWELL_MS = 1000 };

struct nursery {
	int work_fd, control_fd;
	pid_t child;   /* 0: dead and reaped */
	int child_fd;  /* pidfd */
	int lingering; /* killed and not dead yet */
};

void spawner_child_start(const char *name, int parent, int death_signal)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM};
	sigset_t none;
	int null;

	prctl(PR_SET_NAME, name);
	/* before the check: a parent that dies in between is noticed by one or the other */
	if (prctl(PR_SET_PDEATHSIG, death_signal) != 0 || getppid() != parent)
		_exit(0);
	/* A terminal or a service manager signals the whole group; these end when the agent does, not before.
	 */
	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* whoever reads the agent's output through a pipe must see its end when the agent ends */
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		if (null > STDERR_FILENO)
			close(null);
	}
}

static void close_between(unsigned int first, unsigned int last)
{
	if (first <= last)
		syscall(SYS_close_range, first, last, 0);
}

void spawner_close_others(int keep, int also_keep)
{
	unsigned int low = keep, high = also_keep < 0 ? low : (unsigned int)also_keep;

	if (low > high) {
		unsigned int swap = low;

		low = high;
		high = swap;
	}
	if (low > 3)
		close_between(3, low - 1);
	close_between(low + 1, high - 1);
	close_between(high + 1, ~0u);
}

static int start_child(struct nursery *nursery)
{
	pid_t parent = getpid();

	nursery->child = fork();
	if (nursery->child < 0)
		return -errno;
	if (nursery->child == 0) {
		spawner_child_start("lapidary-spawn", parent, SIGKILL);
		spawner_close_others(nursery->work_fd, -1);
		spawner_main(nursery->work_fd);
	}
	nursery->child_fd = syscall(SYS_pidfd_open, nursery->child, 0);
	return nursery->child_fd < 0 ? -errno : 0;
}

/* A spawner that dies as soon as it is born must not make this a busy loop. */
static void pace(void)
{
	struct timespec pause = {.tv_nsec = PACE_MS * 1000000L};

	nanosleep(&pause, NULL);
}

static int replace_child(struct nursery *nursery)
{
	struct spawner_answer notice = {.verb = SPAWNER_REPLACED, .result = -EPIPE, .fd = -1};

	if (nursery->child > 0) {
		kill(nursery->child, SIGKILL); /* not reaped yet, so the pid is still its own */
		nursery->lingering++;
	}
	close(nursery->child_fd);
	pace();
	/* before the fork, so that the notice comes ahead of the successor's answers */
	if (message_send(nursery->work_fd, &notice, sizeof(notice), -1, 0) != 0)
		return -EPIPE;
	return start_child(nursery);
}

static void reap(struct nursery *nursery)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
		if (pid == nursery->child)
			nursery->child = 0; /* its pidfd brings the loop round to replace it */
		else
			nursery->lingering--;
	}
}

/*
 * The agent is gone, and the spawner reads the same from its socket: it reaps its examiner and ends. Killing
 * it at once would leave that to whoever is process 1, which in a container may be nobody who cares.
 */
static void end_child(struct nursery *nursery)
{
	struct pollfd ended = {.fd = nursery->child_fd, .events = POLLIN};

	if (nursery->child == 0)
		return;
	if (poll(&ended, 1, FAREWELL_MS) != 1) {
		kill(nursery->child, SIGKILL);
		poll(&ended, 1, FAREWELL_MS);
	}
	waitpid(nursery->child, NULL, WNOHANG);
}

/* Its use is to interrupt poll(). */
static void on_parent_death(int signal_number)
{
	(void)signal_number;
}

void nursery_main(int work_fd, int control_fd)
{
	struct nursery nursery = {.work_fd = work_fd, .control_fd = control_fd};
	struct sigaction action = {.sa_handler = on_parent_death};
	pid_t agent = getppid();

	sigaction(SIGALRM, &action, NULL);
	if (confine_spawner() != 0 || start_child(&nursery) != 0)
		_exit(1);
	while (getppid() == agent) {
		struct pollfd polls[2] = {{.fd = control_fd, .events = POLLIN},
					  {.fd = nursery.child_fd, .events = POLLIN}};
		bool replace = false;

		if (poll(polls, 2, nursery.lingering ? LINGER_MS : -1) < 0) {
			if (errno != EINTR)
				break;
			continue;
		}
		if (polls[0].revents) {
			char word;
			int fd, got = message_receive(control_fd, &word, sizeof(word), &fd, MSG_DONTWAIT);

			if (fd >= 0)
				close(fd);
			if (got == 0)
				break;
			replace = got == 1 && word == SPAWNER_REPLACE;
		}
		if ((replace || polls[1].revents) && replace_child(&nursery) != 0)
			break;
		reap(&nursery);
	}
	end_child(&nursery);
	_exit(0);
}
