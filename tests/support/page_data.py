"""The data of a page, read as its script reads them."""

import base64
import gzip
import json
from typing import Any


def data_of(text: str) -> Any:
    """The data from which the page's script makes its views."""
    return unpacked(text.split('id="data">')[1].split("</script>")[0])


def unpacked(packed: str) -> Any:
    """The JSON that an element of the page holds as base64 of gzip."""
    return json.loads(gzip.decompress(base64.b64decode(packed)))
