"""What all triphone systems share: a tree, a model of it, and the passes of training."""

from collections.abc import Callable

from kdspeech.gmm import passes
from kdspeech.gmm.accumulate import tree_stats
from kdspeech.gmm.options import TriphoneOptions
from kdspeech.gmm.session import Session
from kdspeech.hmm import AcousticModel, DecisionTree
from kdspeech.hmm.build_tree import build_tree
from kdspeech.hmm.initial import init_from_tree
from kdspeech.hmm.questions import cluster_phones, compile_questions
from kdspeech.hmm.roots import read_roots
from kdspeech.hmm.tree_stats import TreeStats


def start(session: Session, options: TriphoneOptions) -> tuple[DecisionTree, AcousticModel]:
    """Builds the tree on the session's alignments, which are its source's and become the new
    model's; makes the first model and the training graphs."""
    lang, transitions = session.lang, session.source_model.transitions
    silence = [phone for row in lang.int_rows("context_indep") for phone in row]
    arguments = {"transitions": transitions, "ci_phones": silence, "feats": session.feats}
    parts = session.run(tree_stats, **arguments)
    stats = TreeStats.merge([part for part in parts if part is not None])
    sets = cluster_phones(stats, lang.int_rows("sets"), seed=session.options.seed)
    sets += lang.int_rows("extra_questions")
    session.write_text("questions.int", "".join(f"{' '.join(map(str, s))}\n" for s in sets))
    tree, _ = build_tree(
        stats,
        compile_questions(sets, max(map(lang.topo.num_pdf_classes, lang.topo.phones))),
        read_roots(lang.folder / "phones" / "roots.int"),
        lang.topo,
        max_leaves=options.num_leaves,
        cluster_thresh=options.cluster_thresh,
    )
    model, session.occupancies = init_from_tree(tree, lang.topo, stats)
    session.run(passes.convert_alignments, old=transitions, new=model.transitions, tree=tree)
    session.compile_graphs(tree, model)
    return tree, model


def train(
    session: Session,
    model: AcousticModel,
    options: TriphoneOptions,
    before_update: Callable[[int, AcousticModel], AcousticModel] | None = None,
) -> AcousticModel:
    """The passes of training; `before_update` may change features and model in each of them."""
    num_gauss = options.num_leaves
    step = int((options.tot_gauss - num_gauss) / options.max_iter_inc)
    for x in range(1, options.num_iters):
        if x in options.realign_iters:
            session.align(model, options.align)
        if before_update:
            model = before_update(x, model)
        model = session.update(model, mix_up=num_gauss, power=options.power)
        if x <= options.max_iter_inc:
            num_gauss += step
    return model
