/* SPDX-License-Identifier: Apache-2.0 */
/* Complaints: see complaint.h. */
#include "control/model/complaint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void complaint_done(struct model_complaint *c)
{
	free(c->file);
	free(c->kind);
	free(c->object);
	free(c->field);
	free(c->text);
}

/* Copy of what a file says, for people: bytes that a terminal or a log would act on are struck out. */
static char *text_copy(const char *s)
{
	char *d = strdup(s ? s : "");

	for (char *p = d; p && *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return d;
}

int complaint_list_add(struct complaint_list *l, const struct origin *origin, const struct model_complaint *c)
{
	struct model_complaint copy = *c;

	if (l->n >= COMPLAINTS_MAX)
		return 0;
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 8;
		struct complaint *items = reallocarray(l->items, cap, sizeof(*items));

		if (!items)
			return -ENOMEM;
		l->items = items;
		l->cap = cap;
	}
	copy.file = text_copy(c->file);
	copy.kind = text_copy(c->kind);
	copy.object = text_copy(c->object);
	copy.field = text_copy(c->field);
	copy.text = text_copy(c->text);
	if (!copy.file || !copy.kind || !copy.object || !copy.field || !copy.text) {
		complaint_done(&copy);
		return -ENOMEM;
	}
	l->items[l->n++] = (struct complaint){copy, origin};
	return 0;
}

const struct complaint *complaint_list_find(const struct complaint_list *l, const struct model_complaint *c)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct model_complaint *o = &l->items[i].pub;

		if (o->line == c->line && strcmp(o->file, c->file) == 0 && strcmp(o->field, c->field) == 0 &&
		    strcmp(o->text, c->text) == 0 && strcmp(o->object, c->object) == 0)
			return &l->items[i];
	}
	return NULL;
}

void complaint_list_done(struct complaint_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		complaint_done(&l->items[i].pub);
	free(l->items);
	*l = (struct complaint_list){0};
}
