"""Static HTML pages: plain data in, HTML out.

Pages open from disk, with no server and no network. Knows neither models nor
datasets.
"""
from .document import link_to, render_page
from .gallery_page import GalleryItem, Layer, render_gallery
from .report_page import Example, Section, choose_examples, render_report

__all__ = [
    'Example', 'GalleryItem', 'Layer', 'Section', 'choose_examples', 'link_to',
    'render_gallery', 'render_page', 'render_report'
]
