"""The search for images that cannot be decoded: all together, and one by one where that fails."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from nvidia.dali import Pipeline

from dali_ops.decode import check_base
from dali_ops.decode_graph import decoding_pipeline

# DALI 2.4's message where an image can't be read or decoded: the operators of `decode` that meet it, and after
# "encountered:" one of many reasons, some of them of asserts. It says the same where these operators meet a failure of
# the machine, which the reason tells (the numbers are statuses in nvimgcodec.h about memory, devices and CUDA).
READING = re.compile(r"Error in \w+ operator `nvidia\.dali\.fn\.(io\.file\.read|peek_image_shape|decoders\.image)`")
OF_THE_MACHINE = re.compile(
    r"^(CUDA |Can't allocate \d+ bytes|nvImageCodec failure: '#([15-7]|1[0156]|2[01])')", re.MULTILINE
)


def is_of_an_image(error: RuntimeError) -> bool:
    """Whether an error of a running pipeline says that an image can't be read or decoded.

    All other errors are not the images' fault: a GPU, its memory, a mistake in a graph.
    """
    where, _, reason = str(error).rpartition("encountered:")
    return READING.search(where) is not None and OF_THE_MACHINE.search(reason) is None


class DecodingCheck:
    """Decodes images of one captured modality on the CPU, as training does, and tells which of them can't be."""

    def __init__(self, base: str, *, batch_size: int = 1, threads: int = 1) -> None:
        check_base(base)
        self.base, self.batch_size, self.threads = base, batch_size, threads
        self.together: Pipeline | None = None
        self.alone: Pipeline | None = None

    def reasons(self, encoded: Sequence[np.ndarray]) -> list[str | None]:
        """Returns for each of at most `batch_size` encoded images (uint8, 1-D) None, or why it can't be decoded."""
        self.together = self.together or decoding_pipeline(self.base, batch_size=self.batch_size, threads=self.threads)
        if all(map(len, encoded)):  # DALI takes no empty arrays
            if self._reason(self.together, encoded) is None:
                return [None] * len(encoded)
            self.together = None  # DALI promises nothing of a pipeline that has failed
        return [self._reason_alone(image) for image in encoded]

    def _reason_alone(self, image: np.ndarray) -> str | None:
        if not len(image):
            return "the file is empty"
        self.alone = self.alone or decoding_pipeline(self.base, batch_size=1, threads=1)
        reason = self._reason(self.alone, [image])
        self.alone = self.alone if reason is None else None
        return reason

    def _reason(self, pipeline: Pipeline, encoded: Sequence[np.ndarray]) -> str | None:
        # DALI's own message is a dozen lines about the operator, and of the file only a number of an error.
        try:
            pipeline.run(encoded=list(encoded))
        except RuntimeError as error:
            if "Failed to decode" in str(error):
                return "the image is damaged or cut short"
            return "not an image in a format that DALI decodes, or its header is damaged"
        return None
