/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model as documents (REQUIREMENTS.md names): what the control socket answers. Each returns a new
 * cJSON object that the caller deletes.
 */
#ifndef LAPIDARY_VIEW_H
#define LAPIDARY_VIEW_H

#include <cjson/cJSON.h>
#include "user/model/model.h"

cJSON *view_workers(const struct model *model,
		    const char *app);          /* {"workers":[WorkerProcessStatus…]}; app NULL: all */
cJSON *view_health(const struct model *model); /* SystemHealthStatus */

#endif
