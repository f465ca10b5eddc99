/* SPDX-License-Identifier: Apache-2.0 */
/* /etc/hosts and /etc/resolv.conf of a workload, as Kubernetes writes them. */
#include "base/str.h"
#include "control/enrol/room.h"

/*
 * Not the workload's own name, which Kubernetes would write here too: a workload is often called like its service, and the
 * service's name must lead to the service from here as from anywhere.
 */
const char etc_hosts[] = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

char *etc_resolv_format(const struct workload_spec *spec, const struct addr *nameserver)
{
	char ns[ADDR_TEXT_BYTES];

	/* Whatever the address: port 53 is captured. It is one that is not loopback, as loopback is left alone. */
	return str_printf("nameserver %s\nsearch %s.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n", addr_format_ip(nameserver, ns),
			  spec->namespace);
}
