"""HCLG: the graph that a decoder searches (Kaldi's utils/mkgraph.sh)."""

import logging
import os
import shutil
from pathlib import Path

import kaldifst

from kdspeech.graph.epsilons import push_weights, remove_epsilons, remove_symbols
from kdspeech.graph.hmms import HmmMaker, phones_to_tids
from kdspeech.graph.lang import Lang
from kdspeech.graph.self_loops import add_self_loops
from kdspeech.graph.symbols import read_symbols, write_rows
from kdspeech.hmm.transitions import TransitionModel
from kdspeech.hmm.tree import DecisionTree
from kdspeech.io.atomic import atomic_dir
from kdspeech.io.errors import InputError
from kdspeech.io.fst import Fst

log = logging.getLogger(__name__)

_OURS = ("HCLG.fst", "phones", "words.txt", "phones.txt", "num_pdfs")
_BESIDE = ("align_lexicon.*", "word_boundary.*", "disambig.*", "silence.*", "optional_silence.*")
"""Files of lang/phones that lattices need."""


def make_graph(
    lang_dir: str | os.PathLike,
    model_dir: str | os.PathLike,
    graph_dir: str | os.PathLike,
    transition_scale: float = 1.0,
    self_loop_scale: float = 0.1,
) -> Fst:
    """Makes a graph directory: HCLG.fst, and what decoding and scoring need beside it.

    Args:
        lang_dir: with L_disambig.fst and G.fst.
        model_dir: with final.mdl and tree.
        graph_dir: made, or replaced as a whole if it holds nothing else.
        transition_scale: of log probabilities between the states of HMMs.
        self_loop_scale: of those of staying in a state and leaving it.
    Returns:
        HCLG.
    Raises:
        InputError: a file is missing or damaged; lang, grammar, tree and model do not fit each
            other; the grammar cannot be determinized; graph_dir holds other files.
    """
    lang, model_dir = Lang.read(lang_dir), Path(model_dir)
    transitions = TransitionModel.read(model_dir / "final.mdl")
    tree = DecisionTree.read(model_dir / "tree")
    _check_phones(lang, model_dir / "phones.txt")
    hmms = HmmMaker(lang, tree, transitions, transition_scale)
    with atomic_dir(graph_dir, _OURS, [lang_dir, model_dir]) as folder:
        graph = compile_graph(lang, hmms)
        graph = _report("HCLG", add_self_loops(graph, transitions, self_loop_scale))
        graph.write(folder / "HCLG.fst", const=True)
        _write_beside(folder, lang, hmms)
    return graph


def compile_graph(lang: Lang, hmms: HmmMaker) -> Fst:
    """HCLG without self-loops.

    Raises:
        InputError: as make_graph.
    """
    graph = _compose_grammar(lang).to_kaldifst()
    graph = phones_to_tids(graph, hmms, lang.disambig).to_kaldifst()
    _determinize(graph, "HCLG", lang)
    graph = remove_symbols(Fst.from_kaldifst(graph), hmms.num_tids + 1)
    try:
        graph = remove_epsilons(graph).to_kaldifst()
    except InputError as error:
        raise InputError(f"{lang.G}: back-off arcs go round a cycle ({error})") from None
    kaldifst.connect(graph)
    kaldifst.minimize_encoded(graph)
    return Fst.from_kaldifst(graph)


def _compose_grammar(lang: Lang) -> Fst:
    """LG: the lexicon and the grammar in one, deterministic and minimal."""
    grammar = _read_grammar(lang)
    lexicon = Fst.read(lang.L_disambig).to_kaldifst()
    kaldifst.arcsort(lexicon, sort_type="olabel")
    graph = kaldifst.StdVectorFst(kaldifst.compose(lexicon, grammar.to_kaldifst()))
    if not graph.num_states:
        raise InputError(f"{lang.G}: the grammar has no sentence of words of the lexicon")
    _determinize(graph, "LG", lang)
    kaldifst.minimize_encoded(graph)
    return _report("LG", push_weights(Fst.from_kaldifst(graph)))


def _read_grammar(lang: Lang) -> Fst:
    if not lang.G.exists():
        raise InputError(f"{lang.G}: no such file (make it from a model: kds arpa-to-fst)")
    grammar = Fst.read(lang.G)
    labels = grammar.arcs["ilabel"]
    if len(labels) and labels.max() > max(lang.words.values()):
        raise InputError(
            f"{lang.G}: word {labels.max()} is not in words.txt (make it again for this lang)"
        )
    return _report("G", grammar)


def _determinize(graph: kaldifst.StdVectorFst, name: str, lang: Lang) -> None:
    # Without symbols to tell words apart this could go on for ever; with them graphs rather shrink.
    most = 20 * graph.num_states + 10000
    try:
        kaldifst.determinize_star(graph, max_states=most, use_log=True)
    except RuntimeError as error:
        reason = str(error).rstrip().rpartition("\n")[2]
        raise InputError(
            f"{name} cannot be determinized ({reason}): is {lang.G} made with #0 on back-off arcs, "
            f"and {lang.L_disambig} from the same lexicon?"
        ) from None


def _check_phones(lang: Lang, path: Path) -> None:
    """Where the model's directory has a phones.txt, its phones must have the same numbers."""
    if not path.exists():
        return
    theirs = read_symbols(path)
    for phone, number in lang.phones.items():
        if not phone.startswith("#") and theirs.get(phone) != number:
            raise InputError(
                f"{path}: the model was not trained with {lang.folder}: phone {phone} has "
                f"the number {theirs.get(phone)} there, not {number}"
            )


def _write_beside(folder: Path, lang: Lang, hmms: HmmMaker) -> None:
    (folder / "phones").mkdir()
    names = [path for pattern in _BESIDE for path in (lang.folder / "phones").glob(pattern)]
    for path in names:
        shutil.copyfile(path, folder / "phones" / path.name)
    for name in ("words.txt", "phones.txt"):
        shutil.copyfile(lang.folder / name, folder / name)
    write_rows(folder / "num_pdfs", [[hmms.tree.num_pdfs]])


def _report(name: str, fst: Fst) -> Fst:
    log.info("%s: %d states, %d arcs", name, fst.num_states, len(fst.arcs))
    return fst
