/* SPDX-License-Identifier: Apache-2.0 */
/* Reasons in words, for user space. */
#include "trammel/reason.h"

static const char *const labels[TRM_REASON_MAX] = {
#define X(name, label, text) [TRM_REASON_##name] = label,
	TRM_REASONS(X)
#undef X
};

static const char *const texts[TRM_REASON_MAX] = {
#define X(name, label, text) [TRM_REASON_##name] = text,
	TRM_REASONS(X)
#undef X
};

const char *trm_reason_label(unsigned int reason)
{
	return reason < TRM_REASON_MAX ? labels[reason] : "unknown";
}

const char *trm_reason_text(unsigned int reason)
{
	return reason < TRM_REASON_MAX ? texts[reason] : "unknown reason";
}
