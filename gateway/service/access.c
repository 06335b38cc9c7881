#include "service/access.h"

#include "base/banned.h"

bool access_check(struct call *call, enum authtoken_touch touch, bool is_write, uint32_t database,
                  uint32_t container, struct slice child_id, struct slice pk)
{
    const struct authtoken_grant *grant = call->request.grant;
    struct authtoken_target target = {.touch = touch,
                                      .is_write = is_write,
                                      .database = database,
                                      .container = container,
                                      .child = RID_ITEM,
                                      .child_id = child_id,
                                      .pk = pk};

    return grant == NULL || authtoken_scope_check(&grant->scope, &target, &call->op.fault);
}
