"""What is inside of a written report."""

import base64
import gzip
import json
import re
from pathlib import Path


def report_data(path: Path) -> dict:
    packed = re.search(r'<script id="data"[^>]*>([^<]+)</script>', path.read_text("utf-8"))[1]
    return json.loads(gzip.decompress(base64.b64decode(packed)))
