"""Readers of sources: one class for each layout, named in the sources' cards."""

from bench.prepare.readers.base import ReaderFactory
from bench.prepare.readers.class_folders import ClassFolders, Inaturalist, Sun397
from bench.prepare.readers.dsprites_smallnorb import Dsprites, Smallnorb
from bench.prepare.readers.fine_grained import (
    Aircraft,
    Birds,
    Food101,
    StanfordCars,
    StanfordCarsParts,
    StanfordDogs,
)
from bench.prepare.readers.imagenet import Imagenet
from bench.prepare.readers.medical import PatchCamelyon, Retinopathy
from bench.prepare.readers.oxford import Dtd, Flowers, Pets
from bench.prepare.readers.scenes import Clevr, Kitti
from bench.prepare.readers.small_images import Cifar100, Svhn
from bench.prepare.readers.tfrecords import TFRecords

READERS: dict[str, ReaderFactory] = {
    "aircraft": Aircraft,
    "birds": Birds,
    "cifar100": Cifar100,
    "class_folders": ClassFolders,
    "clevr": Clevr,
    "dsprites": Dsprites,
    "dtd": Dtd,
    "flowers": Flowers,
    "food101": Food101,
    "imagenet": Imagenet,
    "inaturalist": Inaturalist,
    "kitti": Kitti,
    "patch_camelyon": PatchCamelyon,
    "pets": Pets,
    "retinopathy": Retinopathy,
    "smallnorb": Smallnorb,
    "stanfordcars": StanfordCars,
    "stanfordcars_parts": StanfordCarsParts,
    "stanforddogs": StanfordDogs,
    "sun397": Sun397,
    "svhn": Svhn,
    "tfrecords": TFRecords,
}
