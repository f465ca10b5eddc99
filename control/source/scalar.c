/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain scalars
 *
 * The core schema of YAML 1.2 (section 10.3.2): null, true, false, integers and floats; anything else is a string.
 * kubectl reads a few of them by older rules (yes, on, 0755, 1_000): one file must not mean two things, so these are
 * refused.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "control/source/yaml.h"

#define NUMBER_MAX_BYTES 64

static bool is_one_of(struct str s, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq_c(s, list[i]))
			return true;
	return false;
}

static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
static const char *const trues[] = {"true", "True", "TRUE"};
static const char *const falses[] = {"false", "False", "FALSE"};
static const char *const old_booleans[] = {"y", "Y", "yes", "Yes", "YES", "on",  "On",  "ON",
					   "n", "N", "no",  "No",  "NO",  "off", "Off", "OFF"};
static const char *const not_finite[] = {".nan",  ".NaN",  ".NAN",  ".inf",  ".Inf",  ".INF",
					 "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF"};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t digits(struct str s, size_t at)
{
	size_t n = 0;

	while (at + n < s.n && is_digit(s.p[at + n]))
		n++;
	return n;
}

/* [-+]?[0-9]+ */
static bool is_integer(struct str s)
{
	size_t at = s.n && (s.p[0] == '-' || s.p[0] == '+');

	return at < s.n && at + digits(s, at) == s.n;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool is_float(struct str s)
{
	size_t at = s.n && (s.p[0] == '-' || s.p[0] == '+'), whole = digits(s, at), part = 0;

	at += whole;
	if (at < s.n && s.p[at] == '.') {
		part = digits(s, at + 1);
		at += 1 + part;
	}
	if (whole + part == 0)
		return false;
	if (at < s.n && (s.p[at] == 'e' || s.p[at] == 'E')) {
		size_t n;

		at++;
		if (at < s.n && (s.p[at] == '-' || s.p[at] == '+'))
			at++;
		n = digits(s, at);
		if (!n)
			return false;
		at += n;
	}
	return at == s.n;
}

/* 0x1f, 0o17, 0b1, 1_000, 0755, also with a sign: read by one or the other rule as a number in another way. */
static bool is_odd_integer(struct str s)
{
	size_t at = s.n && (s.p[0] == '-' || s.p[0] == '+'), n = 0;

	if (at >= s.n || !is_digit(s.p[at]))
		return false;
	if (s.n - at > 1 && s.p[at] == '0' && strchr("xXoObB", s.p[at + 1])) {
		for (size_t i = at + 2; i < s.n; i++)
			if (!strchr("0123456789abcdefABCDEF_", s.p[i]))
				return false;
		return s.n - at > 2;
	}
	for (size_t i = at; i < s.n; i++) {
		if (!is_digit(s.p[i]) && s.p[i] != '_')
			return false;
		n += s.p[i] == '_';
	}
	return n > 0 || (s.p[at] == '0' && s.n - at > 1);
}

static int number_parse(struct str s, bool integer, json_t **ret, const char **why)
{
	char text[NUMBER_MAX_BYTES];
	long long v;
	double d;

	if (s.n >= sizeof(text) || memchr(s.p, '\0', s.n)) {
		*why = "number is out of range";
		return YAML_E_REFUSED;
	}
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	errno = 0;
	if (integer) {
		v = strtoll(text, NULL, 10);
		*ret = errno ? NULL : json_integer(v);
	} else {
		d = strtod(text, NULL);
		*ret = !isfinite(d) ? NULL : json_real(d);
		errno = isfinite(d) ? 0 : ERANGE;
	}
	if (*ret)
		return 0;
	if (!errno)
		return -ENOMEM;
	*why = "number is out of range";
	return YAML_E_REFUSED;
}

static int tree_or_nomem(json_t *v, json_t **ret)
{
	if (!v)
		return -ENOMEM;
	*ret = v;
	return 0;
}

int yaml_scalar_parse(struct str s, json_t **ret, const char **why)
{
	if (is_one_of(s, nulls, ARRAY_SIZE(nulls)))
		return tree_or_nomem(json_null(), ret);
	if (is_one_of(s, trues, ARRAY_SIZE(trues)))
		return tree_or_nomem(json_true(), ret);
	if (is_one_of(s, falses, ARRAY_SIZE(falses)))
		return tree_or_nomem(json_false(), ret);
	if (is_one_of(s, old_booleans, ARRAY_SIZE(old_booleans))) {
		*why = "kubectl reads this as a boolean: write true or false, or put it in quotes";
		return YAML_E_REFUSED;
	}
	if (is_one_of(s, not_finite, ARRAY_SIZE(not_finite))) {
		*why = "is no finite number: put it in quotes if it is text";
		return YAML_E_REFUSED;
	}
	if (is_odd_integer(s)) {
		*why = "number in a form that readers take differently: write it in decimal, or put it in quotes if it "
		       "is text";
		return YAML_E_REFUSED;
	}
	if (is_integer(s) || is_float(s))
		return number_parse(s, is_integer(s), ret, why);
	return tree_or_nomem(json_stringn_nocheck(s.p, s.n), ret);
}
