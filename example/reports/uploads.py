"""Web process. Stops an upload that is too large while it comes in, before it fills the disk."""

from __future__ import annotations

from django.core.files.uploadhandler import FileUploadHandler, StopUpload


class UploadLimit(FileUploadHandler):
    """Passes a file on to the next handler up to `limit` bytes; then it stops reading the request.

    What the form sent before the file is there, the file and what comes after it are not, and
    `exceeded` is true.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.exceeded = False

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        """Pass a chunk on, unless it goes over the limit."""
        if start + len(raw_data) > self.limit:
            self.exceeded = True
            raise StopUpload(connection_reset=True)
        return raw_data

    def file_complete(self, file_size: int) -> None:
        """Leave the file to the next handler, which has it."""
