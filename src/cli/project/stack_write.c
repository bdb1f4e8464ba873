/* SPDX-License-Identifier: MIT */
/* The pieces that a template is made of. */
#include "cli/project/stack_write.h"

#include <ctype.h>
#include <stdio.h>

void tr__stack_leave_out(tr__stack *s, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    s->left_out(s->ctx, text);
}

void tr__stack_object(tr__stack *s, const char *name)
{
    if (name)
        tr_json_name(&s->w, name);
    tr_json_begin_object(&s->w);
}

void tr__stack_end(tr__stack *s)
{
    tr_json_end_object(&s->w);
}

void tr__stack_text(tr__stack *s, const char *name, const char *value)
{
    if (value)
        tr_json_member_cstring(&s->w, name, value);
}

void tr__stack_number(tr__stack *s, const char *name, int64_t value)
{
    tr_json_member_i64(&s->w, name, value);
}

void tr__stack_json(tr__stack *s, const char *name, const char *value)
{
    if (!value)
        return;
    tr_json_name(&s->w, name);
    tr_json_value(&s->w, tr_view_str(value));
}

/* Letters and digits of a name, each part begun with a capital, and what it is. */
const char *tr__stack_id_of(const char *name, const char *kind, char *out)
{
    size_t n = 0;
    bool up = true;
    for (; *name && n < TR_STACK_ID_SIZE - 64; name++) {
        if (isalnum((unsigned char)*name))
            out[n++] = (char)(up ? toupper((unsigned char)*name) : *name);
        up = !isalnum((unsigned char)*name);
    }
    (void)snprintf(out + n, TR_STACK_ID_SIZE - n, "%s", kind);
    return out;
}

/* {"Fn::GetAtt":["ID","ATTRIBUTE"]} or {"Ref":"ID"} */
void tr__stack_value_of(tr__stack *s, const char *name, const char *kind, const char *attribute)
{
    char id[TR_STACK_ID_SIZE];
    tr_json_begin_object(&s->w);
    if (attribute) {
        tr_json_name(&s->w, "Fn::GetAtt");
        tr_json_begin_array(&s->w);
        tr_json_cstring(&s->w, tr__stack_id_of(name, kind, id));
        tr_json_cstring(&s->w, attribute);
        tr_json_end_array(&s->w);
    } else {
        tr_json_member_cstring(&s->w, "Ref", tr__stack_id_of(name, kind, id));
    }
    tr_json_end_object(&s->w);
}

void tr__stack_refer(tr__stack *s, const char *member, const char *name, const char *kind,
                     const char *attribute)
{
    tr_json_name(&s->w, member);
    tr__stack_value_of(s, name, kind, attribute);
}

/* {"Fn::Sub":"…"} */
void tr__stack_sub(tr__stack *s, const char *member, const char *format, const char *name)
{
    char arn[1024];
    (void)snprintf(arn, sizeof arn, format, name);
    if (member)
        tr_json_name(&s->w, member);
    tr_json_begin_object(&s->w);
    tr_json_member_cstring(&s->w, "Fn::Sub", arn);
    tr_json_end_object(&s->w);
}

void tr__stack_begin_resource(tr__stack *s, const char *name, const char *kind, const char *type)
{
    char id[TR_STACK_ID_SIZE];
    tr_json_key(&s->w, tr_view_str(tr__stack_id_of(name, kind, id)));
    tr_json_begin_object(&s->w);
    tr_json_member_cstring(&s->w, "Type", type);
    tr__stack_object(s, "Properties");
}

void tr__stack_end_resource(tr__stack *s)
{
    tr__stack_end(s);
    tr__stack_end(s);
}

void tr__stack_bus_arn(tr__stack *s, const char *member, const char *bus)
{
    if (strcmp(bus, "default") == 0)
        tr__stack_sub(s, member, "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/%s",
                      bus);
    else if (member)
        tr__stack_refer(s, member, bus, "Bus", "Arn");
    else
        tr__stack_value_of(s, bus, "Bus", "Arn");
}

/* A table of the project by reference, another by its name. */
void tr__stack_table_arn(tr__stack *s, const char *table)
{
    if (tr_project_table_of(s->p, table))
        tr__stack_value_of(s, table, "Table", "Arn");
    else
        tr__stack_sub(s, NULL, "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/%s",
                      table);
}

void tr__stack_statement(tr__stack *s, const char *action, const char *principal)
{
    tr__stack_object(s, NULL);
    tr__stack_text(s, "Effect", "Allow");
    if (principal) {
        tr__stack_object(s, "Principal");
        tr__stack_text(s, "Service", principal);
        tr__stack_end(s);
    }
    tr__stack_text(s, "Action", action);
}

void tr__stack_begin_policy(tr__stack *s, const char *name)
{
    tr__stack_object(s, name);
    tr__stack_text(s, "Version", "2012-10-17");
    tr_json_name(&s->w, "Statement");
    tr_json_begin_array(&s->w);
}

void tr__stack_end_policy(tr__stack *s)
{
    tr_json_end_array(&s->w);
    tr__stack_end(s);
}

void tr__stack_begin_role(tr__stack *s, const char *name, const char *kind, const char *service)
{
    tr__stack_begin_resource(s, name, kind, "AWS::IAM::Role");
    tr__stack_begin_policy(s, "AssumeRolePolicyDocument");
    tr__stack_statement(s, "sts:AssumeRole", service);
    tr__stack_end(s);
    tr__stack_end_policy(s);
    tr_json_name(&s->w, "Policies");
    tr_json_begin_array(&s->w);
    tr__stack_object(s, NULL);
    tr__stack_text(s, "PolicyName", "least");
    tr__stack_begin_policy(s, "PolicyDocument");
}

void tr__stack_end_role(tr__stack *s)
{
    tr__stack_end_policy(s);
    tr__stack_end(s);
    tr_json_end_array(&s->w);
    tr__stack_end_resource(s);
}

void tr__stack_allow_bus(tr__stack *s, const char *bus)
{
    tr__stack_statement(s, "events:PutEvents", NULL);
    tr__stack_bus_arn(s, "Resource", bus);
    tr__stack_end(s);
}

const char *tr__stack_module_of(const tr_project_function *f)
{
    return strncmp(f->target, "handler:", 8) == 0 ? f->target + 8 : NULL;
}
