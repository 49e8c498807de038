"""Warp kernel that finds where rays meet a head."""
# See `kernels` for why annotations are real objects here.
# mypy: ignore-errors

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
def distances(
    mesh: wp.uint64,
    origins: wp.array(dtype=wp.vec3),
    toward: wp.array(dtype=wp.vec3),
    furthest: float,
    way: wp.array(dtype=float),
):
    i = wp.tid()
    hit = wp.mesh_query_ray(mesh, origins[i], toward[i], furthest)
    if hit.result:
        way[i] = hit.t
    else:
        way[i] = -1.0
