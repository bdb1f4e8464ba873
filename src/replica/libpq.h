/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_REPLICA_LIBPQ_H
#define TAILRACE_REPLICA_LIBPQ_H

/** PostgreSQL's client library, loaded when it is first wanted: only who keeps a replica there needs it. */

#include <tailrace/base.h>

#include <libpq-fe.h>

/** The functions that are used, all of them in libpq since 9.2 at the latest. */
#define TR__PQ_FUNCTIONS(X)                                                                                  \
    X(PQclear)                                                                                               \
    X(PQcmdTuples)                                                                                           \
    X(PQconnectdbParams)                                                                                     \
    X(PQconninfoFree)                                                                                        \
    X(PQconninfoParse)                                                                                       \
    X(PQerrorMessage)                                                                                        \
    X(PQexec)                                                                                                \
    X(PQexecParams)                                                                                          \
    X(PQfinish)                                                                                              \
    X(PQfreemem)                                                                                             \
    X(PQgetResult)                                                                                           \
    X(PQgetisnull)                                                                                           \
    X(PQgetlength)                                                                                           \
    X(PQgetvalue)                                                                                            \
    X(PQntuples)                                                                                             \
    X(PQparameterStatus)                                                                                     \
    X(PQpingParams)                                                                                          \
    X(PQputCopyData)                                                                                         \
    X(PQputCopyEnd)                                                                                          \
    X(PQresultErrorField)                                                                                    \
    X(PQresultStatus)                                                                                        \
    X(PQsendQueryParams)                                                                                     \
    X(PQsetNoticeProcessor)                                                                                  \
    X(PQsetSingleRowMode)                                                                                    \
    X(PQstatus)                                                                                              \
    X(PQtransactionStatus)

typedef struct tr__libpq {
#define X(name) __typeof__(name) *name; /* NOLINT(bugprone-macro-parentheses) */
    TR__PQ_FUNCTIONS(X)
#undef X
} tr__libpq;

/** The library, loaded once and kept; NULL with the reason in err (TR_EUNSUPPORTED). From any thread. */
const tr__libpq *tr__libpq_load(tr_error *err);

#endif
