"""Warp kernel that shades what is visible: skin, eyes, teeth, hair; CPU and CUDA alike.

Skin is a wrapped diffuse (red wraps furthest, as light under the skin does) with a glossy lobe;
wet parts have a second, mirror-like one that reaches far above 1.
"""
# See `kernels` for why annotations are real objects here and constants are wrapped.
# mypy: ignore-errors
# ruff: noqa: UP018

import warp as wp

from vfxswap.synth.kernels import (
    EYE_LEFT,
    EYE_RIGHT,
    GLASSES,
    LASHES,
    SKIN,
    TEETH,
    TONGUE,
    noise2,
    smooth,
)
from vfxswap.synth.lighting import Mattes, Scene, Surface, lighted, lit

wp.set_module_options({"enable_backward": False, "fast_math": True})

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

IRIS_RAD = wp.constant(0.43)


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


@wp.func
def skin(
    n: wp.vec3,
    rest: wp.vec3,
    uv: wp.vec2,
    openness: float,
    face: float,
    texture: wp.array3d(dtype=float),
    s: Scene,
):
    f = Surface()
    f.wrap = wp.vec3(0.35, 0.16, 0.1)
    f.gloss = s.gloss
    f.openness = openness
    f.dim = 1.0
    f.warm = 1
    f.bias = 0.003
    f.normal = n
    if uv[0] < 0.0:
        collar = 0.548 - 0.25 * (rest[1] + 0.03) + 0.9 * rest[0] * rest[0]
        dressed = smooth(collar - rest[2], -0.001, 0.001)
        f.albedo = s.skin * (1.0 - dressed) + s.cloth * dressed
        f.specular = 0.5 * s.specular * (1.0 - dressed) + 0.05 * dressed
        f.mattes[M_BODY] = 1.0
        f.mattes[M_FACE] = face
    else:
        f.albedo = texel(texture, uv, 0)
        extra = texel(texture, uv, 3)
        slope = s.head * texel(texture, uv, 6)
        flags = texel(texture, uv, 9)
        f.specular = s.specular * extra[0]
        f.clear = extra[1]
        cave = extra[2]
        slope = slope - n * wp.dot(slope, n)
        f.normal = wp.normalize(n - slope * s.bump)
        lips = flags[0]
        if cave > 0.01:
            f.specular = f.specular * (1.0 - cave) + 0.25 * cave
            f.openness = openness * (1.0 - 0.8 * cave)
            f.wrap = f.wrap * (1.0 - cave)
            lips = lips * (1.0 - cave)
        ear = smooth(wp.abs(rest[0]), 0.0685, 0.072) * smooth(rest[1], -0.062, -0.05)
        ear = ear * smooth(rest[2], 0.665, 0.68) * (1.0 - smooth(rest[2], 0.76, 0.775))
        neck = 1.0 - smooth(rest[2], 0.59, 0.605)
        behind = smooth(rest[1], -0.055, -0.045) * (1.0 - smooth(rest[2], 0.65, 0.67))
        body = wp.max(neck, behind) * (1.0 - cave)
        left = (1.0 - cave) * (1.0 - body)
        hairy = flags[2] * left
        left = left - hairy
        ear = ear * left
        left = left - ear
        lips = wp.min(lips, left)
        left = left - lips
        brow = wp.min(flags[1], left)
        f.mattes[M_SKIN] = left - brow
        f.mattes[M_BROWS] = brow
        f.mattes[M_LIPS] = lips
        f.mattes[M_MOUTH] = cave
        f.mattes[M_EARS] = ear
        f.mattes[M_BODY] = body
        f.mattes[M_HAIR] = hairy
        f.mattes[M_FACE] = wp.max(face * (1.0 - hairy), cave)
    f.glint = f.normal
    return f


@wp.func
def eye(p: wp.vec3, centre: wp.vec3, gaze: wp.vec3, s: Scene):
    f = Surface()
    sphere = wp.normalize(p - centre)
    cosine = wp.clamp(wp.dot(sphere, gaze), -1.0, 1.0)
    angle = wp.acos(cosine)
    up = s.head * wp.vec3(0.0, 0.0, 1.0)
    tangent = sphere - gaze * cosine
    around = wp.atan2(wp.dot(tangent, up), wp.dot(tangent, wp.cross(gaze, up)))
    red = wp.clamp((angle - 0.5) * 1.1, 0.0, 0.4)
    vein = smooth(noise2(around * 9.0, angle * 6.0, 5), 0.62, 0.8) * red
    white = wp.vec3(1.0, 0.93 - 0.6 * red - 0.5 * vein, 0.9 - 0.7 * red - 0.5 * vein)
    f.albedo = white * s.sclera
    f.normal = sphere
    ratio = angle / IRIS_RAD
    if ratio < 1.12:
        fibre = 0.55 + 0.75 * noise2(around * 11.0 + 40.0, ratio * 2.5, 3)
        fibre = fibre * (0.8 + 0.4 * noise2(around * 27.0 + 90.0, ratio * 4.0, 4))
        ring = 1.0 - 0.75 * smooth(ratio, 0.78, 1.0)
        inner = 1.0 + 0.45 * (1.0 - smooth(ratio, 0.4, 0.65))
        edge = 1.0 - smooth(ratio, 0.97, 1.1)
        f.albedo = f.albedo * (1.0 - edge) + s.iris * (fibre * ring * inner * edge)
        hole = 1.0 - smooth(angle, s.pupil - 0.025, s.pupil + 0.025)
        f.albedo = f.albedo * (1.0 - hole) + wp.vec3(0.004, 0.004, 0.004) * hole
        # Light that enters a cornea gathers on the side away from its source.
        bowl = wp.normalize(gaze - (sphere - gaze) * 1.2)
        f.normal = wp.normalize(sphere * (1.0 - 0.5 * edge) + bowl * (0.5 * edge))
    bulge = 0.55 * (1.0 - smooth(angle, 0.42, 0.52))
    f.glint = wp.normalize(sphere + tangent * bulge)
    f.gloss = 20.0
    f.clear = 1.0
    f.wrap = wp.vec3(0.3, 0.25, 0.25)
    f.bias = 0.004
    f.warm = 1
    f.dim = 0.5 + 0.5 * (1.0 - wp.clamp((wp.dot(sphere, up) - 0.02) * 1.6, 0.0, 1.0))
    f.openness = 0.62 * (0.6 + 0.4 * (1.0 - smooth(angle, 0.7, 1.1)))
    f.mattes[M_EYES] = 1.0
    f.mattes[M_FACE] = 1.0
    return f


@wp.func
def hair(n: wp.vec3, rest: wp.vec3, layer: float, openness: float, s: Scene):
    f = Surface()
    side = rest[0] * s.hair_fine
    along = (rest[1] - rest[2]) * s.hair_fine * 0.12
    strand = noise2(side + 0.6 * along, along, 21)
    lock = noise2(side * 0.2, along * 0.5, 22)
    f.albedo = s.hair * ((0.35 + 0.8 * strand + 0.45 * lock) * (0.55 + 0.45 * layer))
    jitter = wp.vec3(strand - 0.5, 0.6 * (lock - 0.5), 0.4 * (strand - 0.5))
    f.normal = wp.normalize(n + jitter * 0.7)
    f.glint = f.normal
    f.specular = s.hair_specular * (0.3 + strand)
    f.gloss = 14.0
    f.wrap = wp.vec3(0.3, 0.3, 0.3)
    f.openness = openness
    f.dim = 1.0
    f.bias = 0.003
    f.mattes[M_HAIR] = 1.0
    return f


@wp.func
def plain(part: int, n: wp.vec3, openness: float, s: Scene):
    """Teeth, tongue, lashes and frames of glasses."""
    f = Surface()
    f.normal = n
    f.glint = n
    f.wrap = wp.vec3(0.35, 0.16, 0.1)
    f.openness = openness
    f.dim = 1.0
    f.bias = 0.003
    f.gloss = 60.0
    f.mattes[M_FACE] = 1.0
    if part == TEETH:
        f.albedo = wp.vec3(0.68, 0.63, 0.53)
        f.specular = 0.5
        f.openness = wp.clamp(openness * 1.6, 0.2, 0.85)
        f.mattes[M_MOUTH] = 1.0
    elif part == TONGUE:
        f.albedo = wp.vec3(0.4, 0.13, 0.12)
        f.specular = 0.35
        f.gloss = 30.0
        f.openness = openness * 0.75
        f.warm = 1
        f.mattes[M_MOUTH] = 1.0
    elif part == LASHES:
        f.albedo = s.hair * 0.3 + s.skin * 0.04
        f.openness = openness * 0.7
        f.warm = 1
        f.mattes[M_EYES] = 1.0
    else:
        f.albedo = s.glasses
        f.specular = 1.2
        f.mattes[M_GLASSES] = 1.0
        f.mattes[M_FACE] = 0.0
    return f


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
    parts = Mattes()
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
            r = rest[ia] * wa + rest[ib] * wb + rest[ic] * wc
            ao = openness[ia] * wa + openness[ib] * wb + openness[ic] * wc
            v = wp.normalize(s.camera - p)
            if wp.dot(n, v) < 0.0 and pt >= TEETH and pt != TONGUE:
                n = -n
            f = Surface()
            if pt == SKIN:
                q = uv[ia] * wa + uv[ib] * wb + uv[ic] * wc
                fw = face[ia] * wa + face[ib] * wb + face[ic] * wc
                f = skin(n, r, q, ao, fw, texture, s)
            elif pt == EYE_LEFT:
                f = eye(p, s.eye_left, s.gaze_left, s)
            elif pt == EYE_RIGHT:
                f = eye(p, s.eye_right, s.gaze_right, s)
            elif pt <= TONGUE or pt == GLASSES:
                f = plain(pt, n, ao, s)
            else:
                level = layer[ia] * wa + layer[ib] * wb + layer[ic] * wc
                f = hair(n, r, level, ao, s)
            # Depth maps are coarse: looking up a little off the surface keeps it from itself.
            shadow = lit(p + n * 0.0025, s, shadow_depth, f.bias)
            total += lighted(f, p, v, shadow, sh, s) * weight
            parts += f.mattes * weight
    rgb[row, column] = total
    depth[row, column] = nearest
    for m in range(10):
        mattes[row, column, m] = parts[m]
