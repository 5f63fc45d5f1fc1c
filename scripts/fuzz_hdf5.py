"""Damage HDF5 data sets at random and check all of their episodes: each has to be read, or refused with one line.

    python scripts/fuzz_hdf5.py                                      the committed samples, 300 times each
    python scripts/fuzz_hdf5.py demos.hdf5 --count 1000 --keep bad   one's own; what fails is kept in bad/

Every case is read in a process of its own. The exit code is 1 when one of them crashed, did not end, or raised
anything but an error of this project.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from jepa_robot.data.inspection import inspect
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.source import SourceOptions
from jepa_robot.data.sources import FORMATS, detect, open_source, source_class
from jepa_robot.errors import JepaRobotError

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "tests" / "data" / "samples"
DEFAULTS = (
    ROOT / "datasets" / "sample_panda_reach.h5",
    "robomimic/image.hdf5", "robomimic/image_no_next.hdf5", "minari/dict", "minari/flat", "minari/raw",
    "stable_worldmodel/moving_block.h5", "droid/raw/AUTOLab/success/2023-11-15",
)  # fmt: skip
# Where HDF5's structures begin; pictures are most of a file, and damage in them rarely says anything.
_STRUCTURES = re.compile(rb"\x89HDF|TREE|SNOD|HEAP|GCOL|OHDR|OCHK|FRHP|FHDB|FHIB|BTHD|BTIN|BTLF|FAHD|FADB|EAHD|EAIB|EADB")
_GOOD = ("read", "skipped", "refused")


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """The file's bytes with one to four places changed, or its end missing."""
    if rng.random() < 0.05:
        return data[: rng.integers(1, len(data))]
    changed = bytearray(data)
    structures = [match.start() for match in _STRUCTURES.finditer(data)]
    for _ in range(rng.integers(1, 5)):
        near = rng.random() < 0.7
        place = int(rng.choice(structures) + rng.integers(0, 400)) if near else int(rng.integers(0, len(data)))
        place = min(place, len(data) - 1)
        length = min(int(2 ** rng.uniform(0, 9)), len(data) - place)
        kind = rng.choice(["bit", "byte", "zeros", "ones", "noise", "other"])
        if kind == "bit":
            changed[place] ^= 1 << int(rng.integers(8))
        elif kind == "byte":
            changed[place] = int(rng.integers(256))
        elif kind == "zeros":
            changed[place : place + length] = bytes(length)
        elif kind == "ones":
            changed[place : place + length] = b"\xff" * length
        elif kind == "noise":
            changed[place : place + length] = rng.bytes(length)
        else:  # bytes from elsewhere in the file
            other = int(rng.integers(0, len(data) - length + 1))
            changed[place : place + length] = data[other : other + length]
    return bytes(changed)


def read(path: Path, notes: Path) -> None:
    """Check all episodes as ``jepa-robot data check --skip-broken`` does, and note how it went."""
    try:
        own = detect(path) == TrajectoryReader.format
        with open_source(path, options=SourceOptions(fps=None if own else 10.0)) as source:
            outcome = "skipped" if inspect(source, skip_broken=True).unreadable else "read"
    except JepaRobotError as error:
        outcome = f"refused\n{error}"
    except Exception:
        outcome = f"raised\n{traceback.format_exc()}"
    notes.write_text(outcome, errors="backslashreplace")


def run_case(sample: Path, seed: list[int], limit: float, keep: Path | None) -> tuple[str, str]:
    """Outcome of one case, and what there is to say about it."""
    rng = np.random.default_rng(seed)
    name = "-".join(map(str, seed))
    with tempfile.TemporaryDirectory() as folder:
        path, notes = Path(folder) / sample.name, Path(folder) / "notes"
        (shutil.copytree if sample.is_dir() else shutil.copyfile)(sample, path)
        files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.suffix in (".h5", ".hdf5"))
        file = files[rng.integers(len(files))]
        file.write_bytes(damaged(file.read_bytes(), rng))
        process = multiprocessing.get_context("fork").Process(target=read, args=(path, notes))
        process.start()
        process.join(limit)
        if process.is_alive():
            process.kill()
            process.join()
            outcome, text = "hung", f"ran longer than {limit:g} s"
        elif not notes.exists():
            code = process.exitcode
            outcome, text = "crashed", signal.Signals(-code).name if code < 0 else f"exit code {code}"
        else:
            outcome, _, text = notes.read_text().partition("\n")
        if keep is not None and outcome not in _GOOD:
            with contextlib.suppress(FileExistsError):
                (shutil.copytree if path.is_dir() else shutil.copyfile)(path, keep / f"{name}-{sample.name}")
        return outcome, f"{sample.name}, seed {name}: {outcome}: {text}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="*", type=Path, help="HDF5 files, or folders of data sets (default: the samples)")
    parser.add_argument("--count", type=int, default=300, help="of cases for each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for a case")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--keep", type=Path, help="folder for the damaged data sets that fail")
    parser.add_argument("--verbose", action="store_true", help="print every refusal")
    options = parser.parse_args()
    for format in FORMATS:  # imported once, here, for all the processes to come
        source_class(format)
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    failures = 0
    for number, sample in enumerate(options.data or [SAMPLES / name for name in DEFAULTS]):
        counts: Counter[str] = Counter()
        with ThreadPoolExecutor(options.jobs) as pool:
            cases = [
                pool.submit(run_case, sample, [options.seed, number, case], options.limit, options.keep)
                for case in range(options.count)
            ]
            for case in tqdm(cases, desc=sample.name, disable=not sys.stderr.isatty()):
                outcome, text = case.result()
                counts[outcome] += 1
                if outcome not in _GOOD or options.verbose and outcome == "refused":
                    print(text, flush=True)
        print(f"{sample.name}: " + ", ".join(f"{counts[k]} {k}" for k in (*_GOOD, "raised", "crashed", "hung")), flush=True)
        failures += sum(count for outcome, count in counts.items() if outcome not in _GOOD)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
