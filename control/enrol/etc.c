/* SPDX-License-Identifier: Apache-2.0 */
/* /etc/hosts and /etc/resolv.conf of a workload, as Kubernetes writes them. */
#include "base/str.h"
#include "control/enrol/room.h"

char *etc_hosts_format(const struct workload_spec *spec, const struct addr *addr4, const struct addr *addr6)
{
	char v4[ADDR_TEXT_BYTES], v6[ADDR_TEXT_BYTES];

	return str_printf("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n%s\t%s\n%s\t%s\n", addr_format_ip(addr4, v4), spec->name,
			  addr_format_ip(addr6, v6), spec->name);
}

char *etc_resolv_format(const struct workload_spec *spec, const struct addr *nameserver)
{
	char ns[ADDR_TEXT_BYTES];

	/* Whatever the address: port 53 is captured. It is one that is not loopback, as loopback is left alone. */
	return str_printf("nameserver %s\nsearch %s.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n", addr_format_ip(nameserver, ns),
			  spec->namespace);
}
