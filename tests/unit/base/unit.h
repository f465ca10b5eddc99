/* SPDX-License-Identifier: Apache-2.0 */
/* What every unit test includes: cmocka, in the order it wants. */
#ifndef TRAMMEL_TESTS_UNIT_H
#define TRAMMEL_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#endif
