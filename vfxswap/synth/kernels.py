"""Warp kernels of geometry: normals, depth maps, ambient occlusion, z-buffer; CPU and CUDA alike.

Visibility is a 64-bit key per sample (inverse depth in the high half, triangle in the low one)
written by atomic maximum, so the picture does not depend on the order of threads.
"""
# Warp builds kernels from these functions' source: annotations must stay real objects, so there
# is no `from __future__ import annotations`, and `float(0.0)` declares a variable that changes.
# mypy: ignore-errors
# ruff: noqa: UP018, SIM102, SIM109

import warp as wp

wp.set_module_options({"enable_backward": False, "fast_math": True})

SKIN = wp.constant(0)
EYE_LEFT = wp.constant(1)
EYE_RIGHT = wp.constant(2)
TEETH = wp.constant(3)
LASHES = wp.constant(4)
TONGUE = wp.constant(5)
HAIR = wp.constant(6)
SHELL = wp.constant(7)
GLASSES = wp.constant(8)


@wp.func
def hash01(x: int, y: int, z: int):
    h = wp.uint32(x) * wp.uint32(374761393) + wp.uint32(y) * wp.uint32(668265263)
    h = h + wp.uint32(z) * wp.uint32(1266822519)
    h = (h ^ (h >> wp.uint32(13))) * wp.uint32(1274126177)
    h = h ^ (h >> wp.uint32(16))
    return float(h & wp.uint32(16777215)) * (1.0 / 16777216.0)


@wp.func
def noise2(x: float, y: float, seed: int):
    fx = wp.floor(x)
    fy = wp.floor(y)
    ix = int(fx)
    iy = int(fy)
    a = x - fx
    b = y - fy
    a = a * a * (3.0 - 2.0 * a)
    b = b * b * (3.0 - 2.0 * b)
    top = hash01(ix, iy, seed) * (1.0 - a) + hash01(ix + 1, iy, seed) * a
    low = hash01(ix, iy + 1, seed) * (1.0 - a) + hash01(ix + 1, iy + 1, seed) * a
    return top * (1.0 - b) + low * b


@wp.func
def smooth(x: float, a: float, b: float):
    t = wp.clamp((x - a) / (b - a), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


@wp.kernel
def vertex_normals(
    starts: wp.array(dtype=int),
    around: wp.array(dtype=int),
    triangles: wp.array2d(dtype=int),
    points: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
):
    i = wp.tid()
    total = wp.vec3(0.0, 0.0, 0.0)
    for k in range(starts[i], starts[i + 1]):
        t = around[k]
        a = points[triangles[t, 0]]
        total += wp.cross(points[triangles[t, 1]] - a, points[triangles[t, 2]] - a)
    normals[i] = wp.normalize(total)


@wp.kernel
def depth_maps(
    triangles: wp.array2d(dtype=int),
    part: wp.array(dtype=int),
    cover: wp.array(dtype=float),
    layer: wp.array(dtype=float),
    points: wp.array(dtype=wp.vec3),
    axes: wp.array(dtype=wp.mat33),
    middle: wp.vec3,
    shift: wp.vec3,
    depth: wp.array3d(dtype=float),
):
    d, t = wp.tid()
    ia = triangles[t, 0]
    ib = triangles[t, 1]
    ic = triangles[t, 2]
    if part[t] == LASHES:
        return
    if part[t] == HAIR or part[t] == SHELL:
        # Hair casts shade as its outermost layer, and only where it is dense.
        if layer[ia] < 0.99 or wp.min(cover[ia], wp.min(cover[ib], cover[ic])) < 0.5:
            return
    m = axes[d]
    a = m * (points[ia] - middle) + shift
    b = m * (points[ib] - middle) + shift
    c = m * (points[ic] - middle) + shift
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    if wp.abs(area) < 1.0e-9:
        return
    inv = 1.0 / area
    width = depth.shape[2]
    height = depth.shape[1]
    x0 = wp.max(int(wp.ceil(wp.min(a[0], wp.min(b[0], c[0])) - 0.5)), 0)
    x1 = wp.min(int(wp.floor(wp.max(a[0], wp.max(b[0], c[0])) - 0.5)), width - 1)
    y0 = wp.max(int(wp.ceil(wp.min(a[1], wp.min(b[1], c[1])) - 0.5)), 0)
    y1 = wp.min(int(wp.floor(wp.max(a[1], wp.max(b[1], c[1])) - 0.5)), height - 1)
    for y in range(y0, y1 + 1):
        for x in range(x0, x1 + 1):
            px = float(x) + 0.5 - a[0]
            py = float(y) + 0.5 - a[1]
            wb = (px * (c[1] - a[1]) - py * (c[0] - a[0])) * inv
            wc = ((b[0] - a[0]) * py - (b[1] - a[1]) * px) * inv
            if wb >= 0.0 and wc >= 0.0 and wb + wc <= 1.0:
                z = a[2] + wb * (b[2] - a[2]) + wc * (c[2] - a[2])
                wp.atomic_max(depth, d, y, x, z)


@wp.kernel
def ambient_occlusion(
    points: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    axes: wp.array(dtype=wp.mat33),
    directions: wp.array(dtype=wp.vec3),
    middle: wp.vec3,
    shift: wp.vec3,
    depth: wp.array3d(dtype=float),
    openness: wp.array(dtype=float),
):
    i = wp.tid()
    n = normals[i]
    p = points[i] + n * 0.001
    seen = float(0.0)
    total = float(1.0e-3)
    size = depth.shape[1]
    for d in range(axes.shape[0]):
        w = wp.max(0.0, wp.dot(n, directions[d]))
        if w > 0.0:
            q = axes[d] * (p - middle) + shift
            x = int(wp.floor(q[0]))
            y = int(wp.floor(q[1]))
            v = float(1.0)
            if x >= 0 and y >= 0 and x < size and y < size:
                v = wp.clamp(1.0 - (depth[d, y, x] - q[2] - 0.005) * 120.0, 0.0, 1.0)
            seen += w * v
            total += w
    openness[i] = wp.clamp(0.1 + 0.9 * seen / total, 0.0, 1.0)


@wp.func
def keeps(part: int, rest: wp.vec3, cover: float, layer: float, fine: float):
    """Cut-out hair: lashes in strips, hair in strands that thin with the shell's height."""
    if part == LASHES:
        return noise2(rest[0] * 1900.0 + 900.0, rest[2] * 120.0, 3) < cover
    side = rest[0] * fine
    along = (rest[1] - rest[2]) * fine * 0.22
    n = 0.7 * noise2(side + 0.6 * along, along, 11) + 0.3 * noise2(side * 2.3, along * 2.1, 12)
    if part == HAIR:
        return n < cover
    return n < cover * (1.0 - 0.42 * layer)


@wp.kernel
def visibility(
    triangles: wp.array2d(dtype=int),
    part: wp.array(dtype=int),
    screen: wp.array(dtype=wp.vec3),
    rest: wp.array(dtype=wp.vec3),
    cover: wp.array(dtype=float),
    layer: wp.array(dtype=float),
    fine: float,
    keys: wp.array2d(dtype=wp.uint64),
):
    t = wp.tid()
    ia = triangles[t, 0]
    ib = triangles[t, 1]
    ic = triangles[t, 2]
    a = screen[ia]
    b = screen[ib]
    c = screen[ic]
    if a[2] <= 0.0 or b[2] <= 0.0 or c[2] <= 0.0:
        return
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    if wp.abs(area) < 1.0e-9:
        return
    inv = 1.0 / area
    p = part[t]
    # Skin is closed: what shows its back is the lining of the mouth or of a lid where it pokes
    # through thin skin, as it does in old faces.
    if p == SKIN and area > 0.0:
        return
    cut = p == LASHES or p == HAIR or p == SHELL
    if cut and cover[ia] <= 0.0 and cover[ib] <= 0.0 and cover[ic] <= 0.0:
        return
    x0 = wp.max(int(wp.ceil(wp.min(a[0], wp.min(b[0], c[0])) - 0.5)), 0)
    x1 = wp.min(int(wp.floor(wp.max(a[0], wp.max(b[0], c[0])) - 0.5)), keys.shape[1] - 1)
    y0 = wp.max(int(wp.ceil(wp.min(a[1], wp.min(b[1], c[1])) - 0.5)), 0)
    y1 = wp.min(int(wp.floor(wp.max(a[1], wp.max(b[1], c[1])) - 0.5)), keys.shape[0] - 1)
    for y in range(y0, y1 + 1):
        for x in range(x0, x1 + 1):
            px = float(x) + 0.5 - a[0]
            py = float(y) + 0.5 - a[1]
            wb = (px * (c[1] - a[1]) - py * (c[0] - a[0])) * inv
            wc = ((b[0] - a[0]) * py - (b[1] - a[1]) * px) * inv
            if wb >= 0.0 and wc >= 0.0 and wb + wc <= 1.0:
                z = a[2] + wb * (b[2] - a[2]) + wc * (c[2] - a[2])
                bits = wp.uint64(wp.cast(z, wp.uint32))
                key = (bits << wp.uint64(32)) | wp.uint64(t + 1)
                if key > keys[y, x]:
                    ok = bool(True)
                    if cut:
                        qb = wb * b[2] / z
                        qc = wc * c[2] / z
                        qa = 1.0 - qb - qc
                        ok = keeps(
                            p,
                            rest[ia] * qa + rest[ib] * qb + rest[ic] * qc,
                            cover[ia] * qa + cover[ib] * qb + cover[ic] * qc,
                            layer[ia] * qa + layer[ib] * qb + layer[ic] * qc,
                            fine,
                        )
                    if ok:
                        wp.atomic_max(keys, y, x, key)
