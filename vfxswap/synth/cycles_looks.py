"""Materials of the Cycles renderer: what each part of a head looks like, and its truth.

Part of `cycles_scene.py`, which loads it by its path; never imported by the package.
"""
# mypy: ignore-errors

import bpy
import numpy as np

DEPTH_PASS = 2
NOISE_SIZE = 256
HAIR_PASSES = 0.55
"""Share of light that goes on through a strand or a card."""


class Graph:
    """The node tree of one material, in terms of values instead of nodes and links."""

    def __init__(self, name):
        self.material = bpy.data.materials.new(name)
        self.material.use_nodes = True
        self.tree = self.material.node_tree
        self.tree.nodes.clear()

    def node(self, kind, inputs=None, **properties):
        made = self.tree.nodes.new(kind)
        for key, value in properties.items():
            setattr(made, key, value)
        for key, value in (inputs or {}).items():
            self.put(made.inputs[key], value)
        return made

    def put(self, socket, value):
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        elif value is not None:
            wide = socket.type == "RGBA" and len(value) == 3
            socket.default_value = (*value, 1.0) if wide else value

    def math(self, operation, a, b=None, c=None):
        inputs = {i: v for i, v in enumerate((a, b, c)) if v is not None}
        return self.node("ShaderNodeMath", inputs, operation=operation).outputs[0]

    def vector(self, operation, a, b=None, scale=None):
        inputs = {0: a} if b is None else {0: a, 1: b}
        made = self.node("ShaderNodeVectorMath", inputs, operation=operation)
        if scale is not None:
            self.put(made.inputs["Scale"], scale)
        return made.outputs["Value" if operation in ("DOT_PRODUCT", "LENGTH") else "Vector"]

    def combine(self, x, y, z):
        return self.node("ShaderNodeCombineXYZ", {0: x, 1: y, 2: z}).outputs[0]

    def split(self, value):
        return self.node("ShaderNodeSeparateXYZ", {0: value}).outputs

    def attribute(self, name, output="Vector"):
        made = self.node("ShaderNodeAttribute", attribute_type="GEOMETRY", attribute_name=name)
        return made.outputs[output]

    def image(self, image, at=None, *, repeat=False):
        made = self.node("ShaderNodeTexImage", image=image)
        made.extension = "REPEAT" if repeat else "EXTEND"
        if at is not None:
            self.put(made.inputs[0], at)
        return made

    def mix(self, share, a, b):
        """(1 - share) a + share b, of vectors."""
        difference = self.vector("SUBTRACT", b, a)
        return self.vector("ADD", a, self.vector("SCALE", difference, scale=share))

    def step(self, value, low, high):
        return self.node(
            "ShaderNodeMapRange", {"Value": value, "From Min": low, "From Max": high},
            interpolation_type="SMOOTHSTEP",
        ).outputs[0]  # fmt: skip

    def through(self, alpha):
        """Opacity of hair, which passes on half the light that falls on it: strands scatter it
        forwards, while a cut-out sheet would leave what lies under it black."""
        path = self.node("ShaderNodeLightPath").outputs
        lit = self.math("MAXIMUM", path["Is Shadow Ray"], path["Is Diffuse Ray"])
        return self.math("MULTIPLY", alpha, self.math("MULTIPLY_ADD", lit, -HAIR_PASSES, 1.0))

    def principled(self, **inputs):
        named = {key.replace("_", " "): value for key, value in inputs.items()}
        return self.node("ShaderNodeBsdfPrincipled", named).outputs[0]

    def finish(self, surface, alpha=None):
        if alpha is not None:
            clear = self.node("ShaderNodeBsdfTransparent").outputs[0]
            surface = self.node("ShaderNodeMixShader", {0: alpha, 1: clear, 2: surface}).outputs[0]
        self.node("ShaderNodeOutputMaterial", {"Surface": surface}, target="CYCLES")
        self.material.cycles.emission_sampling = "NONE"
        return self.material


class Stock:
    """Pictures and arrays that several materials share."""

    def __init__(self, arrays):
        self.arrays, self.images = arrays, {}

    def array(self, name):
        """A linear float image of an array [H, W, 3], first row at the top."""
        if name not in self.images:
            self.images[name] = float_image(name, self.arrays[name])
        return self.images[name]

    def file(self, path):
        if path not in self.images:
            self.images[path] = bpy.data.images.load(path)
            self.images[path].alpha_mode = "CHANNEL_PACKED"
        return self.images[path]

    def noise(self):
        if "noise" not in self.images:
            values = np.random.default_rng(0).random((NOISE_SIZE, NOISE_SIZE, 1), np.float32)
            self.images["noise"] = float_image("noise", np.repeat(values, 3, 2))
        return self.images["noise"]


def float_image(name, values):
    rows, columns = values.shape[:2]
    image = bpy.data.images.new(
        name, columns, rows, alpha=False, float_buffer=True, is_data=True
    )  # fmt: skip
    pixels = np.ones((rows, columns, 4), np.float32)
    pixels[..., :3] = values[::-1]
    image.pixels.foreach_set(pixels.reshape(-1))
    image.update()
    return image


# Looks ------------------------------------------------------------------------------------------
# Each gets a graph, the stock and its description; it returns the surface and its opacity.


def skin_look(g, stock, look):
    albedo = g.image(stock.array("picture.albedo")).outputs["Color"]
    specular, wet, cave = g.split(g.image(stock.array("picture.shine")).outputs["Color"])
    slope = g.image(stock.array("picture.slope")).outputs["Color"]
    turned = g.combine(
        *(g.vector("DOT_PRODUCT", g.combine(*row_inputs(g, f"head{i}")), slope) for i in range(3))
    )
    normal = g.node("ShaderNodeNewGeometry").outputs["Normal"]
    along = g.vector("SCALE", normal, scale=g.vector("DOT_PRODUCT", normal, turned))
    bumped = g.vector("SUBTRACT", g.vector("ADD", normal, along), turned)
    outside = g.math("SUBTRACT", 1.0, cave)
    surface = g.principled(
        Base_Color=albedo,
        Roughness=look["roughness"],
        Specular_IOR_Level=g.math("MULTIPLY", specular, look["specular"]),
        Subsurface_Weight=g.math("MULTIPLY", outside, look["subsurface"]),
        Subsurface_Radius=(1.0, 0.36, 0.2),
        Subsurface_Scale=look["subsurface_m"],
        Coat_Weight=wet,
        Coat_Roughness=0.12,
        Normal=g.vector("NORMALIZE", bumped),
    )
    return surface, None


def row_inputs(g, name):
    """Three numbers that change by the frame, as nodes with a label to find them by."""
    return [g.node("ShaderNodeValue", label=f"{name}{axis}").outputs[0] for axis in "xyz"]


def body_look(g, stock, look):
    x, y, z = g.split(g.attribute("rest"))
    collar = g.math("SUBTRACT", 0.548 - 0.25 * 0.03, g.math("MULTIPLY", y, 0.25))
    collar = g.math("MULTIPLY_ADD", g.math("MULTIPLY", x, x), 0.9, collar)
    dressed = g.step(g.math("SUBTRACT", collar, z), -0.001, 0.001)
    bare = g.math("SUBTRACT", 1.0, dressed)
    surface = g.principled(
        Base_Color=g.mix(dressed, look["skin"], look["cloth"]),
        Roughness=g.math("MULTIPLY_ADD", dressed, 0.9 - look["roughness"], look["roughness"]),
        Specular_IOR_Level=g.math("MULTIPLY", bare, 0.4),
        Subsurface_Weight=g.math("MULTIPLY", bare, look["subsurface"]),
        Subsurface_Radius=(1.0, 0.36, 0.2),
        Subsurface_Scale=look["subsurface_m"],
        Sheen_Weight=g.math("MULTIPLY", dressed, 0.2),
    )
    return surface, None


def eye_look(g, stock, look):
    surface = g.principled(
        Base_Color=g.image(stock.array(look["picture"])).outputs["Color"],
        Roughness=0.4,
        Specular_IOR_Level=0.2,
        Normal=g.vector("NORMALIZE", g.attribute("iris_normal")),
        Coat_Weight=1.0,
        Coat_Roughness=0.03,
        Coat_IOR=1.376,
        Coat_Normal=g.vector("NORMALIZE", g.attribute("coat_normal")),
    )
    return surface, None


def plain_look(g, stock, look):
    color = look["color"]
    if "picture" in look:
        color = g.image(stock.file(look["picture"])).outputs["Color"]
        color = g.vector("SCALE", color, scale=look["gain"])
    surface = g.principled(
        Base_Color=color,
        Roughness=look["roughness"],
        Specular_IOR_Level=0.5,
        Coat_Weight=look["wet"],
        Coat_Roughness=0.1,
    )
    return surface, None


def noise_at(g, stock, x, y):
    share = 1.0 / NOISE_SIZE
    at = g.combine(g.math("MULTIPLY", x, share), g.math("MULTIPLY", y, share), 0.0)
    return g.split(g.image(stock.noise(), at, repeat=True).outputs["Color"])[0]


def strands_look(g, stock, look):
    """Cut-out hair and lashes: the patterns of the Warp renderer, on its own surfaces."""
    x, y, z = g.split(g.attribute("rest"))
    cover, layer = g.attribute("cover", "Fac"), g.attribute("layer", "Fac")
    if look["lashes"]:
        grain = noise_at(
            g, stock, g.math("MULTIPLY", x, 1900.0), g.math("MULTIPLY", z, 120.0)
        )  # fmt: skip
        strand, lock = grain, 0.5
    else:
        fine = look["fine"]
        side = g.math("MULTIPLY", x, fine)
        run = g.math("MULTIPLY", g.math("SUBTRACT", y, z), fine * 0.22)
        slanted = g.math("MULTIPLY_ADD", run, 0.6, side)
        coarse = noise_at(g, stock, slanted, run)
        small = noise_at(
            g, stock, g.math("MULTIPLY", side, 2.3), g.math("MULTIPLY_ADD", run, 2.1, 77.0)
        )
        grain = g.math("MULTIPLY_ADD", coarse, 0.7, g.math("MULTIPLY", small, 0.3))
        strand = noise_at(g, stock, g.math("ADD", slanted, 31.0), g.math("MULTIPLY", run, 0.55))
        lock = noise_at(g, stock, g.math("MULTIPLY", side, 0.2), g.math("MULTIPLY", run, 2.3))
        if look["shell"]:
            cover = g.math("MULTIPLY", cover, g.math("MULTIPLY_ADD", layer, -0.42, 1.0))
    shade = g.math("MULTIPLY_ADD", strand, 0.8, 0.35)
    shade = g.math("MULTIPLY_ADD", lock, 0.45, shade)
    shade = g.math("MULTIPLY", shade, g.math("MULTIPLY_ADD", layer, 0.45, 0.55))
    normal = g.node("ShaderNodeNewGeometry").outputs["Normal"]
    wobble = g.vector(
        "SCALE", g.combine(g.math("SUBTRACT", strand, 0.5), 0.0, g.math("SUBTRACT", strand, 0.5)),
        scale=0.7,
    )  # fmt: skip
    surface = g.principled(
        Base_Color=g.vector("SCALE", g.combine(*look["color"]), scale=shade),
        Roughness=0.5,
        Specular_IOR_Level=look["specular"],
        Normal=g.vector("NORMALIZE", g.vector("ADD", normal, wobble)),
    )
    return surface, g.through(g.math("LESS_THAN", grain, cover))


def cards_look(g, stock, look):
    """Hair of textured strips: colour by the performer, light and dark by the picture."""
    picture = g.image(stock.file(look["picture"]))
    color = look["color"]
    if look["gain"]:
        grey = g.node("ShaderNodeRGBToBW", {0: picture.outputs["Color"]}).outputs[0]
        shade = g.math("MINIMUM", g.math("MULTIPLY", grey, look["gain"]), 4.0)
        color = g.vector("SCALE", g.combine(*color), scale=shade)
    surface = g.principled(
        Base_Color=color, Roughness=look["roughness"], Specular_IOR_Level=look["specular"]
    )
    return surface, g.through(picture.outputs["Alpha"])


LOOKS = {
    "skin": skin_look,
    "body": body_look,
    "eye": eye_look,
    "plain": plain_look,
    "strands": strands_look,
    "cards": cards_look,
}


class Surface:
    """A look as a material to be seen, and one that emits the truth."""

    def __init__(self, name, look, stock):
        g = Graph(name)
        surface, alpha = LOOKS[look["kind"]](g, stock, look)
        self.seen = g.finish(surface, alpha)
        self.values = [g.tree.nodes[n.name] for n in g.tree.nodes if n.label.startswith("head")]
        self.mattes, self.stock = look["mattes"], stock
        self.textured, self.bare = look["kind"] == "skin", look["kind"] == "body"
        g = Graph(f"{name} truth")
        _, alpha = LOOKS[look["kind"]](g, stock, look)
        if self.textured:
            self.payload = g.image(stock.array("picture.mattes0"))
            texel = self.payload.outputs["Color"]
        else:
            self.payload = g.node("ShaderNodeCombineXYZ")
            payload = self.payload.outputs[0]
        self.last = g.node("ShaderNodeValue").outputs[0]
        if self.textured:
            # The last picture holds body, what is not hair, and the mouth's inside: the face
            # region itself is a value of vertices.
            body, bald, cave = g.split(texel)
            face = g.math("MULTIPLY", g.attribute("face", "Fac"), bald)
            region = g.combine(body, g.math("MAXIMUM", face, cave), 0.0)
            payload = g.mix(self.last, texel, region)
        depth = g.node("ShaderNodeCameraData").outputs["View Z Depth"]
        face = g.attribute("face", "Fac") if self.bare else 0.0
        extra = g.vector("SCALE", g.combine(0.0, face, depth), scale=self.last)
        emission = g.node("ShaderNodeEmission", {0: g.vector("ADD", payload, extra)})
        self.truth = g.finish(emission.outputs[0], alpha)

    def turn(self, head):
        for node in self.values:
            row, axis = int(node.label[4]), "xyz".index(node.label[5])
            node.outputs[0].default_value = float(head[row][axis])

    def show(self, number):
        """Emits mattes 3 number … 3 number + 2; the last pass has depth in the third channel."""
        self.last.default_value = float(number == DEPTH_PASS)
        if self.textured:
            self.payload.image = self.stock.array(f"picture.mattes{number}")
        else:
            chosen = [*self.mattes, 0.0][3 * number : 3 * number + 3]
            for socket, value in zip(self.payload.inputs, chosen):
                socket.default_value = value
