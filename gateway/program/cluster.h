/*
 * A private PostgreSQL of one region: its directories, initdb, settings, start.
 *
 *   DATA/west-us/pg            the data, owned by whom PostgreSQL runs as
 *   DATA/west-us/postgres.log  what the server says
 *   DATA/west-us/socket        its Unix socket; elsewhere when the path would be too long for one
 *
 * No TCP. Only the supervisor's user and the server's own may connect (peer authentication).
 * Settings are given on the command line at every start, so that there is no file of settings to
 * keep in step.
 */
#ifndef ORRERY_PROGRAM_CLUSTER_H
#define ORRERY_PROGRAM_CLUSTER_H

#include "base/config.h"
#include "program/child.h"

#define CLUSTER_PATH_BYTES 1024

/* What the clusters of one data directory share. */
struct cluster_host {
    char bin[CLUSTER_PATH_BYTES]; /* where initdb and postgres are */
    int major;                    /* of PostgreSQL */
    struct child_user user;       /* whom it runs as */
    char operator_name[64];       /* whom we run as */
};

struct cluster {
    const struct cluster_host *host;
    const struct config *config;
    char directory[CLUSTER_PATH_BYTES]; /* DATA/west-us */
    char socket[CLUSTER_PATH_BYTES];
    char url[CLUSTER_PATH_BYTES + 64]; /* connection string of database orrery */
};

/* Find whom we are and whom PostgreSQL runs as, which never is root. */
bool cluster_host_find_user(struct cluster_host *host, const struct config *config,
                            struct fault *fault) MUST_CHECK;

/*
 * Find PostgreSQL's programs.
 *
 * data  absolute path of the data directory, which may be missing; if it holds clusters, the
 * version that made them is looked for, else the newest
 */
bool cluster_host_find_programs(struct cluster_host *host, const struct config *config,
                                const char *data, struct fault *fault) MUST_CHECK;

/* May that user reach the directory? The fault names the first part that keeps it out. */
bool cluster_host_can_enter(const struct cluster_host *host, const char *directory,
                            struct fault *fault) MUST_CHECK;

/* Make the directories that are missing. slug: "west-us". */
bool cluster_prepare(struct cluster *cluster, const struct cluster_host *host,
                     const struct config *config, const char *data, const char *slug,
                     struct fault *fault) MUST_CHECK;

/* Are there data already? */
bool cluster_is_made(const struct cluster *cluster);

/*
 * Begin initdb in a directory beside, which cluster_make_end puts in place; so a cluster is whole
 * or not there.
 *
 * out_fd  takes what initdb says
 */
pid_t cluster_make_begin(const struct cluster *cluster, int out_fd, struct fault *fault) MUST_CHECK;
bool cluster_make_end(const struct cluster *cluster, struct fault *fault) MUST_CHECK;
void cluster_make_undo(const struct cluster *cluster);

/*
 * Are processes of an earlier server still at work on the data? A postmaster among them is told to
 * end; is_forced ends them all at once.
 */
bool cluster_is_busy(const struct cluster *cluster, bool is_forced);

/* Start the server. */
pid_t cluster_start(const struct cluster *cluster, struct fault *fault) MUST_CHECK;

/* Does it answer? Makes the database when it is missing. False with fault.status 503 while it
 * starts. */
bool cluster_answers(const struct cluster *cluster, struct fault *fault) MUST_CHECK;

/* Remove what is only there while the server runs. */
void cluster_finish(const struct cluster *cluster);

/* Copy the log's last lines, for an error message. */
void cluster_log_tail(const struct cluster *cluster, char *text, size_t size);

/* mkdir -p; existing directories are accepted. */
bool directory_make(const char *path, struct fault *fault) MUST_CHECK;

#endif
