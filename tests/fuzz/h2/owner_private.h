/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the owner share: owner.c its streams, owner_conn.c its connection. */
#ifndef TRAMMEL_TESTS_FUZZ_H2_OWNER_PRIVATE_H
#define TRAMMEL_TESTS_FUZZ_H2_OWNER_PRIVATE_H

#include "tests/fuzz/h2/owner.h"

extern const struct h2_conn_ops owner_ops_server, owner_ops_client;

struct owner_stream *owner_stream_new(struct owner *o);
void owner_stream_free(struct owner_stream *s);

#endif
