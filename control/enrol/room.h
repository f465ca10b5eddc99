/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the enrolment room: what its files share. */
#ifndef TRAMMEL_CONTROL_ENROL_ROOM_H
#define TRAMMEL_CONTROL_ENROL_ROOM_H

#include "base/str.h"
#include "control/enrol/workload.h"

/** enrolled_cgroups_open() - of cgroups that are there */
MUST_CHECK int enrolled_cgroups_open(struct enrolled *w);

/* The state file's text, and back. */
char *state_format(const struct enrolled *w);
MUST_CHECK int state_parse(const struct paths *p, struct str text, struct enrolled **ret);

/** workload_addresses() - IPv4 and IPv6 address of workload @id */
void workload_addresses(uint32_t id, struct addr *ret_v4, struct addr *ret_v6);

/* What programs in the workload read; the second is a heap text, NULL when memory is out. */
extern const char etc_hosts[];
char *etc_resolv_format(const struct workload_spec *spec, const struct addr *nameserver);

#endif
