"""Show what a store holds: one HTML page, figures and tables for papers, the picture of one image, pictures of the defense.

Import the module that you need, since each needs other packages: `page` (Jinja, Pillow), `figures` and `image_trace`
(Matplotlib), `gallery` (Pillow). `style` has the labels and colours of all of them, `pictures` reads images of a
store and draws of its defenses.
"""

__all__ = ["figures", "gallery", "image_trace", "page", "pictures", "style"]
