/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox: what is denied fails with EPERM, what the proxy lives on works. In a child, for there is no way back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "proxy/sandbox.h"

static int inside(void)
{
	char name[] = "true", *argv[] = { name, NULL };
	int fds[2], fd;

	if (sandbox_enter() < 0)
		return 1;
	if (execv("/bin/true", argv) != -1 || errno != EPERM)
		return 2;
	if (unshare(CLONE_NEWNET) != -1 || errno != EPERM)
		return 3;
	if (syscall(SYS_bpf, 0, NULL, 0) != -1 || errno != EPERM)
		return 4;
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != -1 || errno != EPERM)
		return 5;
	if (setuid(getuid()) != -1 || errno != EPERM)
		return 6;
	if (prctl(PR_GET_DUMPABLE) != 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 7;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0 || write(fds[0], "x", 1) != 1 || epoll_create1(0) < 0)
		return 8;
	fd = open("/dev/null", O_WRONLY);
	if (fd < 0 || socket(AF_INET, SOCK_STREAM, 0) < 0)
		return 9;
	free(malloc(1 << 20));
	malloc_trim(0);
	return 0;
}

static void test_sandbox(void **state)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(inside());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_sandbox) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
