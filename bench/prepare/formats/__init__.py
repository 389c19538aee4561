"""How each source lays its records out: one file a format. Source cards name them."""

from bench.prepare.formats.base import Opener
from bench.prepare.formats.birds import Birds
from bench.prepare.formats.cifar100 import Cifar100
from bench.prepare.formats.class_folders import ClassFolders
from bench.prepare.formats.clevr import Clevr
from bench.prepare.formats.dsprites import Dsprites
from bench.prepare.formats.dtd import Dtd
from bench.prepare.formats.flowers import Flowers
from bench.prepare.formats.imagenet import Imagenet
from bench.prepare.formats.inaturalist import Inaturalist
from bench.prepare.formats.kitti import Kitti
from bench.prepare.formats.patch_camelyon import PatchCamelyon
from bench.prepare.formats.pets import Pets
from bench.prepare.formats.retinopathy import Retinopathy
from bench.prepare.formats.smallnorb import Smallnorb
from bench.prepare.formats.stanfordcars import StanfordCars
from bench.prepare.formats.stanforddogs import StanfordDogs
from bench.prepare.formats.sun397 import Sun397
from bench.prepare.formats.svhn import Svhn
from bench.prepare.formats.tfrecords import TFRecords

FORMATS: dict[str, Opener] = {
    "birds": Birds,
    "cifar100": Cifar100,
    "class_folders": ClassFolders,
    "clevr": Clevr,
    "dsprites": Dsprites,
    "dtd": Dtd,
    "flowers": Flowers,
    "imagenet": Imagenet,
    "inaturalist": Inaturalist,
    "kitti": Kitti,
    "patch_camelyon": PatchCamelyon,
    "pets": Pets,
    "retinopathy": Retinopathy,
    "smallnorb": Smallnorb,
    "stanfordcars": StanfordCars,
    "stanforddogs": StanfordDogs,
    "sun397": Sun397,
    "svhn": Svhn,
    "tfrecords": TFRecords,
}
