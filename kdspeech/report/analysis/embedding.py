"""Hidden representations: how well they separate the classes, how alike two are, their picture."""

import numpy as np

from kdspeech.io.errors import InputError

NEIGHBOURS = 10
PCA_DIMS = 50  # what t-SNE's authors reduce to first


def neighbour_accuracy(
    embedding: np.ndarray, labels: np.ndarray, neighbours: int = NEIGHBOURS
) -> float:
    """The share of samples whose nearest others (Euclidean; each in turn left out) are mostly of
    their class; of classes equally often among them the lowest counts.

    Args:
      embedding: (n, dim), n > neighbours.
      labels: (n,).

    Raises:
      InputError: too few samples.
    """
    x = _as_matrix(embedding, labels)
    if len(x) <= neighbours:
        raise InputError(f"{len(x)} samples: need more than the {neighbours} neighbours")
    squares = (x**2).sum(axis=1)
    distances = squares[:, None] - 2 * x @ x.T + squares
    np.fill_diagonal(distances, np.inf)
    nearest = np.asarray(labels)[np.argpartition(distances, neighbours - 1)[:, :neighbours]]
    votes = (nearest[:, :, None] == np.arange(np.max(labels) + 1)).sum(axis=1)
    return float((votes.argmax(axis=1) == labels).mean())


def linear_cka(first: np.ndarray, second: np.ndarray) -> float:
    """How alike two representations of the same samples are, 0 to 1, whatever their rotation and
    scale (Kornblith et al. 2019, "Similarity of neural network representations revisited").

    Args:
      first, second: (n, dim) each; the dims may differ.
    """
    x, y = (np.asarray(e, np.float64) - np.mean(e, axis=0) for e in (first, second))
    norm = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(x.T @ y) ** 2 / norm) if norm > 0 else float("nan")


def tsne(embedding: np.ndarray, seed: int = 0, perplexity: float = 30.0) -> np.ndarray:
    """A picture in two dimensions, (n, 2): PCA, then t-SNE (van der Maaten & Hinton 2008) of
    scikit-learn, which starts from the first two principal axes.

    Distances between far groups mean little in it, nor do sizes of groups.

    Args:
      embedding: (n, dim), n at least 4.
      seed: of t-SNE.
      perplexity: about how many neighbours count; less where there are few samples.

    Raises:
      InputError: scikit-learn is not installed; too few samples.
    """
    try:
        from sklearn.decomposition import PCA
        from sklearn.manifold import TSNE
    except ImportError:
        raise InputError(
            "t-SNE needs scikit-learn: pip install 'kdspeech[analysis]', or ask for no embedding"
        ) from None
    x = np.asarray(embedding, dtype=np.float32)
    if len(x) < 4:
        raise InputError(f"{len(x)} samples: t-SNE needs 4 or more")
    dims = min(PCA_DIMS, *x.shape)
    x = PCA(dims, svd_solver="full").fit_transform(x)
    near = min(perplexity, (len(x) - 1) / 3)
    return TSNE(perplexity=near, init="pca", random_state=seed).fit_transform(x)


def spread(labels: np.ndarray, most: int) -> np.ndarray:
    """Indices, ascending, of at most so many samples, the classes in their shares."""
    if len(labels) <= most:
        return np.arange(len(labels))
    order = np.argsort(labels, kind="stable")
    return np.sort(order[np.linspace(0, len(order) - 1, most).round().astype(int)])


def _as_matrix(embedding: np.ndarray, labels: np.ndarray) -> np.ndarray:
    x = np.asarray(embedding, dtype=np.float64)
    if x.ndim != 2 or len(x) != len(labels):
        raise InputError(f"embedding {x.shape}, {len(labels)} labels: must be (samples, dim)")
    return x
