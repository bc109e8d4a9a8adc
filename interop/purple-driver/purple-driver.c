/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * purple-driver: a headless libpurple client for automated tests.
 * Copyright (C) 2026 The Confab authors
 *
 * This program is free software; you can redistribute it and/or modify it
 * under the terms of the GNU General Public License as published by the Free
 * Software Foundation; either version 2 of the License, or (at your option)
 * any later version.  It comes WITHOUT ANY WARRANTY.  See COPYING.
 *
 * It signs one account on (by default with the prpl-sipe protocol plugin),
 * writes everything that happens to stdout as one JSON object per line and
 * takes commands, one per line, on stdin.  See README.md for both lists.
 *
 * Nothing here knows any private symbol of a protocol plugin: what a plugin
 * adds to libpurple (account actions, buddy menus, chat menus, questions to
 * the user) is reached through libpurple's own generic interfaces, by label.
 */

#define _GNU_SOURCE
#define PURPLE_DISABLE_DEPRECATED
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <glib.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <gst/gst.h>
#include <libxml/parser.h>

#include <purple.h>
#include <libpurple/media.h>
#include <libpurple/media-gst.h>
#include <libpurple/mediamanager.h>

#define UI_ID "purple-driver"

/* ------------------------------------------------------------------ */
/* State                                                                */
/* ------------------------------------------------------------------ */

struct options {
	gchar *protocol;
	gchar *user;
	gchar *login;
	gchar *password;
	gchar *server;
	gchar *transport;
	gchar *auth;
	gchar *email;
	gchar *useragent;
	gchar *status;
	gchar *config_dir;
	gchar *debug_log;
	gchar *plugin_dir;
	gchar *audio_src;
	gchar *audio_record;
	gchar *video_src;
	gchar **settings;
	gboolean accept_tls;
	gboolean accept_calls;
	gboolean accept_all;
	gboolean no_media;
	gboolean calendar;
};

static struct options opt;
static GMainLoop *loop;
static PurpleAccount *account;
static FILE *debug_file;
static gboolean made_config_dir;
static int exit_code = 0;

/* ------------------------------------------------------------------ */
/* JSON lines                                                           */
/* ------------------------------------------------------------------ */

static void json_quote(GString *out, const char *s)
{
	gchar *valid = g_utf8_make_valid(s, -1);

	g_string_append_c(out, '"');
	for (const char *p = valid; *p; p++) {
		unsigned char c = (unsigned char) *p;
		switch (c) {
		case '"':  g_string_append(out, "\\\""); break;
		case '\\': g_string_append(out, "\\\\"); break;
		case '\n': g_string_append(out, "\\n");  break;
		case '\r': g_string_append(out, "\\r");  break;
		case '\t': g_string_append(out, "\\t");  break;
		default:
			if (c < 0x20)
				g_string_append_printf(out, "\\u%04x", c);
			else
				g_string_append_c(out, (gchar) c);
		}
	}
	g_string_append_c(out, '"');
	g_free(valid);
}

static GString *event_open(const char *name)
{
	GString *out = g_string_new(NULL);

	g_string_append_printf(out, "{\"t\":%.3f,\"ev\":",
			       (double) g_get_real_time() / 1e6);
	json_quote(out, name);
	return out;
}

static void event_str(GString *out, const char *key, const char *value)
{
	g_string_append_printf(out, ",\"%s\":", key);
	if (value)
		json_quote(out, value);
	else
		g_string_append(out, "null");
}

static void event_int(GString *out, const char *key, gint64 value)
{
	g_string_append_printf(out, ",\"%s\":%" G_GINT64_FORMAT, key, value);
}

static void event_bool(GString *out, const char *key, gboolean value)
{
	g_string_append_printf(out, ",\"%s\":%s", key, value ? "true" : "false");
}

static void event_double(GString *out, const char *key, double value)
{
	gchar buffer[G_ASCII_DTOSTR_BUF_SIZE];

	g_ascii_formatd(buffer, sizeof(buffer), "%.3f", value);
	g_string_append_printf(out, ",\"%s\":%s", key, buffer);
}

static void event_close(GString *out)
{
	g_string_append(out, "}\n");
	fputs(out->str, stdout);
	fflush(stdout);
	g_string_free(out, TRUE);
}

/* event with string members only: name, key, value, key, value, ..., NULL */
static void event(const char *name, ...) G_GNUC_NULL_TERMINATED;
static void event(const char *name, ...)
{
	GString *out = event_open(name);
	const char *key;
	va_list args;

	va_start(args, name);
	while ((key = va_arg(args, const char *)) != NULL)
		event_str(out, key, va_arg(args, const char *));
	va_end(args);
	event_close(out);
}

/* ------------------------------------------------------------------ */
/* Debian 12: let pidgin-sipe 1.25.0 read XML again                     */
/* ------------------------------------------------------------------ */

/*
 * pidgin-sipe hands libxml2 a handler that claims the SAX2 interface but has
 * SAX1 element callbacks only.  Debian 12's libxml2 (2.9.14) takes the claim
 * at its word and calls none of them, so every XML body would be ignored.
 * This definition is exported from the program, so the plugin finds it before
 * libxml2's own; it drops the claim and passes the call on.
 */
int xmlSAXUserParseMemory(xmlSAXHandlerPtr sax, void *user_data,
			  const char *buffer, int size)
{
	static int (*next)(xmlSAXHandlerPtr, void *, const char *, int);
	xmlSAXHandler copy = *sax;

	if (!next)
		next = (int (*)(xmlSAXHandlerPtr, void *, const char *, int))
			dlsym(RTLD_NEXT, "xmlSAXUserParseMemory");
	if (copy.initialized == XML_SAX2_MAGIC && copy.startElement &&
	    !copy.startElementNs && !copy.endElementNs) {
		copy.initialized = 1;
		copy.serror = NULL;
	}
	return next(&copy, user_data, buffer, size);
}

/* ------------------------------------------------------------------ */
/* libpurple event loop on GLib                                         */
/* ------------------------------------------------------------------ */

struct io_closure {
	PurpleInputFunction function;
	gpointer data;
};

static gboolean io_dispatch(gint fd, GIOCondition condition, gpointer data)
{
	struct io_closure *closure = data;
	PurpleInputCondition purple_condition = 0;

	if (condition & (G_IO_IN | G_IO_HUP | G_IO_ERR))
		purple_condition |= PURPLE_INPUT_READ;
	if (condition & (G_IO_OUT | G_IO_HUP | G_IO_ERR | G_IO_NVAL))
		purple_condition |= PURPLE_INPUT_WRITE;
	closure->function(closure->data, fd, purple_condition);
	return G_SOURCE_CONTINUE;
}

static guint io_add(gint fd, PurpleInputCondition condition,
		    PurpleInputFunction function, gpointer data)
{
	struct io_closure *closure = g_new0(struct io_closure, 1);
	GIOCondition glib_condition = 0;

	closure->function = function;
	closure->data = data;
	if (condition & PURPLE_INPUT_READ)
		glib_condition |= G_IO_IN | G_IO_HUP | G_IO_ERR;
	if (condition & PURPLE_INPUT_WRITE)
		glib_condition |= G_IO_OUT | G_IO_HUP | G_IO_ERR | G_IO_NVAL;
	return g_unix_fd_add_full(G_PRIORITY_DEFAULT, fd, glib_condition,
				  io_dispatch, closure, g_free);
}

static PurpleEventLoopUiOps eventloop_ops = {
	.timeout_add = g_timeout_add,
	.timeout_remove = g_source_remove,
	.input_add = io_add,
	.input_remove = g_source_remove,
	.timeout_add_seconds = g_timeout_add_seconds,
};

/* ------------------------------------------------------------------ */
/* Debug log                                                            */
/* ------------------------------------------------------------------ */

static void debug_print(PurpleDebugLevel level, const char *category,
			const char *text)
{
	if (debug_file) {
		fprintf(debug_file, "%.3f [%d] %s: %s",
			(double) g_get_real_time() / 1e6, (int) level,
			category ? category : "-", text);
		fflush(debug_file);
	}
}

static gboolean debug_enabled(PurpleDebugLevel level, const char *category)
{
	(void) level; (void) category;
	return debug_file != NULL;
}

static PurpleDebugUiOps debug_ops = {
	.print = debug_print,
	.is_enabled = debug_enabled,
};

/* ------------------------------------------------------------------ */
/* Questions of libpurple or the plugin to the user                     */
/* ------------------------------------------------------------------ */

struct question {
	guint id;
	PurpleRequestType type;
	gpointer user_data;
	/* actions: label + callback; input/choice/fields: ok is 0, cancel 1 */
	guint button_count;
	gchar *labels[16];
	GCallback callbacks[16];
	PurpleRequestFields *fields;
	guint auto_source;
	gint auto_button;
};

static GHashTable *questions;          /* id -> struct question */
static guint next_question = 1;
static GHashTable *prefill;            /* field id -> value for the next form */

static void question_answer(struct question *q, guint button, const char *text)
{
	PurpleRequestType type = q->type;
	GCallback cb = button < q->button_count ? q->callbacks[button] : NULL;

	if (q->auto_source) {
		g_source_remove(q->auto_source);
		q->auto_source = 0;
	}
	if (cb) {
		switch (type) {
		case PURPLE_REQUEST_INPUT:
			((PurpleRequestInputCb) cb)(q->user_data, text);
			break;
		case PURPLE_REQUEST_FIELDS:
			((PurpleRequestFieldsCb) cb)(q->user_data, q->fields);
			break;
		case PURPLE_REQUEST_CHOICE:
			((PurpleRequestChoiceCb) cb)(q->user_data,
						     text ? atoi(text) : 0);
			break;
		default:
			((PurpleRequestActionCb) cb)(q->user_data, (int) button);
			break;
		}
	}
	purple_request_close(type, q);
}

static void question_free(gpointer data)
{
	struct question *q = data;

	if (q->auto_source)
		g_source_remove(q->auto_source);
	for (guint i = 0; i < q->button_count; i++)
		g_free(q->labels[i]);
	if (q->fields)
		purple_request_fields_destroy(q->fields);
	g_free(q);
}

static gboolean question_auto(gpointer data)
{
	struct question *q = data;

	q->auto_source = 0;
	question_answer(q, (guint) q->auto_button, NULL);
	return G_SOURCE_REMOVE;
}

static struct question *question_new(PurpleRequestType type, gpointer user_data)
{
	struct question *q = g_new0(struct question, 1);

	q->id = next_question++;
	q->type = type;
	q->user_data = user_data;
	q->auto_button = -1;
	g_hash_table_insert(questions, GUINT_TO_POINTER(q->id), q);
	return q;
}

static void question_button(struct question *q, const char *label, GCallback cb)
{
	if (q->button_count < G_N_ELEMENTS(q->labels)) {
		q->labels[q->button_count] = g_strdup(label ? label : "");
		q->callbacks[q->button_count++] = cb;
	}
}

static void question_emit(struct question *q, const char *title,
			  const char *primary, const char *secondary)
{
	static const char *const types[] = {
		"input", "choice", "action", "fields", "file", "folder" };
	GString *out = event_open("request");

	event_int(out, "id", q->id);
	event_str(out, "type", (guint) q->type < G_N_ELEMENTS(types)
		  ? types[q->type] : "other");
	event_str(out, "title", title);
	event_str(out, "primary", primary);
	event_str(out, "secondary", secondary);
	g_string_append(out, ",\"buttons\":[");
	for (guint i = 0; i < q->button_count; i++) {
		if (i)
			g_string_append_c(out, ',');
		json_quote(out, q->labels[i]);
	}
	g_string_append_c(out, ']');
	if (q->fields) {
		gboolean first = TRUE;

		g_string_append(out, ",\"fields\":[");
		for (GList *g = purple_request_fields_get_groups(q->fields); g; g = g->next)
			for (GList *f = purple_request_field_group_get_fields(g->data); f; f = f->next) {
				PurpleRequestField *field = f->data;

				if (!first)
					g_string_append_c(out, ',');
				first = FALSE;
				g_string_append(out, "{\"id\":");
				json_quote(out, purple_request_field_get_id(field));
				event_str(out, "label", purple_request_field_get_label(field));
				event_int(out, "type", purple_request_field_get_type(field));
				if (purple_request_field_get_type(field) == PURPLE_REQUEST_FIELD_CHOICE) {
					gboolean first_choice = TRUE;

					g_string_append(out, ",\"choices\":[");
					for (GList *c = purple_request_field_choice_get_labels(field); c; c = c->next) {
						if (!first_choice)
							g_string_append_c(out, ',');
						first_choice = FALSE;
						json_quote(out, c->data);
					}
					g_string_append_c(out, ']');
				}
				g_string_append_c(out, '}');
			}
		g_string_append_c(out, ']');
	}
	event_bool(out, "auto", q->auto_button >= 0);
	event_close(out);
	if (q->auto_button >= 0)
		q->auto_source = g_idle_add(question_auto, q);
}

static gboolean field_set(PurpleRequestFields *fields, const char *id, const char *value)
{
	PurpleRequestField *field;

	if (!purple_request_fields_exists(fields, id))
		return FALSE;
	field = purple_request_fields_get_field(fields, id);
	switch (purple_request_field_get_type(field)) {
	case PURPLE_REQUEST_FIELD_STRING:
		purple_request_field_string_set_value(field, value);
		return TRUE;
	case PURPLE_REQUEST_FIELD_INTEGER:
		purple_request_field_int_set_value(field, atoi(value));
		return TRUE;
	case PURPLE_REQUEST_FIELD_BOOLEAN:
		purple_request_field_bool_set_value(field,
			!g_ascii_strcasecmp(value, "true") || !strcmp(value, "1"));
		return TRUE;
	case PURPLE_REQUEST_FIELD_CHOICE:
		purple_request_field_choice_set_value(field, atoi(value));
		return TRUE;
	case PURPLE_REQUEST_FIELD_LIST: {
		GList *items = purple_request_field_list_get_items(field);

		purple_request_field_list_clear_selected(field);
		for (; items; items = items->next)
			if (!strcmp(items->data, value)) {
				purple_request_field_list_add_selected(field, value);
				return TRUE;
			}
		return FALSE;
	}
	default:
		return FALSE;
	}
}

static void *ask_input(const char *title, const char *primary, const char *secondary,
		       const char *default_value, gboolean multiline, gboolean masked,
		       gchar *hint, const char *ok, GCallback ok_cb,
		       const char *cancel, GCallback cancel_cb,
		       PurpleAccount *acct, const char *who,
		       PurpleConversation *conv, void *user_data)
{
	struct question *q = question_new(PURPLE_REQUEST_INPUT, user_data);

	(void) default_value; (void) multiline; (void) masked; (void) hint;
	(void) acct; (void) who; (void) conv;
	question_button(q, ok, ok_cb);
	question_button(q, cancel, cancel_cb);
	question_emit(q, title, primary, secondary);
	return q;
}

static void *ask_choice(const char *title, const char *primary, const char *secondary,
			int default_value, const char *ok, GCallback ok_cb,
			const char *cancel, GCallback cancel_cb,
			PurpleAccount *acct, const char *who,
			PurpleConversation *conv, void *user_data, va_list choices)
{
	struct question *q = question_new(PURPLE_REQUEST_CHOICE, user_data);

	(void) default_value; (void) acct; (void) who; (void) conv; (void) choices;
	question_button(q, ok, ok_cb);
	question_button(q, cancel, cancel_cb);
	question_emit(q, title, primary, secondary);
	return q;
}

static void *ask_action(const char *title, const char *primary, const char *secondary,
			int default_action, PurpleAccount *acct, const char *who,
			PurpleConversation *conv, void *user_data,
			size_t count, va_list actions)
{
	struct question *q = question_new(PURPLE_REQUEST_ACTION, user_data);
	gint accept = -1;

	(void) default_action; (void) acct; (void) who; (void) conv;
	for (size_t i = 0; i < count; i++) {
		const char *label = va_arg(actions, const char *);
		GCallback cb = va_arg(actions, GCallback);

		if (accept < 0 && label &&
		    (strstr(label, "Accept") || strstr(label, "accept")))
			accept = (gint) q->button_count;
		question_button(q, label, cb);
	}
	if (accept >= 0) {
		gboolean tls = primary && strstr(primary, "certificate");

		if (opt.accept_all || (tls && opt.accept_tls) ||
		    (!tls && opt.accept_calls))
			q->auto_button = accept;
	}
	question_emit(q, title, primary, secondary);
	return q;
}

static void *ask_fields(const char *title, const char *primary, const char *secondary,
			PurpleRequestFields *fields, const char *ok, GCallback ok_cb,
			const char *cancel, GCallback cancel_cb,
			PurpleAccount *acct, const char *who,
			PurpleConversation *conv, void *user_data)
{
	struct question *q = question_new(PURPLE_REQUEST_FIELDS, user_data);

	(void) acct; (void) who; (void) conv;
	q->fields = fields;
	question_button(q, ok, ok_cb);
	question_button(q, cancel, cancel_cb);
	if (prefill) {
		GHashTableIter iter;
		gpointer key, value;

		g_hash_table_iter_init(&iter, prefill);
		while (g_hash_table_iter_next(&iter, &key, &value))
			if (field_set(fields, key, value))
				q->auto_button = 0;
	}
	question_emit(q, title, primary, secondary);
	return q;
}

static void *ask_file(const char *title, const char *filename, gboolean save,
		      GCallback ok_cb, GCallback cancel_cb, PurpleAccount *acct,
		      const char *who, PurpleConversation *conv, void *user_data)
{
	struct question *q = question_new(PURPLE_REQUEST_INPUT, user_data);

	(void) acct; (void) who; (void) conv;
	question_button(q, save ? "Save" : "Open", ok_cb);
	question_button(q, "Cancel", cancel_cb);
	question_emit(q, title, filename, NULL);
	return q;
}

static void ask_closed(PurpleRequestType type, void *ui_handle)
{
	struct question *q = ui_handle;
	GString *out = event_open("request-closed");

	(void) type;
	event_int(out, "id", q->id);
	event_close(out);
	g_hash_table_remove(questions, GUINT_TO_POINTER(q->id));
}

static PurpleRequestUiOps request_ops = {
	.request_input = ask_input,
	.request_choice = ask_choice,
	.request_action = ask_action,
	.request_fields = ask_fields,
	.request_file = ask_file,
	.close_request = ask_closed,
};

/* ------------------------------------------------------------------ */
/* Notices of libpurple or the plugin to the user                       */
/* ------------------------------------------------------------------ */

static gpointer notice_handle(void)
{
	static int handle;

	return &handle;
}

static void *tell_message(PurpleNotifyMsgType type, const char *title,
			  const char *primary, const char *secondary)
{
	static const char *const levels[] = { "error", "warning", "info" };

	event("notice",
	      "level", (guint) type < G_N_ELEMENTS(levels) ? levels[type] : "?",
	      "title", title, "primary", primary, "secondary", secondary, NULL);
	return notice_handle();
}

static void *tell_formatted(const char *title, const char *primary,
			    const char *secondary, const char *text)
{
	gchar *plain = text ? purple_markup_strip_html(text) : NULL;

	event("notice", "level", "formatted", "title", title, "primary", primary,
	      "secondary", secondary, "text", plain, NULL);
	g_free(plain);
	return notice_handle();
}

static void *tell_userinfo(PurpleConnection *gc, const char *who,
			   PurpleNotifyUserInfo *info)
{
	gchar *text = purple_notify_user_info_get_text_with_newline(info, "\n");
	gchar *plain = purple_markup_strip_html(text);

	(void) gc;
	event("userinfo", "who", who, "text", plain, NULL);
	g_free(plain);
	g_free(text);
	return notice_handle();
}

static void *tell_searchresults(PurpleConnection *gc, const char *title,
				const char *primary, const char *secondary,
				PurpleNotifySearchResults *results, gpointer user_data)
{
	GString *out = event_open("search-results");
	gboolean first = TRUE;

	(void) gc; (void) user_data;
	event_str(out, "title", title);
	event_str(out, "primary", primary);
	event_str(out, "secondary", secondary);
	g_string_append(out, ",\"rows\":[");
	for (GList *r = results->rows; r; r = r->next) {
		gboolean first_cell = TRUE;

		g_string_append(out, first ? "[" : ",[");
		first = FALSE;
		for (GList *c = r->data; c; c = c->next) {
			if (!first_cell)
				g_string_append_c(out, ',');
			first_cell = FALSE;
			json_quote(out, c->data ? c->data : "");
		}
		g_string_append_c(out, ']');
	}
	g_string_append_c(out, ']');
	event_close(out);
	return notice_handle();
}

static void *tell_uri(const char *uri)
{
	event("notice", "level", "uri", "text", uri, NULL);
	return notice_handle();
}

static PurpleNotifyUiOps notify_ops = {
	.notify_message = tell_message,
	.notify_formatted = tell_formatted,
	.notify_userinfo = tell_userinfo,
	.notify_searchresults = tell_searchresults,
	.notify_uri = tell_uri,
};

/* ------------------------------------------------------------------ */
/* Conversations                                                        */
/* ------------------------------------------------------------------ */

static void event_conv(GString *out, PurpleConversation *conv)
{
	event_str(out, "conv", purple_conversation_get_name(conv));
	if (purple_conversation_get_type(conv) == PURPLE_CONV_TYPE_CHAT) {
		event_str(out, "kind", "chat");
		event_int(out, "chat", purple_conv_chat_get_id(PURPLE_CONV_CHAT(conv)));
	} else {
		event_str(out, "kind", "im");
	}
}

static void conv_write(PurpleConversation *conv, const char *name,
		       const char *alias, const char *message,
		       PurpleMessageFlags flags, time_t mtime)
{
	GString *out = event_open("message");
	gchar *plain = purple_markup_strip_html(message);

	(void) mtime;
	event_conv(out, conv);
	event_str(out, "who", name);
	event_str(out, "alias", alias);
	event_str(out, "dir", flags & PURPLE_MESSAGE_SEND ? "out"
		  : flags & PURPLE_MESSAGE_RECV ? "in" : "system");
	event_bool(out, "error", (flags & PURPLE_MESSAGE_ERROR) != 0);
	event_str(out, "text", plain);
	event_str(out, "html", message);
	event_close(out);
	g_free(plain);
}

static void conv_created(PurpleConversation *conv)
{
	GString *out = event_open("conv-opened");

	event_conv(out, conv);
	event_str(out, "title", purple_conversation_get_title(conv));
	event_close(out);
}

static void conv_destroyed(PurpleConversation *conv)
{
	/* the chat part may be gone already: name only */
	event("conv-closed", "conv", purple_conversation_get_name(conv), NULL);
}

static gboolean conv_focus(PurpleConversation *conv)
{
	(void) conv;
	return TRUE;
}

static PurpleConversationUiOps conv_ops = {
	.create_conversation = conv_created,
	.destroy_conversation = conv_destroyed,
	.write_conv = conv_write,
	.has_focus = conv_focus,
};

static void chat_user_event(const char *name, PurpleConversation *conv,
			    const char *who, PurpleConvChatBuddyFlags flags)
{
	GString *out = event_open(name);

	event_conv(out, conv);
	event_str(out, "who", who);
	event_bool(out, "leader", (flags & PURPLE_CBFLAGS_OP) != 0);
	event_close(out);
}

static void on_chat_user_joined(PurpleConversation *conv, const char *who,
				PurpleConvChatBuddyFlags flags, gboolean arrival)
{
	(void) arrival;
	chat_user_event("chat-user-joined", conv, who, flags);
}

static void on_chat_user_left(PurpleConversation *conv, const char *who,
			      const char *reason)
{
	(void) reason;
	chat_user_event("chat-user-left", conv, who, PURPLE_CBFLAGS_NONE);
}

static void on_chat_user_flags(PurpleConversation *conv, const char *who,
			       PurpleConvChatBuddyFlags before,
			       PurpleConvChatBuddyFlags after)
{
	(void) before;
	chat_user_event("chat-user-flags", conv, who, after);
}

static void on_chat_joined(PurpleConversation *conv)
{
	GString *out = event_open("chat-joined");

	event_conv(out, conv);
	event_close(out);
}

static void on_chat_left(PurpleConversation *conv)
{
	GString *out = event_open("chat-left");

	event_conv(out, conv);
	event_close(out);
}

static void on_chat_topic(PurpleConversation *conv, const char *who, const char *topic)
{
	GString *out = event_open("chat-topic");

	(void) who;
	event_conv(out, conv);
	event_str(out, "topic", topic);
	event_close(out);
}

static void on_typing(PurpleAccount *acct, const char *who)
{
	(void) acct;
	event("typing", "who", who, NULL);
}

static void on_typing_stopped(PurpleAccount *acct, const char *who)
{
	(void) acct;
	event("typing-stopped", "who", who, NULL);
}

/* ------------------------------------------------------------------ */
/* Connection and buddies                                               */
/* ------------------------------------------------------------------ */

static void on_signed_on(PurpleConnection *gc)
{
	event("signed-on", "user", purple_account_get_username(account),
	      "display", purple_connection_get_display_name(gc), NULL);
}

static void on_signed_off(PurpleConnection *gc)
{
	(void) gc;
	event("signed-off", "user", purple_account_get_username(account), NULL);
}

static void on_connection_error(PurpleConnection *gc, PurpleConnectionError error,
				const char *text)
{
	GString *out = event_open("connection-error");

	(void) gc;
	event_int(out, "code", error);
	event_bool(out, "fatal", purple_connection_error_is_fatal(error));
	event_str(out, "text", text);
	event_close(out);
}

static void buddy_event(const char *name, PurpleBuddy *buddy)
{
	GString *out = event_open(name);
	PurpleGroup *group = purple_buddy_get_group(buddy);
	PurplePresence *presence = purple_buddy_get_presence(buddy);
	PurpleStatus *status = purple_presence_get_active_status(presence);
	const char *note = status ? purple_status_get_attr_string(status, "message") : NULL;

	event_str(out, "who", purple_buddy_get_name(buddy));
	event_str(out, "alias", purple_buddy_get_alias(buddy));
	event_str(out, "group", group ? purple_group_get_name(group) : NULL);
	event_bool(out, "online", purple_presence_is_online(presence));
	event_str(out, "status", status ? purple_status_get_id(status) : NULL);
	event_str(out, "note", note);
	event_close(out);
}

static void on_buddy_added(PurpleBuddy *buddy)   { buddy_event("buddy-added", buddy); }
static void on_buddy_removed(PurpleBuddy *buddy) { buddy_event("buddy-removed", buddy); }

static void on_buddy_status(PurpleBuddy *buddy, PurpleStatus *before, PurpleStatus *after)
{
	(void) before; (void) after;
	buddy_event("presence", buddy);
}

/* offline to online and back are signals of their own */
static void on_buddy_signed(PurpleBuddy *buddy) { buddy_event("presence", buddy); }

static int on_authorization(PurpleAccount *acct, const char *who)
{
	(void) acct;
	event("authorization-requested", "who", who, NULL);
	return 1;   /* grant */
}

/* ------------------------------------------------------------------ */
/* Audio and video                                                      */
/* ------------------------------------------------------------------ */

static PurpleMedia *current_media;
static guint64 video_frames;

static void on_video_frame(GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer data)
{
	(void) sink; (void) data;
	if (video_frames++ % 30 == 0) {
		GstCaps *caps = gst_pad_get_current_caps(pad);
		GString *out = event_open("video-frames");
		gint width = 0, height = 0;
		GstMapInfo map;

		if (caps) {
			GstStructure *s = gst_caps_get_structure(caps, 0);
			gst_structure_get_int(s, "width", &width);
			gst_structure_get_int(s, "height", &height);
			gst_caps_unref(caps);
		}
		event_int(out, "count", (gint64) video_frames);
		event_int(out, "width", width);
		event_int(out, "height", height);
		if (gst_buffer_map(buffer, &map, GST_MAP_READ)) {
			guint64 sum[3] = { 0, 0, 0 };
			gsize pixels = map.size / 3;

			for (gsize i = 0; i + 2 < map.size; i += 3)
				for (int c = 0; c < 3; c++)
					sum[c] += map.data[i + c];
			if (pixels)
				g_string_append_printf(out, ",\"rgb\":[%u,%u,%u]",
					(guint) (sum[0] / pixels),
					(guint) (sum[1] / pixels),
					(guint) (sum[2] / pixels));
			gst_buffer_unmap(buffer, &map);
		}
		event_close(out);
	}
}

static GstElement *make_bin(const char *description)
{
	GError *error = NULL;
	GstElement *bin = gst_parse_bin_from_description(description, TRUE, &error);

	if (error) {
		event("media-error", "text", error->message, "pipeline", description, NULL);
		g_error_free(error);
	}
	return bin;
}

static GstElement *make_audio_src(PurpleMediaElementInfo *info, PurpleMedia *media,
				  const gchar *session, const gchar *participant)
{
	const char *spec = opt.audio_src ? opt.audio_src : "tone:440";
	gchar *description;
	GstElement *bin;

	(void) info; (void) media; (void) session; (void) participant;
	if (g_str_has_prefix(spec, "tone:"))
		description = g_strdup_printf(
			"audiotestsrc is-live=true wave=sine freq=%s volume=0.4 ! "
			"audioconvert ! audioresample", spec + 5);
	else if (g_str_has_prefix(spec, "file:"))
		description = g_strdup_printf(
			"filesrc location=\"%s\" ! decodebin ! audioconvert ! "
			"audioresample ! identity sync=true", spec + 5);
	else if (!strcmp(spec, "silence"))
		description = g_strdup("audiotestsrc is-live=true wave=silence");
	else
		description = g_strdup(spec);
	bin = make_bin(description);
	g_free(description);
	return bin;
}

static GstElement *make_audio_sink(PurpleMediaElementInfo *info, PurpleMedia *media,
				   const gchar *session, const gchar *participant)
{
	gchar *description = opt.audio_record
		? g_strdup_printf("audioconvert ! audioresample ! "
				  "audio/x-raw,format=S16LE,rate=16000,channels=1 ! "
				  "level name=driverlevel interval=500000000 post-messages=true ! "
				  "filesink async=false sync=true buffer-mode=unbuffered location=\"%s\"",
				  opt.audio_record)
		: g_strdup("audioconvert ! "
			   "level name=driverlevel interval=500000000 post-messages=true ! "
			   "fakesink async=false sync=true");
	GstElement *bin = make_bin(description);

	(void) info; (void) media; (void) session; (void) participant;
	g_free(description);
	return bin;
}

static GstElement *make_video_src(PurpleMediaElementInfo *info, PurpleMedia *media,
				  const gchar *session, const gchar *participant)
{
	gchar *description = g_strdup_printf(
		"videotestsrc is-live=true pattern=%s ! "
		"video/x-raw,width=320,height=240,framerate=15/1 ! videoconvert",
		opt.video_src ? opt.video_src : "smpte");
	GstElement *bin = make_bin(description);

	(void) info; (void) media; (void) session; (void) participant;
	g_free(description);
	return bin;
}

static GstElement *make_video_sink(PurpleMediaElementInfo *info, PurpleMedia *media,
				   const gchar *session, const gchar *participant)
{
	GstElement *bin = make_bin(
		"videoconvert ! video/x-raw,format=RGB ! "
		"fakesink name=driverframes async=false sync=false signal-handoffs=true");
	GstElement *sink = bin ? gst_bin_get_by_name(GST_BIN(bin), "driverframes") : NULL;

	(void) info; (void) media; (void) session; (void) participant;
	if (sink) {
		g_signal_connect(sink, "handoff", G_CALLBACK(on_video_frame), NULL);
		gst_object_unref(sink);
	}
	return bin;
}

static void on_bus_message(GstBus *bus, GstMessage *message, gpointer data)
{
	const GstStructure *s = gst_message_get_structure(message);

	(void) bus; (void) data;
	if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ELEMENT && s &&
	    gst_structure_has_name(s, "level") &&
	    g_str_has_prefix(GST_OBJECT_NAME(GST_MESSAGE_SRC(message)), "driverlevel")) {
		const GValue *value = gst_structure_get_value(s, "rms");
		GValueArray *rms = value ? g_value_get_boxed(value) : NULL;

		if (rms && rms->n_values) {
			GString *out = event_open("audio-level");

			event_double(out, "rms_db",
				     MAX(g_value_get_double(&rms->values[0]), -120.0));
			event_close(out);
		}
	} else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
		GError *error = NULL;

		gst_message_parse_error(message, &error, NULL);
		event("media-error", "text", error ? error->message : "?",
		      "pipeline", GST_OBJECT_NAME(GST_MESSAGE_SRC(message)), NULL);
		g_clear_error(&error);
	}
}

static void on_media_state(PurpleMedia *media, PurpleMediaState state,
			   gchar *session, gchar *participant, gpointer data)
{
	static const char *const names[] = { "new", "connected", "end" };

	(void) data;
	event("media-state",
	      "state", (guint) state < G_N_ELEMENTS(names) ? names[state] : "?",
	      "session", session, "who", participant, NULL);
	if (state == PURPLE_MEDIA_STATE_NEW && session && participant &&
	    (purple_media_get_session_type(media, session) & PURPLE_MEDIA_RECV_VIDEO))
		purple_media_set_output_window(media, session, participant, 1);
	if (state == PURPLE_MEDIA_STATE_END && !session && !participant &&
	    media == current_media)
		current_media = NULL;
}

static gboolean accept_media_later(gpointer data)
{
	if (data == current_media)
		purple_media_stream_info(current_media, PURPLE_MEDIA_INFO_ACCEPT,
					 NULL, NULL, TRUE);
	return G_SOURCE_REMOVE;
}

static void on_media_info(PurpleMedia *media, PurpleMediaInfoType type,
			  gchar *session, gchar *participant, gboolean local,
			  gpointer data)
{
	static const char *const names[] = {
		"hangup", "accept", "reject", "mute", "unmute", "pause",
		"unpause", "hold", "unhold" };
	GString *out = event_open("media-info");

	(void) data; (void) media;
	event_str(out, "info", (guint) type < G_N_ELEMENTS(names) ? names[type] : "?");
	event_str(out, "session", session);
	event_str(out, "who", participant);
	event_bool(out, "local", local);
	event_close(out);
}

static void on_media_pair(PurpleMedia *media, gchar *session, gchar *participant,
			  PurpleMediaCandidate *local, PurpleMediaCandidate *remote,
			  gpointer data)
{
	GString *out = event_open("media-candidate-pair");
	gchar *lip = purple_media_candidate_get_ip(local);
	gchar *rip = purple_media_candidate_get_ip(remote);

	(void) media; (void) data;
	event_str(out, "session", session);
	event_str(out, "who", participant);
	event_str(out, "local", lip);
	event_int(out, "local_port", purple_media_candidate_get_port(local));
	event_str(out, "remote", rip);
	event_int(out, "remote_port", purple_media_candidate_get_port(remote));
	event_close(out);
	g_free(lip);
	g_free(rip);
}

static void on_media_codecs(PurpleMedia *media, gchar *session, gpointer data)
{
	GList *codecs = purple_media_get_codecs(media, session);
	GString *out = event_open("media-codecs");
	gboolean first = TRUE;

	(void) data;
	event_str(out, "session", session);
	g_string_append(out, ",\"codecs\":[");
	for (GList *c = codecs; c; c = c->next) {
		gchar *text = purple_media_codec_to_string(c->data);

		if (!first)
			g_string_append_c(out, ',');
		first = FALSE;
		json_quote(out, text);
		g_free(text);
	}
	g_string_append_c(out, ']');
	event_close(out);
	purple_media_codec_list_free(codecs);
}

static void on_media_error(PurpleMedia *media, const char *text, gpointer data)
{
	(void) media; (void) data;
	event("media-error", "text", text, "pipeline", NULL, NULL);
}

static gboolean on_media_new(PurpleMediaManager *manager, PurpleMedia *media,
			     PurpleAccount *acct, gchar *who, gpointer data)
{
	gboolean initiator = purple_media_is_initiator(media, NULL, NULL);
	GString *out = event_open("media-new");

	(void) manager; (void) acct; (void) data;
	event_str(out, "who", who);
	event_bool(out, "outgoing", initiator);
	event_close(out);
	current_media = media;
	video_frames = 0;
	g_signal_connect(media, "state-changed", G_CALLBACK(on_media_state), NULL);
	g_signal_connect(media, "stream-info", G_CALLBACK(on_media_info), NULL);
	g_signal_connect(media, "candidate-pair-established", G_CALLBACK(on_media_pair), NULL);
	g_signal_connect(media, "codecs-changed", G_CALLBACK(on_media_codecs), NULL);
	g_signal_connect(media, "error", G_CALLBACK(on_media_error), NULL);
	if (!initiator && (opt.accept_calls || opt.accept_all))
		g_timeout_add(500, accept_media_later, media);
	return TRUE;
}

static void use_element(PurpleMediaManager *manager, const char *id,
			PurpleMediaElementType type, gpointer create)
{
	purple_media_manager_set_active_element(manager,
		g_object_new(PURPLE_TYPE_MEDIA_ELEMENT_INFO,
			     "id", id, "name", id, "type", type,
			     "create-cb", create, NULL));
}

static void media_init(void)
{
	PurpleMediaManager *manager = purple_media_manager_get();
	GstElement *pipeline;
	GstBus *bus;

	if (opt.no_media)
		return;
	use_element(manager, "driver-audio-src", PURPLE_MEDIA_ELEMENT_AUDIO |
		    PURPLE_MEDIA_ELEMENT_SRC | PURPLE_MEDIA_ELEMENT_ONE_SRC |
		    PURPLE_MEDIA_ELEMENT_UNIQUE, make_audio_src);
	use_element(manager, "driver-audio-sink", PURPLE_MEDIA_ELEMENT_AUDIO |
		    PURPLE_MEDIA_ELEMENT_SINK | PURPLE_MEDIA_ELEMENT_ONE_SINK,
		    make_audio_sink);
	use_element(manager, "driver-video-src", PURPLE_MEDIA_ELEMENT_VIDEO |
		    PURPLE_MEDIA_ELEMENT_SRC | PURPLE_MEDIA_ELEMENT_ONE_SRC |
		    PURPLE_MEDIA_ELEMENT_UNIQUE, make_video_src);
	use_element(manager, "driver-video-sink", PURPLE_MEDIA_ELEMENT_VIDEO |
		    PURPLE_MEDIA_ELEMENT_SINK | PURPLE_MEDIA_ELEMENT_ONE_SINK,
		    make_video_sink);
	purple_media_manager_set_ui_caps(manager, PURPLE_MEDIA_CAPS_AUDIO |
		PURPLE_MEDIA_CAPS_AUDIO_SINGLE_DIRECTION | PURPLE_MEDIA_CAPS_VIDEO |
		PURPLE_MEDIA_CAPS_VIDEO_SINGLE_DIRECTION | PURPLE_MEDIA_CAPS_AUDIO_VIDEO);
	g_signal_connect(manager, "init-media", G_CALLBACK(on_media_new), NULL);
	pipeline = purple_media_manager_get_pipeline(manager);
	if (pipeline) {
		bus = gst_pipeline_get_bus(GST_PIPELINE(pipeline));
		gst_bus_add_signal_watch(bus);
		g_signal_connect(bus, "message", G_CALLBACK(on_bus_message), NULL);
		gst_object_unref(bus);
	}
}

/* ------------------------------------------------------------------ */
/* Menus: run an entry by its label                                     */
/* ------------------------------------------------------------------ */

static PurplePluginProtocolInfo *protocol_info(void)
{
	PurplePlugin *plugin = purple_find_prpl(purple_account_get_protocol_id(account));

	return plugin ? PURPLE_PLUGIN_PROTOCOL_INFO(plugin) : NULL;
}

static PurpleConnection *connection(void)
{
	return purple_account_get_connection(account);
}

/* labels of nested menus are joined with '/' */
static gboolean menu_walk(GList *menu, const char *prefix, const char *wanted,
			  gpointer node, GString *names)
{
	gboolean done = FALSE;

	for (GList *m = menu; m; m = m->next) {
		PurpleMenuAction *action = m->data;
		gchar *label;

		if (!action)
			continue;
		label = prefix ? g_strconcat(prefix, "/", action->label, NULL)
			       : g_strdup(action->label);
		if (names && action->callback) {
			if (names->len)
				g_string_append_c(names, ',');
			json_quote(names, label);
		}
		if (!done && wanted && action->callback && !strcmp(label, wanted)) {
			((void (*)(gpointer, gpointer)) action->callback)(node, action->data);
			done = TRUE;
		}
		if (!done && action->children)
			done = menu_walk(action->children, label, wanted, node, names);
		g_free(label);
	}
	return done;
}

static void emit_menu(const char *kind, const char *of, GString *names)
{
	GString *out = event_open("menu");

	event_str(out, "kind", kind);
	event_str(out, "of", of);
	g_string_append_printf(out, ",\"entries\":[%s]", names->str);
	event_close(out);
}

static gboolean buddy_menu(const char *who, const char *wanted, gboolean list)
{
	PurplePluginProtocolInfo *info = protocol_info();
	PurpleBuddy *buddy = purple_find_buddy(account, who);
	PurpleBuddy *temporary = NULL;
	GString *names = list ? g_string_new(NULL) : NULL;
	GList *menu;
	gboolean done;

	if (!info || !info->blist_node_menu)
		return FALSE;
	if (!buddy)
		buddy = temporary = purple_buddy_new(account, who, NULL);
	menu = info->blist_node_menu((PurpleBlistNode *) buddy);
	done = menu_walk(menu, NULL, wanted, buddy, names);
	g_list_free_full(menu, (GDestroyNotify) purple_menu_action_free);
	if (names) {
		emit_menu("buddy", who, names);
		g_string_free(names, TRUE);
	}
	if (temporary)
		purple_buddy_destroy(temporary);
	return done || list;
}

static PurpleConversation *find_chat(const char *what)
{
	if (!connection())
		return NULL;
	for (GList *c = purple_get_chats(); c; c = c->next) {
		PurpleConversation *conv = c->data;
		gchar *id = g_strdup_printf("%d", purple_conv_chat_get_id(PURPLE_CONV_CHAT(conv)));
		gboolean hit = !strcmp(id, what) ||
			!g_strcmp0(purple_conversation_get_name(conv), what);

		g_free(id);
		if (hit)
			return conv;
	}
	return NULL;
}

static gboolean chat_menu(PurpleConversation *conv, const char *wanted, gboolean list)
{
	PurplePluginProtocolInfo *info = protocol_info();
	GString *names = list ? g_string_new(NULL) : NULL;
	const char *name = purple_conversation_get_name(conv);
	PurpleChat *chat;
	GHashTable *components;
	GList *menu;
	gboolean done;

	if (!info || !info->blist_node_menu || !info->chat_info_defaults)
		return FALSE;
	components = info->chat_info_defaults(connection(), name);
	chat = purple_chat_new(account, name, components);
	menu = info->blist_node_menu((PurpleBlistNode *) chat);
	done = menu_walk(menu, NULL, wanted, chat, names);
	g_list_free_full(menu, (GDestroyNotify) purple_menu_action_free);
	if (names) {
		emit_menu("chat", name, names);
		g_string_free(names, TRUE);
	}
	purple_chat_destroy(chat);
	return done || list;
}

static gboolean account_menu(const char *wanted, gboolean list)
{
	PurplePlugin *plugin = purple_find_prpl(purple_account_get_protocol_id(account));
	GString *names = list ? g_string_new(NULL) : NULL;
	gboolean done = FALSE;
	GList *actions;

	if (!plugin || !PURPLE_PLUGIN_HAS_ACTIONS(plugin) || !connection())
		return FALSE;
	actions = PURPLE_PLUGIN_ACTIONS(plugin, connection());
	for (GList *a = actions; a; a = a->next) {
		PurplePluginAction *action = a->data;

		if (!action)
			continue;
		action->plugin = plugin;
		action->context = connection();
		if (names) {
			if (names->len)
				g_string_append_c(names, ',');
			json_quote(names, action->label);
		}
		if (!done && wanted && !strcmp(action->label, wanted)) {
			action->callback(action);
			done = TRUE;
		}
	}
	g_list_free_full(actions, (GDestroyNotify) purple_plugin_action_free);
	if (names) {
		emit_menu("account", purple_account_get_username(account), names);
		g_string_free(names, TRUE);
	}
	return done || list;
}

/* run an account action and answer the form that it opens */
static gboolean account_form(const char *action, const char *first_id, ...)
{
	const char *id = first_id;
	gboolean done;
	va_list args;

	prefill = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	va_start(args, first_id);
	while (id) {
		g_hash_table_insert(prefill, g_strdup(id),
				    g_strdup(va_arg(args, const char *)));
		id = va_arg(args, const char *);
	}
	va_end(args);
	done = account_menu(action, FALSE);
	g_hash_table_destroy(prefill);
	prefill = NULL;
	return done;
}

/* ------------------------------------------------------------------ */
/* Commands                                                             */
/* ------------------------------------------------------------------ */

#define NEEDS_CHAT(conv, name) \
	PurpleConversation *conv = find_chat(name); \
	if (!conv) return "no such chat"

typedef const char *(*command_handler)(int argc, gchar **argv);

static PurpleConversation *im_conversation(const char *who)
{
	PurpleConversation *conv = purple_find_conversation_with_account(
		PURPLE_CONV_TYPE_IM, who, account);

	return conv ? conv : purple_conversation_new(PURPLE_CONV_TYPE_IM, account, who);
}

static const char *cmd_im(int argc, gchar **argv)
{
	gchar *text = g_strjoinv(" ", argv + 2);
	gchar *html = g_markup_escape_text(text, -1);

	(void) argc;
	purple_conv_im_send(PURPLE_CONV_IM(im_conversation(argv[1])), html);
	g_free(html);
	g_free(text);
	return NULL;
}

static const char *cmd_im_html(int argc, gchar **argv)
{
	gchar *html = g_strjoinv(" ", argv + 2);

	(void) argc;
	purple_conv_im_send(PURPLE_CONV_IM(im_conversation(argv[1])), html);
	g_free(html);
	return NULL;
}

static const char *cmd_im_close(int argc, gchar **argv)
{
	PurpleConversation *conv = purple_find_conversation_with_account(
		PURPLE_CONV_TYPE_IM, argv[1], account);

	(void) argc;
	if (!conv)
		return "no such conversation";
	purple_conversation_destroy(conv);
	return NULL;
}

static const char *cmd_typing(int argc, gchar **argv)
{
	const char *state = argc > 2 ? argv[2] : "typing";

	serv_send_typing(connection(), argv[1],
			 !strcmp(state, "typed") ? PURPLE_TYPED :
			 !strcmp(state, "stopped") ? PURPLE_NOT_TYPING : PURPLE_TYPING);
	return NULL;
}

static const char *cmd_add_buddy(int argc, gchar **argv)
{
	const char *group_name = argc > 2 ? argv[2] : "Other Contacts";
	PurpleGroup *group = purple_find_group(group_name);
	PurpleBuddy *buddy = purple_buddy_new(account, argv[1], NULL);

	if (!group) {
		group = purple_group_new(group_name);
		purple_blist_add_group(group, NULL);
	}
	purple_blist_add_buddy(buddy, NULL, group, NULL);
	purple_account_add_buddy_with_invite(account, buddy, NULL);
	return NULL;
}

static const char *cmd_remove_buddy(int argc, gchar **argv)
{
	PurpleBuddy *buddy = purple_find_buddy(account, argv[1]);

	(void) argc;
	if (!buddy)
		return "no such buddy";
	purple_account_remove_buddy(account, buddy, purple_buddy_get_group(buddy));
	purple_blist_remove_buddy(buddy);
	return NULL;
}

static const char *cmd_buddies(int argc, gchar **argv)
{
	GSList *buddies = purple_find_buddies(account, NULL);

	(void) argc; (void) argv;
	for (GSList *b = buddies; b; b = b->next)
		buddy_event("buddy", b->data);
	g_slist_free(buddies);
	return NULL;
}

static const char *cmd_userinfo(int argc, gchar **argv)
{
	(void) argc;
	serv_get_info(connection(), argv[1]);
	return NULL;
}

static const char *cmd_tooltip(int argc, gchar **argv)
{
	PurplePluginProtocolInfo *info = protocol_info();
	PurpleBuddy *buddy = purple_find_buddy(account, argv[1]);
	PurpleNotifyUserInfo *user_info;
	gchar *text;

	(void) argc;
	if (!buddy)
		return "no such buddy";
	user_info = purple_notify_user_info_new();
	if (info && info->tooltip_text)
		info->tooltip_text(buddy, user_info, TRUE);
	text = purple_notify_user_info_get_text_with_newline(user_info, "\n");
	event("tooltip", "who", argv[1], "text", text, NULL);
	g_free(text);
	purple_notify_user_info_destroy(user_info);
	return NULL;
}

static const char *cmd_status(int argc, gchar **argv)
{
	PurpleStatusType *type = purple_account_get_status_type(account, argv[1]);

	if (!type)
		return "no such status";
	if (argc > 2)
		purple_account_set_status(account, argv[1], TRUE, "message", argv[2], NULL);
	else
		purple_account_set_status(account, argv[1], TRUE, NULL);
	return NULL;
}

static const char *cmd_statuses(int argc, gchar **argv)
{
	GString *out = event_open("statuses");
	gboolean first = TRUE;

	(void) argc; (void) argv;
	g_string_append(out, ",\"ids\":[");
	for (GList *l = purple_account_get_status_types(account); l; l = l->next) {
		if (!first)
			g_string_append_c(out, ',');
		first = FALSE;
		json_quote(out, purple_status_type_get_id(l->data));
	}
	g_string_append_c(out, ']');
	event_close(out);
	return NULL;
}

static const char *cmd_idle(int argc, gchar **argv)
{
	int seconds = atoi(argv[1]);

	(void) argc;
	purple_presence_set_idle(purple_account_get_presence(account), seconds > 0,
				 time(NULL) - seconds);
	return NULL;
}

static const char *cmd_block(int argc, gchar **argv)
{
	(void) argc;
	purple_privacy_deny(account, argv[1], FALSE, FALSE);
	return NULL;
}

static const char *cmd_unblock(int argc, gchar **argv)
{
	(void) argc;
	purple_privacy_allow(account, argv[1], FALSE, FALSE);
	return NULL;
}

static const char *cmd_new_conf(int argc, gchar **argv)
{
	(void) argc;
	return buddy_menu(argv[1], "New chat", FALSE) ? NULL : "no such menu entry";
}

static const char *cmd_join_conf(int argc, gchar **argv)
{
	(void) argc;
	return account_form("Join scheduled conference...",
			    "meetingLocation", argv[1], NULL)
		? NULL : "no such account action";
}

static const char *cmd_join_conf_id(int argc, gchar **argv)
{
	(void) argc;
	return account_form("Join scheduled conference...",
			    "meetingOrganizer", argv[1], "meetingID", argv[2], NULL)
		? NULL : "no such account action";
}

static const char *cmd_join_chat(int argc, gchar **argv)
{
	GHashTable *components = g_hash_table_new_full(g_str_hash, g_str_equal,
						       g_free, g_free);

	for (int i = 1; i < argc; i++) {
		gchar **pair = g_strsplit(argv[i], "=", 2);

		if (pair[0] && pair[1])
			g_hash_table_replace(components, g_strdup(pair[0]), g_strdup(pair[1]));
		g_strfreev(pair);
	}
	serv_join_chat(connection(), components);
	g_hash_table_destroy(components);
	return NULL;
}

static const char *cmd_chats(int argc, gchar **argv)
{
	(void) argc; (void) argv;
	for (GList *c = purple_get_chats(); c; c = c->next) {
		PurpleConvChat *chat = PURPLE_CONV_CHAT((PurpleConversation *) c->data);
		GString *out = event_open("chat");
		gboolean first = TRUE;

		event_conv(out, c->data);
		event_str(out, "topic", purple_conv_chat_get_topic(chat));
		event_bool(out, "left", purple_conv_chat_has_left(chat));
		g_string_append(out, ",\"users\":[");
		for (GList *u = purple_conv_chat_get_users(chat); u; u = u->next) {
			PurpleConvChatBuddy *user = u->data;

			g_string_append(out, first ? "{\"who\":" : ",{\"who\":");
			first = FALSE;
			json_quote(out, purple_conv_chat_cb_get_name(user));
			event_bool(out, "leader",
				(purple_conv_chat_user_get_flags(chat,
					purple_conv_chat_cb_get_name(user))
				 & PURPLE_CBFLAGS_OP) != 0);
			g_string_append_c(out, '}');
		}
		g_string_append_c(out, ']');
		event_close(out);
	}
	return NULL;
}

static const char *cmd_chat_send(int argc, gchar **argv)
{
	NEEDS_CHAT(conv, argv[1]);
	gchar *text = g_strjoinv(" ", argv + 2);
	gchar *html = g_markup_escape_text(text, -1);

	(void) argc;
	purple_conv_chat_send(PURPLE_CONV_CHAT(conv), html);
	g_free(html);
	g_free(text);
	return NULL;
}

static const char *cmd_chat_invite(int argc, gchar **argv)
{
	NEEDS_CHAT(conv, argv[1]);

	(void) argc;
	serv_chat_invite(connection(), purple_conv_chat_get_id(PURPLE_CONV_CHAT(conv)),
			 "", argv[2]);
	return NULL;
}

static const char *cmd_chat_leave(int argc, gchar **argv)
{
	NEEDS_CHAT(conv, argv[1]);

	(void) argc;
	purple_conversation_destroy(conv);
	return NULL;
}

static const char *chat_entry(const char *chat, const char *entry)
{
	NEEDS_CHAT(conv, chat);

	return chat_menu(conv, entry, FALSE) ? NULL : "no such menu entry";
}

static const char *cmd_chat_lock(int argc, gchar **argv)
{
	(void) argc;
	return chat_entry(argv[1], "Lock");
}

static const char *cmd_chat_unlock(int argc, gchar **argv)
{
	(void) argc;
	return chat_entry(argv[1], "Unlock");
}

static const char *cmd_chat_call(int argc, gchar **argv)
{
	return chat_entry(argv[1], argc > 2 && !strcmp(argv[2], "video")
			  ? "Join conference video call" : "Join conference call");
}

static const char *cmd_chat_info(int argc, gchar **argv)
{
	(void) argc;
	return chat_entry(argv[1], "Meeting entry info");
}

static const char *cmd_chat_share(int argc, gchar **argv)
{
	(void) argc;
	return chat_entry(argv[1], "Share my desktop");
}

static const char *cmd_chat_view(int argc, gchar **argv)
{
	(void) argc;
	return chat_entry(argv[1], "Show presentation");
}

static const char *chat_user_entry(const char *chat, const char *who, const char *format)
{
	NEEDS_CHAT(conv, chat);
	gchar *label = g_strdup_printf(format, purple_conversation_get_name(conv));
	gboolean done = buddy_menu(who, label, FALSE);

	g_free(label);
	return done ? NULL : "no such menu entry";
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static const char *cmd_chat_eject(int argc, gchar **argv)
{
	(void) argc;
	return chat_user_entry(argv[1], argv[2], "Remove from '%s'");
}

static const char *cmd_chat_leader(int argc, gchar **argv)
{
	(void) argc;
	return chat_user_entry(argv[1], argv[2], "Make leader of '%s'");
}
#pragma GCC diagnostic pop

static const char *cmd_chat_menu(int argc, gchar **argv)
{
	NEEDS_CHAT(conv, argv[1]);

	return chat_menu(conv, argc > 2 ? argv[2] : NULL, argc <= 2)
		? NULL : "no such menu entry";
}

static const char *cmd_buddy_menu(int argc, gchar **argv)
{
	return buddy_menu(argv[1], argc > 2 ? argv[2] : NULL, argc <= 2)
		? NULL : "no such menu entry";
}

static const char *cmd_account_menu(int argc, gchar **argv)
{
	return account_menu(argc > 1 ? argv[1] : NULL, argc <= 1)
		? NULL : "no such account action";
}

static const char *cmd_answer(int argc, gchar **argv)
{
	struct question *q = g_hash_table_lookup(questions,
		GUINT_TO_POINTER((guint) atoi(argv[1])));
	const char *text = NULL;
	gint button = 0;

	if (!q)
		return "no such request";
	if (argc > 2) {
		gchar *end;

		button = (gint) strtol(argv[2], &end, 10);
		if (*end) {
			button = -1;
			for (guint i = 0; i < q->button_count; i++)
				if (!strcmp(q->labels[i], argv[2]))
					button = (gint) i;
		}
	}
	if (button < 0 || (guint) button >= q->button_count)
		return "no such button";
	for (int i = 3; i < argc; i++) {
		gchar **pair = g_strsplit(argv[i], "=", 2);

		if (q->fields && pair[0] && pair[1])
			field_set(q->fields, pair[0], pair[1]);
		else
			text = argv[i];
		g_strfreev(pair);
	}
	question_answer(q, (guint) button, text);
	return NULL;
}

static const char *cmd_call(int argc, gchar **argv)
{
	PurpleMediaSessionType type = PURPLE_MEDIA_AUDIO;

	if (argc > 2 && !strcmp(argv[2], "video"))
		type |= PURPLE_MEDIA_VIDEO;
	return purple_prpl_initiate_media(account, argv[1], type)
		? NULL : "call not started";
}

static const char *cmd_phone(int argc, gchar **argv)
{
	(void) argc;
	return account_form("Call a phone number...", "phoneNumber", argv[1], NULL)
		? NULL : "no such account action";
}

static const char *media_action(PurpleMediaInfoType type)
{
	if (!current_media)
		return "no call";
	purple_media_stream_info(current_media, type, NULL, NULL, TRUE);
	return NULL;
}

#define MEDIA_COMMAND(function, type) \
	static const char *function(int argc, gchar **argv) \
	{ (void) argc; (void) argv; return media_action(type); }
MEDIA_COMMAND(cmd_accept, PURPLE_MEDIA_INFO_ACCEPT)
MEDIA_COMMAND(cmd_reject, PURPLE_MEDIA_INFO_REJECT)
MEDIA_COMMAND(cmd_hangup, PURPLE_MEDIA_INFO_HANGUP)
MEDIA_COMMAND(cmd_mute,   PURPLE_MEDIA_INFO_MUTE)
MEDIA_COMMAND(cmd_unmute, PURPLE_MEDIA_INFO_UNMUTE)
MEDIA_COMMAND(cmd_hold,   PURPLE_MEDIA_INFO_HOLD)
MEDIA_COMMAND(cmd_unhold, PURPLE_MEDIA_INFO_UNHOLD)

static GQueue dtmf_queue = G_QUEUE_INIT;     /* digits still to press */

static gboolean dtmf_next(gpointer data)
{
	GList *sessions;
	gchar digit;

	(void) data;
	if (!current_media || g_queue_is_empty(&dtmf_queue)) {
		g_queue_clear(&dtmf_queue);
		return G_SOURCE_REMOVE;
	}
	digit = (gchar) GPOINTER_TO_INT(g_queue_pop_head(&dtmf_queue));
	sessions = purple_media_get_session_ids(current_media);
	for (GList *s = sessions; s; s = s->next)
		if (purple_media_get_session_type(current_media, s->data) & PURPLE_MEDIA_AUDIO) {
			gchar text[2] = { digit, '\0' };
			gboolean sent = purple_media_send_dtmf(current_media, s->data, digit, 25, 200);

			event(sent ? "dtmf-sent" : "dtmf-failed", "digit", text, NULL);
			break;
		}
	g_list_free(sessions);
	return G_SOURCE_CONTINUE;
}

static const char *cmd_dtmf(int argc, gchar **argv)
{
	gboolean idle = g_queue_is_empty(&dtmf_queue);

	(void) argc;
	if (!current_media)
		return "no call";
	for (const char *p = argv[1]; *p; p++)
		g_queue_push_tail(&dtmf_queue, GINT_TO_POINTER((gint) *p));
	if (idle)
		g_timeout_add(350, dtmf_next, NULL);   /* one digit takes 200 ms */
	return NULL;
}

static const char *cmd_reconnect(int argc, gchar **argv)
{
	(void) argc; (void) argv;
	purple_account_disconnect(account);
	purple_account_connect(account);
	return NULL;
}

static const char *cmd_disconnect(int argc, gchar **argv)
{
	(void) argc; (void) argv;
	purple_account_disconnect(account);
	return NULL;
}

static const char *cmd_quit(int argc, gchar **argv)
{
	(void) argc; (void) argv;
	g_main_loop_quit(loop);
	return NULL;
}

static const char *cmd_help(int argc, gchar **argv);

static const struct command {
	const char *name;
	int min_args;
	gboolean online;     /* needs a connection */
	command_handler run;
	const char *usage;
} commands[] = {
	{ "im",           2, TRUE,  cmd_im,           "WHO TEXT..." },
	{ "im-html",      2, TRUE,  cmd_im_html,      "WHO HTML..." },
	{ "im-close",     1, TRUE,  cmd_im_close,     "WHO" },
	{ "typing",       1, TRUE,  cmd_typing,       "WHO [typing|typed|stopped]" },
	{ "add-buddy",    1, TRUE,  cmd_add_buddy,    "WHO [GROUP]" },
	{ "remove-buddy", 1, TRUE,  cmd_remove_buddy, "WHO" },
	{ "buddies",      0, FALSE, cmd_buddies,      "" },
	{ "userinfo",     1, TRUE,  cmd_userinfo,     "WHO" },
	{ "tooltip",      1, TRUE,  cmd_tooltip,      "WHO" },
	{ "status",       1, FALSE, cmd_status,       "ID [NOTE]" },
	{ "statuses",     0, FALSE, cmd_statuses,     "" },
	{ "idle",         1, TRUE,  cmd_idle,         "SECONDS (0 ends it)" },
	{ "block",        1, TRUE,  cmd_block,        "WHO" },
	{ "unblock",      1, TRUE,  cmd_unblock,      "WHO" },
	{ "new-conf",     1, TRUE,  cmd_new_conf,     "WHO (create a conference, invite WHO)" },
	{ "join-conf",    1, TRUE,  cmd_join_conf,    "FOCUS-URI | URL" },
	{ "join-conf-id", 2, TRUE,  cmd_join_conf_id, "ORGANIZER MEETING-ID" },
	{ "join-chat",    1, TRUE,  cmd_join_chat,    "KEY=VALUE... (group chat)" },
	{ "chats",        0, FALSE, cmd_chats,        "" },
	{ "chat-send",    2, TRUE,  cmd_chat_send,    "CHAT TEXT..." },
	{ "chat-invite",  2, TRUE,  cmd_chat_invite,  "CHAT WHO" },
	{ "chat-leave",   1, TRUE,  cmd_chat_leave,   "CHAT" },
	{ "chat-lock",    1, TRUE,  cmd_chat_lock,    "CHAT" },
	{ "chat-unlock",  1, TRUE,  cmd_chat_unlock,  "CHAT" },
	{ "chat-eject",   2, TRUE,  cmd_chat_eject,   "CHAT WHO" },
	{ "chat-leader",  2, TRUE,  cmd_chat_leader,  "CHAT WHO" },
	{ "chat-info",    1, TRUE,  cmd_chat_info,    "CHAT (dial-in number, join link)" },
	{ "chat-call",    1, TRUE,  cmd_chat_call,    "CHAT [video] (join its A/V)" },
	{ "chat-share",   1, TRUE,  cmd_chat_share,   "CHAT (share this X display)" },
	{ "chat-view",    1, TRUE,  cmd_chat_view,    "CHAT (view the shared desktop)" },
	{ "chat-menu",    1, TRUE,  cmd_chat_menu,    "CHAT [LABEL]" },
	{ "buddy-menu",   1, TRUE,  cmd_buddy_menu,   "WHO [LABEL]" },
	{ "account-menu", 0, TRUE,  cmd_account_menu, "[LABEL]" },
	{ "answer",       1, FALSE, cmd_answer,       "REQUEST-ID [BUTTON] [FIELD=VALUE...]" },
	{ "call",         1, TRUE,  cmd_call,         "WHO [video]" },
	{ "phone",        1, TRUE,  cmd_phone,        "NUMBER" },
	{ "accept",       0, TRUE,  cmd_accept,       "" },
	{ "reject",       0, TRUE,  cmd_reject,       "" },
	{ "hangup",       0, TRUE,  cmd_hangup,       "" },
	{ "mute",         0, TRUE,  cmd_mute,         "" },
	{ "unmute",       0, TRUE,  cmd_unmute,       "" },
	{ "hold",         0, TRUE,  cmd_hold,         "" },
	{ "unhold",       0, TRUE,  cmd_unhold,       "" },
	{ "dtmf",         1, TRUE,  cmd_dtmf,         "DIGITS" },
	{ "reconnect",    0, FALSE, cmd_reconnect,    "" },
	{ "disconnect",   0, FALSE, cmd_disconnect,   "" },
	{ "help",         0, FALSE, cmd_help,         "" },
	{ "quit",         0, FALSE, cmd_quit,         "" },
};

static const char *cmd_help(int argc, gchar **argv)
{
	(void) argc; (void) argv;
	for (gsize i = 0; i < G_N_ELEMENTS(commands); i++)
		event("help", "cmd", commands[i].name, "args", commands[i].usage, NULL);
	return NULL;
}

static void run_line(const char *line)
{
	GError *error = NULL;
	gchar **argv = NULL;
	gint argc = 0;
	const char *problem = "unknown command";

	if (!g_shell_parse_argv(line, &argc, &argv, &error)) {
		if (!g_error_matches(error, G_SHELL_ERROR, G_SHELL_ERROR_EMPTY_STRING))
			event("failed", "cmd", line, "why", error->message, NULL);
		g_error_free(error);
		return;
	}
	for (gsize i = 0; i < G_N_ELEMENTS(commands); i++) {
		const struct command *c = &commands[i];

		if (strcmp(c->name, argv[0]))
			continue;
		if (argc - 1 < c->min_args)
			problem = c->usage;
		else if (c->online && (!connection() ||
			 purple_connection_get_state(connection()) != PURPLE_CONNECTED))
			problem = "not connected";
		else
			problem = c->run(argc, argv);
		break;
	}
	if (problem)
		event("failed", "cmd", argv[0], "why", problem, NULL);
	else
		event("done", "cmd", argv[0], NULL);
	g_strfreev(argv);
}

static GString *stdin_buffer;

static gboolean on_stdin(gint fd, GIOCondition condition, gpointer data)
{
	gchar chunk[4096];
	ssize_t got;
	gchar *newline;

	(void) condition; (void) data;
	got = read(fd, chunk, sizeof(chunk));
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return G_SOURCE_CONTINUE;
	if (got <= 0) {
		g_main_loop_quit(loop);
		return G_SOURCE_REMOVE;
	}
	g_string_append_len(stdin_buffer, chunk, got);
	while ((newline = strchr(stdin_buffer->str, '\n')) != NULL) {
		gchar *line = g_strndup(stdin_buffer->str, newline - stdin_buffer->str);

		g_string_erase(stdin_buffer, 0, newline - stdin_buffer->str + 1);
		run_line(line);
		g_free(line);
	}
	return G_SOURCE_CONTINUE;
}

static gboolean on_term(gpointer data)
{
	(void) data;
	g_main_loop_quit(loop);
	return G_SOURCE_CONTINUE;
}

/* ------------------------------------------------------------------ */
/* Start and end                                                        */
/* ------------------------------------------------------------------ */

static void core_ui_init(void)
{
	purple_conversations_set_ui_ops(&conv_ops);
	purple_request_set_ui_ops(&request_ops);
	purple_notify_set_ui_ops(&notify_ops);
}

static PurpleCoreUiOps core_ops = { .ui_init = core_ui_init };

static void connect_signals(void)
{
	static int handle;
	const struct { gpointer instance; const char *name; PurpleCallback cb; } list[] = {
		{ purple_connections_get_handle(), "signed-on", PURPLE_CALLBACK(on_signed_on) },
		{ purple_connections_get_handle(), "signed-off", PURPLE_CALLBACK(on_signed_off) },
		{ purple_connections_get_handle(), "connection-error", PURPLE_CALLBACK(on_connection_error) },
		{ purple_blist_get_handle(), "buddy-added", PURPLE_CALLBACK(on_buddy_added) },
		{ purple_blist_get_handle(), "buddy-removed", PURPLE_CALLBACK(on_buddy_removed) },
		{ purple_blist_get_handle(), "buddy-status-changed", PURPLE_CALLBACK(on_buddy_status) },
		{ purple_blist_get_handle(), "buddy-signed-on", PURPLE_CALLBACK(on_buddy_signed) },
		{ purple_blist_get_handle(), "buddy-signed-off", PURPLE_CALLBACK(on_buddy_signed) },
		{ purple_accounts_get_handle(), "account-authorization-requested", PURPLE_CALLBACK(on_authorization) },
		{ purple_conversations_get_handle(), "chat-joined", PURPLE_CALLBACK(on_chat_joined) },
		{ purple_conversations_get_handle(), "chat-left", PURPLE_CALLBACK(on_chat_left) },
		{ purple_conversations_get_handle(), "chat-topic-changed", PURPLE_CALLBACK(on_chat_topic) },
		{ purple_conversations_get_handle(), "chat-buddy-joined", PURPLE_CALLBACK(on_chat_user_joined) },
		{ purple_conversations_get_handle(), "chat-buddy-left", PURPLE_CALLBACK(on_chat_user_left) },
		{ purple_conversations_get_handle(), "chat-buddy-flags", PURPLE_CALLBACK(on_chat_user_flags) },
		{ purple_conversations_get_handle(), "buddy-typing", PURPLE_CALLBACK(on_typing) },
		{ purple_conversations_get_handle(), "buddy-typing-stopped", PURPLE_CALLBACK(on_typing_stopped) },
	};

	for (gsize i = 0; i < G_N_ELEMENTS(list); i++)
		purple_signal_connect(list[i].instance, list[i].name, &handle, list[i].cb, NULL);
}

static void set_text(const char *key, const char *value)
{
	if (value)
		purple_account_set_string(account, key, value);
}

static gboolean apply_settings(void)
{
	for (gchar **s = opt.settings; s && *s; s++) {
		gchar **pair = g_strsplit(*s, "=", 2);
		gboolean good = pair[0] && pair[1];

		if (good) {
			if (!strcmp(pair[1], "true") || !strcmp(pair[1], "false"))
				purple_account_set_bool(account, pair[0], pair[1][0] == 't');
			else
				purple_account_set_string(account, pair[0], pair[1]);
		}
		g_strfreev(pair);
		if (!good) {
			event("fatal", "text", "--set wants KEY=VALUE", NULL);
			return FALSE;
		}
	}
	return TRUE;
}

static gboolean start_account(void)
{
	gchar *name = opt.login ? g_strdup_printf("%s,%s", opt.user, opt.login)
				: g_strdup(opt.user);
	PurpleSavedStatus *saved;

	account = purple_account_new(name, opt.protocol);
	g_free(name);
	if (!purple_find_prpl(opt.protocol)) {
		event("fatal", "text", "protocol plugin not found", "plugin", opt.protocol, NULL);
		return FALSE;
	}
	purple_account_set_password(account, opt.password);
	set_text("server", opt.server);
	set_text("transport", opt.transport);
	set_text("authentication", opt.auth);
	set_text("email", opt.email);
	set_text("useragent", opt.useragent);
	if (!opt.calendar)
		purple_account_set_bool(account, "dont-publish", TRUE);
	if (!apply_settings())
		return FALSE;
	purple_accounts_add(account);
	saved = purple_savedstatus_new(NULL, PURPLE_STATUS_AVAILABLE);
	purple_savedstatus_activate(saved);
	if (opt.status)
		purple_account_set_status(account, opt.status, TRUE, NULL);
	purple_account_set_enabled(account, UI_ID, TRUE);
	return TRUE;
}

static gboolean parse_options(int *argc, char ***argv)
{
	const GOptionEntry entries[] = {
		{ "protocol", 0, 0, G_OPTION_ARG_STRING, &opt.protocol, "libpurple protocol id (prpl-sipe)", "ID" },
		{ "user", 'u', 0, G_OPTION_ARG_STRING, &opt.user, "SIP address without sip:", "USER@DOMAIN" },
		{ "login", 'l', 0, G_OPTION_ARG_STRING, &opt.login, "login name, if it differs (DOMAIN\\user)", "LOGIN" },
		{ "password", 'p', 0, G_OPTION_ARG_STRING, &opt.password, "password", "TEXT" },
		{ "server", 's', 0, G_OPTION_ARG_STRING, &opt.server, "server (none: DNS discovery)", "HOST:PORT" },
		{ "transport", 't', 0, G_OPTION_ARG_STRING, &opt.transport, "auto, tls or tcp", "NAME" },
		{ "auth", 'a', 0, G_OPTION_ARG_STRING, &opt.auth, "auto, ntlm, krb5 or tls-dsk", "NAME" },
		{ "email", 0, 0, G_OPTION_ARG_STRING, &opt.email, "e-mail address, if it differs", "ADDRESS" },
		{ "useragent", 0, 0, G_OPTION_ARG_STRING, &opt.useragent, "User-Agent to send", "TEXT" },
		{ "status", 0, 0, G_OPTION_ARG_STRING, &opt.status, "status id to sign on with", "ID" },
		{ "set", 'o', 0, G_OPTION_ARG_STRING_ARRAY, &opt.settings, "any other account option", "KEY=VALUE" },
		{ "calendar", 0, 0, G_OPTION_ARG_NONE, &opt.calendar, "let it look for an Exchange calendar", NULL },
		{ "config-dir", 0, 0, G_OPTION_ARG_FILENAME, &opt.config_dir, "purple directory (none: a fresh one, removed)", "DIR" },
		{ "plugin-dir", 0, 0, G_OPTION_ARG_FILENAME, &opt.plugin_dir, "where the plugin lies (/usr/lib/purple-2)", "DIR" },
		{ "debug-log", 'd', 0, G_OPTION_ARG_FILENAME, &opt.debug_log, "libpurple debug log with every SIP message", "FILE" },
		{ "accept-tls", 0, 0, G_OPTION_ARG_NONE, &opt.accept_tls, "accept any server certificate", NULL },
		{ "accept-calls", 0, 0, G_OPTION_ARG_NONE, &opt.accept_calls, "accept calls and conference calls", NULL },
		{ "accept-all", 0, 0, G_OPTION_ARG_NONE, &opt.accept_all, "accept both", NULL },
		{ "no-media", 0, 0, G_OPTION_ARG_NONE, &opt.no_media, "no audio and video", NULL },
		{ "audio", 0, 0, G_OPTION_ARG_STRING, &opt.audio_src, "tone:HZ, file:PATH, silence or a pipeline (tone:440)", "SPEC" },
		{ "record", 0, 0, G_OPTION_ARG_FILENAME, &opt.audio_record, "received audio, raw S16LE mono 16000 Hz", "FILE" },
		{ "video", 0, 0, G_OPTION_ARG_STRING, &opt.video_src, "videotestsrc pattern to send (smpte)", "PATTERN" },
		{ NULL, 0, 0, 0, NULL, NULL, NULL }
	};
	GOptionContext *context = g_option_context_new("- headless libpurple client");
	GError *error = NULL;
	gboolean good;

	g_option_context_add_main_entries(context, entries, NULL);
	g_option_context_add_group(context, gst_init_get_option_group());
	good = g_option_context_parse(context, argc, argv, &error);
	if (!good || !opt.user) {
		fprintf(stderr, "%s: %s\n", UI_ID, error ? error->message : "--user is missing");
		good = FALSE;
	}
	g_clear_error(&error);
	g_option_context_free(context);
	if (!opt.protocol)
		opt.protocol = g_strdup("prpl-sipe");
	return good;
}

static void remove_tree(const gchar *path)
{
	GDir *dir = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);

	if (dir) {
		const gchar *name;

		while ((name = g_dir_read_name(dir)) != NULL) {
			gchar *child = g_build_filename(path, name, NULL);
			remove_tree(child);
			g_free(child);
		}
		g_dir_close(dir);
	}
	g_remove(path);
}

int main(int argc, char **argv)
{
	/* menu labels are matched in English; UTF-8 keeps other text intact */
	g_setenv("LC_ALL", "C.UTF-8", TRUE);
	g_unsetenv("LANGUAGE");
	setlocale(LC_ALL, "");
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);

	if (!parse_options(&argc, &argv))
		return 2;
	if (opt.debug_log)
		debug_file = fopen(opt.debug_log, "w");
	if (!opt.config_dir) {
		opt.config_dir = g_dir_make_tmp("purple-driver-XXXXXX", NULL);
		made_config_dir = TRUE;
	}
	loop = g_main_loop_new(NULL, FALSE);
	questions = g_hash_table_new_full(NULL, NULL, NULL, question_free);
	stdin_buffer = g_string_new(NULL);

	purple_util_set_user_dir(opt.config_dir);
	purple_debug_set_enabled(FALSE);
	purple_debug_set_verbose(debug_file != NULL);
	purple_debug_set_unsafe(debug_file != NULL);
	purple_debug_set_ui_ops(&debug_ops);
	purple_eventloop_set_ui_ops(&eventloop_ops);
	purple_core_set_ui_ops(&core_ops);
	purple_plugins_add_search_path(opt.plugin_dir ? opt.plugin_dir : "/usr/lib/purple-2");
	if (!purple_core_init(UI_ID)) {
		event("fatal", "text", "libpurple did not start", NULL);
		return 2;
	}
	purple_set_blist(purple_blist_new());
	purple_prefs_load();
	purple_prefs_set_bool("/purple/network/map_ports", FALSE);
	purple_prefs_set_string("/purple/away/idle_reporting", "purple");
	purple_prefs_set_bool("/purple/away/away_when_idle", FALSE);
	purple_prefs_set_bool("/purple/logging/log_ims", FALSE);
	purple_prefs_set_bool("/purple/logging/log_chats", FALSE);
	media_init();
	connect_signals();
	event("ready", "libpurple", purple_core_get_version(),
	      "protocol", opt.protocol, "config", opt.config_dir, NULL);

	if (start_account()) {
		g_unix_fd_add(STDIN_FILENO, G_IO_IN | G_IO_HUP | G_IO_ERR, on_stdin, NULL);
		g_unix_signal_add(SIGTERM, on_term, NULL);
		g_unix_signal_add(SIGINT, on_term, NULL);
		g_main_loop_run(loop);
	} else {
		exit_code = 2;
	}
	purple_core_quit();
	event("exit", NULL);
	if (made_config_dir)
		remove_tree(opt.config_dir);
	if (debug_file)
		fclose(debug_file);
	return exit_code;
}
