"""Warp kernels: normals, z-buffer, ambient occlusion and deferred shading; same on CPU and CUDA.

Visibility is a 64-bit key per sample (inverse depth in the high half, triangle in the low one)
written by atomic maximum, so the picture does not depend on the order of threads.
"""
# Warp builds kernels from these functions' source; annotations must stay real objects, so
# this module has no `from __future__ import annotations`.
# mypy: ignore-errors

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

# Columns of the matte array.
M_SKIN = wp.constant(0)
M_BROWS = wp.constant(1)
M_EYES = wp.constant(2)
M_LIPS = wp.constant(3)
M_MOUTH = wp.constant(4)
M_HAIR = wp.constant(5)
M_EARS = wp.constant(6)
M_BODY = wp.constant(7)
M_GLASSES = wp.constant(8)
M_FACE = wp.constant(9)
MATTES = wp.constant(10)


@wp.struct
class Scene:
    camera: wp.vec3
    key: wp.vec3
    key_color: wp.vec3
    fill: wp.vec3
    fill_color: wp.vec3
    eye_left: wp.vec3
    eye_right: wp.vec3
    gaze_left: wp.vec3
    gaze_right: wp.vec3
    iris: wp.vec3
    hair: wp.vec3
    cloth: wp.vec3
    skin: wp.vec3
    glasses: wp.vec3
    head: wp.mat33
    shadow: wp.mat33
    shadow_shift: wp.vec3
    shadow_soft: float
    pupil: float
    sclera: float
    specular: float
    gloss: float
    bump: float
    hair_fine: float
    hair_specular: float
    wet: float


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


@wp.func
def ambient(n: wp.vec3, sh: wp.array(dtype=wp.vec3)):
    e = sh[0] + sh[1] * n[0] + sh[2] * n[1] + sh[3] * n[2]
    e = e + sh[4] * (n[0] * n[1]) + sh[5] * (n[1] * n[2]) + sh[6] * (3.0 * n[2] * n[2] - 1.0)
    e = e + sh[7] * (n[0] * n[2]) + sh[8] * (n[0] * n[0] - n[1] * n[1])
    return wp.vec3(wp.max(e[0], 0.02), wp.max(e[1], 0.02), wp.max(e[2], 0.02))


@wp.func
def lobe(n: wp.vec3, v: wp.vec3, light: wp.vec3, gloss: float):
    h = wp.normalize(v + light)
    if wp.dot(n, light) <= 0.0:
        return 0.0
    return (gloss + 8.0) * 0.04 * wp.pow(wp.clamp(wp.dot(n, h), 0.0, 1.0), gloss)


@wp.func
def lit(p: wp.vec3, s: Scene, depth: wp.array3d(dtype=float), bias: float):
    q = s.shadow * p + s.shadow_shift
    size = depth.shape[1]
    total = float(0.0)
    for dy in range(3):
        for dx in range(3):
            x = int(wp.floor(q[0] + float(dx - 1) * s.shadow_soft))
            y = int(wp.floor(q[1] + float(dy - 1) * s.shadow_soft))
            v = float(1.0)
            if x >= 0 and y >= 0 and x < size and y < size:
                v = wp.clamp(1.0 - (depth[0, y, x] - q[2] - bias) * 350.0, 0.0, 1.0)
            total += v
    return total / 9.0


@wp.func
def texel(texture: wp.array3d(dtype=float), uv: wp.vec2, first: int):
    """Bilinear, three channels from `first`."""
    rows = texture.shape[0]
    columns = texture.shape[1]
    x = wp.clamp(uv[0] * float(columns) - 0.5, 0.0, float(columns) - 1.001)
    y = wp.clamp(uv[1] * float(rows) - 0.5, 0.0, float(rows) - 1.001)
    ix = int(x)
    iy = int(y)
    a = x - float(ix)
    b = y - float(iy)
    w00 = (1.0 - a) * (1.0 - b)
    w01 = a * (1.0 - b)
    w10 = (1.0 - a) * b
    w11 = a * b
    r = wp.vec3()
    for c in range(3):
        r[c] = (
            texture[iy, ix, first + c] * w00
            + texture[iy, ix + 1, first + c] * w01
            + texture[iy + 1, ix, first + c] * w10
            + texture[iy + 1, ix + 1, first + c] * w11
        )
    return r


@wp.kernel
def shade(
    keys: wp.array2d(dtype=wp.uint64),
    samples: int,
    triangles: wp.array2d(dtype=int),
    part: wp.array(dtype=int),
    screen: wp.array(dtype=wp.vec3),
    points: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    openness: wp.array(dtype=float),
    uv: wp.array(dtype=wp.vec2),
    rest: wp.array(dtype=wp.vec3),
    face: wp.array(dtype=float),
    layer: wp.array(dtype=float),
    texture: wp.array3d(dtype=float),
    sh: wp.array(dtype=wp.vec3),
    shadow_depth: wp.array3d(dtype=float),
    s: Scene,
    rgb: wp.array2d(dtype=wp.vec3),
    mattes: wp.array3d(dtype=float),
    depth: wp.array2d(dtype=float),
):
    row, column = wp.tid()
    total = wp.vec3(0.0, 0.0, 0.0)
    nearest = float(0.0)
    weight = 1.0 / float(samples * samples)
    for k in range(samples * samples):
        y = row * samples + k // samples
        x = column * samples + k % samples
        key = keys[y, x]
        if key != wp.uint64(0):
            t = int(key & wp.uint64(4294967295)) - 1
            pt = part[t]
            ia = triangles[t, 0]
            ib = triangles[t, 1]
            ic = triangles[t, 2]
            a = screen[ia]
            b = screen[ib]
            c = screen[ic]
            inv = 1.0 / ((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
            px = float(x) + 0.5 - a[0]
            py = float(y) + 0.5 - a[1]
            wb = (px * (c[1] - a[1]) - py * (c[0] - a[0])) * inv
            wc = ((b[0] - a[0]) * py - (b[1] - a[1]) * px) * inv
            z = a[2] + wb * (b[2] - a[2]) + wc * (c[2] - a[2])
            nearest = wp.max(nearest, z)
            wb = wb * b[2] / z
            wc = wc * c[2] / z
            wa = 1.0 - wb - wc
            p = points[ia] * wa + points[ib] * wb + points[ic] * wc
            n = wp.normalize(normals[ia] * wa + normals[ib] * wb + normals[ic] * wc)
            smooth_normal = n
            r = rest[ia] * wa + rest[ib] * wb + rest[ic] * wc
            q = uv[ia] * wa + uv[ib] * wb + uv[ic] * wc
            ao = openness[ia] * wa + openness[ib] * wb + openness[ic] * wc
            fw = face[ia] * wa + face[ib] * wb + face[ic] * wc
            v = wp.normalize(s.camera - p)
            if wp.dot(n, v) < 0.0 and pt >= TEETH and pt != TONGUE:
                n = -n
            albedo = wp.vec3(0.5, 0.5, 0.5)
            spec = float(0.3)
            gloss = float(20.0)
            factor = float(1.0)
            wrap = wp.vec3(0.35, 0.16, 0.1)
            tint = float(0.8)
            bias = float(0.003)
            clear = float(0.0)
            glint = n
            if pt == SKIN:
                if q[0] < 0.0:
                    collar = 0.548 - 0.25 * (r[1] + 0.03) + 0.9 * r[0] * r[0]
                    dressed = smooth(collar - r[2], -0.001, 0.001)
                    albedo = s.skin * (1.0 - dressed) + s.cloth * dressed
                    spec = 0.5 * s.specular * (1.0 - dressed) + 0.05 * dressed
                    gloss = s.gloss
                    mattes[row, column, M_BODY] = mattes[row, column, M_BODY] + weight
                else:
                    albedo = texel(texture, q, 0)
                    extra = texel(texture, q, 3)
                    slope = s.head * texel(texture, q, 6)
                    flags = texel(texture, q, 9)
                    spec = s.specular * extra[0]
                    gloss = s.gloss
                    clear = extra[1]
                    cave = extra[2]
                    lips = flags[0]
                    brow = flags[1]
                    scalp = flags[2]
                    slope = slope - n * wp.dot(slope, n)
                    n = wp.normalize(n - slope * s.bump)
                    glint = n
                    if cave > 0.01:
                        spec = spec * (1.0 - cave) + 0.25 * cave
                        ao = ao * (1.0 - 0.8 * cave)
                        wrap = wrap * (1.0 - cave)
                        lips = lips * (1.0 - cave)
                    ear = smooth(wp.abs(r[0]), 0.0685, 0.072) * smooth(r[1], -0.062, -0.05)
                    ear = ear * smooth(r[2], 0.665, 0.68) * (1.0 - smooth(r[2], 0.76, 0.775))
                    neck = 1.0 - smooth(r[2], 0.59, 0.605)
                    neck = wp.max(neck, smooth(r[1], -0.055, -0.045) * (1.0 - smooth(r[2], 0.65, 0.67)))
                    body = neck * (1.0 - cave)
                    left = (1.0 - cave) * (1.0 - body)
                    hairy = scalp * left
                    left = left - hairy
                    ear = ear * left
                    left = left - ear
                    lips = wp.min(lips, left)
                    left = left - lips
                    brow = wp.min(brow, left)
                    left = left - brow
                    mattes[row, column, M_SKIN] = mattes[row, column, M_SKIN] + weight * left
                    mattes[row, column, M_BROWS] = mattes[row, column, M_BROWS] + weight * brow
                    mattes[row, column, M_LIPS] = mattes[row, column, M_LIPS] + weight * lips
                    mattes[row, column, M_MOUTH] = mattes[row, column, M_MOUTH] + weight * cave
                    mattes[row, column, M_EARS] = mattes[row, column, M_EARS] + weight * ear
                    mattes[row, column, M_BODY] = mattes[row, column, M_BODY] + weight * body
                    mattes[row, column, M_HAIR] = mattes[row, column, M_HAIR] + weight * hairy
                    fw = wp.max(fw * (1.0 - hairy), cave)
            elif pt == EYE_LEFT or pt == EYE_RIGHT:
                centre = s.eye_left
                gaze = s.gaze_left
                if pt == EYE_RIGHT:
                    centre = s.eye_right
                    gaze = s.gaze_right
                n = wp.normalize(p - centre)
                cosine = wp.clamp(wp.dot(n, gaze), -1.0, 1.0)
                angle = wp.acos(cosine)
                up = s.head * wp.vec3(0.0, 0.0, 1.0)
                tangent = n - gaze * cosine
                east = wp.cross(gaze, up)
                around = wp.atan2(wp.dot(tangent, up), wp.dot(tangent, east))
                red = wp.clamp((angle - 0.5) * 1.1, 0.0, 0.4)
                vein = smooth(noise2(around * 9.0, angle * 6.0, 5), 0.62, 0.8) * red
                albedo = wp.vec3(1.0, 0.93 - 0.6 * red - 0.5 * vein, 0.9 - 0.7 * red - 0.5 * vein)
                albedo = albedo * s.sclera
                ratio = angle / 0.43
                if ratio < 1.12:
                    fibre = 0.55 + 0.75 * noise2(around * 11.0 + 40.0, ratio * 2.5, 3)
                    fibre = fibre * (0.8 + 0.4 * noise2(around * 27.0 + 90.0, ratio * 4.0, 4))
                    ring = 1.0 - 0.75 * smooth(ratio, 0.78, 1.0)
                    inner = 1.0 + 0.45 * (1.0 - smooth(ratio, 0.4, 0.65))
                    colour = s.iris * (fibre * ring * inner)
                    edge = 1.0 - smooth(ratio, 0.97, 1.1)
                    albedo = albedo * (1.0 - edge) + colour * edge
                    hole = 1.0 - smooth(angle, s.pupil - 0.025, s.pupil + 0.025)
                    albedo = albedo * (1.0 - hole) + wp.vec3(0.004, 0.004, 0.004) * hole
                    # Light that enters a cornea gathers on the side away from its source.
                    bowl = wp.normalize(gaze - (n - gaze) * 1.2)
                    n = wp.normalize(n * (1.0 - 0.5 * edge) + bowl * (0.5 * edge))
                bulge = 1.0 - smooth(angle, 0.42, 0.52)
                sphere = wp.normalize(p - centre)
                glint = wp.normalize(sphere + (sphere - gaze * wp.dot(sphere, gaze)) * (0.55 * bulge))
                spec = 0.0
                clear = 1.0
                wrap = wp.vec3(0.3, 0.25, 0.25)
                bias = 0.004
                lid = wp.dot(sphere, up)
                factor = 0.5 + 0.5 * (1.0 - wp.clamp((lid - 0.02) * 1.6, 0.0, 1.0))
                ao = 0.62 * (0.6 + 0.4 * (1.0 - smooth(angle, 0.7, 1.1)))
                mattes[row, column, M_EYES] = mattes[row, column, M_EYES] + weight
                fw = 1.0
            elif pt == TEETH:
                albedo = wp.vec3(0.68, 0.63, 0.53)
                spec = 0.5
                gloss = 60.0
                ao = wp.clamp(ao * 1.6, 0.2, 0.85)
                tint = 1.0
                mattes[row, column, M_MOUTH] = mattes[row, column, M_MOUTH] + weight
                fw = 1.0
            elif pt == TONGUE:
                albedo = wp.vec3(0.4, 0.13, 0.12)
                spec = 0.35
                gloss = 30.0
                ao = ao * 0.75
                mattes[row, column, M_MOUTH] = mattes[row, column, M_MOUTH] + weight
                fw = 1.0
            elif pt == LASHES:
                albedo = s.hair * 0.3 + s.skin * 0.04
                spec = 0.0
                ao = ao * 0.7
                mattes[row, column, M_EYES] = mattes[row, column, M_EYES] + weight
                fw = 1.0
            elif pt == GLASSES:
                albedo = s.glasses
                spec = 1.2
                gloss = 60.0
                tint = 1.0
                mattes[row, column, M_GLASSES] = mattes[row, column, M_GLASSES] + weight
                fw = 0.0
            else:
                side = r[0] * s.hair_fine
                along = (r[1] - r[2]) * s.hair_fine * 0.12
                strand = noise2(side + 0.6 * along, along, 21)
                lock = noise2(side * 0.2, along * 0.5, 22)
                level = layer[ia] * wa + layer[ib] * wb + layer[ic] * wc
                albedo = s.hair * ((0.35 + 0.8 * strand + 0.45 * lock) * (0.55 + 0.45 * level))
                spec = s.hair_specular * (0.3 + strand)
                gloss = 14.0
                wrap = wp.vec3(0.3, 0.3, 0.3)
                tint = 1.0
                jitter = wp.vec3(strand - 0.5, 0.6 * (lock - 0.5), 0.4 * (strand - 0.5))
                n = wp.normalize(n + jitter * 0.7)
                mattes[row, column, M_HAIR] = mattes[row, column, M_HAIR] + weight
                fw = 0.0
            mattes[row, column, M_FACE] = mattes[row, column, M_FACE] + weight * fw
            if pt == SKIN:
                glint = n
            elif pt > EYE_RIGHT:
                glint = n
            shadow = lit(p + smooth_normal * 0.0025, s, shadow_depth, bias)
            facing = wp.clamp(wp.dot(glint, v), 0.0, 1.0)
            fresnel = 0.25 + 0.75 * wp.pow(1.0 - facing, 5.0)
            e = ambient(n, sh)
            ndk = wp.dot(n, s.key)
            ndf = wp.dot(n, s.fill)
            sk = float(0.0)
            sf = float(0.0)
            if spec > 0.0:
                sk = spec * lobe(glint, v, s.key, gloss) * fresnel
                sf = spec * lobe(glint, v, s.fill, gloss) * fresnel
            if clear > 0.02:
                sk += clear * s.wet * lobe(glint, v, s.key, 420.0)
                sf += clear * s.wet * lobe(glint, v, s.fill, 420.0)
            if ndk <= 0.0 and pt > EYE_RIGHT:
                sk = 0.0
            mirror = ambient(wp.normalize(glint * (2.0 * wp.dot(glint, v)) - v), sh)
            for ch in range(3):
                shade_key = shadow
                open_sky = ao
                if tint < 1.0 and ch == 0:
                    shade_key = wp.pow(shadow, 0.75)
                    open_sky = wp.pow(ao, tint)
                diffuse = e[ch] * open_sky
                diffuse += s.key_color[ch] * shade_key * wp.max(0.0, (ndk + wrap[ch]) / (1.0 + wrap[ch]))
                diffuse += s.fill_color[ch] * ao * wp.max(0.0, (ndf + wrap[ch]) / (1.0 + wrap[ch]))
                shine = s.key_color[ch] * sk * shadow + s.fill_color[ch] * sf * ao
                shine += mirror[ch] * ao * fresnel * (spec * 0.25 + clear * 0.12)
                total[ch] += (albedo[ch] * diffuse * factor + shine) * weight
    rgb[row, column] = total
    depth[row, column] = nearest
