"""Searching by meaning: the keywords of the catalog that an embedding model finds near to what was typed are looked for too.

What is embedded is the vocabulary and not the records: it is small, the index stays as it is, and what a person may see is
decided inside the same query as ever. Only keywords of public records are in it, so that none of them tells of others.
"""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from genesis_workbench.catalog import query as language
from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.index import terms
from genesis_workbench.catalog.store import CatalogStore
from genesis_workbench.core.access import Label
from genesis_workbench.core.errors import InvalidInput, MissingDependency
from genesis_workbench.core.storage import write_whole

MOST_KEYWORDS = 50_000
"""The most frequent are embedded: 38 MB at 384 numbers each."""
MOST_NEAR = 8
NEAR_ENOUGH = 0.42
"""Least cosine of the angle between two vectors that are called near; see docs/decisions/0010."""
_BATCH = 2000
_AT_ONCE = 256

Vectors = NDArray[np.float32]


class Encoder(Protocol):
    """Gives texts vectors of length one, shape (texts, dimensions)."""

    def __call__(self, texts: Sequence[str]) -> Vectors: ...


class Vocabulary:
    """The keywords of the public records of a store, with their vectors, in a file that processes share.

    Parameters
    ----------
    file : Path
        Where it is kept. It is made from the store, and can be deleted at any time.
    encoder : callable
        Gives vectors; it is called only for keywords that are new, and for what is asked.
    """

    def __init__(self, file: Path, encoder: Encoder) -> None:
        self._file, self._encoder = file, encoder
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] = (0, 0)
        self._counts: Counter[str] = Counter()
        self._read_to: tuple[int, str] = (0, "")
        self._known: tuple[list[str], Vectors] = ([], np.zeros((0, 0), np.float32))
        self._vector_of = lru_cache(2000)(lambda text: encoder([text])[0])

    def near(self, text: str) -> tuple[tuple[str, float], ...]:
        """Return the keywords nearest to `text`, each with its nearness from 0 to 1, nearest first.

        Those whose words are all in `text` are left out: they are found without.
        """
        self._refresh()
        embedded, vectors = self._known
        if not embedded or not text.strip():
            return ()
        nearness = vectors @ self._vector_of(text)
        typed, found = set(terms(text)), list[tuple[str, float]]()
        for at in np.argsort(-nearness)[: 4 * MOST_NEAR]:
            phrase, value = embedded[at], float(nearness[at])
            if value < NEAR_ENOUGH or len(found) == MOST_NEAR:
                break
            if not set(terms(phrase)) <= typed:
                found.append((phrase, round(min(value, 1.0), 3)))
        return tuple(found)

    def learn(self, store: CatalogStore, *, hidden: frozenset[str] = frozenset()) -> int:
        """Take in the keywords of what changed in the store; return how many got a vector.

        A keyword that no record has any more stays until the file is deleted: it finds nothing.
        """
        with self._lock:
            self._load()
            while changes := store.changes(self._read_to, _BATCH):
                found = store.get([change.id for change in changes])
                self._count(each for each in found.values() if each.source not in hidden)
                self._read_to = (changes[-1].number, changes[-1].id)
            embedded, before = self._known
            known = set(embedded)
            frequent = [phrase for phrase, _ in self._counts.most_common(MOST_KEYWORDS)]
            new = [phrase for phrase in frequent if phrase not in known]
            made = [self._encoder(new[at : at + _AT_ONCE]) for at in range(0, len(new), _AT_ONCE)]
            if made:
                self._known = ([*embedded, *new], np.concatenate([*([before] if embedded else []), *made]))
            self._save()
            return len(new)

    def _count(self, datasets: Any) -> None:
        for dataset in datasets:
            if dataset.label == str(Label.PUBLIC):
                self._counts.update(set(_phrases(dataset)))

    def _refresh(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                self._load()
            finally:
                self._lock.release()

    def _load(self) -> None:
        """Read the file, where another process has written it since."""
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return
        stamp = (found.st_mtime_ns, found.st_ino)
        if stamp == self._stamp:
            return
        with np.load(self._file, allow_pickle=False) as kept:
            phrases = bytes(kept["phrases"]).decode().split("\n") if kept["phrases"].size else []
            self._counts = Counter(dict(zip(phrases, kept["counts"].tolist(), strict=True)))
            vectors = kept["vectors"].astype(np.float32)
            self._known = (phrases[: len(vectors)], vectors)
            number, _, name = bytes(kept["read_to"]).decode().partition(" ")
        self._read_to, self._stamp = (int(number), name), stamp

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        embedded, vectors = self._known
        known = set(embedded)
        phrases = [*embedded, *(phrase for phrase in self._counts if phrase not in known)]
        packed = io.BytesIO()
        np.savez(
            packed,
            phrases=np.frombuffer("\n".join(phrases).encode(), np.uint8),
            counts=np.array([self._counts[phrase] for phrase in phrases], np.int64),
            vectors=vectors.astype(np.float16),
            read_to=np.frombuffer(f"{self._read_to[0]} {self._read_to[1]}".encode(), np.uint8),
        )
        write_whole(self._file, packed.getvalue())
        found = self._file.stat()
        self._stamp = (found.st_mtime_ns, found.st_ino)


def widened(tree: language.Node, near: Callable[[str], tuple[tuple[str, float], ...]]) -> language.Node:
    """Return `tree` with what is near to its free words beside them; fields, years and exclusions stay demands."""
    parts = tree.parts if isinstance(tree, language.And) else (tree,)
    free = tuple(part for part in parts if _free(part))
    phrases = near(" ".join(word.text for part in free for word in language.words(part)))
    if not phrases:
        return tree
    bound = [part for part in parts if not _free(part)]
    wide = language.Related(free[0] if len(free) == 1 else language.And(free), phrases)
    return language.And((wide, *bound)) if bound else wide


def load_encoder(folder: Path) -> Encoder:
    """Load a sentence-embedding model from a folder in the layout of Sentence Transformers.

    Only weights in safetensors are read, no code of the folder is run, and nothing is fetched.

    Raises
    ------
    MissingDependency
        With the command that installs what it needs.
    InvalidInput
        If the folder has no such model.
    """
    if not (folder / "modules.json").is_file() or not (folder / "model.safetensors").is_file():
        raise InvalidInput(
            f"{folder} has no sentence-embedding model: catalog.meaning_model of the site file must name a folder with "
            "modules.json and model.safetensors in it."
        )
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingDependency(
            'Searching by meaning needs sentence-transformers. Install it with: pip install "genesis-workbench[semantic]"'
        ) from error
    model = SentenceTransformer(
        str(folder),
        device="cpu",
        local_files_only=True,
        trust_remote_code=False,
        model_kwargs={"use_safetensors": True},
    )

    def encode(texts: Sequence[str]) -> Vectors:
        made = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(made, dtype=np.float32)

    return encode


def _free(node: language.Node) -> bool:
    if isinstance(node, language.Or):
        return all(_free(part) for part in node.parts)
    return isinstance(node, language.Word | language.Phrase) and not node.field


def _phrases(dataset: Dataset) -> list[str]:
    """Return the keywords of a record; of a path such as 'EARTH SCIENCE > OCEANS > SEA ICE' its last two steps."""
    found = []
    for keyword in dataset.keywords:
        steps = [step.strip() for step in keyword.replace("/", ">").split(">")]
        found += [" ".join(step.casefold().split()) for step in steps[-2:]]
    return [phrase for phrase in found if 2 <= len(phrase) <= 60 and not phrase.isnumeric()]
