"""A graph as an n-gram recogniser's, of any size, and log-likelihoods of sentences in it.

Every word of a made-up lexicon hangs in a tree of phones of three states each, with self-loops;
a word leads to its own bigram state, which has a small tree of the words that follow it and backs
off, by an arc without transition id, to the tree of all words.
"""

import numpy as np

from kdspeech.decode import Graph

NUM_PHONES, STATES = 40, 3
LOOP_COST, LEAVE_COST = -np.log(0.75), -np.log(0.25)
BACKOFF_COST, END_COST = 2.5, 4.0


class Lexicon:
    """Phones of each word, Zipf probabilities, and the pdfs of a phone's states by its left one."""

    def __init__(self, num_words: int, num_pdfs: int, seed: int):
        self.rng = np.random.default_rng(seed)
        self.num_pdfs = num_pdfs
        lengths = np.clip(self.rng.poisson(5.5, num_words), 2, 14)
        phones = 1 + (self.rng.beta(1, 2, lengths.sum()) * NUM_PHONES).astype(int)
        self.words = [tuple(word.tolist()) for word in np.split(phones, np.cumsum(lengths)[:-1])]
        ranks = 1 / (10 + np.arange(num_words))
        self.probs = ranks / ranks.sum()
        self.pdfs = self.rng.integers(0, num_pdfs, (NUM_PHONES + 1, NUM_PHONES + 1, STATES))


class Builder:
    """Collects arcs; pdf p has the transition ids 2 p + 1 (into a state) and 2 p + 2 (loop)."""

    def __init__(self, lexicon: Lexicon):
        self.lexicon = lexicon
        self.arcs, self.num_states = [], 0

    def state(self) -> int:
        self.num_states += 1
        return self.num_states - 1

    def arc(self, source, next_state, tid=0, word=0, cost=0.0) -> None:
        self.arcs.append((source, next_state, tid, word, cost))

    def phone(self, source: int, left: int, phone: int) -> int:
        for pdf in self.lexicon.pdfs[left, phone].tolist():
            here = self.state()
            self.arc(source, here, 2 * pdf + 1, 0, LEAVE_COST)
            self.arc(here, here, 2 * pdf + 2, 0, LOOP_COST)
            source = here
        return source

    def tree(self, root: int, words, probs, ends) -> None:
        """The words from `root` to their `ends`; a word's cost lies on its last arc."""
        nodes = {(): root}
        for word, prob in zip(words, probs, strict=True):
            phones = self.lexicon.words[word]
            for i, phone in enumerate(phones):
                if phones[: i + 1] not in nodes:
                    left = phones[i - 1] if i else 0
                    nodes[phones[: i + 1]] = self.phone(nodes[phones[:i]], left, phone)
            self.arc(nodes[phones], ends[word], 0, word + 1, -np.log(prob))


def make_graph(lexicon: Lexicon, successors: int) -> Graph:
    """The graph of bigrams with `successors` for each word (0: unigrams)."""
    builder, num_words = Builder(lexicon), len(lexicon.words)
    root = builder.state()
    ends = [builder.state() if successors else root for _ in range(num_words)]
    if not successors:
        root = builder.state()
        for end in ends:
            builder.arc(end, root)
    builder.tree(root, range(num_words), lexicon.probs, ends)
    for end in ends if successors else ():
        words = np.unique(lexicon.rng.choice(num_words, successors, p=lexicon.probs))
        builder.tree(end, words.tolist(), np.full(len(words), 0.9 / len(words)), ends)
        builder.arc(end, root, cost=BACKOFF_COST)
    finals = np.full(builder.num_states, np.inf)
    finals[ends] = END_COST
    columns = zip(*builder.arcs, strict=True)
    return Graph.from_arrays(*columns, finals, start=root)


def tid_to_pdf(num_pdfs: int) -> np.ndarray:
    return np.concatenate([[-1], np.repeat(np.arange(num_pdfs), 2)])


def speak(lexicon: Lexicon, num_words: int, margin: float = 12.0, noise: float = 8.0):
    """Words (ids from 1) and noisy log-likelihoods, (frames, pdfs), of a random sentence."""
    rng = lexicon.rng
    words = rng.choice(len(lexicon.words), num_words, p=lexicon.probs)
    pdfs = []
    for word in words.tolist():
        left = 0
        for phone in lexicon.words[word]:
            pdfs += lexicon.pdfs[left, phone].tolist()
            left = phone
    frames = np.repeat(pdfs, rng.geometric(0.25, len(pdfs)))
    loglikes = rng.normal(-80, noise, (len(frames), lexicon.num_pdfs))
    smooth = np.cumsum(loglikes, axis=0)  # neighbouring frames are alike
    loglikes[4:] = (smooth[4:] - smooth[:-4]) / 2
    loglikes[:4] *= 2
    loglikes[np.arange(len(frames)), frames] += margin
    return words + 1, loglikes.astype(np.float32)
