"""The gallery page of a folder of predictions."""
import os.path as osp
from collections.abc import Sequence

from PIL import Image

from mbos.io.photographs import PhotographError, read_photograph
from mbos.pictures import gallery
from mbos.tasks import Task
from .folder_files import RUN, read_json

JPEG = ('.jpg', '.jpeg', '.jpe', '.jfif')


def write_prediction_gallery(out_dir: str,
                             records: Sequence[dict],
                             tasks: Sequence[Task],
                             thumbnail: int = gallery.THUMBNAIL) -> str:
    """Write ``gallery.html`` over the photographs of a folder.

    Args:
        out_dir (str): The folder of a prediction run.
        records (Sequence[dict]): Of ``RunSummary``. Photographs that are gone
            since are left out.
        tasks (Sequence[Task]): Tasks of the network.
        thumbnail (int): Longer side of the pictures. Default: 512.

    Returns:
        str: The page's file.
    """
    images: list[gallery.GalleryImage] = []
    for record in records:
        if not osp.isfile(record['source']):
            continue
        row = dict(record['measurements'])
        flags = [f.replace('_', ' ') for f in row.pop('flags').split()]
        links = {}
        if record['overlay']:
            links['overlay'] = osp.join(out_dir, record['overlay'])
        images.append(
            gallery.GalleryImage(
                name=record['name'],
                photograph=record['source'],
                labels={
                    task: osp.join(out_dir, path)
                    for task, path in record['labels'].items()
                },
                measurements=row,
                flags=flags,
                links=links))
    title = osp.basename(osp.abspath(out_dir))
    made_by = read_json(osp.join(out_dir, RUN)) or {}
    return gallery.write_gallery(
        out_dir,
        images,
        tasks,
        title=f'Predictions: {title}',
        thumbnail=thumbnail,
        note=f'{osp.basename(made_by.get("checkpoint", "?"))} (SHA-256 '
        f'{made_by.get("checkpoint_sha256", "?")[:12]})',
        read=read_for_gallery)


def read_for_gallery(path: str,
                     longest: int) -> tuple[Image.Image, tuple[int, int]]:
    """Read a photograph as prediction does; JPEGs are decoded small."""
    if path.lower().endswith(JPEG):
        try:
            return gallery.read_photograph(path, longest)
        except ValueError:
            pass  # perhaps only its name is that of a JPEG
    try:
        image = Image.fromarray(read_photograph(path).image)
    except PhotographError as error:
        raise ValueError(str(error)) from error
    return image, image.size
