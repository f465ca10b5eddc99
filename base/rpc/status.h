/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC status codes, and how HTTP's and HTTP/2's failures map to them. Pure. */
#ifndef TRAMMEL_BASE_RPC_STATUS_H
#define TRAMMEL_BASE_RPC_STATUS_H

#include <stddef.h>
#include <stdint.h>
#include "base/str.h"

enum rpc_status {
	RPC_OK = 0,
	RPC_CANCELLED = 1,
	RPC_UNKNOWN = 2,
	RPC_INVALID_ARGUMENT = 3,
	RPC_DEADLINE_EXCEEDED = 4,
	RPC_NOT_FOUND = 5,
	RPC_ALREADY_EXISTS = 6,
	RPC_PERMISSION_DENIED = 7,
	RPC_RESOURCE_EXHAUSTED = 8,
	RPC_FAILED_PRECONDITION = 9,
	RPC_ABORTED = 10,
	RPC_OUT_OF_RANGE = 11,
	RPC_UNIMPLEMENTED = 12,
	RPC_INTERNAL = 13,
	RPC_UNAVAILABLE = 14,
	RPC_DATA_LOSS = 15,
	RPC_UNAUTHENTICATED = 16,
};

/** rpc_status_name() - "PERMISSION_DENIED"; "UNKNOWN" for numbers outside the list */
const char *rpc_status_name(enum rpc_status status);

/** rpc_status_of_text() - of a grpc-status field; RPC_UNKNOWN for anything that is no code */
enum rpc_status rpc_status_of_text(struct str text);

/** rpc_status_of_http() - for a response without grpc-status */
enum rpc_status rpc_status_of_http(int http_status);

/** rpc_status_of_reset() - for a stream ended by RST_STREAM with an HTTP/2 error code */
enum rpc_status rpc_status_of_reset(uint32_t error_code);

/** rpc_message_encode() - percent-encode for grpc-message; heap, owned by the caller; cut at 1 KiB of @text; NULL when memory is out */
char *rpc_message_encode(const char *text);

/** rpc_message_decode() - the reverse; a broken escape stands for itself; NUL bytes become spaces; heap, owned by the caller; cut at 1 KiB */
char *rpc_message_decode(struct str text);

#endif
