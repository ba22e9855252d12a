import gzip

import pytest


@pytest.fixture
def write(tmp_path):
    """write(name, text) -> path of a file with that content, compressed if the name ends in .gz."""

    def write_file(name, text):
        data = text if isinstance(text, bytes) else text.encode()
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write_file
