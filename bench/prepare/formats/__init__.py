"""How each source lays its records out: one file a format. Source cards name them."""

from bench.prepare.formats.base import Opener
from bench.prepare.formats.class_folders import ClassFolders
from bench.prepare.formats.clevr import Clevr
from bench.prepare.formats.dtd import Dtd
from bench.prepare.formats.flowers import Flowers
from bench.prepare.formats.kitti import Kitti
from bench.prepare.formats.pets import Pets
from bench.prepare.formats.retinopathy import Retinopathy
from bench.prepare.formats.sun397 import Sun397
from bench.prepare.formats.tfrecords import TFRecords

FORMATS: dict[str, Opener] = {
    "class_folders": ClassFolders,
    "clevr": Clevr,
    "dtd": Dtd,
    "flowers": Flowers,
    "kitti": Kitti,
    "pets": Pets,
    "retinopathy": Retinopathy,
    "sun397": Sun397,
    "tfrecords": TFRecords,
}
