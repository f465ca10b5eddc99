/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network addresses
 *
 * An address is 16 bytes in network order (IPv4 as ::ffff:a.b.c.d) and a port in host order: one body for both
 * families. Conversion from and to struct sockaddr happens at the edge alone.
 */
#ifndef TRAMMEL_BASE_ADDR_H
#define TRAMMEL_BASE_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include "base/cleanup.h"
#include "base/str.h"

struct addr {
	uint8_t ip[16];
	uint16_t port; /* host order; 0 = none */
};

struct cidr {
	uint8_t ip[16];
	uint8_t prefix_bits; /* 0..128, of the 16-byte form (an IPv4 /8 is 104) */
};

#define ADDR_TEXT_BYTES 56 /* "[v6]:port" and NUL */

bool addr_is_v4(const struct addr *a);
bool addr_is_loopback(const struct addr *a); /* 127/8, v4-mapped 127/8 or ::1 */
bool addr_is_any(const struct addr *a);
bool addr_eq(const struct addr *a, const struct addr *b);    /* ip and port */
bool addr_ip_eq(const struct addr *a, const struct addr *b); /* ip alone */
bool cidr_has(const struct cidr *c, const uint8_t ip[16]);

/** addr_parse_ip() - "10.0.0.1", "fd00::1"; no zone, no port; -EINVAL. @ret->port is set to 0. */
MUST_CHECK int addr_parse_ip(struct str s, struct addr *ret);

/** addr_parse() - "10.0.0.1:80", "[fd00::1]:80"; -EINVAL; port 0 is refused */
MUST_CHECK int addr_parse(struct str s, struct addr *ret);

/** cidr_parse() - "10.0.0.0/8", "fd00::/8", or a bare address as /32 or /128; host bits must be zero, else -EINVAL */
MUST_CHECK int cidr_parse(struct str s, struct cidr *ret);

/** addr_format() - "10.0.0.1:80" or "[fd00::1]:80" (without the port when it is 0); returns @text */
const char *addr_format(const struct addr *a, char text[ADDR_TEXT_BYTES]);
/** addr_format_ip() - the address without port and brackets; returns @text */
const char *addr_format_ip(const struct addr *a, char text[ADDR_TEXT_BYTES]);

/** addr_from_sockaddr() - -EAFNOSUPPORT for other families than AF_INET and AF_INET6 */
MUST_CHECK int addr_from_sockaddr(const struct sockaddr *sa, struct addr *ret);

/** addr_to_sockaddr() - AF_INET for v4(-mapped), else AF_INET6; returns the length used */
socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ret);

#endif
