/*
 * Calls that must not compile here: unbounded copies, hidden state, and calls that block a loop.
 *
 * Include last, after every system and library header.
 */
#ifndef ORRERY_BASE_BANNED_H
#define ORRERY_BASE_BANNED_H

#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets gmtime localtime asctime ctime
#pragma GCC poison PQexec PQexecParams PQexecPrepared PQconnectdb curl_easy_perform sleep usleep

#endif
