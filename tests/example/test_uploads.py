from __future__ import annotations

import pytest
from django.core.files.uploadhandler import StopUpload

from example.reports.uploads import UploadLimit


def test_reading_stops_with_the_chunk_that_goes_over_the_limit() -> None:
    limit = UploadLimit(10)
    assert limit.receive_data_chunk(b"12345", 0) == b"12345"
    assert limit.receive_data_chunk(b"67890", 5) == b"67890"
    assert not limit.exceeded
    with pytest.raises(StopUpload) as caught:
        limit.receive_data_chunk(b"!", 10)
    assert caught.value.connection_reset
    assert limit.exceeded
