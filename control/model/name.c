/* SPDX-License-Identifier: Apache-2.0 */
/* Names and labels, as Kubernetes validates them: see field.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/model/field.h"
#include "control/model/resource.h"

#define LABEL_MAX     63
#define SUBDOMAIN_MAX 253

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_lower(ascii_lower(c)) || is_digit(c);
}

static bool subdomain_is_valid(struct str s)
{
	struct str rest = s, part;

	if (s.n == 0 || s.n > SUBDOMAIN_MAX)
		return false;
	while (str_split(&rest, '.', &part))
		if (!str_is_label(part))
			return false;
	return true;
}

bool field_is_dns_label(struct check *c, const struct field *f, const char *s)
{
	if (str_is_label(str_from(s)))
		return true;
	field_refuse(
		c, f,
		"\"%.80s\" is not a name: use 1 to 63 lower-case letters, digits and '-', with no '-' at either end",
		s);
	return false;
}

bool field_is_dns1035_label(struct check *c, const struct field *f, const char *s)
{
	if (str_is_label(str_from(s)) && is_lower(s[0]))
		return true;
	field_refuse(
		c, f,
		"\"%.80s\" is not a service name: use 1 to 63 lower-case letters, digits and '-', beginning with a "
		"letter and with no '-' at the end",
		s);
	return false;
}

bool field_is_dns_subdomain(struct check *c, const struct field *f, const char *s)
{
	if (subdomain_is_valid(str_from(s)))
		return true;
	field_refuse(c, f, "\"%.80s\" is not a name: use lower-case letters, digits, '-' and '.', at most 253", s);
	return false;
}

/* Letters, digits, '-', '_' and '.', beginning and ending with a letter or digit; a value may be empty, a name not. */
static bool label_part_is_valid(struct str s)
{
	if (s.n > LABEL_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!is_alnum(s.p[i]) && (i == 0 || i == s.n - 1 || !strchr("-_.", s.p[i])))
			return false;
	return true;
}

static bool label_key_is_valid(struct str s)
{
	ptrdiff_t at = str_find_char(s, '/');

	if (at >= 0) {
		if (!subdomain_is_valid((struct str){s.p, (size_t)at}))
			return false;
		s = (struct str){s.p + at + 1, s.n - (size_t)at - 1};
	}
	return s.n > 0 && label_part_is_valid(s);
}

static int text_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool field_labels(struct check *c, const struct field *f, const char *const **ret, size_t *ret_n)
{
	unsigned int before = c->n_refused;
	const char **labels, *key, *value;
	size_t n = 0;
	json_t *v;

	labels = check_alloc(c, json_object_size(f->value), sizeof(*labels));
	if (!labels)
		return false;
	json_object_foreach ((json_t *)f->value, key, v) {
		struct field item;
		char *text;

		if (!field_get(f, key, &item)) {
			field_refuse_member(c, f, key, "is null: a string is needed");
			continue;
		}
		if (!field_string(c, &item, &value))
			continue;
		if (!label_key_is_valid(str_from(key))) {
			field_refuse(c, &item,
				     "\"%.80s\" is not a label: use letters, digits, '-', '_' and '.', at most 63, "
				     "after an optional domain and '/'",
				     key);
			continue;
		}
		if (!label_part_is_valid(str_from(value))) {
			field_refuse(
				c, &item,
				"\"%.80s\" is not a label value: use at most 63 letters, digits, '-', '_' and '.', "
				"with a letter or digit at both ends",
				value);
			continue;
		}
		text = check_alloc(c, strlen(key) + strlen(value) + 2, 1);
		if (!text)
			return false;
		snprintf(text, strlen(key) + strlen(value) + 2, "%s=%s", key, value);
		labels[n++] = text;
	}
	if (n > 1)
		qsort(labels, n, sizeof(*labels), text_compare);
	if (c->n_refused != before)
		return false;
	*ret = labels;
	*ret_n = n;
	return true;
}

bool labels_match(const char *const *selector, size_t n_selector, const char *const *labels, size_t n_labels)
{
	for (size_t i = 0; i < n_selector; i++) {
		bool found = false;

		for (size_t k = 0; k < n_labels && !found; k++)
			found = strcmp(selector[i], labels[k]) == 0;
		if (!found)
			return false;
	}
	return n_selector > 0;
}

bool resource_is_root_namespace(const char *namespace)
{
	return strcmp(namespace, "istio-system") == 0 || strcmp(namespace, "trammel-system") == 0;
}
