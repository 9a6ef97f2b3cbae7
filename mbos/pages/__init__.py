"""Static HTML pages: plain data in, HTML out.

Pages open from disk, with no server and no network; what a page shows can be
addressed by its URL's hash. Knows neither models nor datasets.
"""
from .document import link_to, render_page
from .gallery_page import GalleryItem, Layer, render_gallery

__all__ = ['GalleryItem', 'Layer', 'link_to', 'render_gallery', 'render_page']
