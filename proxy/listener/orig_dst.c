/* SPDX-License-Identifier: Apache-2.0 */
/* What an accepted connection was meant for: see orig_dst.h. */
#include "proxy/listener/orig_dst.h"

#include <errno.h>
#include <netinet/in.h>

/* SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST: the kernel's netfilter headers cannot be included beside netinet/in.h */
#define ORIGINAL_DST 80

int orig_dst_outbound(int fd, struct addr *ret)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t n = sizeof(struct sockaddr_in);
	struct addr a;
	int r;

	if (getsockopt(fd, SOL_IP, ORIGINAL_DST, &ss, &n) < 0 || ss.ss_family != AF_INET) {
		ss = (struct sockaddr_storage){ 0 };
		n = sizeof(struct sockaddr_in6);
		if (getsockopt(fd, SOL_IPV6, ORIGINAL_DST, &ss, &n) < 0)
			return -ENOENT;
	}
	r = addr_from_sockaddr((struct sockaddr *)&ss, &a);
	if (r < 0 || a.port == 0 || addr_is_any(&a))
		return -ENOENT;
	*ret = a;
	return 0;
}

int orig_dst_inbound(int fd, struct addr *ret)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t n = sizeof(ss);

	if (getsockname(fd, (struct sockaddr *)&ss, &n) < 0)
		return -errno;
	return addr_from_sockaddr((struct sockaddr *)&ss, ret);
}
