"""How a surface point answers light, as Warp functions: sky, key, fill, shadow, highlights."""
# See `kernels` for why annotations are real objects here and constants are wrapped.
# mypy: ignore-errors
# ruff: noqa: UP018

import warp as wp

Mattes = wp.types.vector(length=10, dtype=float)
"""Shares of the parts, in the order of `render.MATTES`, then the swappable face."""


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
    key_at: wp.vec3
    key_far: float
    pupil: float
    sclera: float
    specular: float
    gloss: float
    bump: float
    hair_fine: float
    hair_specular: float
    wet: float


@wp.struct
class Surface:
    albedo: wp.vec3
    normal: wp.vec3
    glint: wp.vec3
    wrap: wp.vec3
    specular: float
    gloss: float
    clear: float
    openness: float
    dim: float
    warm: int
    bias: float
    mattes: Mattes


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
def lighted(
    f: Surface, p: wp.vec3, v: wp.vec3, shadow: float, sh: wp.array(dtype=wp.vec3), s: Scene
):
    key = s.key
    key_color = s.key_color
    if s.key_far > 0.0:
        away = s.key_at - p
        far = wp.length(away)
        key = away / far
        key_color = key_color * (s.key_far * s.key_far / (far * far))
    facing = wp.clamp(wp.dot(f.glint, v), 0.0, 1.0)
    fresnel = 0.25 + 0.75 * wp.pow(1.0 - facing, 5.0)
    sky = ambient(f.normal, sh)
    to_key = wp.dot(f.normal, key)
    to_fill = wp.dot(f.normal, s.fill)
    key_shine = float(0.0)
    fill_shine = float(0.0)
    if f.specular > 0.0:
        key_shine = f.specular * lobe(f.glint, v, key, f.gloss) * fresnel
        fill_shine = f.specular * lobe(f.glint, v, s.fill, f.gloss) * fresnel
    if f.clear > 0.02:
        key_shine += f.clear * s.wet * lobe(f.glint, v, key, 420.0)
        fill_shine += f.clear * s.wet * lobe(f.glint, v, s.fill, 420.0)
    mirror = ambient(wp.normalize(f.glint * (2.0 * wp.dot(f.glint, v)) - v), sh)
    out = wp.vec3(0.0, 0.0, 0.0)
    for c in range(3):
        in_key = shadow
        in_sky = f.openness
        if f.warm == 1 and c == 0:
            # Red light bleeds into shade through skin.
            in_key = wp.pow(shadow, 0.75)
            in_sky = wp.pow(f.openness, 0.8)
        wrap = f.wrap[c]
        diffuse = sky[c] * in_sky
        diffuse += key_color[c] * in_key * wp.max(0.0, (to_key + wrap) / (1.0 + wrap))
        diffuse += s.fill_color[c] * f.openness * wp.max(0.0, (to_fill + wrap) / (1.0 + wrap))
        shine = key_color[c] * key_shine * shadow + s.fill_color[c] * fill_shine * f.openness
        shine += mirror[c] * f.openness * fresnel * (f.specular * 0.25 + f.clear * 0.12)
        out[c] = f.albedo[c] * diffuse * f.dim + shine
    return out
