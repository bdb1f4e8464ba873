/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_EVENTSTORE_MODEL_H
#define TAILRACE_EVENTSTORE_MODEL_H

/**
 * model.h: where the rows of a projection are: generations of them, each with the versions of the aggregates
 * that were projected. Of one thread.
 */

#include <tailrace/projection.h>

#define TR__MODEL_IDENTITY    9  /* with the NUL */
#define TR__MODEL_VERSION_MAX 64 /* of a function's version, with the NUL */
#define TR__MODEL_ROW_MAX     ((size_t)2 << 20)

/** Which generations there are. */
typedef struct tr__model_record {
    bool there;
    char identity[TR__MODEL_IDENTITY]; /* so that inboxes of another read model in its place are not mistaken
                                        */
    uint64_t revision;                 /* raised by every store */
    uint64_t serving, building, dropping; /* 0: none */
    char version[TR__MODEL_VERSION_MAX], building_version[TR__MODEL_VERSION_MAX];
} tr__model_record;

typedef struct tr__model_change {
    bool position; /* of an aggregate; else a row */
    tr_view key;
    tr_item item;           /* of a row; empty: delete */
    uint64_t before, after; /* version, or revision; before 0: it is not there */
} tr__model_change;

typedef struct tr__model tr__model;
struct tr__model {
    size_t changes_max; /* of a transaction */
    bool checks; /* commit looks at `before`: what was read or written earlier need not be read again */
    int (*load)(tr__model *model, tr__model_record *ret_record, tr_error *err);
    /** Makes what `record` says true: makes a generation that is building, puts one in the serving one's
     * place. TR_ECONFLICT if it is not of the revision any more. On success the revision is raised. */
    int (*store)(tr__model *model, tr__model_record *record, tr_error *err);
    /** Begins to change a generation. TR_EEXPIRED: it neither serves nor is being built. */
    int (*begin)(tr__model *model, uint64_t generation, tr_error *err);
    /** 0: none. */
    int (*position)(tr__model *model, tr_view aggregate, uint64_t *ret_version, tr_error *err);
    /** Appends the packed row; revision 0 and nothing appended: there is none. */
    int (*row)(tr__model *model, tr_view key, tr_buf *ret_item, uint64_t *ret_revision, tr_error *err);
    /** All or nothing. TR_ECONFLICT: something is not as it was before. Ends what begin began. */
    int (*commit)(tr__model *model, const tr__model_change *changes, size_t count, tr_error *err);
    void (*rollback)(tr__model *model);
    /** Removes what a generation that is no more has left. */
    int (*drop)(tr__model *model, uint64_t generation, tr_error *err);
    void (*free)(tr__model *model);
};

int tr__model_sqlite(const char *path, const char *name, tr__model **ret_model, tr_error *err);
int tr__model_table(tr_client *client, const char *table, const char *name, tr__model **ret_model,
                    tr_error *err);

/* ------------------------------------------------------------------------------------------------ projecting
 */

typedef struct tr__projector tr__projector;
int tr__projector_new(tr__model *model, const tr_projection_options *options, tr__projector **ret_projector);
void tr__projector_free(tr__projector *projector);

typedef struct tr__projected {
    size_t done;     /* events, from the first */
    size_t repeated; /* of them, those that were projected before */
    size_t conflicts;
} tr__projected;
/** Projects events into a generation, in one or several transactions. TR_EEXPIRED: the generation is gone.
 * What is done is told after errors too. */
int tr__project(tr__projector *projector, uint64_t generation, const tr_subscribed *events, size_t count,
                tr__projected *ret, tr_error *err);

/** Appends `<store>#<aggregate>`. */
static inline void tr__aggregate_key(tr_buf *out, const tr_subscribed *s)
{
    tr_buf_put_view(out, s->store_id);
    tr_buf_putc(out, '#');
    tr_buf_put_view(out, s->event.aggregate_id);
}

#endif
