"""The latents of all frames of a data set, for training on a frozen encoder: in memory, or in a file if they are many."""

from __future__ import annotations

import logging
import math
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from jepa_robot.data.windows import Trajectories
from jepa_robot.errors import OutputError
from jepa_robot.models.encoders import AnyEncoder
from jepa_robot.training.probes import encode_rows

logger = logging.getLogger(__name__)

DTYPE = torch.float16
_BATCH = 256


@dataclass(frozen=True)
class LatentStore:
    """Where latents are kept.

    Attributes:
        memory_gb: 10^9 bytes of latents that may be in memory; where there are more, all are in a file.
        folder: of that file. It has no name there and vanishes with the process, however that ends.
    """

    memory_gb: float = math.inf
    folder: Path = Path(".")

    def encode(self, encoder: AnyEncoder, data: Trajectories) -> Tensor:
        """Single-frame latents float16 [F, N, D] of all frames, on the CPU.

        Raises:
            OutputError: the file cannot be made, or the disk has no room for it.
            DataError: a frame cannot be read.
        """
        frames = int(data.lengths.sum())
        latents = self._empty((frames, encoder.config.tokens, encoder.config.width))
        for first in tqdm(range(0, frames, _BATCH), desc="encoding", unit="batch", disable=not sys.stderr.isatty()):
            rows = np.arange(first, min(first + _BATCH, frames))
            latents[first : first + _BATCH] = encode_rows(encoder, data, rows, DTYPE)
        return latents

    def _empty(self, shape: tuple[int, int, int]) -> Tensor:
        size = math.prod(shape) * DTYPE.itemsize
        if size <= self.memory_gb * 1e9:
            return torch.empty(shape, dtype=DTYPE)
        logger.info("the encoder's latents, %.3g GB, are kept in a file in %s while this runs", size / 1e9, self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder) as file:
                os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error here, and not a crash later
                return torch.from_numpy(np.memmap(file, np.float16, "r+", shape=shape))
        except OSError as error:
            raise OutputError(
                f"cannot hold {size / 1e9:.3g} GB of latents ({error.strerror})", where=self.folder,
                mend="choose another out=FOLDER, or raise loader.memory_gb if there is as much memory",
            ) from error
