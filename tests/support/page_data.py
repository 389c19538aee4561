"""The data of a page, read as its script reads them."""

import base64
import gzip
import json
from typing import Any


def data_of(text: str) -> Any:
    """The data from which the page's script makes its views."""
    packed = text.split('id="data">')[1].split("</script>")[0]
    return json.loads(gzip.decompress(base64.b64decode(packed)))
