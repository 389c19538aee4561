"""JPEG files by way of OpenCV, where a source's published form was made with it."""

from pathlib import Path
from types import ModuleType

import numpy as np

from bench.errors import UserError


def opencv() -> ModuleType:
    """The package, which is optional."""
    try:
        import cv2
    except ImportError:
        raise UserError(
            "OpenCV makes these images as published, and it is not installed: "
            "pip install opencv-python-headless"
        ) from None
    return cv2


def decoded(path: Path, member: str, content: bytes) -> np.ndarray:
    """The pixels of a member of the archive at `path`: uint8, blue first, (H, W, 3)."""
    cv2 = opencv()
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    image = cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
    if image is None:
        raise UserError(f"{path}: its member {member} cannot be decoded as an image")
    return image


def as_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """The file that OpenCV makes of such pixels; 95 is its own default."""
    cv2 = opencv()
    _, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(content)
