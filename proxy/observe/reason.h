/* SPDX-License-Identifier: Apache-2.0 */
/* Reasons as Envoy's response flags, for labels and logs that people already read. */
#ifndef TRAMMEL_PROXY_OBSERVE_REASON_H
#define TRAMMEL_PROXY_OBSERVE_REASON_H

#include "trammel/reason.h"

/** reason_flags() - "UF", "UH", ...; "-" when all went well or no letter fits */
const char *reason_flags(enum trm_reason reason);

#endif
