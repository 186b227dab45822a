"""Changing the number of Gaussians of mixtures: allocation, splitting and merging, as Kaldi."""

import heapq

import numpy as np

from kdspeech.hmm.gmm import DiagGmms

MIN_COUNT = 20.0  # frames each Gaussian should have (gmm-est --min-count)
POWER = 0.2  # of the occupancy by which Gaussians are allocated (gmm-est --power)
PERTURB_FACTOR = 0.01  # how far split means move, in standard deviations


def split_targets(
    occupancies: np.ndarray, total: int, power: float = POWER, min_count: float = MIN_COUNT
) -> np.ndarray:
    """Allocates Gaussians to pdfs in proportion to a power of their occupancy.

    Every pdf has one at least, and further ones only as long as each of them would have more than
    `min_count` frames; so the sum may be smaller than asked for.

    Args:
        occupancies: (num_pdfs,), frames of each pdf.
        total: Gaussians of all pdfs together.
    Returns:
        int32 (num_pdfs,).
    """
    targets = np.ones(len(occupancies), dtype=np.int32)
    # Single precision, as Kaldi: a whole number of frames stays one and is compared as one.
    occupancies = np.asarray(occupancies, dtype=np.float32)
    shares = (occupancies.astype(np.float64) ** power).astype(np.float32).astype(np.float64)
    queue = [(-share, pdf) for pdf, share in enumerate(shares) if share > 0]
    heapq.heapify(queue)
    missing = total - len(targets)
    while missing > 0 and queue:
        pdf = queue[0][1]
        if (targets[pdf] + 1) * min_count >= occupancies[pdf]:
            heapq.heappop(queue)
            continue
        targets[pdf] += 1
        missing -= 1
        heapq.heapreplace(queue, (-shares[pdf] / targets[pdf], pdf))
    return targets


def split_by_count(
    gmms: DiagGmms,
    occupancies: np.ndarray,
    total: int,
    rng: np.random.Generator,
    power: float = POWER,
    min_count: float = MIN_COUNT,
    perturb_factor: float = PERTURB_FACTOR,
) -> DiagGmms:
    """Splits Gaussians up to the number `split_targets` gives each pdf (gmm-est --mix-up)."""
    targets = split_targets(occupancies, total, power, min_count)
    return _changed(gmms, lambda pdf, part: _split(part, targets[pdf], perturb_factor, rng))


def merge_by_count(
    gmms: DiagGmms,
    occupancies: np.ndarray,
    total: int,
    power: float = POWER,
    min_count: float = MIN_COUNT,
) -> DiagGmms:
    """Merges Gaussians down to the number `split_targets` gives each pdf (gmm-est --mix-down)."""
    targets = split_targets(occupancies, total, power, min_count)
    return _changed(gmms, lambda pdf, part: _merge(part, targets[pdf]))


def _changed(gmms: DiagGmms, change) -> DiagGmms:
    """New mixtures from change(pdf, (weights, means_invvars, inv_vars)) of each pdf."""
    parts = []
    for pdf in range(gmms.num_pdfs):
        rows = slice(gmms.offsets[pdf], gmms.offsets[pdf + 1])
        part = (gmms.weights[rows], gmms.means_invvars[rows], gmms.inv_vars[rows])
        parts.append(change(pdf, part))
    arrays = [np.concatenate(column) for column in zip(*parts, strict=True)]
    offsets = np.concatenate([[0], np.cumsum([len(part[0]) for part in parts])])
    return DiagGmms(offsets, *arrays)


def _split(part, target: int, perturb_factor: float, rng: np.random.Generator):
    """Splits the heaviest Gaussian in two, again and again (DiagGmm::Split)."""
    weights, means_invvars, inv_vars = part
    size, missing = len(weights), target - len(weights)
    if missing <= 0:
        return part
    weights = np.concatenate([weights, np.zeros(missing, np.float32)])
    means_invvars = np.concatenate([means_invvars, np.empty((missing, inv_vars.shape[1]))])
    inv_vars = np.concatenate([inv_vars, np.empty((missing, inv_vars.shape[1]))])
    for new in range(size, target):
        old = int(np.argmax(weights[:new]))
        weights[[old, new]] = weights[old] / 2
        inv_vars[new] = inv_vars[old]
        # Means times inverse variances have the unit of an inverse standard deviation.
        move = rng.standard_normal(inv_vars.shape[1]) * np.sqrt(inv_vars[old]) * perturb_factor
        means_invvars[new] = means_invvars[old] + move
        means_invvars[old] -= move
    return weights, means_invvars, inv_vars


def _merge(part, target: int):
    """Merges the two Gaussians that cost least likelihood, again and again (DiagGmm::Merge)."""
    if len(part[0]) <= target:
        return part
    weights, means_invvars, inv_vars = (array.astype(np.float64) for array in part)
    means = means_invvars / inv_vars
    squares = 1.0 / inv_vars + means * means
    kept = np.ones(len(weights), dtype=bool)
    loss = np.full((len(weights), len(weights)), np.inf)  # of pairs i > j
    for i in range(1, len(weights)):
        loss[i, :i] = _merge_loss(weights, means, squares, i)[:i]
    for _ in range(len(weights) - target):
        i, j = divmod(int(np.argmin(loss)), len(loss))
        total = weights[i] + weights[j]
        for moment in (means, squares):
            moment[i] = (weights[i] * moment[i] + weights[j] * moment[j]) / total
        weights[i], weights[j], kept[j] = total, 0.0, False
        loss[j], loss[:, j] = np.inf, np.inf
        again = _merge_loss(weights, means, squares, i)
        loss[i, :i] = np.where(kept[:i], again[:i], np.inf)
        loss[i + 1 :, i] = np.where(kept[i + 1 :], again[i + 1 :], np.inf)
    inv_vars = 1.0 / (squares - means * means)[kept]
    return weights[kept], means[kept] * inv_vars, inv_vars


def _merge_loss(weights, means, squares, i: int) -> np.ndarray:
    """The log-likelihood lost by merging Gaussian i with each other, per frame of the pdf."""
    total = np.maximum(weights + weights[i], 1e-30)
    mean = (weights[:, None] * means + weights[i] * means[i]) / total[:, None]
    square = (weights[:, None] * squares + weights[i] * squares[i]) / total[:, None]
    own = weights * np.log(squares - means * means).sum(axis=1)
    return 0.5 * (total * np.log(square - mean * mean).sum(axis=1) - own - own[i])
