/* SPDX-License-Identifier: Apache-2.0 */
/* What the proxy gives up once it runs: see sandbox.h. */
#include "proxy/sandbox.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define SANDBOX_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define SANDBOX_ARCH AUDIT_ARCH_AARCH64
#endif

static const uint32_t denied[] = {
	SYS_execve,	       SYS_execveat,	     SYS_ptrace,	    SYS_process_vm_readv, SYS_process_vm_writev,
	SYS_bpf,	       SYS_mount,	     SYS_umount2,	    SYS_pivot_root,	  SYS_chroot,
	SYS_setns,	       SYS_unshare,	     SYS_init_module,	    SYS_finit_module,	  SYS_delete_module,
	SYS_kexec_load,	       SYS_add_key,	     SYS_request_key,	    SYS_keyctl,		  SYS_perf_event_open,
	SYS_userfaultfd,       SYS_open_by_handle_at, SYS_name_to_handle_at, SYS_setuid,	  SYS_setgid,
	SYS_setreuid,	       SYS_setregid,	     SYS_setresuid,	    SYS_setresgid,	  SYS_setgroups,
	SYS_capset,	       SYS_personality,	     SYS_reboot,	    SYS_swapon,		  SYS_swapoff,
	SYS_acct,	       SYS_quotactl,	     SYS_syslog,	    SYS_sethostname,	  SYS_setdomainname,
	SYS_clock_settime,     SYS_settimeofday,     SYS_adjtimex,	    SYS_mknodat,	  SYS_fanotify_init,
	SYS_io_uring_setup,    SYS_io_uring_enter,   SYS_io_uring_register, SYS_pidfd_getfd,	  SYS_vhangup,
};

#define N_DENIED ARRAY_SIZE(denied)

static int filter_install(void)
{
#ifdef SANDBOX_ARCH
	struct sock_filter prog[N_DENIED + 6];
	struct sock_fprog fprog = { .filter = prog };
	size_t n = 0;

	/* Another architecture's numbers mean other calls: nothing of them. */
	prog[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	prog[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SANDBOX_ARCH, 0, N_DENIED + 3);
	prog[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < N_DENIED; i++)
		prog[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, denied[i],
							 (uint8_t)(N_DENIED - i + 1), 0);
	/* x32 numbers on x86_64 */
	prog[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x40000000, 1, 0);
	prog[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	prog[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	fprog.len = (unsigned short)n;
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &fprog) != 0)
		return errno ? -errno : -EBUSY;
#endif
	return 0;
}

int sandbox_enter(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	return filter_install();
}
