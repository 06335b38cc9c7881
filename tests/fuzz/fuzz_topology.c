/* Topology documents: what is read is printed as a text that reads the same. */
#include "regions/topology.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct topology topology, again;
    struct buf first = {0}, second = {0};
    struct fault fault = {0};
    struct arena arena;

    arena_init(&arena, 1 << 20);
    if (topology_parse(&topology, slice_make((const char *) data, size), &arena, &fault)) {
        topology_print(&first, &topology);
        assert(topology_parse(&again, buf_slice(&first), &arena, &fault));
        topology_print(&second, &again);
        assert(slice_equals(buf_slice(&first), buf_slice(&second)));
        assert(topology_majority(&topology) <= topology_live_count(&topology));
    } else {
        assert(fault.status == 400 || fault.status == 503);
    }
    buf_finish(&first);
    buf_finish(&second);
    arena_finish(&arena);
    return 0;
}
