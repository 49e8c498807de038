"""VFX compositing toolset: scene-linear EXR plates in, named layers with mattes out."""

__version__ = "0.1.0"
