/*
 * What SDKs do with a query's plan and with what the ranges answered to its rewritten query: the
 * stages of the .NET SDK, in their order, without pages.
 *
 * source: query reference, section 10; protocol reference, section 5.4
 */
#ifndef ORRERY_TESTS_SUPPORT_QUERY_PIPELINE_H
#define ORRERY_TESTS_SUPPORT_QUERY_PIPELINE_H

#include <cjson/cJSON.h>

/*
 * The results for cJSON_Delete.
 *
 * info    the plan's queryInfo
 * ranges  array of the rows of each range, in order; what does not keep the contract of rewritten
 *         queries ends the test by an assertion
 */
cJSON *query_pipeline(const cJSON *info, const cJSON *ranges);

#endif
